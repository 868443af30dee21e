/*
 * The task-graph benchmark: what runs, apart from who runs it. Linkable by anyone as a static
 * library of plain C (libtaskbench.a, which may be copied anywhere), from C and C++; no part of it
 * knows Manta.
 *
 * A graph is a grid of `steps` rows by `width` columns. The task at (step, point) may depend on
 * points of the row before and on nothing else; which ones, the pattern says, in closed form, so
 * that no system has to store the graph. The shapes, the options, the lines of output and the
 * meaning of METG are those of Task Bench (Slaughter et al., Task Bench: a parameterized benchmark
 * for evaluating parallel runtime performance, SC20), so its scripts read what drivers print here.
 *
 * A driver does the following, and is only timed for the third:
 *
 *     tb_app_read(&app, argc, argv), on every process
 *     tb_display(&app), on one
 *     for each point of each graph: get the outputs of its inputs (tb_inputs, in ascending order)
 *     to where it runs, call tb_execute, and hand its output to its consumers (tb_consumers)
 *     tb_report, on one (tb_measure calls it)
 *
 * Nothing can go wrong unseen: an output is filled with (step, graph and point), pair after pair,
 * and tb_execute compares every byte of every input with what it has to be. A driver that gives a
 * wrong input, one too few, or one of another step, gets a negative code and has to end with
 * failure. `-plant STEP,POINT` spoils one output on purpose, to show that a driver does.
 *
 * Context: tb_inputs, tb_consumers, tb_execute from any thread at once; the others from one.
 */
#ifndef TASKBENCH_CORE_H
#define TASKBENCH_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TB_PATTERNS(X)                                                                             \
    X(TRIVIAL, trivial)                                                                            \
    X(NO_COMM, no_comm)                                                                            \
    X(STENCIL_1D, stencil_1d)                                                                      \
    X(STENCIL_1D_PERIODIC, stencil_1d_periodic)                                                    \
    X(DOM, dom)                                                                                    \
    X(TREE, tree)                                                                                  \
    X(FFT, fft)                                                                                    \
    X(ALL_TO_ALL, all_to_all)                                                                      \
    X(NEAREST, nearest)                                                                            \
    X(SPREAD, spread)                                                                              \
    X(RANDOM_NEAREST, random_nearest)

#define TB_KERNELS(X)                                                                              \
    X(EMPTY, empty)                                                                                \
    X(BUSY_WAIT, busy_wait)                                                                        \
    X(COMPUTE_BOUND, compute_bound)                                                                \
    X(MEMORY_BOUND, memory_bound)                                                                  \
    X(LOAD_IMBALANCE, load_imbalance)

#define TB_ENUM_(name, text) TB_##name,
enum tb_pattern { TB_PATTERNS(TB_ENUM_) TB_PATTERN_COUNT };
enum tb_kernel { TB_KERNELS(TB_ENUM_) TB_KERNEL_COUNT };

enum {
    TB_GRAPHS_MAX = 16,
    TB_RADIX_MAX = 64,  /* inputs of one point, but for all_to_all, where they are one interval */
    TB_PAIR_BYTES = 16, /* the least output */
    TB_PASSES_MAX = 1000,
    TB_WHY_BYTES = 160
};

struct tb_graph {
    uint32_t index; /* among the graphs of the app */
    uint32_t steps, width;
    uint32_t radix, period;
    enum tb_pattern pattern;
    enum tb_kernel kernel;
    uint32_t samples; /* memory_bound: parts of the scratch, one per iteration */
    uint64_t iterations;
    uint64_t output_bytes;
    uint64_t scratch_bytes; /* memory_bound */
    double fraction;        /* random_nearest: part of the neighbours that are inputs */
    double imbalance; /* load_imbalance: width of the spread of durations; 2: from 0 to double */
    int64_t plant_step, plant_point; /* whose output is wrong on purpose; -1: none */
};

struct tb_app {
    uint32_t graph_count;
    uint32_t passes; /* -passes: how often the whole is timed */
    uint32_t
        workers; /* -worker: threads or processes that run tasks; 0: the driver's own default */
    struct tb_graph graphs[TB_GRAPHS_MAX];
};

/* Points first ... last, both included. */
struct tb_interval {
    uint32_t first, last;
};

/* In ascending order, apart from each other. */
struct tb_intervals {
    uint32_t count;
    struct tb_interval at[TB_RADIX_MAX];
};

/* ---- The app -------------------------------------------------------------------------------- */

/* Reads options; -and begins another graph. 0, or -1 with the reason in why. argv[0] is skipped. */
int tb_app_read(struct tb_app *ret_app, int argc, char **argv, char why[TB_WHY_BYTES]);
/* The same for a program's start: 0, or 1 after printing the reason and what there is. */
int tb_open(struct tb_app *ret_app, int argc, char **argv);
const char *tb_pattern_name(enum tb_pattern pattern);
const char *tb_kernel_name(enum tb_kernel kernel);
/* Prints the configuration. */
void tb_display(const struct tb_app *app);
/* Prints totals and rates, for the median of `count` times in seconds, and the least of them. */
void tb_report(const struct tb_app *app, const double *seconds, uint32_t count);
/* Calls pass(arg, seconds) once to warm up and then app->passes times; reports on this process, if
 * it is the one that does. The first code that is not 0 ends it. */
int tb_measure(const struct tb_app *app, bool reports, int (*pass)(void *arg, double *ret_seconds),
               void *arg);

uint64_t tb_total_tasks(const struct tb_app *app);
/* Of the longest graph. */
uint32_t tb_most_steps(const struct tb_app *app);
/* All points of all graphs, row by row, as a sequential program would come to them. */
void tb_each_point(const struct tb_app *app,
                   void (*visit)(uint32_t graph, uint32_t step, uint32_t point));

/* Of CLOCK_MONOTONIC. */
double tb_now(void);

/* ---- The shape of a graph ------------------------------------------------------------------- */

/* Row `step` is the points offset ... offset + width - 1; before 0 and from steps on it is empty.
 */
uint32_t tb_row_offset(const struct tb_graph *graph, int64_t step);
uint32_t tb_row_width(const struct tb_graph *graph, int64_t step);
/* The points of row step - 1 that (step, point) needs, and those of row step + 1 that need it. */
void tb_inputs(const struct tb_graph *graph, uint32_t step, uint32_t point,
               struct tb_intervals *ret_inputs);
void tb_consumers(const struct tb_graph *graph, uint32_t step, uint32_t point,
                  struct tb_intervals *ret_consumers);
/* How many points. */
uint32_t tb_count(const struct tb_intervals *intervals);
/* Writes them one by one. */
void tb_list(const struct tb_intervals *intervals, uint32_t *ret_points);
/* Whose inputs the step `step` of a graph has is the same for steps that give the same number
 * here, below tb_dependence_sets, where rows step - 1 and step are both whole. */
uint32_t tb_dependence_set(const struct tb_graph *graph, uint32_t step);
uint32_t tb_dependence_sets(const struct tb_graph *graph);

/*
 * A graph's shape written down before the clock starts: what real codes know of theirs. Row
 * `step` is *rows[step], point p has index p - offset in it, its inputs are inputs[input_at[i]]
 * ... inputs[input_at[i + 1] - 1], its consumers likewise. Rows that look the same are one.
 */
struct tb_row {
    uint32_t offset, width;
    uint32_t *input_at, *inputs, *consumer_at, *consumers;
};

struct tb_plan {
    uint32_t steps;
    struct tb_row **rows;
};

/* 0, or -1: no memory. *ret_plan is owned. */
int tb_plan_make(const struct tb_graph *graph, struct tb_plan *ret_plan);
/* Accepts a zeroed one. */
void tb_plan_free(struct tb_plan *plan);

/* ---- A point -------------------------------------------------------------------------------- */

/*
 * Checks the inputs, runs the kernel, writes output_bytes at output. inputs has the outputs of
 * the points of tb_inputs in their order. 0, or -1 with the reason in why. The scratch of
 * memory_bound belongs to the calling thread.
 */
int tb_execute(const struct tb_graph *graph, uint32_t step, uint32_t point, void *output,
               const void *const *inputs, uint32_t input_count, char why[TB_WHY_BYTES]);
/* The parts of tb_execute. */
int tb_check_inputs(const struct tb_graph *graph, uint32_t step, uint32_t point,
                    const void *const *inputs, uint32_t input_count, char why[TB_WHY_BYTES]);
void tb_write_output(const struct tb_graph *graph, uint32_t step, uint32_t point, void *output);
/* 0; -1: no memory for the scratch. */
int tb_kernel_run(const struct tb_graph *graph, uint32_t step, uint32_t point);

/* What one run of the kernel counts for. */
uint64_t tb_iterations(const struct tb_graph *graph, uint32_t step, uint32_t point);
uint64_t tb_flops(const struct tb_graph *graph, uint32_t step, uint32_t point);
uint64_t tb_bytes(const struct tb_graph *graph, uint32_t step, uint32_t point);

#ifdef __cplusplus
}
#endif

#endif
