/*
 * Values and arguments of thousands of refs: what they cost in messages, and that each of the refs
 * is good for its value, whatever that is, and let go of. world_check sees that no hold is left.
 */
#include "chaos.h"
#include "check.h"
#include "comm/comm.h"
#include "core/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 3000, BATCH = 40, OTHER = 60 };

static const size_t sizes[] = {0, 1, 63, 64, 65, 256, 257, 4096};

static size_t size_of(int64_t i, int64_t is_mixed)
{
    return is_mixed ? sizes[i % (int64_t)(sizeof sizes / sizeof *sizes)] : 64;
}

static manta_ref put_one(int64_t i, int64_t is_mixed)
{
    uint8_t bytes[4096];
    memset(bytes, (int)(i % 251), sizeof bytes);
    return manta_put(bytes, size_of(i, is_mixed));
}

static int get_one(manta_ref ref, int64_t i, int64_t is_mixed)
{
    uint8_t bytes[4096], expected[4096];
    size_t size = size_of(i, is_mixed);
    memset(expected, (int)(i % 251), sizeof expected);
    MANTA_TRY(manta_get(ref, bytes, size));
    return memcmp(bytes, expected, size) ? manta_fail(77, "value %d is wrong", (int)i) : MANTA_OK;
}

MANTA_TASK(make, val(int64_t, count), val(int64_t, is_mixed), outrefs(made))
{
    manta_ref *refs = manta_outv_alloc(made, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        refs[i] = put_one(i, is_mixed);
    }
    return MANTA_OK;
}

MANTA_TASK(read_all, refs(values), val(int64_t, is_mixed), out(int64_t, count))
{
    MANTA_TRY(manta_wait(values, values_len, values_len, MANTA_FOREVER, NULL));
    for (size_t i = 0; i < values_len; i++) {
        MANTA_TRY(get_one(values[i], (int64_t)i, is_mixed));
    }
    *count = (int64_t)values_len;
    return MANTA_OK;
}

MANTA_TASK(later, val(int64_t, i), out(int64_t, y))
{
    core_work(100000);
    *y = i;
    return MANTA_OK;
}

MANTA_TASK(make_later, val(int64_t, count), outrefs(made))
{
    manta_ref *refs = manta_outv_alloc(made, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        refs[i] = later_async(NULL, i);
    }
    return MANTA_OK;
}

static struct comm_stats stats_here(void)
{
    return comm_get_stats(context_get()->rank->comm);
}

/* In messages, since then. */
static bool cost_at_most(const struct comm_stats *before, uint64_t sent, uint64_t received)
{
    struct comm_stats after = stats_here();
    return after.messages_sent - before->messages_sent <= sent &&
           after.messages_received - before->messages_received <= received;
}

static int read_results(int64_t count, int64_t is_mixed)
{
    const manta_options far = on_far();
    const manta_ref *made;
    size_t found;
    manta_ref all = make_async(&far, count, is_mixed);
    CHECK(make_get(all, &made, &found) == MANTA_OK && found == (size_t)count);
    CHECK(manta_wait(made, found, found, MANTA_FOREVER, NULL) == MANTA_OK);
    for (int64_t i = 0; i < count; i++) {
        CHECK(get_one(made[i], i, is_mixed) == MANTA_OK);
    }
    return 0;
}

static int a_result_of_many_refs_costs_a_message_for_many(int argc, char **argv)
{
    struct comm_stats before = stats_here();
    CHECK(manta_scope_begin() == MANTA_OK);
    CHECK(read_results(MANY, 0) == 0);
    CHECK(manta_scope_end() == MANTA_OK);
    CHECK(cost_at_most(&before, 3 * MANY / BATCH + OTHER, 2 * MANY / BATCH + OTHER));
    return 0;
}

static int many_arguments_cost_a_message_for_many(int argc, char **argv)
{
    static manta_ref refs[MANY];
    const manta_options far = on_far();
    int64_t count = 0;
    for (int64_t i = 0; i < MANY; i++) {
        refs[i] = put_one(i, 0);
    }
    struct comm_stats before = stats_here();
    CHECK(read_all_get(read_all_async(&far, refs, MANY, 0), &count) == MANTA_OK && count == MANY);
    CHECK(cost_at_most(&before, 2 * MANY / BATCH + OTHER, 2 * MANY / BATCH + OTHER));
    return 0;
}

static int values_of_any_size_come(int argc, char **argv)
{
    enum { SOME = 400 };
    static manta_ref refs[SOME];
    const manta_options far = on_far();
    int64_t count = 0;
    CHECK(read_results(SOME, 1) == 0);
    for (int64_t i = 0; i < SOME; i++) {
        refs[i] = put_one(i, 1);
    }
    CHECK(read_all_get(read_all_async(&far, refs, SOME, 1), &count) == MANTA_OK && count == SOME);
    return 0;
}

static int values_that_are_not_there_yet_come_later(int argc, char **argv)
{
    enum { SOME = 200 };
    const manta_options far = on_far();
    const manta_ref *made;
    size_t found;
    int64_t y;
    manta_ref all = make_later_async(&far, SOME);
    CHECK(make_later_get(all, &made, &found) == MANTA_OK && found == SOME);
    for (int64_t i = SOME; i-- > 0;) {
        CHECK(later_get(made[i], &y) == MANTA_OK && y == i);
    }
    return 0;
}

/* In any order, twice looked at, and what was dropped is not held any more. */
static int refs_are_dropped_one_by_one(int argc, char **argv)
{
    enum { SOME = 300 };
    const manta_options far = on_far();
    const manta_ref *made, *again;
    size_t found;
    manta_ref refs[SOME];
    manta_ref all = make_async(&far, SOME, 0);
    CHECK(make_get(all, &made, &found) == MANTA_OK && found == SOME);
    CHECK(make_get(all, &again, &found) == MANTA_OK && found == SOME);
    memcpy(refs, made, sizeof refs);
    CHECK(manta_unview(all) == MANTA_OK && manta_unview(all) == MANTA_OK);
    for (size_t i = 0; i < SOME; i++) {
        manta_ref ref = refs[i * 7 % SOME];
        CHECK(manta_drop(ref) == MANTA_OK);
        CHECK(world_size() == 1 || manta_drop(ref) == MANTA_E_NOTFOUND);
    }
    return 0;
}

#define EACH_DRIVER(X)                                                                             \
    X(a_result_of_many_refs_costs_a_message_for_many)                                              \
    X(many_arguments_cost_a_message_for_many)                                                      \
    X(values_of_any_size_come)                                                                     \
    X(values_that_are_not_there_yet_come_later)                                                    \
    X(refs_are_dropped_one_by_one)

/* With the maker on the own rank, on the own node, and on another one. */
#define TEST(driver)                                                                               \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        world_on_nodes("many_refs", driver, 8 * MIB, 15);                                          \
    }
EACH_DRIVER(TEST)

int main(void)
{
#define ENTRY(driver) cmocka_unit_test(test_##driver),
    const struct CMUnitTest tests[] = {EACH_DRIVER(ENTRY)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
