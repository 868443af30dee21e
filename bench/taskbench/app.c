/*
 * Options in, lines out. Both have the form of Task Bench's, whose scripts look for "Total Tasks",
 * "Elapsed Time ... seconds" and the like at the start of a line.
 *
 * Each option of a graph is a row of a table with the range that it may have. The first graph has
 * the defaults; -and begins another one that has those of the graph before it.
 */
#include "core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIB = 1 << 20 };

/* Where a number goes, and what it may be. */
struct number {
    const char *option;
    size_t offset;
    bool is_wide; /* 64 bits, else 32 */
    uint64_t least, most;
};

#define AT(member) offsetof(struct tb_graph, member)

static const struct number numbers[] = {
    {"-steps", AT(steps), false, 1, 1 << 30},
    {"-width", AT(width), false, 1, 1 << 20},
    {"-radix", AT(radix), false, 0, TB_RADIX_MAX},
    {"-period", AT(period), false, 1, 1 << 20},
    {"-samples", AT(samples), false, 1, 1 << 20},
    {"-iter", AT(iterations), true, 0, (uint64_t)1 << 40},
    {"-output", AT(output_bytes), true, TB_PAIR_BYTES, 256 * MIB},
    {"-scratch", AT(scratch_bytes), true, 0, (uint64_t)1 << 36},
};

struct real {
    const char *option;
    size_t offset;
    double most;
};

static const struct real reals[] = {
    {"-fraction", AT(fraction), 1},
    {"-imbalance", AT(imbalance), 2},
};

#define TEXT_(name, text) #text,
static const char *const pattern_names[] = {TB_PATTERNS(TEXT_)};
static const char *const kernel_names[] = {TB_KERNELS(TEXT_)};

const char *tb_pattern_name(enum tb_pattern pattern)
{
    return pattern_names[pattern];
}

const char *tb_kernel_name(enum tb_kernel kernel)
{
    return kernel_names[kernel];
}

static const char usage[] =
    "options of a graph:\n"
    "  -steps N  -width N      rows and columns (4, 4)\n"
    "  -type PATTERN           trivial no_comm stencil_1d stencil_1d_periodic dom tree fft\n"
    "                          all_to_all nearest spread random_nearest (trivial)\n"
    "  -radix N                inputs of nearest, spread, random_nearest (3)\n"
    "  -period N               sets of inputs that spread, random_nearest take in turn (3)\n"
    "  -fraction F             of its neighbours that are inputs of random_nearest (0.25)\n"
    "  -kernel KERNEL          empty busy_wait compute_bound memory_bound load_imbalance "
    "(empty)\n"
    "  -iter N                 iterations of the kernel (0)\n"
    "  -scratch N  -samples N  memory_bound: bytes per thread, in so many parts (0, 16)\n"
    "  -imbalance F            load_imbalance: spread of lengths, 0 ... 2 (0)\n"
    "  -output N               bytes of each point's output, a multiple of 16 (16)\n"
    "  -and                    begins another graph, of the same options unless changed\n"
    "of the run:\n"
    "  -worker N               threads or processes that run tasks\n"
    "  -passes N               times the whole so often; tells the median and the least (1)\n"
    "  -plant STEP,POINT       spoil that output: the run has to fail\n";

/* ---- Reading -------------------------------------------------------------------------------- */

static int read_whole(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || number < least || number > most) {
        return -1;
    }
    *ret = number;
    return 0;
}

static int read_name(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int tell(char *why, const char *option, const char *value, const char *expected)
{
    snprintf(why, TB_WHY_BYTES, "%.24s %.40s: expected %.70s", option, value, expected);
    return -1;
}

static int read_count(const char *option, const char *value, uint32_t least, uint32_t most,
                      uint32_t *ret, char *why)
{
    char range[64];
    uint64_t read;
    if (read_whole(value, least, most, &read) == 0) {
        *ret = (uint32_t)read;
        return 1;
    }
    snprintf(range, sizeof range, "%u ... %u", least, most);
    return tell(why, option, value, range);
}

/* 1: it was one; 0: it is none; -1: it has a wrong value. */
static int read_number(struct tb_graph *graph, const char *option, const char *value, char *why)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const struct number *number = &numbers[i];
        uint8_t *at = (uint8_t *)graph + number->offset;
        uint64_t read;
        if (strcmp(option, number->option) != 0) {
            continue;
        }
        if (read_whole(value, number->least, number->most, &read) != 0) {
            char range[64];
            snprintf(range, sizeof range, "%llu ... %llu", (unsigned long long)number->least,
                     (unsigned long long)number->most);
            return tell(why, option, value, range);
        }
        uint32_t narrow = (uint32_t)read;
        memcpy(at, number->is_wide ? (void *)&read : (void *)&narrow, number->is_wide ? 8 : 4);
        return 1;
    }
    return 0;
}

static int read_real(struct tb_graph *graph, const char *option, const char *value, char *why)
{
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        char *end, range[32];
        double read = strtod(value, &end);
        if (strcmp(option, reals[i].option) != 0) {
            continue;
        }
        if (*end || end == value || !(read >= 0 && read <= reals[i].most)) {
            snprintf(range, sizeof range, "0 ... %g", reals[i].most);
            return tell(why, option, value, range);
        }
        memcpy((uint8_t *)graph + reals[i].offset, &read, sizeof read);
        return 1;
    }
    return 0;
}

static int read_plant(struct tb_graph *graph, const char *value, char *why)
{
    long long step, point;
    if (sscanf(value, "%lld,%lld", &step, &point) != 2) {
        return tell(why, "-plant", value, "STEP,POINT");
    }
    graph->plant_step = step;
    graph->plant_point = point;
    return 1;
}

static int read_other(struct tb_app *app, struct tb_graph *graph, const char *option,
                      const char *value, char *why)
{
    int name;
    if (strcmp(option, "-type") == 0) {
        name = read_name(value, pattern_names, TB_PATTERN_COUNT);
        graph->pattern = (enum tb_pattern)name;
        return name < 0 ? tell(why, option, value, "a pattern, such as stencil_1d") : 1;
    }
    if (strcmp(option, "-kernel") == 0) {
        name = read_name(value, kernel_names, TB_KERNEL_COUNT);
        graph->kernel = (enum tb_kernel)name;
        return name < 0 ? tell(why, option, value, "a kernel, such as compute_bound") : 1;
    }
    if (strcmp(option, "-plant") == 0) {
        return read_plant(graph, value, why);
    }
    if (strcmp(option, "-worker") == 0) {
        return read_count(option, value, 0, 1 << 16, &app->workers, why);
    }
    if (strcmp(option, "-passes") == 0) {
        return read_count(option, value, 1, TB_PASSES_MAX, &app->passes, why);
    }
    return 0;
}

static int begin_graph(struct tb_app *app, char *why)
{
    if (app->graph_count == TB_GRAPHS_MAX) {
        snprintf(why, TB_WHY_BYTES, "-and: at most %d graphs", TB_GRAPHS_MAX);
        return -1;
    }
    struct tb_graph *graph = &app->graphs[app->graph_count];
    *graph = graph[-1];
    graph->index = app->graph_count++;
    return 0;
}

/* What options mean only together. */
static int check_graph(const struct tb_graph *graph, char *why)
{
    if (graph->output_bytes % TB_PAIR_BYTES) {
        snprintf(why, TB_WHY_BYTES, "-output %llu: expected a multiple of %d",
                 (unsigned long long)graph->output_bytes, TB_PAIR_BYTES);
        return -1;
    }
    if (graph->kernel == TB_MEMORY_BOUND && graph->scratch_bytes < 2 * (uint64_t)graph->samples) {
        snprintf(why, TB_WHY_BYTES,
                 "-kernel memory_bound: expected -scratch of 2 * samples or "
                 "more, such as 1048576");
        return -1;
    }
    return 0;
}

static const struct tb_graph defaults = {.steps = 4,
                                         .width = 4,
                                         .radix = 3,
                                         .period = 3,
                                         .samples = 16,
                                         .output_bytes = TB_PAIR_BYTES,
                                         .fraction = 0.25,
                                         .plant_step = -1,
                                         .plant_point = -1};

static int read_option(struct tb_app *app, const char *option, const char *value, char *why)
{
    struct tb_graph *graph = &app->graphs[app->graph_count - 1];
    int found = value ? read_number(graph, option, value, why) : 0;
    if (value && found == 0) {
        found = read_real(graph, option, value, why);
    }
    if (value && found == 0) {
        found = read_other(app, graph, option, value, why);
    }
    if (found == 0) {
        snprintf(why, TB_WHY_BYTES, "%.60s: no such option, or its value is missing", option);
    }
    return found == 1 ? 0 : -1;
}

int tb_app_read(struct tb_app *ret_app, int argc, char **argv, char why[TB_WHY_BYTES])
{
    struct tb_app app = {.graph_count = 1, .passes = 1, .graphs = {defaults}};
    for (int i = 1; i < argc; i++) {
        bool is_and = strcmp(argv[i], "-and") == 0;
        int code = is_and ? begin_graph(&app, why)
                          : read_option(&app, argv[i], i + 1 < argc ? argv[i + 1] : NULL, why);
        if (code != 0) {
            return -1;
        }
        i += !is_and;
    }
    for (uint32_t i = 0; i < app.graph_count; i++) {
        if (check_graph(&app.graphs[i], why) != 0) {
            return -1;
        }
    }
    *ret_app = app;
    return 0;
}

int tb_open(struct tb_app *ret_app, int argc, char **argv)
{
    char why[TB_WHY_BYTES];
    if (tb_app_read(ret_app, argc, argv, why) == 0) {
        return 0;
    }
    fprintf(stderr, "%s\n%s", why, usage);
    return 1;
}

/* ---- Sums ----------------------------------------------------------------------------------- */

struct totals {
    uint64_t tasks, inputs, flops, bytes;
};

static void add_row(const struct tb_graph *graph, uint32_t step, struct totals *totals)
{
    struct tb_intervals inputs;
    uint32_t first = tb_row_offset(graph, step), width = tb_row_width(graph, step);
    totals->tasks += width;
    for (uint32_t point = first; point < first + width; point++) {
        tb_inputs(graph, step, point, &inputs);
        totals->inputs += tb_count(&inputs);
        totals->flops += tb_flops(graph, step, point);
        totals->bytes += tb_bytes(graph, step, point);
    }
}

static struct totals sum(const struct tb_app *app)
{
    struct totals totals = {0};
    for (uint32_t i = 0; i < app->graph_count; i++) {
        for (uint32_t step = 0; step < app->graphs[i].steps; step++) {
            add_row(&app->graphs[i], step, &totals);
        }
    }
    return totals;
}

uint64_t tb_total_tasks(const struct tb_app *app)
{
    uint64_t tasks = 0;
    for (uint32_t i = 0; i < app->graph_count; i++) {
        for (uint32_t step = 0; step < app->graphs[i].steps; step++) {
            tasks += tb_row_width(&app->graphs[i], step);
        }
    }
    return tasks;
}

uint32_t tb_most_steps(const struct tb_app *app)
{
    uint32_t steps = 0;
    for (uint32_t i = 0; i < app->graph_count; i++) {
        steps = app->graphs[i].steps > steps ? app->graphs[i].steps : steps;
    }
    return steps;
}

void tb_each_point(const struct tb_app *app,
                   void (*visit)(uint32_t graph, uint32_t step, uint32_t point))
{
    for (uint32_t step = 0; step < tb_most_steps(app); step++) {
        for (uint32_t i = 0; i < app->graph_count; i++) {
            uint32_t first = tb_row_offset(&app->graphs[i], step);
            uint32_t width = tb_row_width(&app->graphs[i], step);
            for (uint32_t at = 0; at < width; at++) {
                visit(i, step, first + at);
            }
        }
    }
}

double tb_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- Printing ------------------------------------------------------------------------------- */

static void display_graph(const struct tb_graph *graph)
{
    printf("    Task Graph %u:\n", graph->index + 1);
    printf("      Time Steps: %u\n", graph->steps);
    printf("      Max Width: %u\n", graph->width);
    printf("      Dependence Type: %s\n", tb_pattern_name(graph->pattern));
    printf("      Radix: %u\n", graph->radix);
    printf("      Period: %u\n", graph->period);
    printf("      Fraction: %f\n", graph->fraction);
    printf("      Kernel:\n");
    printf("        Type: %s\n", tb_kernel_name(graph->kernel));
    printf("        Iterations: %llu\n", (unsigned long long)graph->iterations);
    printf("        Samples: %u\n", graph->samples);
    printf("        Imbalance: %f\n", graph->imbalance);
    printf("      Output Bytes: %llu\n", (unsigned long long)graph->output_bytes);
    printf("      Scratch Bytes: %llu\n", (unsigned long long)graph->scratch_bytes);
}

void tb_display(const struct tb_app *app)
{
    printf("Running Task Benchmark\n  Configuration:\n");
    for (uint32_t i = 0; i < app->graph_count; i++) {
        display_graph(&app->graphs[i]);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void tb_report(const struct tb_app *app, const double *seconds, uint32_t count)
{
    struct totals totals = sum(app);
    double sorted[TB_PASSES_MAX];
    memcpy(sorted, seconds, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    double median = sorted[count / 2];
    printf("Total Tasks %llu\n", (unsigned long long)totals.tasks);
    printf("Total Dependencies %llu\n", (unsigned long long)totals.inputs);
    printf("  Unable to estimate local/nonlocal dependencies\n");
    printf("Total FLOPs %llu\n", (unsigned long long)totals.flops);
    printf("Total Bytes %llu\n", (unsigned long long)totals.bytes);
    printf("Elapsed Time %e seconds\n", median);
    printf("FLOP/s %e\n", (double)totals.flops / median);
    printf("B/s %e\n", (double)totals.bytes / median);
    printf("Least Time %e seconds\n", sorted[0]);
    printf("Transfer (estimated):\n  Unable to estimate local/nonlocal transfer\n");
    fflush(stdout);
}

int tb_measure(const struct tb_app *app, bool reports, int (*pass)(void *arg, double *ret_seconds),
               void *arg)
{
    double seconds[TB_PASSES_MAX];
    int code = pass(arg, &seconds[0]);
    for (uint32_t i = 0; i < app->passes && code == 0; i++) {
        code = pass(arg, &seconds[i]);
    }
    if (reports && code == 0) {
        tb_report(app, seconds, app->passes);
    }
    return code;
}
