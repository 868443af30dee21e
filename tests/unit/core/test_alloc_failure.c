/*
 * Each allocation of a small run fails once: for k = 1, 2, ... until a run needs fewer than k.
 *
 * The run has every kind of argument, tasks in tasks, a map, a queue, a scope block, a
 * failure and a cancellation. Whatever fails, the run comes to its end in time, nothing
 * is left alive after it, and each step either gives its right answer or an error code: a
 * wrong answer without an error is what this test is for.
 */
#include "base/alloc.h"
#include "comm/backends.h"
#include "core/core.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SECONDS_PER_RUN = 20, MAP_RUNS = 40 };

static uint64_t failing; /* the k of the run in course, for the alarm */

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(every_kind, val(int64_t, v), text(t), span(int64_t, s), in(int64_t, i), ref(r), refs(rs),
           out(int64_t, sum), outv(char, letters), outrefs(made))
{
    int64_t y = 0, part;
    char *copy = (char *)manta_outv_alloc(letters, strlen(t));
    manta_ref *refs = (manta_ref *)manta_outv_alloc(made, 2);
    if (!copy || !refs) {
        return MANTA_E_NOMEM;
    }
    memcpy(copy, t, strlen(t));
    MANTA_TRY(square_get(r, &y));
    for (size_t k = 0; k < rs_len; k++) {
        MANTA_TRY(square_get(rs[k], &part));
        y += part;
    }
    for (size_t k = 0; k < s_len; k++) {
        y += s[k];
    }
    refs[0] = square_async(NULL, 5);
    refs[1] = rs[0];
    *sum = y + v + i[0];
    return MANTA_OK;
}

MANTA_TASK(doubled, inout(int64_t, x))
{
    x[0] *= 2;
    return MANTA_OK;
}

MANTA_TASK(big, span(uint8_t, bytes), outv(uint8_t, copy))
{
    uint8_t *made = (uint8_t *)manta_outv_alloc(copy, bytes_len);
    if (!made) {
        return MANTA_E_NOMEM;
    }
    memcpy(made, bytes, bytes_len);
    return MANTA_OK;
}

MANTA_TASK(index_or_refuse, out(int64_t, y))
{
    *y = (int64_t)manta_map_index() + 1;
    return manta_map_index() == 7 ? manta_fail(3, "seven") : MANTA_OK;
}

MANTA_TASK(sum_of_squares, val(int32_t, n), out(int64_t, sum))
{
    manta_ref refs[8] = {{0}};
    for (int32_t i = 0; i < n; i++) {
        refs[i] = square_async(NULL, i);
    }
    MANTA_TRY(manta_wait(refs, (size_t)n, (size_t)n, MANTA_FOREVER, NULL));
    for (int32_t i = 0; i < n; i++) {
        int64_t y;
        MANTA_TRY(square_get(refs[i], &y));
        *sum += y;
    }
    return MANTA_OK;
}

MANTA_TASK(count_up, val(int64_t, n), stream(int64_t, xs))
{
    for (int64_t i = 0; i < n; i++) {
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return MANTA_OK;
}

static int add_up(manta_ref xs, int64_t *total)
{
    manta_ref item;
    int code;
    while ((code = manta_next(xs, MANTA_FOREVER, &item)) == MANTA_OK) {
        int64_t x;
        MANTA_TRY(manta_get(item, &x, sizeof x));
        *total += x;
        MANTA_TRY(manta_drop(item));
    }
    return code == MANTA_E_END ? MANTA_OK : code;
}

MANTA_TASK(sum_up, ref(xs), out(int64_t, total))
{
    return add_up(xs, total);
}

MANTA_TASK(until_cancelled, val(int32_t, unused))
{
    while (!manta_cancelled()) {
        core_work(100000);
    }
    return MANTA_E_CANCELLED;
}

/* ---- The steps: each gives MANTA_OK with the right answer, or the error it got -------------- */

#define WRONG 1000 /* no code of Manta's: an answer that is not right */
#define RIGHT(condition) MANTA_TRY((condition) ? MANTA_OK : WRONG + __LINE__)

static int step_kinds(void)
{
    const int64_t s[2] = {10, 20};
    const char *letters;
    const manta_ref *made;
    size_t letters_len, made_len;
    int64_t sum, y;
    manta_ref two = square_async(NULL, 2), refs[2] = {square_async(NULL, 3), two};
    struct every_kind_refs got =
        every_kind_async(MANTA_OPTIONS(.name = "kinds", .timeout_ns = UINT64_C(60000000000)), 1,
                         "abc", s, 2, two, two, refs, 2);
    MANTA_TRY(every_kind_get(got, &sum, &letters, &letters_len, &made, &made_len));
    RIGHT(sum == 4 + 9 + 4 + 30 + 1 + 4 && letters_len == 3 && memcmp(letters, "abc", 3) == 0 &&
          made_len == 2);
    MANTA_TRY(square_get(made[0], &y));
    RIGHT(y == 25);
    MANTA_TRY(square_get(made[1], &y));
    RIGHT(y == 9);
    return MANTA_OK;
}

static int step_consumed_and_big(void)
{
    static uint8_t bytes[5000];
    const int64_t *x;
    const uint8_t *copy;
    size_t length;
    memset(bytes, 7, sizeof bytes);
    MANTA_TRY(doubled_get(doubled_async(NULL, square_async(NULL, 6)), &x, &length));
    RIGHT(length == 1 && *x == 72);
    MANTA_TRY(big_get(big_async(NULL, bytes, sizeof bytes), &copy, &length));
    RIGHT(length == sizeof bytes && memcmp(copy, bytes, length) == 0);
    return MANTA_OK;
}

static int step_nested(void)
{
    int64_t sum;
    MANTA_TRY(sum_of_squares_get(sum_of_squares_async(NULL, 8), &sum));
    RIGHT(sum == 140);
    return MANTA_OK;
}

static int step_map(void)
{
    int64_t values[MAP_RUNS], y;
    int32_t codes[MAP_RUNS];
    manta_ref map = index_or_refuse_map(NULL, MAP_RUNS), ninth = manta_map_at(map, 9);
    int code = manta_map_get(map, values, sizeof values[0], MAP_RUNS, codes);
    if (code != 3) {
        RIGHT(code < 0);
        return code;
    }
    for (int i = 0; i < MAP_RUNS; i++) {
        RIGHT(i == 7 ? codes[i] == 3 : codes[i] < 0 || (codes[i] == 0 && values[i] == i + 1));
    }
    MANTA_TRY(index_or_refuse_get(ninth, &y));
    RIGHT(y == 10);
    return MANTA_OK;
}

static int fill_and_empty(manta_queue *queue)
{
    int64_t y;
    manta_ref ref;
    for (int64_t i = 0; i < 5; i++) {
        MANTA_TRY(manta_queue_add(queue, square_async(NULL, i), (void *)(intptr_t)i));
    }
    for (int64_t i = 0; i < 5; i++) {
        void *label;
        MANTA_TRY(manta_queue_next(queue, MANTA_FOREVER, &ref, &label));
        MANTA_TRY(square_get(ref, &y));
        RIGHT(y == (intptr_t)label * (intptr_t)label);
    }
    return MANTA_OK;
}

static int step_queue(void)
{
    manta_queue *queue;
    MANTA_TRY(manta_queue_create(&queue));
    int code = fill_and_empty(queue);
    manta_queue_destroy(queue);
    return code;
}

static int step_block(void)
{
    int64_t y;
    MANTA_TRY(manta_scope_begin());
    manta_ref ref = square_async(NULL, 9);
    int code = square_get(ref, &y);
    MANTA_TRY(manta_scope_end());
    MANTA_TRY(code);
    RIGHT(y == 81);
    RIGHT(manta_drop(ref) != MANTA_OK);
    return MANTA_OK;
}

static int step_stream(void)
{
    int64_t total = 0;
    MANTA_TRY(add_up(count_up_async(NULL, 40), &total));
    RIGHT(total == 780);
    MANTA_TRY(
        sum_up_get(sum_up_async(NULL, count_up_async(MANTA_OPTIONS(.ahead = 3), 40)), &total));
    RIGHT(total == 780);
    return MANTA_OK;
}

static int step_failure_and_cancel(void)
{
    int64_t y;
    const int64_t *x;
    size_t length;
    manta_ref slow = until_cancelled_async(NULL, 0), bad = doubled_async(NULL, slow);
    int code = manta_cancel(bad);
    MANTA_TRY(code);
    code = doubled_get(bad, &x, &length);
    RIGHT(code < 0);
    code = square_get(manta_map_at(bad, 3), &y);
    RIGHT(code < 0);
    return MANTA_OK;
}

static int (*const steps[])(void) = {
    step_kinds,  step_consumed_and_big,  step_nested, step_map, step_queue, step_block,
    step_stream, step_failure_and_cancel};
enum { STEPS = sizeof steps / sizeof *steps };

/* All steps on a rank alone. ret_failed: how many steps ended with an error. */
static int run_once(unsigned *ret_failed)
{
    struct comm *comm = NULL;
    struct rank *rank;
    manta_error error;
    *ret_failed = 0;
    int code = comm_create_alone(&base_host_real, &comm);
    if (code != MANTA_OK) {
        return code;
    }
    struct core_options options = {.host = &base_host_real,
                                   .comm = comm,
                                   .workers = 2,
                                   .cores = 1,
                                   .node_ranks = 1,
                                   .is_crowded = 1,
                                   .host_name = "here"};
    code = core_rank_create(&options, &rank, &error);
    if (code == MANTA_OK) {
        code = core_attach(rank);
        for (int i = 0; i < STEPS && code == MANTA_OK; i++) {
            int got = steps[i]();
            if (got >= WRONG) {
                print_message("k = %u: wrong answer in line %d\n", (unsigned)failing, got - WRONG);
                fail();
            }
            *ret_failed += got != MANTA_OK;
        }
        core_detach(rank);
        (void)core_finish(rank, 0);
        struct core_counts left = core_count(rank);
        assert_int_equal(
            left.tasks + left.runs + left.borrows + left.scopes + left.values + left.maps, 0);
        core_rank_destroy(rank);
    }
    comm_destroy(comm);
    return code;
}

static void hangs(int signal_number)
{
    char line[80];
    int length = snprintf(line, sizeof line, "k = %u: the run does not end\n", (unsigned)failing);
    (void)!write(STDERR_FILENO, line, (size_t)length);
    abort();
}

static void every_single_failure_ends_well(void **state)
{
    unsigned failed = 0, refused_starts = 0, with_errors = 0, absorbed = 0;
    const char *first = getenv("MANTA_FAIL_AT"); /* for looking at one */
    uint64_t asked;
    signal(SIGALRM, hangs);
    assert_int_equal(run_once(&failed), MANTA_OK); /* what is made once per process is made now */
    assert_int_equal(failed, 0);
    failing = first ? strtoull(first, NULL, 10) : 1;
    do {
        uint64_t live = base_alloc_live();
        alarm(SECONDS_PER_RUN);
        base_alloc_fail_at(failing);
        int code = run_once(&failed);
        asked = base_alloc_asked();
        base_alloc_fail_at(0);
        alarm(0);
        if (base_alloc_live() != live) {
            print_message("k = %u leaks %d allocations\n", (unsigned)failing,
                          (int)(base_alloc_live() - live));
        }
        assert_int_equal(base_alloc_live(), live);
        refused_starts += code != MANTA_OK;
        with_errors += failed > 0;
        absorbed += code == MANTA_OK && failed == 0;
    } while (!first && asked >= failing++);
    print_message("%u allocations: %u failed the start, %u a step, %u nothing\n",
                  (unsigned)failing - 1, refused_starts, with_errors, absorbed);
    assert_true(first || (refused_starts > 0 && with_errors > 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_single_failure_ends_well)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
