/*
 * Task graphs in Manta as recorded graphs, launched once a pass. Where rows are whole and come
 * again after some steps, these steps are recorded and a launch has as many rounds as there are;
 * what the last of them makes is what the first of the next round reads. Other graphs (dom, tree,
 * or steps that do not fill the last round) are recorded from the first row to the last, for one
 * round. A point with more inputs than a task has parameters cannot be recorded.
 */
#include "manta_points.h"

#include <manta/graph.h>
#include <stdio.h>
#include <stdlib.h>

struct state {
    manta_graph *graph;
    uint32_t period; /* steps that are recorded */
    uint32_t rounds;
};

/* While it is recorded. */
struct recording {
    const struct tb_graph *graph;
    struct tb_plan plan;
    manta_ref *starts; /* [width] each: what the first row reads in later rounds */
    manta_ref *rows[2], *inputs;
    uint32_t ranks;
};

static struct tb_app app;
static struct state states[TB_GRAPHS_MAX];

static uint32_t period_of(const struct tb_graph *graph)
{
    uint32_t sets = tb_dependence_sets(graph);
    bool is_whole = graph->pattern != TB_DOM && graph->pattern != TB_TREE;
    return is_whole && graph->steps > sets && graph->steps % sets == 0 ? sets : graph->steps;
}

static int begin_recording(const struct tb_graph *graph, struct recording *recording)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    recording->graph = graph;
    recording->ranks = world.size;
    recording->starts = calloc(graph->width, sizeof *recording->starts);
    recording->rows[0] = calloc(graph->width, sizeof *recording->rows[0]);
    recording->rows[1] = calloc(graph->width, sizeof *recording->rows[1]);
    recording->inputs = calloc(graph->width, sizeof *recording->inputs);
    bool is_made = recording->starts && recording->rows[0] && recording->rows[1] &&
                   recording->inputs && tb_plan_make(graph, &recording->plan) == 0;
    return is_made ? MANTA_OK : MANTA_E_NOMEM;
}

static void end_recording(struct recording *recording)
{
    tb_plan_free(&recording->plan);
    free(recording->starts);
    free(recording->rows[0]);
    free(recording->rows[1]);
    free(recording->inputs);
}

/* The row at `step` of a round; `before` has what it reads. */
static void record_row(struct recording *recording, const struct state *state, uint32_t step,
                       const manta_ref *before, manta_ref *now)
{
    bool comes_again = state->rounds > 1 && step == 0;
    const struct tb_row *row = recording->plan.rows[comes_again ? state->period : step];
    for (uint32_t i = 0; i < row->width; i++) {
        uint32_t first = row->input_at[i];
        struct point_job job = {recording->graph->index, step, row->offset + i,
                                row->input_at[i + 1] - first, state->period};
        for (uint32_t k = 0; k < job.input_count; k++) {
            recording->inputs[k] = before[row->inputs[first + k]];
        }
        uint32_t rank = points_rank(recording->graph, job.point, recording->ranks);
        now[job.point] = points_submit(MANTA_OPTIONS(.graph = state->graph, .rank = MANTA_ON(rank)),
                                       &job, recording->inputs);
    }
}

static void record_starts(struct recording *recording, struct state *state)
{
    for (uint32_t i = 0; i < recording->graph->width; i++) {
        recording->starts[i] = manta_graph_input(state->graph, 0);
    }
}

static int set_starts(const struct recording *recording, struct state *state)
{
    static const uint8_t nothing[TB_PAIR_BYTES];
    for (uint32_t i = 0; i < recording->graph->width; i++) {
        MANTA_TRY(manta_graph_set(state->graph, recording->starts[i], nothing, sizeof nothing));
    }
    return MANTA_OK;
}

static int record(struct recording *recording, struct state *state)
{
    const manta_ref *before = recording->starts;
    state->period = period_of(recording->graph);
    state->rounds = recording->graph->steps / state->period;
    MANTA_TRY(manta_graph_create(MANTA_BLOCKS, &state->graph));
    if (state->rounds > 1) {
        record_starts(recording, state);
    }
    for (uint32_t step = 0; step < state->period; step++) {
        record_row(recording, state, step, before, recording->rows[step % 2]);
        before = recording->rows[step % 2];
    }
    for (uint32_t i = 0; state->rounds > 1 && i < recording->graph->width; i++) {
        manta_graph_feed(state->graph, before[i], recording->starts[i]);
    }
    MANTA_TRY(manta_graph_seal(state->graph));
    return state->rounds > 1 ? set_starts(recording, state) : MANTA_OK;
}

static int make_state(const struct tb_graph *graph)
{
    struct recording recording = {NULL};
    int code = begin_recording(graph, &recording);
    if (code == MANTA_OK) {
        code = record(&recording, &states[graph->index]);
    }
    if (code != MANTA_OK) {
        fprintf(stderr, "%s\n", manta_last_error()->text);
    }
    end_recording(&recording);
    return code;
}

/* All graphs at once. */
static int time_pass(void *arg, double *ret_seconds)
{
    manta_ref ends[TB_GRAPHS_MAX];
    double start = tb_now();
    for (uint32_t i = 0; i < app.graph_count; i++) {
        MANTA_TRY(manta_graph_launch(states[i].graph, states[i].rounds, &ends[i]));
    }
    MANTA_TRY(points_finish(ends, app.graph_count));
    *ret_seconds = tb_now() - start;
    for (uint32_t i = 0; i < app.graph_count; i++) {
        MANTA_TRY(manta_drop(ends[i]));
    }
    return MANTA_OK;
}

static void free_state(uint32_t i)
{
    manta_graph_destroy(states[i].graph);
}

int main(int argc, char **argv)
{
    static const struct points_program program = {make_state, free_state, time_pass};
    return points_main(argc, argv, &app, &program);
}
