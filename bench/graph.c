/*
 * Recorded graphs: what a node costs.
 *
 *   chain     nodes that do nothing, one after the other, on one rank: against a loop over the same
 *             calls, which is what no runtime can be faster than
 *   wide      nodes that do nothing and depend on nothing of their round, on one rank
 *   stencil   1-D, three dependencies, a column for each rank: the time of one step, against the
 *             same steps as plain tasks
 *
 * For `mpirun -n 2`, and alone.
 */
#include "bench.h"

#include <manta/graph.h>

enum { NODES = 64, ROUNDS = 2000, STEPS = 20000, PLAIN_STEPS = 2000, COLUMNS_MAX = 64 };

MANTA_TASK(link, in(uint64_t, x), out(uint64_t, y))
{
    *y = *x + 1;
    return MANTA_OK;
}

MANTA_TASK(cell, in(uint64_t, left), in(uint64_t, own), in(uint64_t, right), out(uint64_t, next))
{
    *next = *left + *own + *right;
    return MANTA_OK;
}

struct series {
    struct bench_series loop, chain, wide, plain, stencil;
};

/* The same calls through the same descriptors. */
static int loop(struct bench_series *series)
{
    uint64_t values[2] = {0, 0};
    manta_slot slots[2][2] = {{{&values[0], 1}, {&values[1], 1}},
                              {{&values[1], 1}, {&values[0], 1}}};
    uint64_t start_ns = bench_now_ns();
    for (uint64_t i = 0; i < (uint64_t)NODES * ROUNDS; i++) {
        MANTA_TRY(link_function.run(slots[i % 2]));
    }
    bench_add(series, (double)(bench_now_ns() - start_ns) / NODES / ROUNDS);
    return values[0] == (uint64_t)NODES * ROUNDS ? MANTA_OK : 1;
}

/* Nanoseconds of a launch, once the graph is warm. */
static int time_launch(manta_graph *graph, uint64_t rounds, double *ret_ns)
{
    manta_ref warm, result;
    uint64_t value;
    MANTA_TRY(manta_graph_launch(graph, 10, &warm));
    MANTA_TRY(manta_get(warm, &value, sizeof value));
    uint64_t start_ns = bench_now_ns();
    MANTA_TRY(manta_graph_launch(graph, rounds, &result));
    MANTA_TRY(manta_get(result, &value, sizeof value));
    *ret_ns = (double)(bench_now_ns() - start_ns);
    MANTA_TRY(manta_drop(warm));
    return manta_drop(result);
}

static int finish(manta_graph *graph, const manta_ref *inputs, uint32_t count, uint64_t rounds,
                  double *ret_ns)
{
    uint64_t zero = 0;
    MANTA_TRY(manta_graph_seal(graph));
    for (uint32_t i = 0; i < count; i++) {
        MANTA_TRY(manta_graph_set(graph, inputs[i], &zero, sizeof zero));
    }
    MANTA_TRY(time_launch(graph, rounds, ret_ns));
    manta_graph_destroy(graph);
    return MANTA_OK;
}

static int chain(struct bench_series *series, bool is_wide)
{
    manta_graph *graph;
    double ns;
    MANTA_TRY(manta_graph_create(MANTA_BLOCKS, &graph));
    manta_ref input = manta_graph_input(graph, sizeof(uint64_t)), at = input;
    for (int i = 0; i < NODES; i++) {
        at = link_async(MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON(0)), is_wide ? input : at);
    }
    manta_graph_feed(graph, at, input);
    manta_graph_output(graph, at);
    MANTA_TRY(finish(graph, &input, 1, ROUNDS, &ns));
    bench_add(series, ns / NODES / ROUNDS);
    return MANTA_OK;
}

static int stencil(struct bench_series *series, uint32_t columns)
{
    manta_graph *graph;
    manta_ref inputs[COLUMNS_MAX], next[COLUMNS_MAX];
    double ns;
    MANTA_TRY(manta_graph_create(MANTA_BLOCKS, &graph));
    for (uint32_t i = 0; i < columns; i++) {
        inputs[i] = manta_graph_input(graph, sizeof(uint64_t));
    }
    for (uint32_t i = 0; i < columns; i++) {
        next[i] =
            cell_async(MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON(i)),
                       inputs[(i + columns - 1) % columns], inputs[i], inputs[(i + 1) % columns]);
        manta_graph_feed(graph, next[i], inputs[i]);
    }
    manta_graph_output(graph, next[0]);
    MANTA_TRY(finish(graph, inputs, columns, STEPS, &ns));
    bench_add(series, ns / STEPS);
    return MANTA_OK;
}

static int plain(struct bench_series *series, uint32_t columns)
{
    manta_ref now[COLUMNS_MAX], next[COLUMNS_MAX];
    uint64_t zero = 0, start_ns = bench_now_ns();
    MANTA_TRY(manta_scope_begin());
    for (uint32_t i = 0; i < columns; i++) {
        now[i] = manta_put(&zero, sizeof zero);
    }
    for (int step = 0; step < PLAIN_STEPS; step++) {
        for (uint32_t i = 0; i < columns; i++) {
            next[i] = cell_async(MANTA_OPTIONS(.rank = MANTA_ON(i)),
                                 now[(i + columns - 1) % columns], now[i], now[(i + 1) % columns]);
        }
        for (uint32_t i = 0; i < columns; i++) {
            now[i] = next[i];
        }
    }
    MANTA_TRY(manta_wait(now, columns, columns, MANTA_FOREVER, NULL));
    bench_add(series, (double)(bench_now_ns() - start_ns) / PLAIN_STEPS);
    return manta_scope_end();
}

/* Point `i` of each, beginning with another one each time. */
static int measure_all(struct series *series, uint32_t i, uint32_t columns)
{
    enum { KINDS = 5 };
    for (uint32_t k = 0; k < KINDS; k++) {
        switch ((i + k) % KINDS) {
        case 0:
            MANTA_TRY(loop(&series->loop));
            break;
        case 1:
            MANTA_TRY(chain(&series->chain, false));
            break;
        case 2:
            MANTA_TRY(chain(&series->wide, true));
            break;
        case 3:
            MANTA_TRY(plain(&series->plain, columns));
            break;
        default:
            MANTA_TRY(stencil(&series->stencil, columns));
        }
    }
    return MANTA_OK;
}

static void print_all(struct bench *bench, const struct series *series)
{
    const struct bench_row rows[] = {
        {"raw: a loop over the bodies", "ns", &series->loop},
        {"a node of a chain on one rank", "ns", &series->chain, "the loop", &series->loop},
        {"a node of 64 that are ready at once", "ns", &series->wide, "the loop", &series->loop},
        {"a stencil step of plain tasks", "ns", &series->plain},
        {"a stencil step of a graph", "ns", &series->stencil, "plain", &series->plain,
         BENCH_RATIO_AT_MOST, 0.5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bench_print(bench, &rows[i]);
    }
}

static int driver(int argc, char **argv)
{
    static struct series series;
    struct bench bench;
    manta_world world;
    if (bench_open(&bench, "graph", argc, argv) != 0) {
        return 2;
    }
    MANTA_TRY(manta_world_get(&world));
    if (world.size > COLUMNS_MAX) {
        return 2;
    }
    for (uint32_t i = 0; i < bench.points; i++) {
        MANTA_TRY(measure_all(&series, i, world.size));
    }
    print_all(&bench, &series);
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
