/*
 * Task graphs in StarPU, in its usual style: data handles, one task per point, StarPU finds the
 * order from what each reads and writes. A column has two places for its outputs, used in turn.
 * Points without inputs or consumers (trivial) write to a scratch handle, which StarPU has once
 * for each worker, so that nothing orders them.
 */
#include "core.h"

#include <starpu.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { PLACES = 2 };

struct state {
    const struct tb_graph *graph;
    struct tb_plan plan;
    uint8_t *outputs;
    starpu_data_handle_t *handles; /* [PLACES][width] */
    starpu_data_handle_t scratch;  /* trivial */
};

/* A task's argument. */
struct job {
    const struct state *state;
    uint32_t step, point, input_count;
};

static struct state states[TB_GRAPHS_MAX];
static atomic_int failures;

/* Buffers are the inputs and then the output. */
static void run_point(void *buffers[], void *arg)
{
    const struct job *job = arg;
    const void **inputs = calloc(job->input_count + 1, sizeof *inputs);
    char why[TB_WHY_BYTES];
    for (uint32_t i = 0; inputs && i < job->input_count; i++) {
        inputs[i] = (const void *)STARPU_VARIABLE_GET_PTR(buffers[i]);
    }
    if (tb_execute(job->state->graph, job->step, job->point,
                   (void *)STARPU_VARIABLE_GET_PTR(buffers[job->input_count]), inputs,
                   job->input_count, why) != 0 &&
        atomic_fetch_add(&failures, 1) == 0) {
        fprintf(stderr, "%s\n", why);
    }
    free(inputs);
}

static struct starpu_codelet codelet = {
    .cpu_funcs = {run_point}, .nbuffers = STARPU_VARIABLE_NBUFFERS, .name = "point"};

static starpu_data_handle_t handle_at(const struct state *state, uint32_t step, uint32_t point)
{
    return state->handles[(uint64_t)(step % PLACES) * state->graph->width + point];
}

static void set_buffer(struct starpu_task *task, uint32_t i, starpu_data_handle_t handle,
                       enum starpu_data_access_mode mode)
{
    STARPU_TASK_SET_HANDLE(task, handle, i);
    STARPU_TASK_SET_MODE(task, mode, i);
}

static void set_buffers(struct starpu_task *task, const struct job *job)
{
    const struct state *state = job->state;
    const struct tb_row *row = state->plan.rows[job->step];
    const uint32_t *inputs = row->inputs + row->input_at[job->point - row->offset];
    bool is_alone = state->graph->pattern == TB_TRIVIAL;
    task->nbuffers = (int)job->input_count + 1;
    if (task->nbuffers > STARPU_NMAXBUFS) {
        task->dyn_handles = malloc((size_t)task->nbuffers * sizeof *task->dyn_handles);
        task->dyn_modes = malloc((size_t)task->nbuffers * sizeof *task->dyn_modes);
    }
    for (uint32_t i = 0; i < job->input_count; i++) {
        set_buffer(task, i, handle_at(state, job->step - 1, inputs[i]), STARPU_R);
    }
    set_buffer(task, job->input_count,
               is_alone ? state->scratch : handle_at(state, job->step, job->point),
               is_alone ? STARPU_SCRATCH : STARPU_W);
}

static void submit(uint32_t graph, uint32_t step, uint32_t point)
{
    const struct state *state = &states[graph];
    const struct tb_row *row = state->plan.rows[step];
    struct starpu_task *task = starpu_task_create();
    struct job *job = malloc(sizeof *job);
    const uint32_t *at = &row->input_at[point - row->offset];
    *job = (struct job){state, step, point, at[1] - at[0]};
    task->cl = &codelet;
    task->cl_arg = job;
    task->cl_arg_size = sizeof *job;
    task->cl_arg_free = 1;
    set_buffers(task, job);
    if (starpu_task_submit(task) != 0) {
        fprintf(stderr, "StarPU refused a task\n");
        exit(1);
    }
}

static int run(void *arg, double *ret_seconds)
{
    const struct tb_app *app = arg;
    double start = tb_now();
    tb_each_point(app, submit);
    starpu_task_wait_for_all();
    *ret_seconds = tb_now() - start;
    return failures;
}

static int make_state(const struct tb_graph *graph, struct state *state)
{
    uint64_t places = (uint64_t)PLACES * graph->width;
    state->graph = graph;
    state->outputs = calloc(places, graph->output_bytes);
    state->handles = calloc(places, sizeof *state->handles);
    if (!state->outputs || !state->handles || tb_plan_make(graph, &state->plan) != 0) {
        return -1;
    }
    for (uint64_t i = 0; i < places; i++) {
        starpu_variable_data_register(&state->handles[i], STARPU_MAIN_RAM,
                                      (uintptr_t)(state->outputs + i * graph->output_bytes),
                                      graph->output_bytes);
    }
    starpu_variable_data_register(&state->scratch, -1, 0, graph->output_bytes);
    return 0;
}

static void free_state(struct state *state)
{
    for (uint64_t i = 0; i < (uint64_t)PLACES * state->graph->width; i++) {
        starpu_data_unregister(state->handles[i]);
    }
    starpu_data_unregister(state->scratch);
    free(state->handles);
    free(state->outputs);
    tb_plan_free(&state->plan);
}

int main(int argc, char **argv)
{
    struct tb_app app;
    struct starpu_conf conf;
    if (tb_open(&app, argc, argv) != 0) {
        return 2;
    }
    starpu_conf_init(&conf);
    conf.ncpus = app.workers ? (int)app.workers : conf.ncpus;
    if (starpu_init(&conf) != 0) {
        fprintf(stderr, "StarPU does not start\n");
        return 1;
    }
    for (uint32_t i = 0; i < app.graph_count; i++) {
        if (make_state(&app.graphs[i], &states[i]) != 0) {
            fprintf(stderr, "no memory\n");
            return 1;
        }
    }
    tb_display(&app);
    tb_measure(&app, true, run, &app);
    for (uint32_t i = 0; i < app.graph_count; i++) {
        free_state(&states[i]);
    }
    starpu_shutdown();
    return failures ? 1 : 0;
}
