/* What is particular to the simulator: replay, virtual time, virtual threads, faults, size. */
#include "base/alloc.h"
#include "comm/sim.h"
#include "fiber/fiber.h"
#include "manta/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct rank {
    struct sim *sim;
    struct comm *comm;
    const struct base_host *host;
    uint32_t index, count;
    unsigned received, downs, wanted;
    uint32_t last;
    uint64_t when_ns;
};

static struct rank *ranks;

static void on_message(void *owner, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct rank *rank = owner;
    rank->received++;
    rank->last = header->position;
    rank->when_ns = base_now_ns(rank->host);
}

static void on_down(void *owner, uint32_t peer)
{
    ((struct rank *)owner)->downs++;
}

static struct sim *make_world(const struct sim_options *options)
{
    struct sim *sim = sim_create(options);
    assert_non_null(sim);
    ranks = calloc(options->ranks, sizeof *ranks);
    for (uint32_t i = 0; i < options->ranks; i++) {
        ranks[i] = (struct rank){.sim = sim,
                                 .comm = sim_comm(sim, i),
                                 .host = sim_host(sim, i),
                                 .index = i,
                                 .count = options->ranks};
        comm_set_sink(
            ranks[i].comm,
            &(struct comm_sink){.message = on_message, .peer_down = on_down, .owner = &ranks[i]});
    }
    return sim;
}

static void end_world(struct sim *sim)
{
    sim_destroy(sim);
    free(ranks);
    assert_int_equal(base_alloc_live(), 0);
}

static void start_all(struct sim *sim, void (*main)(void *))
{
    for (uint32_t i = 0; i < ranks[0].count; i++) {
        assert_int_equal(sim_start(sim, i, main, &ranks[i]), 0);
    }
}

static void send(struct rank *rank, uint32_t to, uint32_t position)
{
    struct wire_header *header = comm_prepare(rank->comm, to, 16);
    *header = (struct wire_header){.kind = 1, .parent = rank->index, .position = position};
    memset(comm_body(header), 0, 16);
    comm_commit(rank->comm);
}

static void receive(struct rank *rank, unsigned wanted)
{
    while (rank->received < wanted) {
        if (!comm_progress(rank->comm, 64) && comm_arm(rank->comm)) {
            comm_sleep(rank->comm, BASE_FOREVER);
        }
        comm_flush(rank->comm);
    }
}

/* 100 messages to as many peers each, then as many back. */
static void gossip_main(void *arg)
{
    struct rank *rank = arg;
    for (uint32_t i = 0; i < 100; i++) {
        send(rank, (rank->index * 7 + i * i + 1) % rank->count, i);
        comm_flush(rank->comm);
        if (i % 10 == 0) {
            rank->host->work(rank->host->self, rank->host->random(rank->host->self) % 1000);
        }
    }
    rank->wanted = 0;
    for (uint32_t from = 0; from < rank->count; from++) {
        for (uint32_t i = 0; i < 100; i++) {
            rank->wanted += (from * 7 + i * i + 1) % rank->count == rank->index;
        }
    }
    receive(rank, rank->wanted);
}

static uint64_t gossip_hash(uint64_t seed, uint32_t count, uint64_t *ret_events)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = seed, .ranks = count});
    start_all(sim, gossip_main);
    assert_int_equal(sim_run(sim), 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(ranks[i].received, ranks[i].wanted);
    }
    uint64_t hash = sim_trace_hash(sim);
    *ret_events = sim_event_count(sim);
    end_world(sim);
    return hash;
}

static void test_the_seed_determines_the_trace(void **state)
{
    uint64_t events_once, events_again, events_other;
    uint64_t once = gossip_hash(42, 20, &events_once);
    assert_int_equal(gossip_hash(42, 20, &events_again), once);
    assert_int_equal(events_again, events_once);
    assert_true(gossip_hash(43, 20, &events_other) != once);
}

static void test_a_thousand_ranks_and_a_hundred_thousand_messages_are_cheap(void **state)
{
    uint64_t events;
    clock_t start = clock();
    gossip_hash(1, 1000, &events);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("1000 ranks, 100000 messages, %llu events: %.2f s\n", (unsigned long long)events,
                  seconds);
    assert_true(events > 100000);
}

static void wait_for_one(void *arg)
{
    receive(arg, 1);
}

static void test_everybody_asleep_for_ever_is_a_deadlock(void **state)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = 1, .ranks = 3});
    start_all(sim, wait_for_one);
    assert_int_equal(sim_run(sim), MANTA_E_DEADLOCK);
    end_world(sim);
}

static void forgets_to_flush(void *arg)
{
    struct rank *rank = arg;
    if (rank->index == 0) {
        send(rank, 1, 0);
    } else {
        receive(rank, 1);
    }
}

static void test_a_forgotten_flush_is_found(void **state)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = 1, .ranks = 2});
    start_all(sim, forgets_to_flush);
    assert_int_equal(sim_run(sim), MANTA_E_DEADLOCK);
    end_world(sim);
}

static void spins(void *arg)
{
    struct rank *rank = arg;
    for (;;) {
        rank->host->yield(rank->host->self);
    }
}

static void test_the_time_limit_ends_a_livelock(void **state)
{
    struct sim *sim =
        make_world(&(struct sim_options){.seed = 1, .ranks = 1, .time_limit_ns = 1000000});
    start_all(sim, spins);
    assert_int_equal(sim_run(sim), MANTA_E_TIMEOUT);
    assert_true(sim_now_ns(sim) < 1000000);
    end_world(sim);
}

static void measure_delay(void *arg)
{
    struct rank *rank = arg;
    if (rank->index == 0) {
        send(rank, 1, 0);
        comm_flush(rank->comm);
    } else {
        receive(rank, 1);
    }
}

static void test_delays_lie_in_their_bounds_and_vary(void **state)
{
    uint64_t least_ns = UINT64_MAX, most_ns = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim *sim = make_world(&(struct sim_options){
            .seed = seed, .ranks = 2, .delay_min_ns = 100, .delay_max_ns = 200});
        start_all(sim, measure_delay);
        assert_int_equal(sim_run(sim), 0);
        least_ns = MT_MIN(least_ns, ranks[1].when_ns);
        most_ns = MT_MAX(most_ns, ranks[1].when_ns);
        end_world(sim);
    }
    assert_true(least_ns >= 100 && least_ns < 120 && most_ns > 180 && most_ns <= 200);
}

static void race(void *arg)
{
    struct rank *rank = arg;
    if (rank->index == 2) {
        receive(rank, 2);
    } else {
        send(rank, 2, rank->index);
        comm_flush(rank->comm);
    }
}

static void test_messages_of_different_peers_arrive_in_either_order(void **state)
{
    unsigned last[2] = {0};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim *sim = make_world(&(struct sim_options){.seed = seed, .ranks = 3});
        start_all(sim, race);
        assert_int_equal(sim_run(sim), 0);
        last[ranks[2].last]++;
        end_world(sim);
    }
    assert_true(last[0] > 5 && last[1] > 5);
}

#define VICTIM 2

static void kill_victim(void *arg)
{
    struct rank *rank = arg;
    assert_true(sim_is_alive(rank->sim, VICTIM));
    sim_kill(rank->sim, VICTIM);
    sim_kill(rank->sim, VICTIM);
    assert_false(sim_is_alive(rank->sim, VICTIM));
}

static void until_death(void *arg)
{
    struct rank *rank = arg;
    for (uint32_t i = 0; rank->index == VICTIM; i++) {
        send(rank, i % 2, i);
        comm_flush(rank->comm);
        rank->host->work(rank->host->self, 1000);
    }
    while (!rank->downs) {
        if (!comm_progress(rank->comm, 64) && comm_arm(rank->comm)) {
            comm_sleep(rank->comm, BASE_FOREVER);
        }
    }
    rank->when_ns = base_now_ns(rank->host);
}

static void test_of_the_dead_a_prefix_arrives_and_each_survivor_hears_in_time(void **state)
{
    unsigned different = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim *sim = make_world(&(struct sim_options){
            .seed = seed, .ranks = 3, .detect_min_ns = 50000, .detect_max_ns = 90000});
        start_all(sim, until_death);
        sim_at(sim, 100000, kill_victim, &ranks[0]);
        assert_int_equal(sim_run(sim), 0);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(ranks[i].downs, 1);
            assert_true(ranks[i].when_ns >= 150000 && ranks[i].when_ns <= 190000);
            assert_true(ranks[i].received >= 30 && ranks[i].received <= 51);
            assert_int_equal(ranks[i].last / 2 + 1, ranks[i].received); /* no gap */
        }
        different += ranks[0].received != ranks[1].received;
        end_world(sim);
    }
    assert_true(different > 10);
}

static void child_main(void *arg)
{
    struct rank *rank = arg;
    rank->host->work(rank->host->self, 5000);
    rank->received++;
}

static void parent_main(void *arg)
{
    struct rank *rank = arg;
    struct base_thread threads[20];
    struct base_thread_options options = {.name = "child"};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(
            rank->host->thread_start(rank->host->self, &threads[i], &options, child_main, rank), 0);
    }
    for (int i = 0; i < 20; i++) {
        rank->host->thread_join(rank->host->self, &threads[i]);
        assert_int_equal(base_now_ns(rank->host), 5000);
    }
}

static void test_threads_work_at_the_same_virtual_time_and_are_joined(void **state)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = 5, .ranks = 1});
    start_all(sim, parent_main);
    assert_int_equal(sim_run(sim), 0);
    assert_int_equal(ranks[0].received, 20);
    end_world(sim);
}

static void park_main(void *arg)
{
    struct rank *rank = arg;
    struct base_park park = {0};
    assert_false(base_park_wait(rank->host, &park, 700));
    assert_int_equal(base_now_ns(rank->host), 700);
    base_park_wake(rank->host, &park);
    base_park_wake(rank->host, &park);
    assert_true(base_park_wait(rank->host, &park, BASE_FOREVER));
    assert_false(
        base_park_wait(rank->host, &park, 700)); /* two wakes are one; the deadline is past */
}

static void test_a_park_holds_one_token_and_honours_deadlines(void **state)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = 5, .ranks = 1});
    start_all(sim, park_main);
    assert_int_equal(sim_run(sim), 0);
    end_world(sim);
}

static void *current; /* stands for a thread-local pointer of the program */

static void context_main(void *arg)
{
    struct rank *rank = arg;
    assert_null(current);
    current = rank;
    for (int i = 0; i < 100; i++) {
        rank->host->yield(rank->host->self);
        assert_ptr_equal(current, rank);
    }
}

static void test_the_current_context_is_switched_with_the_thread(void **state)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = 5, .ranks = 10});
    int outer;
    current = &outer;
    sim_set_switch_hook(sim, &current);
    start_all(sim, context_main);
    assert_int_equal(sim_run(sim), 0);
    assert_ptr_equal(current, &outer);
    end_world(sim);
}

struct inner {
    struct rank *rank;
    struct fiber *home, *self;
};

static void inner_main(void *arg)
{
    struct inner *inner = arg;
    for (int i = 0; i < 10; i++) {
        inner->rank->host->work(inner->rank->host->self, 100);
        inner->rank->received++;
        fiber_switch(inner->self, inner->home);
    }
    fiber_exit_to(inner->self, inner->home);
}

static void outer_main(void *arg)
{
    struct rank *rank = arg;
    struct fiber_pool *pool = fiber_pool_create(64 << 10, 0);
    struct inner inner = {.rank = rank, .home = fiber_current()};
    inner.self = fiber_create(pool, inner_main, &inner);
    for (int i = 0; i < 11; i++) {
        rank->host->yield(rank->host->self);
        fiber_switch(inner.home, inner.self);
    }
    fiber_release(inner.self);
    fiber_pool_destroy(pool);
}

static void test_a_thread_may_sleep_on_a_fiber_of_its_own(void **state)
{
    struct sim *sim = make_world(&(struct sim_options){.seed = 5, .ranks = 3});
    start_all(sim, outer_main);
    assert_int_equal(sim_run(sim), 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(ranks[i].received, 10);
    }
    end_world(sim);
}

static void test_making_a_world_fails_cleanly_at_every_allocation(void **state)
{
    struct sim *sim = NULL;
    for (uint64_t k = 1; !sim; k++) {
        base_alloc_fail_at(k);
        sim = sim_create(&(struct sim_options){.seed = 5, .ranks = 3});
        base_alloc_fail_at(0);
        assert_true(sim || base_alloc_live() == 0);
    }
    sim_destroy(sim);
    assert_int_equal(base_alloc_live(), 0);
}

static void lose_an_event(void *arg)
{
    base_alloc_fail_at(*(const uint64_t *)arg);
}

static void many_threads(void *arg)
{
    struct rank *rank = arg;
    struct base_thread thread;
    rank->host->work(rank->host->self, 100);
    for (int i = 0; i < 20; i++) {
        rank->host->thread_start(rank->host->self, &thread, NULL, child_main, rank);
    }
    receive(rank, 1000);
}

/* A thread that was not started is the starter's business; an event that was lost is the run's. */
static void test_a_run_that_loses_an_event_for_want_of_memory_says_so(void **state)
{
    unsigned lost = 0;
    for (uint64_t k = 1; k <= 80; k++) {
        struct sim *sim = make_world(&(struct sim_options){.seed = 5, .ranks = 1});
        start_all(sim, many_threads);
        sim_at(sim, 0, lose_an_event, &k);
        int rc = sim_run(sim);
        base_alloc_fail_at(0);
        assert_true(rc == MANTA_E_NOMEM || rc == MANTA_E_DEADLOCK);
        lost += rc == MANTA_E_NOMEM;
        end_world(sim);
    }
    assert_true(lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_seed_determines_the_trace),
        cmocka_unit_test(test_a_thousand_ranks_and_a_hundred_thousand_messages_are_cheap),
        cmocka_unit_test(test_everybody_asleep_for_ever_is_a_deadlock),
        cmocka_unit_test(test_a_forgotten_flush_is_found),
        cmocka_unit_test(test_the_time_limit_ends_a_livelock),
        cmocka_unit_test(test_delays_lie_in_their_bounds_and_vary),
        cmocka_unit_test(test_messages_of_different_peers_arrive_in_either_order),
        cmocka_unit_test(test_of_the_dead_a_prefix_arrives_and_each_survivor_hears_in_time),
        cmocka_unit_test(test_threads_work_at_the_same_virtual_time_and_are_joined),
        cmocka_unit_test(test_a_park_holds_one_token_and_honours_deadlines),
        cmocka_unit_test(test_the_current_context_is_switched_with_the_thread),
        cmocka_unit_test(test_a_thread_may_sleep_on_a_fiber_of_its_own),
        cmocka_unit_test(test_making_a_world_fails_cleanly_at_every_allocation),
        cmocka_unit_test(test_a_run_that_loses_an_event_for_want_of_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
