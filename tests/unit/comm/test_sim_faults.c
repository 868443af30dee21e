/* Faults of the simulator: who goes on, who is taken for dead, who hears of it, what arrives. */
#include "base/compiler.h"
#include "comm/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

enum { RANKS = 4, VICTIM = 3, STEP_NS = 10000 };
#define SILENCE_NS MS
#define END_NS (20 * MS)

/* Each rank sends its count of steps to all others, one step after the other, and notes what it
 * gets. */
struct rank {
    struct sim *sim;
    struct comm *comm;
    const struct base_host *host;
    uint32_t index, steps, last[RANKS], gaps;
    uint64_t longest_step_ns, down_ns[RANKS], fenced_ns;
    bool is_out;
};

static struct rank ranks[RANKS];
static struct sim *world;

static void on_message(void *owner, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct rank *rank = owner;
    rank->gaps += header->position != rank->last[from] + 1;
    rank->last[from] = header->position;
}

static void on_down(void *owner, uint32_t peer)
{
    ((struct rank *)owner)->down_ns[peer] = sim_now_ns(world);
}

static void on_fenced(void *arg, uint32_t number)
{
    ranks[number].is_out = true;
    ranks[number].fenced_ns = sim_now_ns(world);
}

static void step(struct rank *rank)
{
    rank->steps++;
    for (uint32_t to = 0; to < RANKS; to++) {
        struct wire_header *header = to == rank->index ? NULL : comm_prepare(rank->comm, to, 0);
        if (header) {
            *header = (struct wire_header){.position = rank->steps};
            comm_commit(rank->comm);
        }
    }
    comm_flush(rank->comm);
    (void)comm_progress(rank->comm, 1000);
}

static void rank_main(void *arg)
{
    struct rank *rank = arg;
    while (!rank->is_out && base_now_ns(rank->host) < END_NS) {
        uint64_t before_ns = base_now_ns(rank->host);
        step(rank);
        rank->host->work(rank->host->self, STEP_NS);
        rank->longest_step_ns = MT_MAX(rank->longest_step_ns, base_now_ns(rank->host) - before_ns);
    }
}

/* Ranks 0 to node_ranks - 1 share a node. At 1 ms the hook does its work. */
static uint64_t run(uint64_t seed, uint32_t node_ranks, void (*hook)(void *))
{
    struct sim_options options = {.seed = seed,
                                  .ranks = RANKS,
                                  .silence_ns = SILENCE_NS,
                                  .node_ranks = node_ranks,
                                  .detect_min_ns = 10000,
                                  .detect_max_ns = 100000,
                                  .window = 100000,
                                  .fenced = on_fenced};
    world = sim_create(&options);
    assert_non_null(world);
    memset(ranks, 0, sizeof ranks);
    for (uint32_t i = 0; i < RANKS; i++) {
        ranks[i].sim = world;
        ranks[i].comm = sim_comm(world, i);
        ranks[i].host = sim_host(world, i);
        ranks[i].index = i;
        comm_set_sink(ranks[i].comm, &(struct comm_sink){on_message, on_down, &ranks[i]});
        assert_int_equal(sim_start(world, i, rank_main, &ranks[i]), 0);
    }
    assert_int_equal(sim_at(world, MS, hook, NULL), 0);
    assert_int_equal(sim_run(world), 0);
    uint64_t trace = sim_trace_hash(world);
    sim_destroy(world);
    return trace;
}

static void check_nobody_down(void)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_false(ranks[i].is_out);
        for (uint32_t k = 0; k < RANKS; k++) {
            assert_int_equal(ranks[i].down_ns[k], 0);
            assert_true(i == k || ranks[i].last[k] > END_NS / STEP_NS / 3);
        }
        assert_int_equal(ranks[i].gaps, 0);
    }
}

/* Told once, within the given times, to all but the victim and those in `others`. */
static void check_down(uint32_t dead, uint64_t from_ns, uint64_t to_ns, uint32_t survivors)
{
    for (uint32_t i = 0; i < survivors; i++) {
        assert_in_range(ranks[i].down_ns[dead], from_ns, to_ns);
        assert_int_equal(ranks[i].gaps, 0);
    }
}

static void stop_briefly(void *arg)
{
    sim_stop(world, VICTIM, SILENCE_NS * 9 / 10);
}

static void stop_for_long(void *arg)
{
    sim_stop(world, VICTIM, 10 * SILENCE_NS);
}

static void test_a_short_stop_is_nothing_but_late(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, stop_briefly);
        check_nobody_down();
        assert_in_range(ranks[VICTIM].longest_step_ns, SILENCE_NS * 9 / 10, SILENCE_NS);
        assert_true(ranks[0].longest_step_ns < MS / 10);
    }
}

static void test_a_long_stop_elsewhere_is_a_death_and_it_leaves_when_it_comes_back(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, stop_for_long);
        check_down(VICTIM, 2 * MS, 2 * MS + MS / 2, VICTIM);
        assert_in_range(ranks[VICTIM].fenced_ns, 11 * MS, 11 * MS + MS / 10);
        assert_int_equal(ranks[VICTIM].down_ns[0], 0);
    }
}

static void test_a_long_stop_on_the_first_node_ends_in_a_kill(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, RANKS, stop_for_long);
        check_down(VICTIM, 6 * MS, 6 * MS + MS / 2, VICTIM);
        assert_int_equal(ranks[VICTIM].fenced_ns, 0);
        assert_true(ranks[VICTIM].steps < 110);
    }
}

static void stop_first_and_victim(void *arg)
{
    sim_stop(world, 0, SILENCE_NS * 9 / 10);
    sim_stop(world, VICTIM, SILENCE_NS * 3 / 2);
}

static void test_rank_0_forgives_what_it_missed_while_it_was_stopped(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, stop_first_and_victim);
        check_nobody_down();
    }
}

static const uint8_t two_inside[RANKS] = {[2] = 1, [3] = 1};

static void cut_briefly(void *arg)
{
    sim_cut(world, two_inside, SILENCE_NS * 9 / 10);
}

static void cut_for_long(void *arg)
{
    sim_cut(world, two_inside, 10 * SILENCE_NS);
}

static void test_after_a_short_cut_everything_comes_in_order(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, cut_briefly);
        check_nobody_down();
    }
}

static void test_after_a_long_cut_only_the_side_of_rank_0_goes_on(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, cut_for_long);
        check_down(2, 2 * MS, 2 * MS + MS / 2, 2);
        check_down(3, 2 * MS, 2 * MS + MS / 2, 2);
        assert_in_range(ranks[2].fenced_ns, 2 * MS, 2 * MS + MS / 2);
        assert_in_range(ranks[3].fenced_ns, 2 * MS, 2 * MS + MS / 2);
        assert_true(ranks[2].last[3] > 180 && ranks[2].last[0] <= 101);
        assert_true(ranks[0].steps > 1900 && !ranks[0].is_out);
    }
}

static void kill_during_a_cut(void *arg)
{
    sim_cut(world, two_inside, SILENCE_NS * 9 / 10);
    sim_kill(world, VICTIM);
}

static void test_a_death_behind_a_cut_is_seen_when_that_is_over(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, kill_during_a_cut);
        check_down(VICTIM, MS + SILENCE_NS * 9 / 10, 2 * MS + MS / 5, VICTIM);
        assert_int_equal(ranks[0].down_ns[2], 0);
    }
}

static void slow_down(void *arg)
{
    sim_slow(world, VICTIM, MS / 5, 5 * MS);
}

static void test_a_slow_rank_is_late_and_in_order(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        run(seed, 1, slow_down);
        check_nobody_down();
        assert_in_range(ranks[VICTIM].longest_step_ns, MS / 10, MS / 5 + STEP_NS);
    }
}

static void test_faults_follow_from_the_seed(void **state)
{
    assert_int_equal(run(5, 1, cut_for_long), run(5, 1, cut_for_long));
    assert_int_not_equal(run(5, 1, cut_for_long), run(6, 1, cut_for_long));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_short_stop_is_nothing_but_late),
        cmocka_unit_test(test_a_long_stop_elsewhere_is_a_death_and_it_leaves_when_it_comes_back),
        cmocka_unit_test(test_a_long_stop_on_the_first_node_ends_in_a_kill),
        cmocka_unit_test(test_rank_0_forgives_what_it_missed_while_it_was_stopped),
        cmocka_unit_test(test_after_a_short_cut_everything_comes_in_order),
        cmocka_unit_test(test_after_a_long_cut_only_the_side_of_rank_0_goes_on),
        cmocka_unit_test(test_a_death_behind_a_cut_is_seen_when_that_is_over),
        cmocka_unit_test(test_a_slow_rank_is_late_and_in_order),
        cmocka_unit_test(test_faults_follow_from_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
