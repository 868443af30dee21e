/*
 * What every backend of comm must do, once. A test file defines how a world of ranks
 * runs (threads, processes, virtual ranks), and calls conformance_run.
 *
 * Each test is a body that every rank of a world executes at the same time. Bodies
 * may run in other threads and processes, where cmocka's assertions do not reach:
 * they use CHECK, which notes the first failure in memory shared by all, and the test
 * asserts that there was none.
 *
 * Every message carries its number on its way (from, to) and a body that follows from
 * it, so the sink that all tests share proves order, exactly once and content; and in
 * every world that nobody left by dying, what was sent is what was received.
 */
#ifndef TEST_COMM_CONFORMANCE_H
#define TEST_COMM_CONFORMANCE_H

#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/comm.h"
#include "manta/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MAX_RANKS 2048
/* Nothing here sleeps that long unless a wake-up was lost. */
#define SLEPT_THROUGH_NS UINT64_C(20000000000)

struct shared {
    _Atomic uint32_t failed_line;
    _Atomic uint64_t sent, received, bytes_sent, bytes_received, overflowed, sleeps;
    _Atomic uint32_t go;
    _Atomic uint32_t lent[MAX_RANKS]; /* to whom, how often */
    _Atomic uint32_t dead[MAX_RANKS]; /* for worlds whose ranks watch each other */
};

struct end {
    struct comm *comm;
    const struct base_host *host;
    struct shared *shared;
    uint32_t rank, ranks;
    /* This rank is dead, and the others will hear of it. If it returns, so must the body. */
    void (*die)(struct end *end);
    void *world;
    uint32_t *next_in, *next_out; /* per peer: number of the next message */
    uint32_t *downs;
    uint64_t received, byes;
    bool ended, sleepy, inside, echo;
    uint8_t *landing; /* where lent bytes go; NULL: nowhere */
    uint32_t loans, landed;
};

struct world {
    const char *name;
    uint32_t max_ranks; /* 1: alone */
    uint32_t crowd;     /* ranks of the crowd test */
    bool can_kill;
    /* Runs body on each of `ranks` ranks to its end. */
    void (*run)(uint32_t ranks, void (*body)(struct end *), struct shared *shared);
};

static const struct world *the_world;

#define CHECK(end, condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            uint32_t none = 0;                                                                     \
            atomic_compare_exchange_strong(&(end)->shared->failed_line, &none, __LINE__);          \
        }                                                                                          \
    } while (0)

enum { KIND_DATA = 1, KIND_BYE, KIND_END, LENT_EACH = 12, LENT_BYTES = 200001 };

static uint8_t pattern(uint32_t number, size_t i)
{
    return (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

static bool try_send(struct end *end, uint32_t to, size_t bytes, uint8_t kind)
{
    struct wire_header *header = comm_prepare(end->comm, to, bytes);
    if (!header) {
        return false;
    }
    uint32_t number = kind == KIND_DATA ? end->next_out[to]++ : 0;
    *header = (struct wire_header){.parent = (uint64_t)end->rank << 32 | to,
                                   .position = number,
                                   .token = ~number,
                                   .kind = kind,
                                   .attempt = 3,
                                   .ref_count = (uint16_t)(number * 5)};
    uint8_t *body = comm_body(header);
    for (size_t i = 0; i < bytes; i++) {
        body[i] = pattern(number, i);
    }
    comm_commit(end->comm);
    return true;
}

static void send_kind(struct end *end, uint32_t to, size_t bytes, uint8_t kind)
{
    bool sent = try_send(end, to, bytes, kind);
    CHECK(end, sent);
}

static void send_data(struct end *end, uint32_t to, size_t bytes)
{
    send_kind(end, to, bytes, KIND_DATA);
}

static void check_data(struct end *end, uint32_t from, const struct wire_header *header,
                       const uint8_t *body)
{
    uint32_t number = end->next_in[from]++;
    CHECK(end, header->parent == ((uint64_t)from << 32 | end->rank));
    CHECK(end, header->position == number);
    CHECK(end, header->token == ~number && header->attempt == 3);
    CHECK(end, header->ref_count == (uint16_t)(number * 5));
    bool same = true;
    for (size_t i = 0; i < header->length; i++) {
        same &= body[i] == pattern(number, i);
    }
    CHECK(end, same);
    end->received++;
}

static void on_message(void *owner, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct end *end = owner;
    CHECK(end, !end->inside);
    CHECK(end, !end->downs[from]);
    end->inside = true;
    if (header->kind == KIND_DATA) {
        check_data(end, from, header, body);
        if (end->echo) {
            send_data(end, from, header->length);
        }
    } else if (header->kind == KIND_BYE) {
        end->byes++;
    } else {
        CHECK(end, header->kind == KIND_END);
        end->ended = true;
    }
    end->inside = false;
}

/* Number n of a way lands behind the n before it. */
static void *on_place(void *owner, uint32_t from, const struct comm_lent *lent)
{
    const struct end *end = owner;
    CHECK(end, !end->inside && lent->header.parent == from && lent->bytes == LENT_BYTES);
    CHECK(end, lent->head[0] == pattern(lent->header.position, 5));
    return end->landing && lent->header.position < LENT_EACH
               ? end->landing + (size_t)lent->header.position * LENT_BYTES
               : NULL;
}

static void on_landed(void *owner, uint32_t from, const struct comm_lent *lent, void *place,
                      bool is_whole)
{
    struct end *end = owner;
    bool same = true;
    for (size_t i = 0; is_whole && i < lent->bytes; i++) {
        same &= ((uint8_t *)place)[i] == pattern(lent->header.position, i);
    }
    CHECK(end, same && (is_whole || end->downs[from]));
    end->landed += is_whole;
}

static void on_returned(void *owner, struct comm_loan *loan)
{
    struct end *end = owner;
    CHECK(end, end->loans > 0);
    end->loans--;
}

static void on_peer_down(void *owner, uint32_t peer)
{
    struct end *end = owner;
    end->downs[peer]++;
}

static void sleep_once(struct end *end)
{
    if (!comm_arm(end->comm)) {
        return;
    }
    CHECK(end, comm_is_armed(end->comm));
    uint64_t deadline_ns = base_now_ns(end->host) + SLEPT_THROUGH_NS;
    comm_sleep(end->comm, deadline_ns);
    CHECK(end, base_now_ns(end->host) < deadline_ns);
}

/* One turn of a rank's loop: everything a runtime does between tasks. */
static void turn(struct end *end)
{
    comm_flush(end->comm);
    if (comm_progress(end->comm, 64)) {
        return;
    }
    comm_flush(end->comm);
    if (end->sleepy) {
        sleep_once(end);
    } else {
        end->host->yield(end->host->self);
    }
}

static bool failed(const struct end *end)
{
    return atomic_load(&end->shared->failed_line) != 0;
}

#define TURN_WHILE(end, condition)                                                                 \
    while ((condition) && !failed(end)) {                                                          \
        turn(end);                                                                                 \
    }

static void settle(struct end *end)
{
    for (uint32_t peer = 0; peer < end->ranks; peer++) {
        TURN_WHILE(end, comm_is_congested(end->comm, peer))
        {
        }
    }
}

static uint32_t alive_others(const struct end *end)
{
    uint32_t count = 0;
    for (uint32_t peer = 1; peer < end->ranks; peer++) {
        count += !end->downs[peer];
    }
    return count;
}

/* Ends the world together: nobody leaves while somebody may still need its progress. */
static void finish(struct end *end)
{
    settle(end);
    if (end->rank == 0) {
        TURN_WHILE(end, end->byes < alive_others(end))
        {
        }
        for (uint32_t peer = 1; peer < end->ranks; peer++) {
            send_kind(end, peer, 0, KIND_END);
        }
        settle(end);
    } else {
        send_kind(end, 0, 0, KIND_BYE);
        TURN_WHILE(end, !end->ended)
        {
        }
    }
    comm_flush(end->comm);
    struct comm_stats stats = comm_get_stats(end->comm);
    atomic_fetch_add(&end->shared->sent, stats.messages_sent);
    atomic_fetch_add(&end->shared->received, stats.messages_received);
    atomic_fetch_add(&end->shared->bytes_sent, stats.bytes_sent);
    atomic_fetch_add(&end->shared->bytes_received, stats.bytes_received);
    atomic_fetch_add(&end->shared->overflowed, stats.overflowed);
    atomic_fetch_add(&end->shared->sleeps, stats.sleeps);
}

/* Called by worlds around the body, in the rank's own thread. */
static MT_UNUSED void run_body(struct end *end, void (*body)(struct end *))
{
    struct comm_sink sink = {.message = on_message,
                             .peer_down = on_peer_down,
                             .owner = end,
                             .place = on_place,
                             .landed = on_landed,
                             .returned = on_returned};
    end->next_in = calloc(end->ranks, sizeof(uint32_t));
    end->next_out = calloc(end->ranks, sizeof(uint32_t));
    end->downs = calloc(end->ranks, sizeof(uint32_t));
    comm_set_sink(end->comm, &sink);
    body(end);
    free(end->next_in);
    free(end->next_out);
    free(end->downs);
}

static struct shared *run_world(uint32_t ranks, void (*body)(struct end *))
{
    static struct shared *shared;
    if (!shared) {
        shared =
            mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(shared, MAP_FAILED);
    }
    memset(shared, 0, sizeof *shared);
    uint64_t live = base_alloc_live();
    the_world->run(ranks, body, shared);
    if (shared->failed_line) {
        fail_msg("%s: CHECK failed at line %u", the_world->name, shared->failed_line);
    }
    assert_int_equal(base_alloc_live(), live);
    return shared;
}

static struct shared *run_peaceful(uint32_t ranks, void (*body)(struct end *))
{
    struct shared *shared = run_world(ranks, body);
    assert_true(shared->sent > 0);
    assert_int_equal(shared->sent, shared->received);
    assert_int_equal(shared->bytes_sent, shared->bytes_received);
    return shared;
}

static uint32_t at_most(uint32_t ranks)
{
    return MT_MIN(ranks, the_world->max_ranks);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void all_to_all_body(struct end *end)
{
    enum { EACH = 1500 };
    uint32_t random = end->rank + 1;
    for (uint32_t i = 0; i < EACH; i++) {
        for (uint32_t peer = 0; peer < end->ranks; peer++) {
            send_data(end, peer, next_random(&random) % 100);
            TURN_WHILE(end, comm_is_congested(end->comm, peer))
            {
            }
        }
        comm_flush(end->comm);
    }
    TURN_WHILE(end, end->received < (uint64_t)EACH * end->ranks)
    {
    }
    finish(end);
}

static void test_messages_arrive_in_order_exactly_once(void **state)
{
    run_peaceful(at_most(3), all_to_all_body);
}

static const size_t sizes[] = {0,
                               1,
                               8,
                               31,
                               32,
                               33,
                               95,
                               96,
                               97,
                               1000,
                               2047,
                               4000,
                               4063,
                               4064,
                               4065,
                               8127,
                               8128,
                               8129,
                               16384,
                               65536,
                               65537,
                               131072,
                               1000000,
                               WIRE_BODY_MAX - 1,
                               WIRE_BODY_MAX};

/* Lends all it can to the next rank, says the rest, and tells how many to expect. */
static void lend_body(struct end *end)
{
    struct comm_loan loans[LENT_EACH];
    uint32_t to = (end->rank + 1) % end->ranks;
    uint8_t *data = malloc((size_t)LENT_EACH * LENT_BYTES);
    end->landing = malloc((size_t)LENT_EACH * LENT_BYTES);
    send_data(end, to, 8); /* opens the way */
    send_data(end, (end->rank + end->ranks - 1) % end->ranks, 8);
    TURN_WHILE(end, end->received < 2)
    {
    }
    for (uint32_t n = 0; n < LENT_EACH; n++) {
        struct comm_lent what = {.header = {.parent = end->rank, .position = n},
                                 .head = {pattern(n, 5)},
                                 .data = data + (size_t)n * LENT_BYTES,
                                 .bytes = LENT_BYTES};
        for (size_t i = 0; i < LENT_BYTES; i++) {
            data[(size_t)n * LENT_BYTES + i] = pattern(n, i);
        }
        base_list_init(&loans[n].link);
        if (comm_lend(end->comm, to, &what, &loans[n])) {
            end->loans++;
            atomic_fetch_add(&end->shared->lent[to], 1);
        }
        send_data(end, to, 300);
    }
    TURN_WHILE(end, end->received < 2 + LENT_EACH || end->loans > 0)
    {
    }
    free(data); /* whatever lands later is not read from here */
    TURN_WHILE(end, end->landed < atomic_load(&end->shared->lent[end->rank]))
    {
    }
    atomic_store(&end->shared->lent[end->rank], 0);
    finish(end);
    free(end->landing);
}

static void test_lent_bytes_land_in_place_and_loans_come_back(void **state)
{
    run_peaceful(at_most(3), lend_body);
}

static void sizes_body(struct end *end)
{
    uint32_t to = (end->rank + 1) % end->ranks;
    CHECK(end, comm_prepare(end->comm, to, (size_t)WIRE_BODY_MAX + 1) == NULL);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MT_COUNT(sizes); i++) {
            send_data(end, to, sizes[i]);
            send_data(end, end->rank, sizes[MT_COUNT(sizes) - 1 - i]);
            send_data(end, to, i % 40);
        }
    }
    TURN_WHILE(end, end->received < 6 * MT_COUNT(sizes))
    {
    }
    finish(end);
}

static void test_bodies_of_all_sizes_arrive_whole(void **state)
{
    run_peaceful(at_most(2), sizes_body);
}

static void cycle_body(struct end *end)
{
    enum { EACH = 20000 };
    uint32_t to = (end->rank + 1) % end->ranks;
    for (uint32_t i = 0; i < EACH; i++) { /* without ever looking: each ring of the cycle is full */
        send_data(end, to, i % 300);
    }
    CHECK(end, end->ranks == 1 || comm_is_congested(end->comm, to));
    TURN_WHILE(end, end->received < EACH)
    {
    }
    CHECK(end, comm_get_stats(end->comm).overflowed > 0 || end->ranks == 1);
    finish(end);
}

static void test_a_cycle_of_full_ways_makes_progress(void **state)
{
    run_peaceful(at_most(3), cycle_body);
}

static void sleepy_cycle_body(struct end *end)
{
    end->sleepy = true;
    cycle_body(end);
}

static void test_a_cycle_of_full_ways_makes_progress_asleep(void **state)
{
    run_peaceful(at_most(3), sleepy_cycle_body);
}

static void congestion_body(struct end *end)
{
    if (end->rank == 1) {
        while (!atomic_load(&end->shared->go) && !failed(end)) {
            end->host->yield(end->host->self);
        }
        end->echo = true;
    } else {
        CHECK(end, !comm_is_congested(end->comm, 1));
        uint32_t count = 0;
        for (; !comm_is_congested(end->comm, 1) && count < 100000; count++) {
            send_data(end, 1, 32);
        }
        CHECK(end, count > 1 && count < 100000);
        comm_flush(end->comm);
        atomic_store(&end->shared->go, 1);
        TURN_WHILE(end, end->received < count)
        {
        }
        CHECK(end, !comm_is_congested(end->comm, 1));
        CHECK(end, comm_get_stats(end->comm).overflowed == 1);
        send_data(end, 1, 32);
        CHECK(end, !comm_is_congested(end->comm, 1));
        TURN_WHILE(end, end->received < count + 1)
        {
        }
    }
    finish(end);
}

static void test_congestion_begins_when_full_and_ends_when_drained(void **state)
{
    if (the_world->max_ranks < 2) {
        return;
    }
    run_peaceful(2, congestion_body);
}

/* Rank 0 sends to all and waits for all echoes; everybody sleeps whenever there is nothing. */
static void wake_body(struct end *end)
{
    enum { ROUNDS = 1500 };
    uint32_t random = 7;
    end->sleepy = true;
    end->echo = end->rank != 0;
    for (uint32_t round = 1; end->rank == 0 && round <= ROUNDS && !failed(end); round++) {
        for (uint32_t peer = 1; peer < end->ranks; peer++) {
            send_data(end, peer, 8);
        }
        TURN_WHILE(end, end->received < (uint64_t)round * (end->ranks - 1))
        {
        }
        for (volatile uint32_t pause = next_random(&random) % 3000; pause; pause--) {}
    }
    finish(end);
}

static void test_a_sleeper_is_always_woken(void **state)
{
    if (the_world->max_ranks >= 2) {
        assert_true(run_peaceful(2, wake_body)->sleeps > 0);
        run_peaceful(3, wake_body);
    }
}

static void waker_main(void *arg)
{
    struct end *end = arg;
    comm_wake(end->comm);
}

static void wake_call_body(struct end *end)
{
    comm_wake(end->comm); /* before the sleep: kept */
    CHECK(end, comm_arm(end->comm));
    sleep_once(end);
    comm_rouse(end->comm);
    CHECK(end, !comm_is_armed(end->comm));
    uint64_t before_ns = base_now_ns(end->host);
    CHECK(end, comm_arm(end->comm));
    comm_sleep(end->comm, before_ns + 2000000); /* nobody wakes */
    CHECK(end, base_now_ns(end->host) >= before_ns + 2000000);
    for (int i = 0; i < 50; i++) {
        struct base_thread thread;
        struct base_thread_options options = {.name = "waker"};
        CHECK(end,
              end->host->thread_start(end->host->self, &thread, &options, waker_main, end) == 0);
        sleep_once(end);
        end->host->thread_join(end->host->self, &thread);
    }
    CHECK(end, comm_get_stats(end->comm).sleeps == 52);
    send_data(end, end->rank, 0);
    CHECK(end, !comm_arm(end->comm)); /* there is something to do */
    CHECK(end, comm_progress(end->comm, 10) == 1);
    CHECK(end, !comm_is_armed(end->comm));
    finish(end);
}

static void test_comm_wake_ends_a_sleep_in_course_or_the_next(void **state)
{
    run_peaceful(1, wake_call_body);
}

static void self_body(struct end *end)
{
    end->echo = true;
    send_data(end, end->rank, 5);
    CHECK(end, end->received == 0);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(end, comm_progress(end->comm, 1) == 1);
    }
    CHECK(end, end->received == 1000);
    end->echo = false;
    CHECK(end, comm_progress(end->comm, 10) == 1);
    CHECK(end, comm_progress(end->comm, 10) == 0);
    finish(end);
}

static void test_messages_to_itself_are_delivered_from_progress_only(void **state)
{
    run_peaceful(1, self_body);
}

static void death_body(struct end *end)
{
    uint32_t victim = end->ranks - 1;
    if (end->rank == victim) {
        for (uint32_t i = 0; i < 100; i++) {
            for (uint32_t peer = 0; peer < victim; peer++) {
                send_data(end, peer, i);
            }
        }
        comm_flush(end->comm);
        end->die(end);
        return;
    }
    for (uint32_t i = 0; i < 5000 && !failed(end); i++) {
        send_data(end, victim, 1000);
        if (i % 100 == 0) {
            turn(end);
        }
    }
    end->sleepy = end->rank == 1;
    TURN_WHILE(end, !end->downs[victim])
    {
    }
    CHECK(end, comm_is_down(end->comm, victim) && !comm_is_down(end->comm, end->rank));
    CHECK(end, !comm_is_congested(end->comm, victim));
    uint64_t sent = comm_get_stats(end->comm).messages_sent, received = end->next_in[victim];
    CHECK(end, received <= 100);
    for (uint32_t i = 0; i < 1000; i++) {
        send_data(end, victim, i * 20);
    }
    CHECK(end, comm_get_stats(end->comm).messages_sent == sent);
    comm_mark_down(end->comm, victim);
    comm_mark_down(end->comm, end->rank); /* nobody declares itself dead */
    comm_mark_down(end->comm, end->ranks);
    for (uint32_t i = 0; i < 100; i++) {
        send_data(end, end->rank, 4);
        turn(end);
    }
    CHECK(end, end->downs[victim] == 1 && end->downs[end->rank] == 0);
    CHECK(end, end->next_in[victim] == received);
    finish(end);
}

static void test_a_death_is_told_once_and_sends_to_the_dead_are_swallowed(void **state)
{
    if (the_world->can_kill) {
        run_world(4, death_body);
    }
}

/* Everybody talks to rank 0 and to some others, in numbers that all can compute. */
static void crowd_body(struct end *end)
{
    enum { FRIENDS = 12, EACH = 4 };
    end->sleepy = true;
    for (uint32_t i = 0; i < EACH; i++) {
        for (uint32_t friend = 1; friend <= FRIENDS; friend ++) {
            send_data(end, (end->rank + friend * friend) % end->ranks, 20 * i);
        }
        send_data(end, 0, 16);
        turn(end);
    }
    uint64_t expected = FRIENDS * EACH + (end->rank == 0 ? (uint64_t)EACH * end->ranks : 0);
    TURN_WHILE(end, end->received < expected)
    {
    }
    CHECK(end, end->received == expected);
    finish(end);
}

static void test_a_crowd_of_peers(void **state)
{
    run_peaceful(the_world->crowd, crowd_body);
}

/* Fails each of the allocations that a long message to a new peer needs, one after the other. */
static void no_memory_body(struct end *end)
{
    uint32_t to = end->ranks - 1, refused = 0, sent = 0;
    if (end->rank == 0) {
        for (uint64_t k = 1; k <= 8; k++) {
            base_alloc_fail_at(k);
            bool done = try_send(end, to, 100000, KIND_DATA);
            base_alloc_fail_at(0);
            refused += !done;
            sent += done;
        }
        CHECK(end, refused > 0 && sent > 0);
        comm_flush(end->comm);
        atomic_store(&end->shared->go, sent);
    }
    while (!atomic_load(&end->shared->go) && !failed(end)) {
        end->host->yield(end->host->self);
    }
    TURN_WHILE(end, end->rank == to && end->received < atomic_load(&end->shared->go))
    {
    }
    finish(end);
}

static void test_prepare_without_memory_is_null_and_harmless(void **state)
{
    run_peaceful(at_most(2), no_memory_body);
}

static MT_UNUSED int conformance_run(const struct world *world)
{
    the_world = world;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_arrive_in_order_exactly_once),
        cmocka_unit_test(test_lent_bytes_land_in_place_and_loans_come_back),
        cmocka_unit_test(test_bodies_of_all_sizes_arrive_whole),
        cmocka_unit_test(test_a_cycle_of_full_ways_makes_progress),
        cmocka_unit_test(test_a_cycle_of_full_ways_makes_progress_asleep),
        cmocka_unit_test(test_congestion_begins_when_full_and_ends_when_drained),
        cmocka_unit_test(test_a_sleeper_is_always_woken),
        cmocka_unit_test(test_comm_wake_ends_a_sleep_in_course_or_the_next),
        cmocka_unit_test(test_messages_to_itself_are_delivered_from_progress_only),
        cmocka_unit_test(test_a_death_is_told_once_and_sends_to_the_dead_are_swallowed),
        cmocka_unit_test(test_a_crowd_of_peers),
        cmocka_unit_test(test_prepare_without_memory_is_null_and_harmless),
    };
    return cmocka_run_group_tests_name(world->name, tests, NULL, NULL);
}

#endif
