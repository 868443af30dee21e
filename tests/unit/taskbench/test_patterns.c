/*
 * Shapes of graphs: that consumers are the inverse of inputs for every pattern, size and set,
 * that inputs lie in the row before, in order; the patterns' own rules; and that a plan has what
 * the formulas say.
 */
#include "core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 9, WIDEST = 17 };

static struct tb_graph make(enum tb_pattern pattern, uint32_t width, uint32_t radix,
                            uint32_t period)
{
    return (struct tb_graph){.pattern = pattern,
                             .steps = STEPS,
                             .width = width,
                             .radix = radix,
                             .period = period,
                             .fraction = 0.5,
                             .output_bytes = 16};
}

static bool has(const struct tb_intervals *intervals, uint32_t point)
{
    for (uint32_t i = 0; i < intervals->count; i++) {
        if (intervals->at[i].first <= point && point <= intervals->at[i].last) {
            return true;
        }
    }
    return false;
}

static void check_order(const struct tb_graph *graph, int64_t step,
                        const struct tb_intervals *intervals)
{
    for (uint32_t i = 0; i < intervals->count; i++) {
        const struct tb_interval *at = &intervals->at[i];
        assert_true(at->first <= at->last);
        assert_true(i == 0 || at[-1].last + 1 < at->first);
        assert_true(at->first >= tb_row_offset(graph, step));
        assert_true(at->last < tb_row_offset(graph, step) + tb_row_width(graph, step));
    }
}

static void check_row(const struct tb_graph *graph, uint32_t step)
{
    struct tb_intervals inputs, consumers;
    uint32_t from = tb_row_offset(graph, (int64_t)step - 1), to = tb_row_offset(graph, step);
    for (uint32_t q = to; q < to + tb_row_width(graph, step); q++) {
        tb_inputs(graph, step, q, &inputs);
        check_order(graph, (int64_t)step - 1, &inputs);
        for (uint32_t p = from; p < from + tb_row_width(graph, (int64_t)step - 1); p++) {
            tb_consumers(graph, step - 1, p, &consumers);
            check_order(graph, step, &consumers);
            if (has(&inputs, p) != has(&consumers, q)) {
                fail_msg("%s, width %u, radix %u, step %u: is %u an input of %u?",
                         tb_pattern_name(graph->pattern), graph->width, graph->radix, step, p, q);
            }
        }
    }
}

static void for_all(void (*each)(const struct tb_graph *graph))
{
    static const uint32_t widths[] = {1, 2, 3, 4, 5, 8, 13, WIDEST}, radices[] = {0, 1, 2, 3, 5, 8};
    for (enum tb_pattern pattern = 0; pattern < TB_PATTERN_COUNT; pattern++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (size_t r = 0; r < sizeof radices / sizeof *radices; r++) {
                struct tb_graph graph = make(pattern, widths[w], radices[r], 3);
                each(&graph);
            }
        }
    }
}

static void check_inverse(const struct tb_graph *graph)
{
    for (uint32_t step = 0; step < graph->steps; step++) {
        check_row(graph, step);
    }
}

static void consumers_are_the_inverse_of_inputs(void **state)
{
    for_all(check_inverse);
}

static void check_plan(const struct tb_graph *graph)
{
    struct tb_plan plan;
    struct tb_intervals intervals;
    uint32_t points[WIDEST];
    assert_int_equal(tb_plan_make(graph, &plan), 0);
    assert_int_equal(plan.steps, graph->steps);
    for (uint32_t step = 0; step < graph->steps; step++) {
        const struct tb_row *row = plan.rows[step];
        assert_int_equal(row->offset, tb_row_offset(graph, step));
        assert_int_equal(row->width, tb_row_width(graph, step));
        for (uint32_t i = 0; i < row->width; i++) {
            tb_inputs(graph, step, row->offset + i, &intervals);
            tb_list(&intervals, points);
            assert_int_equal(row->input_at[i + 1] - row->input_at[i], tb_count(&intervals));
            assert_memory_equal(row->inputs + row->input_at[i], points,
                                tb_count(&intervals) * sizeof *points);
            tb_consumers(graph, step, row->offset + i, &intervals);
            tb_list(&intervals, points);
            assert_int_equal(row->consumer_at[i + 1] - row->consumer_at[i], tb_count(&intervals));
            assert_memory_equal(row->consumers + row->consumer_at[i], points,
                                tb_count(&intervals) * sizeof *points);
        }
    }
    tb_plan_free(&plan);
}

static void plans_are_what_the_formulas_say(void **state)
{
    for_all(check_plan);
}

/* The inputs of (step, point) as text, "0 2-4". */
static const char *inputs_of(struct tb_graph graph, uint32_t step, uint32_t point)
{
    static char text[256];
    struct tb_intervals inputs;
    text[0] = 0;
    tb_inputs(&graph, step, point, &inputs);
    for (uint32_t i = 0; i < inputs.count; i++) {
        char one[32];
        bool is_one = inputs.at[i].first == inputs.at[i].last;
        snprintf(one, sizeof one, is_one ? "%s%u" : "%s%u-%u", i ? " " : "", inputs.at[i].first,
                 inputs.at[i].last);
        strcat(text, one);
    }
    return text;
}

static void each_pattern_has_the_inputs_of_its_name(void **state)
{
    assert_string_equal(inputs_of(make(TB_TRIVIAL, 8, 3, 3), 1, 3), "");
    assert_string_equal(inputs_of(make(TB_NO_COMM, 8, 3, 3), 1, 3), "3");
    assert_string_equal(inputs_of(make(TB_NO_COMM, 8, 3, 3), 0, 3), "");
    assert_string_equal(inputs_of(make(TB_STENCIL_1D, 8, 3, 3), 1, 3), "2-4");
    assert_string_equal(inputs_of(make(TB_STENCIL_1D, 8, 3, 3), 1, 0), "0-1");
    assert_string_equal(inputs_of(make(TB_STENCIL_1D_PERIODIC, 8, 3, 3), 1, 0), "0-1 7");
    assert_string_equal(inputs_of(make(TB_DOM, 4, 3, 3), 4, 3), "2-3");
    assert_string_equal(inputs_of(make(TB_TREE, 8, 3, 3), 3, 5), "2");
    assert_string_equal(inputs_of(make(TB_FFT, 8, 3, 3), 1, 3), "2-4");
    assert_string_equal(inputs_of(make(TB_FFT, 8, 3, 3), 2, 3), "1 3 5");
    assert_string_equal(inputs_of(make(TB_FFT, 8, 3, 3), 3, 3), "3 7");
    assert_string_equal(inputs_of(make(TB_ALL_TO_ALL, 8, 3, 3), 1, 3), "0-7");
    assert_string_equal(inputs_of(make(TB_NEAREST, 8, 5, 3), 1, 3), "1-5");
    assert_string_equal(inputs_of(make(TB_NEAREST, 8, 0, 3), 1, 3), "");
    assert_string_equal(inputs_of(make(TB_SPREAD, 9, 3, 3), 1, 0), "0 3 6");
    assert_string_equal(inputs_of(make(TB_SPREAD, 9, 3, 3), 2, 0), "0 4 7");
}

static void rows_of_tree_and_dom_grow(void **state)
{
    struct tb_graph tree = make(TB_TREE, 6, 3, 3), dom = make(TB_DOM, 4, 3, 3);
    assert_int_equal(tb_row_width(&tree, 0), 1);
    assert_int_equal(tb_row_width(&tree, 2), 4);
    assert_int_equal(tb_row_width(&tree, 3), 6);
    assert_int_equal(tb_row_width(&tree, -1), 0);
    assert_int_equal(tb_row_width(&tree, STEPS), 0);
    assert_int_equal(tb_row_width(&dom, 0), 1);
    assert_int_equal(tb_row_width(&dom, 3), 4);
    assert_int_equal(tb_row_offset(&dom, STEPS - 1), 3);
    assert_int_equal(tb_row_width(&dom, STEPS - 1), 1);
}

static void random_nearest_draws_the_given_part(void **state)
{
    struct tb_graph graph = make(TB_RANDOM_NEAREST, 64, 9, 5);
    uint32_t whole = 0, drawn = 0;
    struct tb_intervals inputs;
    for (uint32_t step = 1; step < STEPS; step++) {
        for (uint32_t point = 0; point < graph.width; point++) {
            tb_inputs(&graph, step, point, &inputs);
            drawn += tb_count(&inputs);
            graph.fraction = 1;
            tb_inputs(&graph, step, point, &inputs);
            whole += tb_count(&inputs);
            graph.fraction = 0.5;
        }
    }
    assert_in_range(drawn, whole * 45 / 100, whole * 55 / 100);
    graph.fraction = 0;
    tb_inputs(&graph, 1, 32, &inputs);
    assert_int_equal(tb_count(&inputs), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(consumers_are_the_inverse_of_inputs),
        cmocka_unit_test(plans_are_what_the_formulas_say),
        cmocka_unit_test(each_pattern_has_the_inputs_of_its_name),
        cmocka_unit_test(rows_of_tree_and_dom_grow),
        cmocka_unit_test(random_nearest_draws_the_given_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
