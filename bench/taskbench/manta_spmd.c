/*
 * Task graphs in Manta, each rank's program submitting its own points: an MPI program that owns main.
 *
 * A ref belongs to the rank that made it. What a point needs from a column of another rank is had
 * by a small task on that rank (fetch), which reads the value of the ref that its program has
 * published there, in the table of rows. So no rank asks another for a ref before it goes on: the
 * fetch's own ref stands for the value from the start, and one fetch serves all of a rank's
 * consumers. A fetch that is ahead of the other program's submissions waits for them. A program
 * waits only for points some AHEAD rows back; the rows that these need are AHEAD rows back at
 * least on the other ranks too, so this ends.
 *
 * Refs are kept until all ranks have met at the end of a pass, because only then no fetch can
 * come any more; a scope block drops them.
 */
#include "manta_points.h"

#include <mpi.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows that a rank submits before it waits for the first of them. */
enum { AHEAD = 64 };

struct state {
    const struct tb_graph *graph;
    struct tb_plan plan;
    manta_ref *refs;            /* [steps][width]: own points */
    manta_ref *fetched;         /* [width]: of the row before, columns of others */
    manta_ref *inputs;          /* of the point at hand */
    _Atomic uint32_t submitted; /* rows of refs that are there */
};

static struct tb_app app;
static struct state states[TB_GRAPHS_MAX];
static manta_world world;

static uint32_t rank_of(const struct state *state, uint32_t point)
{
    return points_rank(state->graph, point, world.size);
}

static manta_ref *own(const struct state *state, uint32_t step, uint32_t point)
{
    return &state->refs[(uint64_t)step * state->graph->width + point];
}

/* ---- Values of other ranks ------------------------------------------------------------------ */

static manta_ref published(struct state *state, uint32_t step, uint32_t point)
{
    while (atomic_load_explicit(&state->submitted, memory_order_acquire) <= step) {
        sched_yield(); /* pairs with the release in submit_row */
    }
    return *own(state, step, point);
}

MANTA_TASK(fetch_pair, val(struct point_job, job), out(struct point_pair, pair))
{
    return manta_get(published(&states[job.graph], job.step, job.point), pair, sizeof *pair);
}

MANTA_TASK(fetch, val(struct point_job, job), outv(uint8_t, value))
{
    manta_ref ref = published(&states[job.graph], job.step, job.point);
    const void *data;
    size_t bytes;
    MANTA_TRY(manta_view(ref, &data, &bytes));
    void *copy = manta_outv_alloc(value, bytes);
    if (copy) {
        memcpy(copy, data, bytes);
    }
    manta_unview(ref);
    return copy ? MANTA_OK : manta_last_error()->code;
}

static manta_ref submit_fetch(const struct state *state, uint32_t step, uint32_t point)
{
    const manta_options *options = MANTA_OPTIONS(.rank = MANTA_ON(rank_of(state, point)));
    struct point_job job = {.graph = state->graph->index, .step = step, .point = point};
    return state->graph->output_bytes == sizeof(struct point_pair) ? fetch_pair_async(options, job)
                                                                   : fetch_async(options, job);
}

static manta_ref input_ref(struct state *state, uint32_t step, uint32_t point)
{
    if (rank_of(state, point) == world.rank) {
        return *own(state, step, point);
    }
    if (!state->fetched[point].parent) {
        state->fetched[point] = submit_fetch(state, step, point);
    }
    return state->fetched[point];
}

/* ---- Rows ----------------------------------------------------------------------------------- */

static void submit_row(struct state *state, uint32_t step)
{
    const struct tb_row *row = state->plan.rows[step];
    memset(state->fetched, 0, state->graph->width * sizeof *state->fetched);
    for (uint32_t i = 0; i < row->width; i++) {
        uint32_t first = row->input_at[i], count = row->input_at[i + 1] - first;
        uint32_t point = row->offset + i;
        if (rank_of(state, point) != world.rank) {
            continue;
        }
        for (uint32_t k = 0; k < count; k++) {
            state->inputs[k] = input_ref(state, step - 1, row->inputs[first + k]);
        }
        *own(state, step, point) = points_submit(MANTA_OPTIONS(.rank = MANTA_ON(world.rank)),
                                                 state->graph, step, point, state->inputs, count);
    }
    atomic_store_explicit(&state->submitted, step + 1, memory_order_release);
}

static int finish_row(struct state *state, uint32_t step)
{
    const struct tb_row *row = state->plan.rows[step];
    for (uint32_t i = 0; i < row->width; i++) {
        uint32_t point = row->offset + i;
        if (rank_of(state, point) == world.rank) {
            MANTA_TRY(points_finish(own(state, step, point), 1));
        }
    }
    return MANTA_OK;
}

static int finish_rows(uint32_t from, uint32_t to)
{
    int code = MANTA_OK;
    for (uint32_t step = from; step < to; step++) {
        for (uint32_t i = 0; i < app.graph_count && code == MANTA_OK; i++) {
            code = step < app.graphs[i].steps ? finish_row(&states[i], step) : MANTA_OK;
        }
    }
    return code;
}

static int run_rows(void)
{
    uint32_t steps = tb_most_steps(&app), finished = 0;
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t i = 0; i < app.graph_count; i++) {
            if (step < app.graphs[i].steps) {
                submit_row(&states[i], step);
            }
        }
        if (step - finished == 2 * AHEAD) {
            MANTA_TRY(finish_rows(finished, finished + AHEAD));
            finished += AHEAD;
        }
    }
    return finish_rows(finished, steps);
}

static int pass(void *arg, double *ret_seconds)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double start = tb_now();
    MANTA_TRY(manta_scope_begin());
    int failed = run_rows() != MANTA_OK;
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    MANTA_TRY(manta_scope_end());
    *ret_seconds = tb_now() - start;
    for (uint32_t i = 0; i < app.graph_count; i++) {
        atomic_store_explicit(&states[i].submitted, 0, memory_order_relaxed);
    }
    return failed;
}

/* ---- The program ---------------------------------------------------------------------------- */

static int make_state(const struct tb_graph *graph, struct state *state)
{
    if (tb_plan_make(graph, &state->plan) != 0) {
        return MANTA_E_NOMEM;
    }
    state->graph = graph;
    state->refs = calloc((uint64_t)graph->steps * graph->width, sizeof *state->refs);
    state->fetched = calloc(graph->width, sizeof *state->fetched);
    state->inputs = calloc(graph->width, sizeof *state->inputs);
    return state->refs && state->fetched && state->inputs ? MANTA_OK : MANTA_E_NOMEM;
}

static void free_state(struct state *state)
{
    tb_plan_free(&state->plan);
    free(state->refs);
    free(state->fetched);
    free(state->inputs);
}

static int run(void)
{
    MANTA_TRY(manta_world_get(&world));
    for (uint32_t i = 0; i < app.graph_count; i++) {
        MANTA_TRY(make_state(&app.graphs[i], &states[i]));
    }
    if (world.rank == 0) {
        tb_display(&app);
    }
    return tb_measure(&app, world.rank == 0, pass, NULL);
}

static void log_line(void *arg, int level, const char *line)
{
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    const manta_config config = {.log = log_line};
    int provided;
    if (tb_open(&app, argc, argv) != 0) {
        return 2;
    }
    points_register(&app);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    int code = manta_init(&config);
    if (code == MANTA_OK) {
        code = run();
        manta_fini();
    }
    for (uint32_t i = 0; i < app.graph_count; i++) {
        free_state(&states[i]);
    }
    MPI_Finalize();
    return code == MANTA_OK ? 0 : 1;
}
