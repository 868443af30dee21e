/*
 * Task graphs in Manta, all of it submitted by one driver: refs of the row before go into the
 * points of the next row, then they are dropped. What nobody consumes (the last row, and points of
 * others) is waited for: at the end, or before when it is much. Columns lie on ranks in blocks.
 */
#include "manta_points.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAF_BYTES = 1 << 22 };

struct state {
    const struct tb_graph *graph;
    struct tb_plan plan;
    manta_ref *rows[2]; /* [width], by column */
    manta_ref *inputs;  /* of the point at hand */
    manta_ref *leaves;  /* that nobody consumes */
    uint32_t leaf_count;
    int code; /* the first that a leaf had */
};

static struct tb_app app;
static struct state states[TB_GRAPHS_MAX];

/* So few that their bytes stay in a cache, where new ones find the same memory again. */
static uint32_t leaves_max(const struct tb_graph *graph)
{
    uint64_t count = LEAF_BYTES / graph->output_bytes;
    return (uint32_t)(count > 2 * (uint64_t)graph->width ? count : 2 * (uint64_t)graph->width);
}

static int make_state(const struct tb_graph *graph)
{
    struct state *state = &states[graph->index];
    if (tb_plan_make(graph, &state->plan) != 0) {
        return MANTA_E_NOMEM;
    }
    state->graph = graph;
    state->inputs = calloc(graph->width, sizeof *state->inputs);
    state->leaves = calloc(leaves_max(graph), sizeof *state->leaves);
    state->rows[0] = calloc(graph->width, sizeof *state->rows[0]);
    state->rows[1] = calloc(graph->width, sizeof *state->rows[1]);
    return state->inputs && state->leaves && state->rows[0] && state->rows[1] ? MANTA_OK
                                                                              : MANTA_E_NOMEM;
}

static void free_state(uint32_t i)
{
    struct state *state = &states[i];
    tb_plan_free(&state->plan);
    free(state->inputs);
    free(state->leaves);
    free(state->rows[0]);
    free(state->rows[1]);
}

static void submit_row(struct state *state, uint32_t step, uint32_t ranks)
{
    const struct tb_row *row = state->plan.rows[step];
    manta_ref *refs = state->rows[step % 2], *before = state->rows[(step + 1) % 2];
    for (uint32_t i = 0; i < row->width; i++) {
        uint32_t first = row->input_at[i], count = row->input_at[i + 1] - first;
        uint32_t point = row->offset + i;
        for (uint32_t k = 0; k < count; k++) {
            state->inputs[k] = before[row->inputs[first + k]];
        }
        struct point_job job = {state->graph->index, step, point, count, 0};
        uint32_t rank = points_rank(state->graph, point, ranks);
        refs[point] = points_submit(MANTA_OPTIONS(.rank = MANTA_ON(rank)), &job, state->inputs);
    }
}

/* Waits for the first `count` leaves and drops them. */
static void finish_leaves(struct state *state, uint32_t count)
{
    int code = points_finish(state->leaves, count);
    state->code = state->code == MANTA_OK ? code : state->code;
    for (uint32_t i = 0; i < count; i++) {
        manta_drop(state->leaves[i]);
    }
    state->leaf_count -= count;
    memmove(state->leaves, state->leaves + count, state->leaf_count * sizeof *state->leaves);
}

static void add_leaf(struct state *state, manta_ref ref)
{
    uint32_t most = leaves_max(state->graph);
    if (state->leaf_count == most) {
        finish_leaves(state, most / 2);
    }
    state->leaves[state->leaf_count++] = ref;
}

/* Of a row whose consumers are submitted: they hold it now. */
static void let_go_of_row(struct state *state, uint32_t step)
{
    const struct tb_row *row = state->plan.rows[step];
    for (uint32_t i = 0; i < row->width; i++) {
        manta_ref ref = state->rows[step % 2][row->offset + i];
        if (row->consumer_at[i] == row->consumer_at[i + 1]) {
            add_leaf(state, ref);
        } else {
            manta_drop(ref);
        }
    }
}

static int pass(uint32_t ranks)
{
    int code = MANTA_OK;
    for (uint32_t step = 0; step <= tb_most_steps(&app); step++) {
        for (uint32_t i = 0; i < app.graph_count; i++) {
            if (step < app.graphs[i].steps) {
                submit_row(&states[i], step, ranks);
            }
            if (step > 0 && step <= app.graphs[i].steps) {
                let_go_of_row(&states[i], step - 1);
            }
        }
    }
    for (uint32_t i = 0; i < app.graph_count; i++) {
        finish_leaves(&states[i], states[i].leaf_count);
        code = code == MANTA_OK ? states[i].code : code;
    }
    return code;
}

static int time_pass(void *arg, double *ret_seconds)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    double start = tb_now();
    MANTA_TRY(pass(world.size));
    *ret_seconds = tb_now() - start;
    return MANTA_OK;
}

int main(int argc, char **argv)
{
    static const struct points_program program = {make_state, free_state, time_pass};
    return points_main(argc, argv, &app, &program);
}
