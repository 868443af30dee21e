/*
 * Task graphs as OpenMP tasks: one thread makes them, `depend` orders them. A column has two
 * places for its outputs, used in turn, and OpenMP keeps a writer behind the readers of what it
 * overwrites. Points without inputs or consumers (trivial) write into their thread's own place
 * and depend on nothing.
 */
#include "core.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 2 };

struct state {
    const struct tb_graph *graph;
    struct tb_plan plan;
    uint8_t *outputs; /* [PLACES][width] of output_bytes */
};

static struct state states[TB_GRAPHS_MAX];
static atomic_int failures;

static uint8_t *place(const struct state *state, uint32_t step, uint32_t point)
{
    const struct tb_graph *graph = state->graph;
    return state->outputs +
           ((uint64_t)(step % PLACES) * graph->width + point) * graph->output_bytes;
}

static void run_point(const struct state *state, uint32_t step, uint32_t point, uint8_t *output)
{
    const struct tb_row *row = state->plan.rows[step];
    const uint32_t *at = &row->input_at[point - row->offset];
    uint32_t count = at[1] - at[0];
    const void **inputs = count > TB_RADIX_MAX ? malloc(count * sizeof *inputs) : NULL;
    const void *few[TB_RADIX_MAX];
    char why[TB_WHY_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        (inputs ? inputs : few)[i] = place(state, step - 1, row->inputs[at[0] + i]);
    }
    if (tb_execute(state->graph, step, point, output, inputs ? inputs : few, count, why) != 0 &&
        atomic_fetch_add(&failures, 1) == 0) {
        fprintf(stderr, "%s\n", why);
    }
    free(inputs);
}

static void run_alone(const struct state *state, uint32_t step, uint32_t point)
{
    static _Thread_local uint8_t *output;
    static _Thread_local uint64_t bytes;
    if (bytes < state->graph->output_bytes) {
        bytes = state->graph->output_bytes;
        output = realloc(output, bytes);
    }
    run_point(state, step, point, output);
}

static void submit(uint32_t graph, uint32_t step, uint32_t point)
{
    const struct state *state = &states[graph];
    const struct tb_row *row = state->plan.rows[step];
    const uint32_t *inputs = row->inputs + row->input_at[point - row->offset];
    uint32_t count = row->input_at[point - row->offset + 1] - row->input_at[point - row->offset];
    uint8_t *output = place(state, step, point);
    if (state->graph->pattern == TB_TRIVIAL) {
#pragma omp task firstprivate(state, step, point)
        run_alone(state, step, point);
    } else if (count == 0) {
#pragma omp task firstprivate(state, step, point, output) depend(out : output[0])
        run_point(state, step, point, output);
    } else {
#pragma omp task firstprivate(state, step, point, output)                                          \
    depend(iterator(uint32_t i = 0                                                                 \
                    : count),                                                                      \
           in                                                                                      \
           : place(state, step - 1, inputs[i])[0]) depend(out                                      \
                                                          : output[0])
        run_point(state, step, point, output);
    }
}

static int run(void *arg, double *ret_seconds)
{
    const struct tb_app *app = arg;
    double start = tb_now();
#pragma omp parallel
#pragma omp single
    tb_each_point(app, submit);
    *ret_seconds = tb_now() - start;
    return failures;
}

int main(int argc, char **argv)
{
    struct tb_app app;
    if (tb_open(&app, argc, argv) != 0) {
        return 2;
    }
    if (app.workers) {
        omp_set_num_threads((int)app.workers);
    }
    for (uint32_t i = 0; i < app.graph_count; i++) {
        const struct tb_graph *graph = &app.graphs[i];
        states[i].graph = graph;
        states[i].outputs = calloc((uint64_t)PLACES * graph->width, graph->output_bytes);
        if (!states[i].outputs || tb_plan_make(graph, &states[i].plan) != 0) {
            fprintf(stderr, "no memory\n");
            return 1;
        }
    }
    tb_display(&app);
    tb_measure(&app, true, run, &app);
    for (uint32_t i = 0; i < app.graph_count; i++) {
        tb_plan_free(&states[i].plan);
        free(states[i].outputs);
    }
    return failures ? 1 : 0;
}
