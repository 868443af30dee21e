/*
 * Task graphs in Manta, each rank's program submitting its own points: an MPI program that owns
 * main.
 *
 * A ref belongs to the rank that made it. What a point needs from a column of another rank is had
 * by a small task on that rank (fetch), which reads the value of the ref that its program has
 * published there, in the table of rows. So no rank asks another for a ref before it goes on: the
 * fetch's own ref stands for the value from the start, and one fetch serves all of a rank's
 * consumers.
 *
 * Programs go on together, AHEAD rows at a time: each submits the next AHEAD rows, waits for those
 * before them, and meets the others. So a fetch that comes before its row only waits for a program
 * that is just submitting it, and once all have met, nobody fetches from rows whose consumers
 * are done: their refs are dropped.
 */
#include "manta_points.h"

#include <mpi.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static manta_ref *block; /* refs to wait for, or to drop: of 2 * AHEAD rows of all graphs */

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

/* The points hold what was fetched for them. */
static void drop_fetched(struct state *state, uint32_t step)
{
    const struct tb_row *row = step > 0 ? state->plan.rows[step - 1] : NULL;
    for (uint32_t i = 0; row && i < row->width; i++) {
        manta_ref *fetched = &state->fetched[row->offset + i];
        if (fetched->parent) {
            manta_drop(*fetched);
            *fetched = (manta_ref){0};
        }
    }
}

static void submit_row(struct state *state, uint32_t step)
{
    const struct tb_row *row = state->plan.rows[step];
    for (uint32_t i = 0; i < row->width; i++) {
        uint32_t first = row->input_at[i], count = row->input_at[i + 1] - first;
        uint32_t point = row->offset + i;
        if (rank_of(state, point) != world.rank) {
            continue;
        }
        for (uint32_t k = 0; k < count; k++) {
            state->inputs[k] = input_ref(state, step - 1, row->inputs[first + k]);
        }
        struct point_job job = {state->graph->index, step, point, count, 0};
        *own(state, step, point) =
            points_submit(MANTA_OPTIONS(.rank = MANTA_ON(world.rank)), &job, state->inputs);
    }
    atomic_store_explicit(&state->submitted, step + 1, memory_order_release);
    drop_fetched(state, step);
}

/* Writes this rank's refs of rows from ... to - 1. How many there are. */
static uint32_t list_own(uint32_t from, uint32_t to, manta_ref *refs)
{
    uint32_t count = 0;
    for (uint32_t step = from; step < to; step++) {
        for (uint32_t i = 0; i < app.graph_count; i++) {
            const struct tb_row *row =
                step < app.graphs[i].steps ? states[i].plan.rows[step] : NULL;
            for (uint32_t k = 0; row && k < row->width; k++) {
                if (rank_of(&states[i], row->offset + k) == world.rank) {
                    refs[count++] = *own(&states[i], step, row->offset + k);
                }
            }
        }
    }
    return count;
}

/* One wait for all: who is woken for each point takes the core away from those who run them. */
static int finish_rows(uint32_t from, uint32_t to)
{
    return points_finish(block, list_own(from, to, block));
}

static void drop_rows(uint32_t from, uint32_t to)
{
    uint32_t count = list_own(from, to, block);
    for (uint32_t i = 0; i < count; i++) {
        manta_drop(block[i]);
    }
}

/* Rows before `to` are done on all ranks; those that row `to` needs stay. */
static uint32_t meet(uint32_t kept, uint32_t to)
{
    MPI_Barrier(MPI_COMM_WORLD);
    drop_rows(kept, to - 1);
    return to - 1;
}

static int run_rows(void)
{
    uint32_t steps = tb_most_steps(&app), finished = 0, kept = 0;
    int first_code = MANTA_OK;
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t i = 0; i < app.graph_count; i++) {
            if (step < app.graphs[i].steps) {
                submit_row(&states[i], step);
            }
        }
        if (step + 1 - finished == 2 * AHEAD || step + 1 == steps) {
            uint32_t to = step + 1 == steps ? steps : finished + AHEAD;
            int code = finish_rows(finished, to);
            first_code = first_code == MANTA_OK ? code : first_code;
            kept = meet(kept, to);
            finished = to;
        }
    }
    drop_rows(kept, steps);
    return first_code;
}

static int pass(void *arg, double *ret_seconds)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double start = tb_now();
    int failed = run_rows() != MANTA_OK;
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
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
    uint64_t widths = 0;
    MANTA_TRY(manta_world_get(&world));
    for (uint32_t i = 0; i < app.graph_count; i++) {
        MANTA_TRY(make_state(&app.graphs[i], &states[i]));
        widths += app.graphs[i].width;
    }
    block = calloc(2 * AHEAD * widths, sizeof *block);
    if (!block) {
        return MANTA_E_NOMEM;
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
    free(block);
    MPI_Finalize();
    return code == MANTA_OK ? 0 : 1;
}
