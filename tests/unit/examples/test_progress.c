/* The progress display, with a clock of the test's own. */
#include "progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S 1000000000ull

struct screen {
    char *text;
    size_t size;
    FILE *stream;
};

static void screen_open(struct screen *screen)
{
    screen->stream = open_memstream(&screen->text, &screen->size);
    assert_non_null(screen->stream);
}

static void screen_close(struct screen *screen)
{
    fclose(screen->stream);
    free(screen->text);
}

static void expect_format(uint64_t total, uint64_t done, uint64_t elapsed_ns, const char *expected)
{
    struct progress progress = {.unit = "steps", .total = total, .start_ns = 7 * S};
    char text[128];
    progress_format(&progress, done, 7 * S + elapsed_ns, text, sizeof text);
    assert_string_equal(text, expected);
}

static void rate_and_time_left_follow_from_the_mean(void **state)
{
    expect_format(1000, 250, 10 * S, " 25 %  25 steps/s  0:30 left");
    expect_format(4000000000, 1000000000, 100 * S, " 25 %  10 M steps/s  5:00 left");
    expect_format(100000, 1, S, "  0 %  1 steps/s  27:46:39 left");
    expect_format(1000, 1000, 90 * S, "100 %  11.1 steps/s  in 1:30");
}

static void nothing_done_yet_and_nothing_to_do_are_no_division_by_zero(void **state)
{
    expect_format(1000, 0, 0, "  0 %  0 steps/s  ? left");
    expect_format(1000, 0, S, "  0 %  0 steps/s  ? left");
    expect_format(0, 0, 0, "100 %  0 steps/s  in 0:00");
}

static void rates_never_show_a_thousand_of_a_prefix(void **state)
{
    expect_format(2000, 1000, S, " 50 %  1 k steps/s  0:01 left");
    expect_format(2000, 999, S, " 49 %  999 steps/s  0:01 left");
    expect_format(2000000, 999999, S, " 49 %  1 M steps/s  0:01 left");
}

static void a_log_gets_plain_lines_ten_seconds_apart(void **state)
{
    struct screen screen;
    struct progress progress;
    screen_open(&screen);
    progress_init(&progress, screen.stream, PROGRESS_LINES, "steps", 100, 0);
    assert_false(progress_due(&progress, 9 * S));
    assert_true(progress_due(&progress, 10 * S));
    progress_show(&progress, 50, 10 * S);
    assert_false(progress_due(&progress, 19 * S));
    progress_finish(&progress, 100, 20 * S);
    assert_string_equal(screen.text, " 50 %  5 steps/s  0:10 left\n100 %  5 steps/s  in 0:20\n");
    screen_close(&screen);
}

static void a_terminal_gets_one_line_drawn_again(void **state)
{
    struct screen screen;
    struct progress progress;
    screen_open(&screen);
    progress_init(&progress, screen.stream, PROGRESS_BAR, "steps", 100, 0);
    assert_false(progress_due(&progress, S / 20));
    assert_true(progress_due(&progress, S / 10));
    progress_show(&progress, 50, S);
    assert_string_equal(screen.text, "\r[###############...............]  50 %  50 steps/s  "
                                     "0:01 left\x1b[K");
    assert_null(strchr(screen.text, '\n'));
    progress_finish(&progress, 100, 2 * S);
    assert_int_equal(screen.text[screen.size - 1], '\n');
    screen_close(&screen);
}

static void no_display_writes_nothing_and_is_never_due(void **state)
{
    struct screen screen;
    struct progress progress;
    screen_open(&screen);
    progress_init(&progress, screen.stream, PROGRESS_NONE, "steps", 100, 0);
    assert_false(progress_due(&progress, 1000 * S));
    progress_finish(&progress, 100, S);
    fflush(screen.stream);
    assert_int_equal(screen.size, 0);
    screen_close(&screen);
}

static void what_is_no_terminal_gets_lines(void **state)
{
    FILE *file = tmpfile();
    struct progress progress;
    assert_non_null(file);
    progress_init(&progress, file, PROGRESS_AUTO, "steps", 100, 0);
    assert_int_equal(progress.style, PROGRESS_LINES);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_and_time_left_follow_from_the_mean),
        cmocka_unit_test(nothing_done_yet_and_nothing_to_do_are_no_division_by_zero),
        cmocka_unit_test(rates_never_show_a_thousand_of_a_prefix),
        cmocka_unit_test(a_log_gets_plain_lines_ten_seconds_apart),
        cmocka_unit_test(a_terminal_gets_one_line_drawn_again),
        cmocka_unit_test(no_display_writes_nothing_and_is_never_due),
        cmocka_unit_test(what_is_no_terminal_gets_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
