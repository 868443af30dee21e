/*
 * heat [BLOCKS [CELLS [STEPS]]]: heat spreading over a square plate, by explicit steps
 *
 *     u'[i][j] = u[i][j] + 0.2 (u[i-1][j] + u[i+1][j] + u[i][j-1] + u[i][j+1] - 4 u[i][j])
 *
 * with walls that are kept at 0 and 1. The plate is BLOCKS x BLOCKS blocks of CELLS x CELLS cells.
 * A step of a block is a task: it gets its cells and the edges of its four neighbours, and gives
 * its new cells and its own four edges. So between ranks only edges move.
 *
 * The same is done twice: with a task submitted for every block and step, and with one step of all
 * blocks recorded as a graph, which feeds itself and is launched for all steps. Both print the same
 * sum of the last temperatures, bit by bit (stdout), and how long they took (stderr).
 */
#include "clock.h"

#include <manta/graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MAX = 64, CELLS_MAX = 90, SIDES = 4 };
enum { NORTH, SOUTH, WEST, EAST };

struct plan {
    int blocks, cells, steps;
};

/* What a step of a block gives, and what the next one takes: cells, then edges to each side. */
struct block {
    manta_ref cells, edge[SIDES];
};

static double at(const double *u, int n, int row, int column, const double *const *beside)
{
    return row < 0       ? beside[NORTH][column]
           : row == n    ? beside[SOUTH][column]
           : column < 0  ? beside[WEST][row]
           : column == n ? beside[EAST][row]
                         : u[row * n + column];
}

/* next: n x n; beside: n each. Cells at an edge look beyond it, the others do not have to ask. */
static void spread(const double *u, double *next, int n, const double *const *beside)
{
    for (int row = 0; row < n; row++) {
        bool is_edge_row = row == 0 || row == n - 1;
        for (int column = 0; column < n; column++) {
            const double *here = &u[row * n + column];
            double around =
                is_edge_row || column == 0 || column == n - 1
                    ? at(u, n, row - 1, column, beside) + at(u, n, row + 1, column, beside) +
                          at(u, n, row, column - 1, beside) + at(u, n, row, column + 1, beside)
                    : here[-n] + here[n] + here[-1] + here[1];
            next[row * n + column] = *here + 0.2 * (around - 4 * *here);
        }
    }
}

/* to: n each, the edges of u. */
static void copy_edges(const double *u, int n, double *const *to)
{
    for (int i = 0; i < n; i++) {
        to[NORTH][i] = u[i];
        to[SOUTH][i] = u[(n - 1) * n + i];
        to[WEST][i] = u[i * n];
        to[EAST][i] = u[i * n + n - 1];
    }
}

/* u: n x n; north ... east: n each, of the neighbours; next, to_north ...: the same of the block.
 */
MANTA_TASK(step, val(int, n), in(double, u), in(double, north), in(double, south), in(double, west),
           in(double, east), outv(double, next), outv(double, to_north), outv(double, to_south),
           outv(double, to_west), outv(double, to_east))
{
    const double *beside[SIDES] = {north, south, west, east};
    size_t length = (size_t)n;
    double *cells = manta_outv_alloc(next, length * length);
    double *to[SIDES] = {manta_outv_alloc(to_north, length), manta_outv_alloc(to_south, length),
                         manta_outv_alloc(to_west, length), manta_outv_alloc(to_east, length)};
    if (!cells || !to[NORTH] || !to[SOUTH] || !to[WEST] || !to[EAST]) {
        return MANTA_E_NOMEM;
    }
    spread(u, cells, n, beside);
    copy_edges(cells, n, to);
    return MANTA_OK;
}

/* ---- The plate ------------------------------------------------------------------------------ */

static int count(const struct plan *plan)
{
    return plan->blocks * plan->blocks;
}

/* What a block gets from a side: the opposite edge of its neighbour there, or of the wall. */
static manta_ref beside(const struct plan *plan, const struct block *blocks, const manta_ref *walls,
                        int block, int side)
{
    static const int rows[SIDES] = {-1, 1, 0, 0}, columns[SIDES] = {0, 0, -1, 1};
    int row = block / plan->blocks + rows[side], column = block % plan->blocks + columns[side];
    bool is_wall = row < 0 || row == plan->blocks || column < 0 || column == plan->blocks;
    return is_wall ? walls[side] : blocks[row * plan->blocks + column].edge[side ^ 1];
}

/* One task of the block, submitted or recorded as the options say. */
static struct block take_step(const struct plan *plan, const manta_options *options,
                              const struct block *blocks, const manta_ref *walls, int block)
{
    struct step_refs refs = step_async(
        options, plan->cells, blocks[block].cells, beside(plan, blocks, walls, block, NORTH),
        beside(plan, blocks, walls, block, SOUTH), beside(plan, blocks, walls, block, WEST),
        beside(plan, blocks, walls, block, EAST));
    return (struct block){refs.next, {refs.to_north, refs.to_south, refs.to_west, refs.to_east}};
}

static uint32_t rank_of(const struct plan *plan, int block)
{
    manta_world world;
    uint32_t ranks = manta_world_get(&world) == MANTA_OK ? world.size : 1;
    return MANTA_ON((uint32_t)block * ranks / (uint32_t)count(plan));
}

static const double zeros[CELLS_MAX * CELLS_MAX];
static double ones[CELLS_MAX];

static size_t edge_bytes(const struct plan *plan)
{
    return (size_t)plan->cells * sizeof(double);
}

/* Sum of all cells, in order, and frees the refs. */
static int sum_up(const struct plan *plan, const manta_ref *cells, double *ret_sum)
{
    *ret_sum = 0;
    for (int block = 0; block < count(plan); block++) {
        const void *data;
        size_t bytes;
        MANTA_TRY(manta_view(cells[block], &data, &bytes));
        for (size_t i = 0; i < bytes / sizeof(double); i++) {
            *ret_sum += ((const double *)data)[i] * (double)(1 + (size_t)block + i % 7);
        }
        MANTA_TRY(manta_unview(cells[block]));
    }
    return MANTA_OK;
}

/* ---- A task for every step ------------------------------------------------------------------ */

static void drop(const struct block *block)
{
    (void)manta_drop(block->cells);
    for (int side = 0; side < SIDES; side++) {
        (void)manta_drop(block->edge[side]);
    }
}

static int run_tasks(const struct plan *plan, double *ret_sum)
{
    static struct block now[BLOCKS_MAX], next[BLOCKS_MAX];
    manta_ref walls[SIDES], cells[BLOCKS_MAX];
    for (int side = 0; side < SIDES; side++) {
        walls[side] = manta_put(side == NORTH ? ones : zeros, edge_bytes(plan));
    }
    for (int block = 0; block < count(plan); block++) {
        now[block].cells = manta_put(zeros, edge_bytes(plan) * (size_t)plan->cells);
        for (int side = 0; side < SIDES; side++) {
            now[block].edge[side] = manta_put(zeros, edge_bytes(plan));
        }
    }
    for (int i = 0; i < plan->steps; i++) {
        for (int block = 0; block < count(plan); block++) {
            next[block] =
                take_step(plan, MANTA_OPTIONS(.rank = rank_of(plan, block)), now, walls, block);
        }
        for (int block = 0; block < count(plan); block++) {
            drop(&now[block]);
            now[block] = next[block];
        }
    }
    for (int block = 0; block < count(plan); block++) {
        cells[block] = now[block].cells;
    }
    return sum_up(plan, cells, ret_sum);
}

/* ---- A graph of one step -------------------------------------------------------------------- */

/* Inputs, one step of every block, and its results as the inputs of the next. */
static void record(const struct plan *plan, manta_graph *graph, struct block *blocks,
                   manta_ref *walls)
{
    struct block next[BLOCKS_MAX];
    for (int side = 0; side < SIDES; side++) {
        walls[side] = manta_graph_input(graph, edge_bytes(plan));
    }
    for (int block = 0; block < count(plan); block++) {
        blocks[block].cells = manta_graph_input(graph, edge_bytes(plan) * (size_t)plan->cells);
        for (int side = 0; side < SIDES; side++) {
            blocks[block].edge[side] = manta_graph_input(graph, edge_bytes(plan));
        }
    }
    for (int block = 0; block < count(plan); block++) {
        next[block] = take_step(plan, MANTA_OPTIONS(.graph = graph, .rank = rank_of(plan, block)),
                                blocks, walls, block);
    }
    for (int block = 0; block < count(plan); block++) {
        manta_graph_feed(graph, next[block].cells, blocks[block].cells);
        manta_graph_output(graph, next[block].cells);
        for (int side = 0; side < SIDES; side++) {
            manta_graph_feed(graph, next[block].edge[side], blocks[block].edge[side]);
        }
    }
}

static int run_graph(const struct plan *plan, double *ret_sum)
{
    struct block blocks[BLOCKS_MAX];
    manta_ref walls[SIDES], cells[BLOCKS_MAX];
    manta_graph *graph;
    MANTA_TRY(manta_graph_create(MANTA_BLOCKS, &graph));
    record(plan, graph, blocks, walls);
    MANTA_TRY(manta_graph_seal(graph));
    for (int side = 0; side < SIDES; side++) {
        MANTA_TRY(
            manta_graph_set(graph, walls[side], side == NORTH ? ones : zeros, edge_bytes(plan)));
    }
    for (int block = 0; block < count(plan); block++) {
        MANTA_TRY(manta_graph_set(graph, blocks[block].cells, zeros,
                                  edge_bytes(plan) * (size_t)plan->cells));
        for (int side = 0; side < SIDES; side++) {
            MANTA_TRY(manta_graph_set(graph, blocks[block].edge[side], zeros, edge_bytes(plan)));
        }
    }
    MANTA_TRY(manta_graph_launch(graph, (uint64_t)plan->steps, cells));
    MANTA_TRY(sum_up(plan, cells, ret_sum));
    manta_graph_destroy(graph);
    return MANTA_OK;
}

/* ---- Both ----------------------------------------------------------------------------------- */

static int number(int argc, char **argv, int index, int fallback, int most)
{
    char *end;
    long value = argc > index ? strtol(argv[index], &end, 10) : fallback;
    return argc > index && (*end || value < 1 || value > most) ? 0 : (int)value;
}

static int driver(int argc, char **argv)
{
    struct plan plan = {number(argc, argv, 1, 4, 8), number(argc, argv, 2, 16, CELLS_MAX),
                        number(argc, argv, 3, 500, 1000000)};
    double tasks, graph;
    if (argc > 4 || !plan.blocks || !plan.cells || !plan.steps) {
        fprintf(stderr, "usage: heat [BLOCKS to 8 [CELLS to %d [STEPS to 1000000]]]\n", CELLS_MAX);
        return 2;
    }
    for (int i = 0; i < CELLS_MAX; i++) {
        ones[i] = 1;
    }
    double begin = seconds();
    MANTA_TRY(run_tasks(&plan, &tasks));
    double middle = seconds();
    MANTA_TRY(run_graph(&plan, &graph));
    double end = seconds();
    printf("tasks: %a\ngraph: %a\n", tasks, graph);
    fprintf(stderr, "tasks %.3f s, graph %.3f s: %.1f times as fast\n", middle - begin,
            end - middle, (middle - begin) / (end - middle));
    return memcmp(&tasks, &graph, sizeof tasks) != 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
