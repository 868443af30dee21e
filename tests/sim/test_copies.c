/*
 * Copies of values in the stores of virtual nodes: one for each node however many read, handed from
 * node to node while they come in, given up when room is needed, and what becomes of them when
 * ranks die. world_check that no block and no copy is left.
 */
#include "check.h"
#include "core/context.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STORE = 16 << 20, CHUNK = 256 * 1024, READERS_MAX = 1000 };

/* Byte i of value `seed`. */
static uint64_t word_at(uint64_t seed, uint64_t i)
{
    return seed * UINT64_C(0x9e3779b97f4a7c15) + i;
}

MANTA_TASK(make, val(uint64_t, bytes), val(uint64_t, seed), outv(uint64_t, xs))
{
    uint64_t *x = (uint64_t *)manta_outv_alloc(xs, bytes / 8);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    for (uint64_t i = 0; i < bytes / 8; i++) {
        x[i] = word_at(seed, i);
    }
    return MANTA_OK;
}

/* How many words are wrong. */
MANTA_TASK(count_wrong, in(uint64_t, xs), val(uint64_t, seed), out(uint64_t, wrong))
{
    for (uint64_t i = 0; i < xs_len; i++) {
        *wrong += xs[i] != word_at(seed, i);
    }
    core_work(20000);
    return MANTA_OK;
}

static int read_on(manta_ref xs, uint64_t seed, uint32_t reader, uint32_t times, manta_ref *refs)
{
    for (uint32_t i = 0; i < times; i++) {
        refs[i] = count_wrong_async(MANTA_OPTIONS(.rank = MANTA_ON(reader)), xs, seed);
    }
    return MANTA_OK;
}

static int expect_right(const manta_ref *refs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t wrong = 1;
        CHECK(count_wrong_get(refs[i], &wrong) == MANTA_OK && wrong == 0);
        manta_drop(refs[i]);
    }
    return 0;
}

/* ---- One copy ------------------------------------------------------------------------------- */

enum { TIMES = 3 };

static int all_ranks_read_one_value_again_and_again(int argc, char **argv)
{
    static manta_ref refs[READERS_MAX * TIMES];
    uint32_t ranks = world_size();
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), 5 * CHUNK + 800, 3);
    for (int round = 0; round < 2; round++) {
        for (uint32_t reader = 0; reader < ranks; reader++) {
            CHECK(read_on(xs, 3, reader, TIMES, &refs[reader * TIMES]) == MANTA_OK);
        }
        if (expect_right(refs, ranks * TIMES)) {
            return 1;
        }
    }
    manta_drop(xs);
    return 0;
}

static void each_node_has_one_copy_however_many_read(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 12,
                                        .workers = 1 + (uint32_t)(seed % 2),
                                        .node_ranks = 4,
                                        .store_bytes = STORE};
        struct world_result result;
        assert_int_equal(world_run(&options, all_ranks_read_one_value_again_and_again, &result), 0);
        assert_int_equal(world_check("copies", &options, &result), 0);
        assert_int_equal(result.total.copied, 2);
        assert_int_equal(result.total.evicted, 0);
        assert_int_equal(result.total.chunks_sent + result.total.chunks_passed, 2 * 6);
    }
}

/* ---- Many nodes ----------------------------------------------------------------------------- */

static uint64_t broadcast_bytes, broadcast_ns;

static uint64_t virtual_now_ns(void)
{
    return base_now_ns(context_get()->rank->host);
}

static int one_reader_on_each_rank(int argc, char **argv)
{
    static manta_ref refs[READERS_MAX];
    uint32_t ranks = world_size();
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), broadcast_bytes, 1);
    CHECK(manta_wait(&xs, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    uint64_t start_ns = virtual_now_ns();
    for (uint32_t reader = 0; reader < ranks; reader++) {
        CHECK(read_on(xs, 1, reader, 1, &refs[reader]) == MANTA_OK);
    }
    int code = expect_right(refs, ranks);
    broadcast_ns = virtual_now_ns() - start_ns;
    return code;
}

/* Virtual time, with 10 bytes per ns from rank to rank. */
static double broadcast_ms(uint32_t ranks, uint32_t node_ranks, uint64_t bytes)
{
    struct world_options options = {.seed = 1,
                                    .ranks = ranks,
                                    .node_ranks = node_ranks,
                                    .store_bytes = STORE,
                                    .bytes_per_us = 10000};
    struct world_result result;
    broadcast_bytes = bytes;
    assert_int_equal(world_run(&options, one_reader_on_each_rank, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.copied, (ranks - 1) / node_ranks);
    print_message("%u nodes, %llu chunks: %.3f ms; the maker sent %llu chunks of %llu\n",
                  ranks / node_ranks, (unsigned long long)(bytes / CHUNK),
                  (double)broadcast_ns / 1e6, (unsigned long long)result.total.chunks_sent,
                  (unsigned long long)(result.total.chunks_sent + result.total.chunks_passed));
    assert_int_equal(result.total.chunks_sent, bytes / CHUNK);
    return (double)broadcast_ns / 1e6;
}

static void a_broadcast_takes_hardly_longer_on_many_nodes_than_on_one(void **state)
{
    const uint64_t bytes = 4 << 20;
    double two = broadcast_ms(8, 4, bytes);
    double eight = broadcast_ms(32, 4, bytes);
    double many = broadcast_ms(1000, 4, bytes);
    assert_true(eight < 2 * two);
    assert_true(many < 4 * two);
}

static void a_thousand_nodes_get_a_value_of_few_chunks(void **state)
{
    const uint64_t bytes = 1 << 20;
    double two = broadcast_ms(2, 1, bytes);
    assert_true(broadcast_ms(1000, 1, bytes) < 8 * two);
}

/* ---- Room ----------------------------------------------------------------------------------- */

/* Each value is a third of the store of the reader's node. */
static int one_value_after_the_other_is_read_elsewhere(int argc, char **argv)
{
    enum { VALUES = 6 };
    manta_ref xs[VALUES], ref;
    for (uint64_t i = 0; i < VALUES; i++) {
        xs[i] = make_async(MANTA_OPTIONS(.rank = MANTA_ON(i / 2)), STORE / 3, i);
        CHECK(read_on(xs[i], i, 3, 1, &ref) == MANTA_OK);
        if (expect_right(&ref, 1)) {
            return 1;
        }
    }
    ref = make_async(MANTA_OPTIONS(.rank = MANTA_ON(3)), STORE / 2, 9);
    CHECK(manta_wait(&ref, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    CHECK(manta_ref_error(ref, &(manta_error){0}) == MANTA_E_STATE);
    CHECK(read_on(xs[0], 0, 3, 1, &ref) == MANTA_OK);
    return expect_right(&ref, 1);
}

static void behaviour_73_copies_that_nobody_reads_make_room(void **state)
{
    struct world_options options = {.seed = 1, .ranks = 4, .node_ranks = 1, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, one_value_after_the_other_is_read_elsewhere, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.copied, 7);
    assert_true(result.total.evicted >= 5);
}

/* Twenty times what the reader's node may hold, if copies stayed. */
static int values_are_read_elsewhere_and_dropped(int argc, char **argv)
{
    for (uint64_t i = 0; i < 60; i++) {
        manta_ref ref, xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), STORE / 3, i);
        CHECK(read_on(xs, i, 1, 1, &ref) == MANTA_OK);
        if (expect_right(&ref, 1)) {
            return 1;
        }
        manta_drop(xs);
    }
    return 0;
}

static void a_copy_goes_with_its_value(void **state)
{
    struct world_options options = {.seed = 1, .ranks = 2, .node_ranks = 1, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, values_are_read_elsewhere_and_dropped, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.evicted, 0);
}

/* ---- Where tasks run ------------------------------------------------------------------------ */

MANTA_TASK(where, in(uint64_t, small), in(uint64_t, large), out(uint32_t, rank))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    core_work(50000);
    *rank = world.rank;
    return MANTA_OK;
}

/* Two values each, of different nodes; ranks 4 to 7 are one. */
static int tasks_with_most_of_their_arguments_there(int argc, char **argv)
{
    enum { TASKS = 12 };
    manta_ref small = make_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), CHUNK, 1), refs[TASKS];
    manta_ref large = make_async(MANTA_OPTIONS(.rank = MANTA_ON(5)), 3 * CHUNK, 2);
    uint32_t rank, near = 0;
    for (int i = 0; i < TASKS; i++) {
        CHECK(where_get(where_async(NULL, small, large), &rank) == MANTA_OK);
        CHECK(rank >= 4 && rank < 8);
    }
    for (int i = 0; i < TASKS; i++) {
        refs[i] = where_async(NULL, small, large);
    }
    for (int i = 0; i < TASKS; i++) {
        CHECK(where_get(refs[i], &rank) == MANTA_OK);
        near += rank >= 4 && rank < 8;
    }
    CHECK(near == TASKS);
    return 0;
}

static void behaviour_35_a_task_goes_where_most_of_its_stored_bytes_are(void **state)
{
    struct world_options options = {.seed = 1, .ranks = 12, .node_ranks = 4, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, tasks_with_most_of_their_arguments_there, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.copied, 1);
}

static int tasks_that_are_bound_elsewhere(int argc, char **argv)
{
    manta_ref large = make_async(MANTA_OPTIONS(.rank = MANTA_ON(5)), 3 * CHUNK, 2);
    uint32_t rank;
    for (uint32_t i = 0; i < 12; i++) {
        const manta_options on = {.rank = MANTA_ON(i)};
        CHECK(where_get(where_async(&on, large, large), &rank) == MANTA_OK && rank == i);
    }
    return 0;
}

static void behaviour_36_a_rank_that_was_asked_for_overrides_locality(void **state)
{
    struct world_options options = {.seed = 1, .ranks = 12, .node_ranks = 4, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, tasks_that_are_bound_elsewhere, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.copied, 2);
}

/* All read what one node has: long tasks, which nobody else is to wait for. */
static int many_long_tasks_near_one_value(int argc, char **argv)
{
    enum { TASKS = 100 };
    manta_ref xs = make_async(MANTA_OPTIONS(.rank = MANTA_ON(3)), CHUNK, 1), refs[TASKS];
    uint32_t rank, ran[4] = {0};
    for (int i = 0; i < TASKS; i++) {
        refs[i] = where_async(NULL, xs, xs);
    }
    for (int i = 0; i < TASKS; i++) {
        CHECK(where_get(refs[i], &rank) == MANTA_OK);
        ran[rank]++;
    }
    CHECK(ran[3] >= TASKS / 4 && ran[3] < TASKS / 2);
    CHECK(ran[0] && ran[1] && ran[2]);
    return 0;
}

static void a_task_does_not_wait_for_its_node_while_others_are_idle(void **state)
{
    struct world_options options = {
        .seed = 1, .ranks = 4, .node_ranks = 1, .window_max = 4, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, many_long_tasks_near_one_value, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.copied, 3);
}

/* ---- Ahead ---------------------------------------------------------------------------------- */

/* Ten times the reader's store in arguments of tasks that are all sent to it at once. */
static int more_arguments_than_room(int argc, char **argv)
{
    enum { TASKS = 40 };
    manta_ref refs[TASKS], xs[TASKS];
    for (uint64_t i = 0; i < TASKS; i++) {
        xs[i] = make_async(MANTA_OPTIONS(.rank = MANTA_ON(1 + i % 12)), 3 * STORE / 13, i);
        CHECK(read_on(xs[i], i, 0, 1, &refs[i]) == MANTA_OK);
    }
    return expect_right(refs, TASKS);
}

static void arguments_are_asked_for_no_further_ahead_than_there_is_room(void **state)
{
    struct world_options options = {
        .seed = 1, .ranks = 13, .workers = 2, .node_ranks = 1, .store_bytes = STORE};
    struct world_result result;
    assert_int_equal(world_run(&options, more_arguments_than_room, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    assert_int_equal(result.total.copied, 40);
}

/* What one task computes while the next one's argument comes costs no time. */
static int reads_in_a_row(int argc, char **argv)
{
    enum { TASKS = 20 };
    manta_ref xs[TASKS], refs[TASKS];
    for (uint64_t i = 0; i < TASKS; i++) {
        xs[i] = make_async(MANTA_OPTIONS(.rank = MANTA_ON(1)), CHUNK, i);
    }
    CHECK(manta_wait(xs, TASKS, TASKS, MANTA_FOREVER, NULL) == MANTA_OK);
    uint64_t start_ns = virtual_now_ns();
    for (uint64_t i = 0; i < TASKS; i++) {
        CHECK(read_on(xs[i], i, 0, 1, &refs[i]) == MANTA_OK);
    }
    int code = expect_right(refs, TASKS);
    broadcast_ns = virtual_now_ns() - start_ns;
    return code;
}

/* Each takes 26 us to come, and 20 to be read. */
static void arguments_come_while_other_tasks_run(void **state)
{
    struct world_options options = {
        .seed = 1, .ranks = 2, .node_ranks = 1, .store_bytes = STORE, .bytes_per_us = 10000};
    struct world_result result;
    assert_int_equal(world_run(&options, reads_in_a_row, &result), 0);
    assert_int_equal(world_check("copies", &options, &result), 0);
    print_message("%.3f ms\n", (double)broadcast_ns / 1e6);
    assert_true(broadcast_ns < 20 * 46000);
}

/* ---- Deaths --------------------------------------------------------------------------------- */

enum { VALUES = 3, READS = 30 };

/* What rank 0 has put is there whoever dies; what others made may be lost with them. */
static int readers_everywhere_while_ranks_die(int argc, char **argv)
{
    static uint64_t own[9 * CHUNK / 8];
    manta_ref xs[VALUES], reads[VALUES][READS];
    for (uint64_t i = 0; i < sizeof own / 8; i++) {
        own[i] = word_at(0, i);
    }
    xs[0] = manta_put(own, sizeof own);
    for (uint64_t i = 1; i < VALUES; i++) {
        xs[i] = make_async(NULL, 3 * CHUNK * i + 8, i);
    }
    for (uint32_t k = 0; k < READS; k++) {
        for (uint64_t i = 0; i < VALUES; i++) {
            reads[i][k] = count_wrong_async(MANTA_OPTIONS(.retries = 9), xs[i], i);
        }
    }
    for (uint32_t k = 0; k < READS; k++) {
        for (uint64_t i = 0; i < VALUES; i++) {
            uint64_t wrong = 1;
            int code = count_wrong_get(reads[i][k], &wrong);
            CHECK(code == MANTA_OK ? wrong == 0 : i > 0);
            CHECK(code == MANTA_OK || code == MANTA_E_LOST || code == MANTA_E_DEPENDENCY);
        }
    }
    return 0;
}

static void with_deaths_answers_are_right_or_lost_with_their_maker(void **state)
{
    uint64_t first, count, copied = 0, passed = 0, dead = 0;
    world_seeds(500, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 3 + (uint32_t)(seed % 6),
                                        .workers = 1 + (uint32_t)(seed % 2),
                                        .kills = 1 + (uint32_t)(seed % 3),
                                        .kill_within_ns = 1500000,
                                        .bytes_per_us = seed % 4 ? 10000 : 0,
                                        .store_bytes = STORE};
        struct world_result result;
        assert_int_equal(world_run(&options, readers_everywhere_while_ranks_die, &result), 0);
        assert_int_equal(world_check("copies", &options, &result), 0);
        copied += result.total.copied;
        passed += result.total.chunks_passed;
        dead += result.killed;
    }
    print_message("%llu copies by survivors, %llu chunks passed on by them, %llu ranks dead\n",
                  (unsigned long long)copied, (unsigned long long)passed, (unsigned long long)dead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_has_one_copy_however_many_read),
        cmocka_unit_test(a_broadcast_takes_hardly_longer_on_many_nodes_than_on_one),
        cmocka_unit_test(a_thousand_nodes_get_a_value_of_few_chunks),
        cmocka_unit_test(behaviour_73_copies_that_nobody_reads_make_room),
        cmocka_unit_test(a_copy_goes_with_its_value),
        cmocka_unit_test(behaviour_35_a_task_goes_where_most_of_its_stored_bytes_are),
        cmocka_unit_test(behaviour_36_a_rank_that_was_asked_for_overrides_locality),
        cmocka_unit_test(a_task_does_not_wait_for_its_node_while_others_are_idle),
        cmocka_unit_test(arguments_are_asked_for_no_further_ahead_than_there_is_room),
        cmocka_unit_test(arguments_come_while_other_tasks_run),
        cmocka_unit_test(with_deaths_answers_are_right_or_lost_with_their_maker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
