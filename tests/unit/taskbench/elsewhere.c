/* A whole driver of the task-graph benchmark, in the C that C++ has too: points one after the
 * other, the outputs of two rows kept. */
#include "core.h"

#include <stdio.h>

enum { WIDTH_MAX = 64, BYTES_MAX = 64 };

static struct tb_app app;
static unsigned char outputs[2][WIDTH_MAX][BYTES_MAX];
static int failures;

static void run_point(uint32_t index, uint32_t step, uint32_t point)
{
    const struct tb_graph *graph = &app.graphs[index];
    struct tb_intervals intervals;
    uint32_t points[WIDTH_MAX];
    const void *inputs[WIDTH_MAX];
    char why[TB_WHY_BYTES];
    tb_inputs(graph, step, point, &intervals);
    tb_list(&intervals, points);
    uint32_t count = tb_count(&intervals);
    for (uint32_t i = 0; i < count; i++) {
        inputs[i] = outputs[(step + 1) % 2][points[i]];
    }
    if (tb_execute(graph, step, point, outputs[step % 2][point], inputs, count, why) != 0) {
        fprintf(stderr, "%s\n", why);
        failures++;
    }
}

static int run_all(void *arg, double *ret_seconds)
{
    double start = tb_now();
    tb_each_point((const struct tb_app *)arg, run_point);
    *ret_seconds = tb_now() - start;
    return failures;
}

int main(int argc, char **argv)
{
    if (tb_open(&app, argc, argv) != 0) {
        return 2;
    }
    if (app.graph_count != 1 || app.graphs[0].width > WIDTH_MAX ||
        app.graphs[0].output_bytes > BYTES_MAX) {
        return 2;
    }
    tb_display(&app);
    return tb_measure(&app, true, run_all, &app) != 0;
}
