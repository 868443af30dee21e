/* Making one trace of several ranks' timelines: clocks of two machines, nesting, gaps, two jobs. */
#include "../../folder.h"
#include "cli/trace_draw.h"

#include "base/alloc.h"

#include <manta/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FUNCTION = 7, QUIET = 1, QUIET_ANSWER = 2 };

/* ---- Timelines with clocks that say what the test wants ------------------------------------- */

static uint64_t now_ns; /* of the machine that is writing */
static uint64_t ticks_per_us = 1000;

static uint64_t fixed_now(void *self)
{
    return now_ns;
}

static uint64_t fixed_ticks(void *self)
{
    return now_ns / 1000 * ticks_per_us + now_ns % 1000 * ticks_per_us / 1000;
}

static int no_thread(void *self, struct base_thread *ret_thread,
                     const struct base_thread_options *options, void (*main)(void *), void *arg)
{
    return MANTA_OK;
}

static void no_join(void *self, struct base_thread *thread)
{
}

static struct base_timeline *create(uint32_t rank, uint64_t machine, uint64_t job)
{
    static struct base_host host;
    static const struct base_timeline_name names[] = {
        {.of = BASE_TIMELINE_FUNCTION, .key = FUNCTION, .name = "a \"body\""},
        {.of = BASE_TIMELINE_MESSAGE, .key = QUIET, .name = "QUIET"},
        {.of = BASE_TIMELINE_MESSAGE, .key = QUIET_ANSWER, .name = "QUIET_ANSWER"},
    };
    host = base_host_real;
    host.now_ns = fixed_now;
    host.ticks = fixed_ticks;
    host.thread_start = no_thread;
    host.thread_join = no_join;
    struct base_timeline_options options = {.host = &host,
                                            .directory = folder,
                                            .rank = rank,
                                            .size = 2,
                                            .tracks = 2,
                                            .job = job,
                                            .machine = machine,
                                            .host_name = "here",
                                            .names = names,
                                            .name_count = MT_COUNT(names)};
    struct base_timeline *timeline;
    char text[512];
    assert_int_equal(base_timeline_create(&options, &timeline, text, sizeof text), MANTA_OK);
    return timeline;
}

static void add(struct base_timeline *timeline, uint64_t at_ns, enum base_timeline_kind kind,
                uint32_t position)
{
    now_ns = at_ns;
    base_timeline_add(
        &base_timeline_tracks(timeline)[0],
        (struct base_timeline_record){
            .kind = (uint8_t)kind, .parent = 1, .position = position, .value = FUNCTION});
}

static void add_message(struct base_timeline *timeline, uint64_t at_ns,
                        enum base_timeline_kind kind, uint8_t message, uint32_t peer)
{
    now_ns = at_ns;
    base_timeline_add(
        &base_timeline_tracks(timeline)[1],
        (struct base_timeline_record){.kind = (uint8_t)kind, .detail = message, .peer = peer});
}

static int set_up(void **state)
{
    assert_int_equal(folder_make(state), 0);
    ticks_per_us = 1000;
    now_ns = 1000000;
    return 0;
}

/* The trace as text; owned by the C library. */
static char *draw(struct trace_counts *ret_counts)
{
    struct trace_set set;
    struct trace_options options = {.has_messages = true, .has_arrows = true};
    char text[512], *drawn;
    size_t size;
    assert_int_equal(trace_ranks_find(folder, &set, text, sizeof text), MANTA_OK);
    FILE *out = open_memstream(&drawn, &size);
    assert_int_equal(trace_draw(&set, &options, out, ret_counts), MANTA_OK);
    fclose(out);
    trace_ranks_fini(&set);
    return drawn;
}

static unsigned count(const char *text, const char *of)
{
    unsigned found = 0;
    for (; (text = strstr(text, of)); text += strlen(of)) {
        found++;
    }
    return found;
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void a_parked_body_is_drawn_in_pieces_with_what_lies_below_it(void **state)
{
    struct trace_counts counts;
    struct base_timeline *timeline = create(0, 1, 1);
    add(timeline, 1010000, BASE_TIMELINE_BEGIN, 1);
    add(timeline, 1020000, BASE_TIMELINE_BEGIN, 2);
    add(timeline, 1030000, BASE_TIMELINE_PARK, 2);
    add(timeline, 1040000, BASE_TIMELINE_BEGIN, 3);
    add(timeline, 1050000, BASE_TIMELINE_END, 3);
    add(timeline, 1060000, BASE_TIMELINE_RESUME, 2);
    add(timeline, 1070000, BASE_TIMELINE_END, 2);
    add(timeline, 1090000, BASE_TIMELINE_END, 1);
    (void)base_timeline_destroy(timeline, NULL);
    char *drawn = draw(&counts);
    assert_int_equal(count(drawn, "\"name\":\"a \\\"body\\\"\""), 5);
    assert_int_equal(count(drawn, "\"ts\":10.000,\"dur\":20.000"), 1); /* 1, first piece */
    assert_int_equal(count(drawn, "\"ts\":20.000,\"dur\":10.000"), 1); /* 2 */
    assert_int_equal(count(drawn, "\"ts\":40.000,\"dur\":10.000"), 1); /* 3 */
    assert_int_equal(count(drawn, "\"ts\":60.000,\"dur\":10.000"), 1); /* 2 again */
    assert_int_equal(count(drawn, "\"ts\":60.000,\"dur\":30.000"), 1); /* 1 again */
    assert_int_equal(counts.open + counts.strays + counts.lost, 0);
    free(drawn);
}

static void ends_without_beginnings_and_beginnings_without_ends_are_counted(void **state)
{
    struct trace_counts counts;
    struct base_timeline *timeline = create(0, 1, 1);
    add(timeline, 1010000, BASE_TIMELINE_END, 9);
    add(timeline, 1020000, BASE_TIMELINE_RESUME, 8);
    add(timeline, 1030000, BASE_TIMELINE_PARK, 7);
    add(timeline, 1040000, BASE_TIMELINE_BEGIN, 1);
    (void)base_timeline_destroy(timeline, NULL);
    char *drawn = draw(&counts);
    assert_int_equal(counts.strays, 3);
    assert_int_equal(counts.open, 1);
    assert_int_equal(count(drawn, "\"end\":\"unknown\""), 1);
    free(drawn);
}

/* Rank 1's clock is 5 s ahead and its counter runs at 2.5 GHz; a message takes 10 us each way. */
static void another_machines_clock_is_put_beside_rank_0s(void **state)
{
    const uint64_t ahead_ns = UINT64_C(5000000000);
    struct trace_counts counts;
    struct base_timeline *first = create(0, 1, 1);
    add_message(first, 1100000, BASE_TIMELINE_SENT, QUIET, 1);
    add_message(first, 1150000, BASE_TIMELINE_RECEIVED, QUIET_ANSWER, 1); /* 20 us late */
    add_message(first, 1200000, BASE_TIMELINE_SENT, QUIET, 1);
    add_message(first, 1230000, BASE_TIMELINE_RECEIVED, QUIET_ANSWER, 1);
    (void)base_timeline_destroy(first, NULL);
    ticks_per_us = 2500;
    now_ns = ahead_ns + 1000000;
    struct base_timeline *second = create(1, 2, 1);
    add(second, ahead_ns + 1050000, BASE_TIMELINE_BEGIN, 1);
    add(second, ahead_ns + 1060000, BASE_TIMELINE_END, 1);
    add_message(second, ahead_ns + 1110000, BASE_TIMELINE_RECEIVED, QUIET, 0);
    add_message(second, ahead_ns + 1120000, BASE_TIMELINE_SENT, QUIET_ANSWER, 0);
    add_message(second, ahead_ns + 1210000, BASE_TIMELINE_RECEIVED, QUIET, 0);
    add_message(second, ahead_ns + 1220000, BASE_TIMELINE_SENT, QUIET_ANSWER, 0);
    (void)base_timeline_destroy(second, NULL);
    char *drawn = draw(&counts);
    assert_int_equal(count(drawn, "\"ts\":50.000,\"dur\":10.000"), 1);
    free(drawn);
}

static void files_of_two_jobs_are_refused_by_name(void **state)
{
    struct trace_set set;
    char text[512];
    (void)base_timeline_destroy(create(0, 1, 1), NULL);
    (void)base_timeline_destroy(create(1, 1, 2), NULL);
    assert_int_equal(trace_ranks_find(folder, &set, text, sizeof text), MANTA_E_INVALID);
    assert_true(strstr(text, "rank-0.timeline") < strstr(text, "rank-1.timeline"));
    assert_non_null(strstr(text, "rank-0.timeline"));
    assert_non_null(strstr(text, "two jobs, and the first is older"));
    (void)base_timeline_destroy(create(0, 1, 3), NULL);
    assert_int_equal(trace_ranks_find(folder, &set, text, sizeof text), MANTA_E_INVALID);
    assert_true(strstr(text, "rank-1.timeline") < strstr(text, "rank-0.timeline"));
    assert_non_null(strstr(text, "rank-1.timeline"));
}

static void nothing_is_left_when_memory_ends(void **state)
{
    struct base_timeline *timeline = create(0, 1, 1);
    add(timeline, 1010000, BASE_TIMELINE_BEGIN, 1);
    add(timeline, 1020000, BASE_TIMELINE_PARK, 1);
    (void)base_timeline_destroy(timeline, NULL);
    uint64_t live = base_alloc_live();
    FILE *out = fopen("/dev/null", "w");
    for (uint64_t k = 1; k < 40; k++) {
        struct trace_options options = {.has_arrows = true};
        struct trace_counts counts;
        struct trace_set set;
        char text[512];
        base_alloc_fail_at(k);
        if (trace_ranks_find(folder, &set, text, sizeof text) == MANTA_OK) {
            (void)trace_draw(&set, &options, out, &counts);
            trace_ranks_fini(&set);
        }
        base_alloc_fail_at(0);
        assert_int_equal(base_alloc_live(), live);
    }
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_parked_body_is_drawn_in_pieces_with_what_lies_below_it,
                                        set_up, folder_remove),
        cmocka_unit_test_setup_teardown(
            ends_without_beginnings_and_beginnings_without_ends_are_counted, set_up, folder_remove),
        cmocka_unit_test_setup_teardown(another_machines_clock_is_put_beside_rank_0s, set_up,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(files_of_two_jobs_are_refused_by_name, set_up,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(nothing_is_left_when_memory_ends, set_up, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
