/* What MANTA_TASK must do in both languages: test_task.c and test_task_cxx.cc compile it. */
#ifndef TASK_CHECKS_H
#define TASK_CHECKS_H

#include "task_fake.h"
#include "task_shared.h"

static unsigned nothing_runs;

MANTA_TASK(nothing)
{
    nothing_runs++;
    return MANTA_OK;
}

enum { SQUARE_LINE = __LINE__ + 1 };
MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

/* Its parameters are called as the generated functions might call theirs. */
MANTA_TASK(own_names, val(int, options), val(int, count), val(int, ref), val(int, args),
           out(int, values))
{
    *values = options * 1000 + count * 100 + ref * 10 + args;
    return MANTA_OK;
}

static struct {
    int text_is_null;
    char text[16];
    double span[4];
    manta_ref ref, refs[2];
    size_t span_len, in_len, inout_len, refs_len;
} seen;

MANTA_TASK(every_kind, val(struct point, v), text(t), span(double, s), in(int32_t, i),
           inout(float, io), ref(r), refs(rs), out(bool, o), outv(int16_t, ov), outrefs(ors),
           val(uint8_t, small), text(other))
{
    seen.text_is_null = other == NULL;
    strcpy(seen.text, t);
    if (s_len) {
        memcpy(seen.span, s, s_len * sizeof *s);
    }
    seen.span_len = s_len;
    seen.in_len = i_len;
    seen.inout_len = io_len;
    io[0] += 1.0f;
    seen.ref = r;
    if (rs_len) {
        memcpy(seen.refs, rs, rs_len * sizeof *rs);
    }
    seen.refs_len = rs_len;
    *o = v.x == 1.5 && v.y == 2.5 && i[2] == 33 && small == 200;
    int16_t *numbers = (int16_t *)manta_outv_alloc(ov, 3);
    numbers[0] = 10;
    numbers[2] = 30;
    manta_ref *made = (manta_ref *)manta_outv_alloc(ors, 1);
    made[0] = r;
    return MANTA_OK;
}

MANTA_TASK(two, val(int, code), out(int, a), outv(int, b))
{
    *a = 1;
    int *numbers = (int *)manta_outv_alloc(b, 2);
    numbers[1] = 2;
    return code;
}

MANTA_TASK(letters, val(int, n), outv(char, text))
{
    memset(manta_outv_alloc(text, (size_t)n), 'x', (size_t)n);
    return MANTA_OK;
}

MANTA_TASK(doubled, inout(int, x))
{
    for (size_t i = 0; i < x_len; i++) {
        x[i] *= 2;
    }
    return MANTA_OK;
}

MANTA_TASK(squares, val(uint64_t, base), out(uint64_t, y))
{
    *y = base + manta_map_index() * manta_map_index();
    return MANTA_OK;
}

MANTA_TASK(count_down, val(int16_t, from), stream(int16_t, xs))
{
    for (; from > 0; from--) {
        MANTA_TRY(manta_yield(xs, &from, 1));
    }
    return MANTA_OK;
}

/* Defined and never called: the generated functions must not warn. */
MANTA_TASK(never_called, ref(a), out(int, b), out(int, c))
{
    *b = *c = (int)a.position;
    return MANTA_OK;
}

static int setup(void **state)
{
    fake_reset();
    memset(&seen, 0, sizeof seen);
    return 0;
}

static void a_task_without_parameters_runs(void **state)
{
    unsigned before = nothing_runs;
    assert_int_equal(nothing_get(nothing_async(NULL)), MANTA_OK);
    assert_int_equal(nothing_runs, before + 1);
    assert_int_equal(fake.function->param_count, 0);
    assert_int_equal(nothing_get(nothing_map(NULL, 3)), MANTA_OK);
    assert_int_equal(nothing_runs, before + 4);
}

static void a_value_goes_in_and_a_result_comes_out(void **state)
{
    int64_t y = 0;
    assert_int_equal(square_get(square_async(NULL, -12), &y), MANTA_OK);
    assert_int_equal(y, 144);
    assert_false(fake.had_options);
}

static void the_body_is_an_ordinary_function(void **state)
{
    int64_t y = 0;
    unsigned before = fake.submissions;
    assert_int_equal(square(5, &y), MANTA_OK);
    assert_int_equal(y, 25);
    assert_int_equal(fake.submissions, before);
}

static void the_descriptor_says_what_the_source_says(void **state)
{
    const manta_function *function = fake_find("square");
    assert_ptr_equal(function, &square_function);
    assert_int_equal(function->line, SQUARE_LINE);
    assert_non_null(strstr(function->file, "task_checks.h"));
    assert_int_equal(function->param_count, 2);
    assert_int_equal(function->params[0].kind, MANTA_KIND_VAL);
    assert_string_equal(function->params[0].type, "int64_t");
    assert_string_equal(function->params[0].name, "x");
    assert_int_equal(function->params[1].kind, MANTA_KIND_OUT);
    assert_int_equal(function->params[1].size, 8);
    assert_int_equal(function->params[1].align, 8);
}

static void a_stream_is_given_items_and_its_value_is_their_count(void **state)
{
    const int16_t expected[] = {3, 2, 1};
    uint64_t count = 0;
    assert_int_equal(count_down_get(count_down_async(NULL, 3), &count), MANTA_OK);
    assert_int_equal(count, 3);
    assert_int_equal(fake_source.bytes, sizeof expected);
    assert_memory_equal(fake_source.items, expected, sizeof expected);
    assert_int_equal(fake.function->params[1].kind, MANTA_KIND_STREAM);
    assert_int_equal(fake.function->params[1].size, sizeof(int16_t));
}

static void the_table_has_every_kind_with_its_element(void **state)
{
    static const uint32_t want[12][3] = {
        {MANTA_KIND_VAL, 16, 8},     {MANTA_KIND_TEXT, 1, 1},  {MANTA_KIND_SPAN, 8, 8},
        {MANTA_KIND_IN, 4, 4},       {MANTA_KIND_INOUT, 4, 4}, {MANTA_KIND_REF, 16, 8},
        {MANTA_KIND_REFS, 16, 8},    {MANTA_KIND_OUT, 1, 1},   {MANTA_KIND_OUTV, 2, 2},
        {MANTA_KIND_OUTREFS, 16, 8}, {MANTA_KIND_VAL, 1, 1},   {MANTA_KIND_TEXT, 1, 1}};
    assert_int_equal(every_kind_function.param_count, 12);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(every_kind_function.params[i].kind, want[i][0]);
        assert_int_equal(every_kind_function.params[i].size, want[i][1]);
        assert_int_equal(every_kind_function.params[i].align, want[i][2]);
    }
}

static void every_task_registers_itself_once(void **state)
{
    static const char *const names[] = {"nothing",      "square",     "own_names",     "every_kind",
                                        "two",          "letters",    "doubled",       "squares",
                                        "never_called", "shared_add", "shared_nothing"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_non_null(fake_find(names[i]));
    }
    assert_true(fake.registered >= sizeof names / sizeof names[0]);
    for (const manta_function *f = fake.first; f; f = f->next) {
        assert_ptr_equal(fake_find(f->name), f);
    }
}

static void parameters_may_have_the_names_of_ours(void **state)
{
    int values = 0;
    assert_int_equal(own_names_get(own_names_async(NULL, 1, 2, 3, 4), &values), MANTA_OK);
    assert_int_equal(values, 1234);
    assert_int_equal(own_names_map_get(own_names_map(NULL, 1, 5, 6, 7, 8), &values, 1), MANTA_OK);
    assert_int_equal(values, 5678);
}

static void twelve_parameters_of_all_kinds_arrive(void **state)
{
    const struct point v = {1.5, 2.5};
    const double s[2] = {0.25, 0.5};
    const int32_t in[3] = {11, 22, 33};
    const float inout[1] = {41.0f};
    manta_ref r = {1, 2, 3};
    const manta_ref rs[2] = {{4, 5, 6}, {7, 8, 9}};
    struct every_kind_refs refs =
        every_kind_async(NULL, v, "hello", s, 2, fake_put(in, sizeof in),
                         fake_put(inout, sizeof inout), r, rs, 2, 200, NULL);
    const float *io = NULL;
    bool o = false;
    const int16_t *ov = NULL;
    const manta_ref *ors = NULL;
    size_t io_len, ov_len, ors_len;
    assert_int_equal(every_kind_get(refs, &io, &io_len, &o, &ov, &ov_len, &ors, &ors_len),
                     MANTA_OK);
    assert_true(o);
    assert_string_equal(seen.text, "hello");
    assert_true(seen.text_is_null);
    assert_int_equal(seen.span_len, 2);
    assert_memory_equal(seen.span, s, sizeof s);
    assert_int_equal(seen.in_len, 3);
    assert_int_equal(seen.inout_len, 1);
    assert_memory_equal(&seen.ref, &r, sizeof r);
    assert_int_equal(seen.refs_len, 2);
    assert_memory_equal(seen.refs, rs, sizeof rs);
    assert_int_equal(io_len, 1);
    assert_true(io[0] == 42.0f);
    assert_int_equal(ov_len, 3);
    assert_int_equal(ov[0] + ov[1] + ov[2], 40);
    assert_int_equal(ors_len, 1);
    assert_memory_equal(&ors[0], &r, sizeof r);
    assert_int_equal(fake_views(), 3); /* the fixed output was copied */
}

static void texts_carry_their_length_and_null_stays_null(void **state)
{
    const struct point v = {0, 0};
    const int32_t in[3] = {0, 0, 0};
    const float inout[1] = {0};
    manta_ref r = {1, 2, 3};
    every_kind_async(NULL, v, "four", NULL, 0, fake_put(in, sizeof in),
                     fake_put(inout, sizeof inout), r, NULL, 0, 0, NULL);
    assert_int_equal(fake.slots[1].count, 4);
    assert_null(fake.slots[11].data);
    assert_int_equal(fake.slots[11].count, 0);
    assert_null(fake.slots[2].data);
}

static void several_outputs_are_read_together(void **state)
{
    int a = 0;
    const int *b = NULL;
    size_t b_len = 0;
    struct two_refs refs = two_async(NULL, MANTA_OK);
    assert_int_not_equal(refs.a.position, refs.b.position);
    assert_int_equal(two_get(refs, &a, &b, &b_len), MANTA_OK);
    assert_int_equal(a, 1);
    assert_int_equal(b_len, 2);
    assert_int_equal(b[1], 2);
}

static void a_failed_task_leaves_outputs_alone(void **state)
{
    int a = 77;
    const int *b = NULL;
    size_t b_len = 99;
    assert_int_equal(two_get(two_async(NULL, 5), &a, &b, &b_len), 5);
    assert_int_equal(a, 77);
    assert_null(b);
    assert_int_equal(b_len, 99);
}

static void when_a_later_output_fails_earlier_ones_are_given_back(void **state)
{
    int a = 77;
    const int *b = NULL;
    size_t b_len = 99;
    struct two_refs refs = two_async(NULL, MANTA_OK);
    fake_at(refs.b)->code = MANTA_E_LOST;
    assert_int_equal(two_get(refs, &a, &b, &b_len), MANTA_E_LOST);
    assert_int_equal(a, 77);
    assert_int_equal(b_len, 99);
    assert_int_equal(fake_views(), 0);
}

static void a_result_of_another_size_is_refused(void **state)
{
    int a = 77;
    const int *b = NULL;
    size_t b_len = 99;
    struct two_refs refs = two_async(NULL, MANTA_OK);
    fake_at(refs.b)->bytes = 7;
    assert_int_equal(two_get(refs, &a, &b, &b_len), MANTA_E_TYPE);
    fake_at(refs.b)->bytes = 8;
    fake_at(refs.a)->bytes = 8; /* as long as two elements, but a is one */
    assert_int_equal(two_get(refs, &a, &b, &b_len), MANTA_E_TYPE);
    assert_int_equal(a, 77);
    assert_int_equal(fake_views(), 0);
}

static void one_variable_output_is_viewed(void **state)
{
    const char *text = NULL;
    size_t text_len = 0;
    assert_int_equal(letters_get(letters_async(NULL, 3), &text, &text_len), MANTA_OK);
    assert_int_equal(text_len, 3);
    assert_memory_equal(text, "xxx", 3);
    assert_int_equal(fake_views(), 1);
}

static void an_inout_is_an_output(void **state)
{
    const int start[2] = {1, 2};
    const int *x = NULL;
    size_t x_len = 0;
    manta_ref once = doubled_async(NULL, fake_put(start, sizeof start));
    assert_int_equal(doubled_get(doubled_async(NULL, once), &x, &x_len), MANTA_OK);
    assert_int_equal(x_len, 2);
    assert_int_equal(x[0], 4);
    assert_int_equal(x[1], 8);
}

static void a_map_runs_every_index_and_reads_all(void **state)
{
    uint64_t y[4] = {0, 0, 0, 0};
    assert_int_equal(squares_map_get(squares_map(NULL, 4, 100), y, 4), MANTA_OK);
    assert_int_equal(y[0], 100);
    assert_int_equal(y[3], 109);
}

static void a_declared_task_is_called_from_here(void **state)
{
    const struct point a = {1, 2}, b = {10, 20};
    struct point sum = {0, 0};
    assert_int_equal(shared_add_get(shared_add_async(NULL, a, b), &sum), MANTA_OK);
    assert_true(sum.x == 11 && sum.y == 22);
    assert_ptr_equal(fake.function, &shared_add_function);
    assert_int_equal(shared_nothing_get(shared_nothing_async(NULL)), MANTA_OK);
}

static void options_arrive_and_the_rest_is_default(void **state)
{
    square_async(MANTA_OPTIONS(.priority = 3, .name = "seven", .rank = MANTA_ON(2)), 7);
    assert_true(fake.had_options);
    assert_int_equal(fake.options.priority, 3);
    assert_string_equal(fake.options.name, "seven");
    assert_int_equal(fake.options.rank, 3);
    assert_int_equal(fake.options.retries, 0);
    assert_int_equal(fake.options.timeout_ns, 0);
    assert_int_equal(fake.options.reserved[0], 0);
    square_async(MANTA_OPTIONS(), 7);
    assert_true(fake.had_options);
    assert_null(fake.options.name);
    assert_int_equal(fake.options.priority, 0);
}

static int tries(int code, int *reached)
{
    MANTA_TRY(code);
    *reached = 1;
    return MANTA_OK;
}

static void try_returns_the_code_or_goes_on(void **state)
{
    int reached = 0;
    assert_int_equal(tries(MANTA_E_TIMEOUT, &reached), MANTA_E_TIMEOUT);
    assert_int_equal(reached, 0);
    assert_int_equal(tries(9, &reached), 9);
    assert_int_equal(tries(MANTA_OK, &reached), MANTA_OK);
    assert_int_equal(reached, 1);
}

#define TASK_CHECKS(X)                                                                             \
    X(a_task_without_parameters_runs)                                                              \
    X(a_value_goes_in_and_a_result_comes_out)                                                      \
    X(the_body_is_an_ordinary_function)                                                            \
    X(the_descriptor_says_what_the_source_says)                                                    \
    X(a_stream_is_given_items_and_its_value_is_their_count)                                        \
    X(the_table_has_every_kind_with_its_element)                                                   \
    X(every_task_registers_itself_once)                                                            \
    X(parameters_may_have_the_names_of_ours)                                                       \
    X(twelve_parameters_of_all_kinds_arrive)                                                       \
    X(texts_carry_their_length_and_null_stays_null)                                                \
    X(several_outputs_are_read_together)                                                           \
    X(a_failed_task_leaves_outputs_alone)                                                          \
    X(when_a_later_output_fails_earlier_ones_are_given_back)                                       \
    X(a_result_of_another_size_is_refused)                                                         \
    X(one_variable_output_is_viewed)                                                               \
    X(an_inout_is_an_output)                                                                       \
    X(a_map_runs_every_index_and_reads_all)                                                        \
    X(a_declared_task_is_called_from_here)                                                         \
    X(options_arrive_and_the_rest_is_default)                                                      \
    X(try_returns_the_code_or_goes_on)
#define TASK_CHECK(name) cmocka_unit_test_setup(name, setup),

#endif
