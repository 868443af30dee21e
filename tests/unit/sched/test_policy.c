/* The decisions of sched, asked directly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/policy.h"

#define MS UINT64_C(1000000)

static void window_doubles_for_a_dry_peer_with_a_backlog_up_to_its_bound(void **state)
{
    struct sched_window window;
    sched_window_init(&window, 2, 16);
    for (int i = 0; i < 10; i++) {
        sched_window_result(&window, true, true);
    }
    assert_int_equal(window.size, 16);
    sched_window_init(&window, 2, 16);
    sched_window_result(&window, true, false);
    sched_window_result(&window, false, true);
    assert_int_equal(window.size, 2);
}

static void window_shrinks_to_twice_what_was_consumed_but_not_below_its_floor(void **state)
{
    struct sched_window window;
    sched_window_init(&window, 2, 64);
    window.size = 64;
    window.results = 5;
    sched_window_tick(&window);
    assert_int_equal(window.size, 10);
    sched_window_tick(&window);
    assert_int_equal(window.size, 2);
}

static void window_has_room_until_it_is_full(void **state)
{
    struct sched_window window;
    sched_window_init(&window, 2, 2);
    assert_true(sched_window_has_room(&window));
    window.in_flight = 2;
    assert_false(sched_window_has_room(&window));
    sched_window_result(&window, false, false);
    assert_true(sched_window_has_room(&window));
}

static void a_window_bears_twice_its_size_of_tasks_that_would_rather_be_there(void **state)
{
    struct sched_window window;
    sched_window_init(&window, 3, 8);
    window.in_flight = 5;
    assert_false(sched_window_has_room(&window));
    assert_true(sched_window_bears(&window));
    window.in_flight = 6;
    assert_false(sched_window_bears(&window));
}

/* Hops from the maker, and how many fetch from whom. */
static void fetchers_make_a_chain_and_behind_it_a_binary_tree(void **state)
{
    enum { FETCHERS = 1000 };
    for (uint64_t chunks = 0; chunks < 20; chunks++) {
        uint32_t hops[FETCHERS + 1] = {0}, fed[FETCHERS + 1] = {0}, most = 0;
        uint32_t chain = chunks < 1 ? 1 : chunks < 8 ? (uint32_t)chunks : 8;
        for (uint32_t n = 1; n <= FETCHERS; n++) {
            uint32_t source = sched_source(n, chunks);
            assert_true(source < n);
            assert_true(n > chain || source == n - 1);
            hops[n] = hops[source] + 1;
            fed[source]++;
            most = hops[n] > most ? hops[n] : most;
            assert_true(fed[source] <= (source < chain ? 1u : 2u));
        }
        assert_true(most <= chain + 10);
    }
}

static void batches_of_a_map_shrink_and_cover_it(void **state)
{
    uint64_t left = 100000, before = UINT64_MAX;
    while (left) {
        uint64_t batch = sched_map_batch(left, 8, 4096);
        assert_in_range(batch, 1, 4096);
        assert_true(batch <= before && batch <= left);
        before = batch;
        left -= batch;
    }
    assert_int_equal(before, 1);
}

static void retries_wait_not_at_all_then_twice_as_long_each_time_up_to_a_bound(void **state)
{
    assert_int_equal(sched_retry_delay_ns(0), 0);
    assert_int_equal(sched_retry_delay_ns(1), 0);
    assert_int_equal(sched_retry_delay_ns(2), 10 * MS);
    assert_int_equal(sched_retry_delay_ns(3), 20 * MS);
    assert_int_equal(sched_retry_delay_ns(10), 2560 * MS);
    assert_int_equal(sched_retry_delay_ns(UINT32_MAX), 2560 * MS);
}

/* The same for everybody who knows of the same deaths, and only the dead one's ids move. */
static void home_is_a_living_rank_and_moves_only_with_its_death(void **state)
{
    enum { RANKS = 7, IDS = 2000 };
    uint8_t none[RANKS] = {0}, one[RANKS] = {0};
    uint32_t ids_of[RANKS] = {0};
    one[3] = 1;
    for (uint64_t id = 0; id < IDS; id++) {
        uint32_t home = sched_home(id, RANKS, none), later = sched_home(id, RANKS, one);
        assert_true(home < RANKS && later < RANKS && later != 3);
        assert_true(home == 3 || home == later);
        ids_of[home]++;
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        assert_in_range(ids_of[rank], IDS / RANKS / 2, IDS / RANKS * 2);
    }
}

static void the_newest_that_may_run_again_is_ended_first(void **state)
{
    const struct sched_victim old = {1, true}, young = {2, true}, last = {3, false},
                              first = {0, false};
    assert_true(sched_goes_before(&young, &old) && !sched_goes_before(&old, &young));
    assert_true(sched_goes_before(&old, &last) && !sched_goes_before(&last, &old));
    assert_true(sched_goes_before(&last, &first) && !sched_goes_before(&first, &last));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_that_may_run_again_is_ended_first),
        cmocka_unit_test(window_doubles_for_a_dry_peer_with_a_backlog_up_to_its_bound),
        cmocka_unit_test(window_shrinks_to_twice_what_was_consumed_but_not_below_its_floor),
        cmocka_unit_test(window_has_room_until_it_is_full),
        cmocka_unit_test(a_window_bears_twice_its_size_of_tasks_that_would_rather_be_there),
        cmocka_unit_test(fetchers_make_a_chain_and_behind_it_a_binary_tree),
        cmocka_unit_test(batches_of_a_map_shrink_and_cover_it),
        cmocka_unit_test(retries_wait_not_at_all_then_twice_as_long_each_time_up_to_a_bound),
        cmocka_unit_test(home_is_a_living_rank_and_moves_only_with_its_death),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
