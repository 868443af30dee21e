/*
 * One point: that its kernel does what its iterations say, that no wrong, spoiled or missing input
 * goes unseen, and what the options may be.
 */
#include "core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { BYTES = 64 };

static struct tb_app app;
static char why[TB_WHY_BYTES];

static struct tb_graph *read_graph(const char *options)
{
    static char text[512];
    char *argv[64] = {text}, *rest;
    int argc = 1;
    snprintf(text, sizeof text, "%s", options);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    return tb_app_read(&app, argc, argv, why) == 0 ? &app.graphs[0] : NULL;
}

/* ---- Payloads ------------------------------------------------------------------------------- */

static uint8_t outputs[3][BYTES];
static const void *inputs[] = {outputs[0], outputs[1], outputs[2]};

/* The inputs of point 1 of step 5 of a stencil of 3. */
static struct tb_graph *make_inputs(void)
{
    struct tb_graph *graph = read_graph("-steps 9 -width 3 -type stencil_1d -output 64");
    for (uint32_t point = 0; point < 3; point++) {
        tb_write_output(graph, 4, point, outputs[point]);
    }
    return graph;
}

static int execute(const struct tb_graph *graph, uint32_t count)
{
    uint8_t output[BYTES];
    why[0] = 0;
    return tb_execute(graph, 5, 1, output, inputs, count, why);
}

static void right_inputs_pass(void **state)
{
    assert_int_equal(execute(make_inputs(), 3), 0);
}

static void any_wrong_byte_is_seen(void **state)
{
    struct tb_graph *graph = make_inputs();
    for (uint32_t point = 0; point < 3; point++) {
        for (uint32_t at = 0; at < BYTES; at++) {
            outputs[point][at] ^= 0x10;
            assert_int_equal(execute(graph, 3), -1);
            outputs[point][at] ^= 0x10;
        }
    }
    assert_int_equal(execute(graph, 3), 0);
}

static void an_input_of_another_step_point_or_graph_is_seen_and_named(void **state)
{
    struct tb_graph *graph = make_inputs();
    tb_write_output(graph, 3, 2, outputs[2]);
    assert_int_equal(execute(graph, 3), -1);
    assert_non_null(strstr(why, "step 5, point 1: expected the output of step 4, point 2, found "
                                "step 3, point 2"));
    tb_write_output(graph, 4, 1, outputs[2]);
    assert_int_equal(execute(graph, 3), -1);
    struct tb_graph other = *graph;
    other.index = 1;
    tb_write_output(&other, 4, 2, outputs[2]);
    assert_int_equal(execute(graph, 3), -1);
    assert_non_null(strstr(why, "graph 1"));
}

static void a_missing_input_is_seen(void **state)
{
    assert_int_equal(execute(make_inputs(), 2), -1);
    assert_non_null(strstr(why, "expected 3 inputs, got 2"));
}

static void a_planted_fault_spoils_one_output(void **state)
{
    struct tb_graph *graph = make_inputs();
    graph->plant_step = 4;
    graph->plant_point = 2;
    tb_write_output(graph, 4, 1, outputs[1]);
    assert_int_equal(execute(graph, 3), 0);
    tb_write_output(graph, 4, 2, outputs[2]);
    assert_int_equal(execute(graph, 3), -1);
}

/* ---- Kernels -------------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Processor time of the kernel with so many iterations. */
static double cost(const char *options, uint64_t iterations)
{
    struct tb_graph *graph = read_graph(options);
    graph->iterations = iterations;
    assert_int_equal(tb_kernel_run(graph, 0, 0), 0);
    double start = cpu_seconds();
    assert_int_equal(tb_kernel_run(graph, 0, 0), 0);
    return cpu_seconds() - start;
}

/* A loop that was optimised away costs the same for any number of iterations: a factor of two
 * hundred has to show as one of ten at least. */
static void kernels_work_as_long_as_they_are_told(void **state)
{
    static const char *const kernels[] = {"-kernel busy_wait", "-kernel compute_bound",
                                          "-kernel load_imbalance -imbalance 0.5",
                                          "-kernel memory_bound -scratch 65536"};
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        assert_true(cost(kernels[i], 200000) > 10 * cost(kernels[i], 1000));
    }
}

static void flops_and_bytes_are_counted(void **state)
{
    struct tb_graph *graph = read_graph("-kernel compute_bound -iter 10");
    assert_int_equal(tb_flops(graph, 0, 0), 2 * 64 * 10 + 64);
    assert_int_equal(tb_bytes(graph, 0, 0), 0);
    graph = read_graph("-kernel memory_bound -iter 10 -scratch 1600 -samples 16");
    assert_int_equal(tb_flops(graph, 0, 0), 0);
    assert_int_equal(tb_bytes(graph, 0, 0), 1000);
    graph = read_graph("-kernel empty -iter 10");
    assert_int_equal(tb_flops(graph, 0, 0), 0);
    assert_int_equal(tb_bytes(graph, 0, 0), 0);
}

static void imbalance_is_drawn_evenly_and_again_the_same(void **state)
{
    struct tb_graph *graph = read_graph("-kernel load_imbalance -imbalance 2 -iter 1000");
    uint64_t sum = 0, least = 2000, most = 0;
    for (uint32_t i = 0; i < 4096; i++) {
        uint64_t drawn = tb_iterations(graph, i, 1);
        assert_int_equal(drawn, tb_iterations(graph, i, 1));
        sum += drawn;
        least = drawn < least ? drawn : least;
        most = drawn > most ? drawn : most;
    }
    assert_in_range(sum / 4096, 950, 1050);
    assert_true(least < 50 && most > 1950 && most <= 2000);
}

/* ---- Options -------------------------------------------------------------------------------- */

static void options_make_graphs_and_and_begins_another(void **state)
{
    struct tb_graph *graph = read_graph(
        "-steps 7 -width 3 -type nearest -radix 2 -period 5 -kernel busy_wait -iter 9 -output 32 "
        "-and -type fft -and -steps 2 -worker 3");
    assert_non_null(graph);
    assert_int_equal(app.graph_count, 3);
    assert_int_equal(app.workers, 3);
    assert_true(graph[0].pattern == TB_NEAREST && graph[1].pattern == TB_FFT);
    assert_true(graph[2].pattern == TB_FFT && graph[2].steps == 2 && graph[2].index == 2);
    assert_true(graph[1].radix == 2 && graph[1].period == 5 && graph[1].iterations == 9);
    assert_int_equal(tb_total_tasks(&app), 7 * 3 + 7 * 3 + 2 * 3);
}

static void wrong_options_are_named(void **state)
{
    static const char *const wrong[][2] = {
        {"-steps 0", "1 ... "},
        {"-width x", "-width x"},
        {"-width", "-width"},
        {"-type ring", "-type ring"},
        {"-kernel io", "-kernel io"},
        {"-output 20", "multiple of 16"},
        {"-radix 65", "0 ... 64"},
        {"-fraction 1.5", "0 ... 1"},
        {"-imbalance -1", "0 ... 2"},
        {"-plant 3", "STEP,POINT"},
        {"-worker -1", "-worker"},
        {"-speed 3", "-speed"},
        {"-kernel memory_bound", "-scratch"},
        {"-and -and -and -and -and -and -and -and -and -and -and -and -and -and -and -and",
         "at most 16"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        why[0] = 0;
        assert_null(read_graph(wrong[i][0]));
        if (!strstr(why, wrong[i][1])) {
            fail_msg("%s: %s does not say %s", wrong[i][0], why, wrong[i][1]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_inputs_pass),
        cmocka_unit_test(any_wrong_byte_is_seen),
        cmocka_unit_test(an_input_of_another_step_point_or_graph_is_seen_and_named),
        cmocka_unit_test(a_missing_input_is_seen),
        cmocka_unit_test(a_planted_fault_spoils_one_output),
        cmocka_unit_test(kernels_work_as_long_as_they_are_told),
        cmocka_unit_test(flops_and_bytes_are_counted),
        cmocka_unit_test(imbalance_is_drawn_evenly_and_again_the_same),
        cmocka_unit_test(options_make_graphs_and_and_begins_another),
        cmocka_unit_test(wrong_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
