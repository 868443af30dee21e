/* Names, texts and the one-line form of error records, against golden lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manta/error.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const manta_error full = {
    .code = MANTA_E_TIMEOUT,
    .rank = 3,
    .attempt = 2,
    .task_id = 77,
    .line = 12,
    .host = "n07",
    .task = "sweep",
    .file = "run.c",
    .text = "asked for 5 s, ran for 6 s",
};

static void assert_line(const manta_error *error, const char *expected)
{
    char line[2048];
    int length = manta_error_format(error, line, sizeof line);
    assert_string_equal(line, expected);
    assert_int_equal(length, strlen(expected));
}

static void every_code_has_its_own_name_and_text(void **state)
{
#define MANTA_X(name, value, text)                                                                 \
    assert_string_equal(manta_error_name(MANTA_##name), #name);                                    \
    assert_string_equal(manta_error_text(value), text);
    MANTA_ERROR_MAP(MANTA_X)
#undef MANTA_X
}

static void codes_outside_the_map_have_a_name_too(void **state)
{
    assert_string_equal(manta_error_name(0), "OK");
    assert_string_equal(manta_error_name(7), "user code");
    assert_string_equal(manta_error_name(INT_MAX), "user code");
    assert_string_equal(manta_error_name(-19), "unknown code");
    assert_string_equal(manta_error_name(INT_MIN), "unknown code");
    assert_non_null(manta_error_text(0));
    assert_non_null(manta_error_text(7));
    assert_non_null(manta_error_text(INT_MIN));
}

static void a_full_record_is_one_golden_line(void **state)
{
    assert_line(&full,
                "timed out (E_TIMEOUT) in task sweep at run.c:12 on rank 3 of n07, attempt 2: "
                "asked for 5 s, ran for 6 s");
}

static void what_is_unknown_is_left_out(void **state)
{
    manta_error error = {.code = MANTA_E_RANK, .rank = 5};
    assert_line(&error, "a rank died (E_RANK) on rank 5");
    error = (manta_error){.code = MANTA_E_INVALID, .task_id = 0xabc, .file = "a.c"};
    assert_line(&error, "invalid argument (E_INVALID) in task #abc at a.c on rank 0");
    error = (manta_error){0};
    assert_line(&error, "no error (OK)");
}

static void a_user_code_shows_its_number(void **state)
{
    manta_error error = {.code = 42, .task = "solve", .host = "h", .attempt = 1};
    assert_line(&error,
                "the task returned an error code (user code 42) in task solve on rank 0 of h, "
                "attempt 1");
}

static void a_cause_is_named(void **state)
{
    manta_error error = {.code = MANTA_E_DEPENDENCY,
                         .task = "sum",
                         .cause_code = MANTA_E_NOMEM,
                         .cause_task = "load",
                         .cause_task_id = 9};
    assert_line(&error,
                "an argument's task failed (E_DEPENDENCY) in task sum on rank 0; it began with out "
                "of memory (E_NOMEM) in task load");
}

static void control_characters_cannot_break_the_line(void **state)
{
    manta_error error = {.code = MANTA_E_TASK, .text = "a\nb\tc\x1b[31m\x7f"};
    assert_line(&error, "the task failed (E_TASK) on rank 0: a b c [31m ");
}

static void unterminated_strings_end_at_their_size(void **state)
{
    manta_error error = {.code = MANTA_E_TASK};
    char expected[512];
    memset(error.text, 'x', sizeof error.text);
    error.cause_task[0] = '\0';
    int used = snprintf(expected, sizeof expected, "the task failed (E_TASK) on rank 0: ");
    memset(expected + used, 'x', sizeof error.text);
    expected[(size_t)used + sizeof error.text] = '\0';
    assert_line(&error, expected);
}

static void a_short_buffer_is_cut_and_terminated_at_every_size(void **state)
{
    char whole[512];
    int needed = manta_error_format(&full, whole, sizeof whole);
    for (unsigned long size = 0; size <= (unsigned long)needed + 2; size++) {
        char line[512];
        memset(line, '#', sizeof line);
        assert_int_equal(manta_error_format(&full, line, size), needed);
        for (unsigned long i = size; i < sizeof line; i++) {
            assert_int_equal(line[i], '#');
        }
        if (size) {
            unsigned long kept =
                size - 1 < (unsigned long)needed ? size - 1 : (unsigned long)needed;
            assert_memory_equal(line, whole, kept);
            assert_int_equal(line[kept], '\0');
        }
    }
    assert_int_equal(manta_error_format(&full, NULL, 0), needed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name_and_text),
        cmocka_unit_test(codes_outside_the_map_have_a_name_too),
        cmocka_unit_test(a_full_record_is_one_golden_line),
        cmocka_unit_test(what_is_unknown_is_left_out),
        cmocka_unit_test(a_user_code_shows_its_number),
        cmocka_unit_test(a_cause_is_named),
        cmocka_unit_test(control_characters_cannot_break_the_line),
        cmocka_unit_test(unterminated_strings_end_at_their_size),
        cmocka_unit_test(a_short_buffer_is_cut_and_terminated_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
