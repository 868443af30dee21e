/* Log lines: filtered by level, cut when too long, one write per line on standard error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct seen {
    int count, level;
    char line[4096];
};

static void remember(void *arg, int level, const char *line)
{
    struct seen *seen = arg;
    seen->count++;
    seen->level = level;
    strcpy(seen->line, line);
}

static void lines_above_the_level_are_dropped(void **state)
{
    struct seen seen = {0};
    struct base_log log = {remember, &seen, BASE_LOG_WARN};
    base_log(&log, BASE_LOG_INFO, "not this");
    assert_int_equal(seen.count, 0);
    base_log(&log, BASE_LOG_WARN, "rank %d is %s", 3, "late");
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.level, BASE_LOG_WARN);
    assert_string_equal(seen.line, "rank 3 is late");
    log.level = 0;
    base_log(&log, BASE_LOG_ERROR, "nor this");
    assert_int_equal(seen.count, 1);
}

static void without_a_sink_nothing_happens(void **state)
{
    struct base_log log = {NULL, NULL, BASE_LOG_DEBUG};
    base_log(&log, BASE_LOG_ERROR, "%s", "silent");
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    static char text[3000];
    struct seen seen = {0};
    struct base_log log = {remember, &seen, BASE_LOG_DEBUG};
    memset(text, 'x', sizeof text - 1);
    base_log(&log, BASE_LOG_INFO, "%s", text);
    assert_int_equal(strlen(seen.line), 1023);
    assert_string_equal(seen.line + 1020, "...");
}

/* The reader takes all there is after each call: a line in two writes would show as such a short
 * read. */
static void standard_error_gets_each_line_in_one_write(void **state)
{
    static char text[3000];
    char got[4096];
    int ends[2], saved = dup(STDERR_FILENO);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    errno = EDOM;
    base_log_to_stderr(NULL, BASE_LOG_ERROR, "hello");
    ssize_t first = read(ends[0], got, sizeof got);
    assert_memory_equal(got, "manta: hello\n", 13);
    base_log_to_stderr(NULL, BASE_LOG_ERROR, text);
    ssize_t second = read(ends[0], got, sizeof got);
    assert_int_equal(errno, EDOM);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(first, 13);
    assert_true(second > 1000 && second < 1100);
    assert_int_equal(got[second - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(without_a_sink_nothing_happens),
        cmocka_unit_test(a_long_line_is_cut_and_says_so),
        cmocka_unit_test(standard_error_gets_each_line_in_one_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
