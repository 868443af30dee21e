/*
 * What was spilled, and whose maker dies or whose disk does not give back what it was given: the
 * heir reads it back, or it is made again. world_check that nothing is left.
 */
#include "check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { STORE = 4 << 20, COUNT = 12, WORDS = 100 << 10, ITEMS = 40, ITEM_WORDS = 12 << 10 };

static uint64_t data[WORDS];

static void fill(uint64_t *xs, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++) {
        xs[i] = key * 1000003 + i;
    }
}

static bool is_filled(const uint64_t *xs, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++) {
        if (xs[i] != key * 1000003 + i) {
            return false;
        }
    }
    return true;
}

MANTA_TASK(make, val(uint64_t, key), outv(uint64_t, xs))
{
    uint64_t *x = (uint64_t *)manta_outv_alloc(xs, WORDS);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    fill(x, WORDS, key);
    core_work(100000);
    return MANTA_OK;
}

MANTA_TASK(check_one, val(uint64_t, key), in(uint64_t, xs), out(int32_t, is_right))
{
    core_work(20000);
    *is_right = is_filled(xs, xs_len, key);
    return MANTA_OK;
}

MANTA_TASK(yield_numbers, stream(uint64_t, xs), val(uint64_t, count))
{
    for (uint64_t i = 0; i < count; i++) {
        fill(data, ITEM_WORDS, i);
        MANTA_TRY(manta_yield(xs, data, ITEM_WORDS));
    }
    return MANTA_OK;
}

static int make_all(uint32_t on, manta_ref *ret_refs)
{
    const manta_options there = {.rank = MANTA_ON(on)};
    for (uint64_t i = 0; i < COUNT; i++) {
        ret_refs[i] = make_async(&there, i);
    }
    return manta_wait(ret_refs, COUNT, COUNT, MANTA_FOREVER, NULL);
}

static int read_all(uint32_t on, const manta_ref *refs)
{
    const manta_options there = {.rank = MANTA_ON(on)};
    manta_ref checks[COUNT];
    int32_t is_right;
    for (uint64_t i = 0; i < COUNT; i++) {
        checks[i] = check_one_async(&there, i, refs[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(check_one_get(checks[i], &is_right) == MANTA_OK && is_right);
    }
    return 0;
}

static int get_some(const manta_ref *refs, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        CHECK(manta_get(refs[i], data, sizeof data) == MANTA_OK && is_filled(data, WORDS, i));
    }
    return 0;
}

/* ---- Drivers -------------------------------------------------------------------------------- */

/* Nodes of three. Read by the driver, from another node, by the heir, and by its neighbour; then
 * the heir dies too. */
static int the_heir_reads_back_what_the_dead_had_spilled(int argc, char **argv)
{
    manta_ref refs[COUNT];
    CHECK(make_all(4, refs) == MANTA_OK);
    world_kill(4);
    CHECK(get_some(refs, 2) == 0);
    CHECK(read_all(3, refs) == 0 && read_all(5, refs) == 0);
    world_kill(3);
    CHECK(read_all(5, refs) == 0);
    return get_some(refs, 4);
}

/* The readers are at it when the maker dies, on its node and elsewhere: they ask heirs that have
 * not heard of the death. */
static int a_death_in_the_middle_of_reading_changes_nothing(int argc, char **argv)
{
    manta_ref refs[COUNT], checks[3 * COUNT];
    int32_t is_right;
    CHECK(make_all(4, refs) == MANTA_OK);
    for (uint64_t i = 0; i < 3 * COUNT; i++) {
        static const uint32_t readers[] = {3, 5, 1};
        const manta_options there = {.rank = MANTA_ON(readers[i % 3])};
        checks[i] = check_one_async(&there, i / 3, refs[i / 3]);
    }
    world_kill(4);
    for (uint64_t i = 0; i < 3 * COUNT; i++) {
        CHECK(check_one_get(checks[i], &is_right) == MANTA_OK && is_right);
    }
    return 0;
}

static int what_the_disk_damaged_is_made_again(int argc, char **argv)
{
    const manta_options often = {.retries = 32};
    manta_ref refs[COUNT];
    int32_t is_right;
    for (uint64_t i = 0; i < COUNT; i++) {
        refs[i] = make_async(&often, i);
    }
    CHECK(get_some(refs, COUNT) == 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(check_one_get(check_one_async(&often, i, refs[i]), &is_right) == MANTA_OK);
        CHECK(is_right);
    }
    return get_some(refs, COUNT);
}

static int is_right_item(manta_ref item, uint64_t index)
{
    CHECK(manta_get(item, data, ITEM_WORDS * 8) == MANTA_OK && is_filled(data, ITEM_WORDS, index));
    return 0;
}

/* What was taken of a stream is the reader's, on the source's node and elsewhere. */
static int items_outlive_the_rank_that_yielded_them(int argc, char **argv)
{
    static const uint32_t sources[] = {1, 4};
    for (uint64_t s = 0; s < 2; s++) {
        const manta_options there = {.rank = MANTA_ON(sources[s])};
        manta_ref xs = yield_numbers_async(&there, ITEMS), items[ITEMS], more;
        uint64_t taken = 0;
        for (; taken < 10; taken++) {
            CHECK(manta_next(xs, MANTA_FOREVER, &items[taken]) == MANTA_OK);
        }
        world_kill(sources[s]);
        for (uint64_t i = 0; i < taken; i++) {
            CHECK(is_right_item(items[i], i) == 0);
        }
        /* It is bound to a rank that is dead: some had come, then it ends with an error. */
        while (manta_next(xs, MANTA_FOREVER, &more) == MANTA_OK &&
               manta_wait(&more, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK &&
               manta_ref_error(more, &(manta_error){0}) == MANTA_E_STATE) {
            CHECK(taken < ITEMS && is_right_item(more, taken++) == 0);
        }
    }
    return 0;
}

/* ---- Worlds --------------------------------------------------------------------------------- */

struct expectation {
    uint32_t ranks;
    bool is_restored, is_remade;
    uint32_t damage_percent;
};

static void in_worlds(manta_driver driver, struct expectation expected)
{
    uint64_t first, count, restored = 0, remade = 0;
    world_seeds(8, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {
            .seed = seed,
            .ranks = expected.ranks,
            .node_ranks = 3,
            .workers = 1 + (uint32_t)(seed % 2),
            .store_bytes = STORE,
            .disk = {.delay_max_ns = 300000, .damage_percent = expected.damage_percent},
            .will_kill = true};
        struct world_result result;
        assert_int_equal(world_run(&options, driver, &result), 0);
        assert_int_equal(world_check("spill_lost", &options, &result), 0);
        restored += result.total.restored_bytes;
        remade += result.total.remade;
    }
    assert_true(restored > 0 || !expected.is_restored);
    assert_int_equal(remade > 0, expected.is_remade);
}

#define EACH_DRIVER(X)                                                                             \
    X(the_heir_reads_back_what_the_dead_had_spilled, 6, true, false, 0)                            \
    X(a_death_in_the_middle_of_reading_changes_nothing, 6, true, false, 0)                         \
    X(what_the_disk_damaged_is_made_again, 3, true, true, 10)                                      \
    X(items_outlive_the_rank_that_yielded_them, 6, false, false, 0)

#define TEST(driver, ranks, restored, remade, damage)                                              \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        in_worlds(driver, (struct expectation){ranks, restored, remade, damage});                  \
    }
EACH_DRIVER(TEST)

int main(void)
{
#define ENTRY(driver, ranks, restored, remade, damage) cmocka_unit_test(test_##driver),
    const struct CMUnitTest tests[] = {EACH_DRIVER(ENTRY)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
