/*
 * Streams: behaviours 65 to 68, on one virtual rank and several, between virtual nodes, and under
 * faults. world_check that after each run no item, no record and no block is left anywhere.
 */
#define TEST_NAME "streams"
#include "chaos.h"
#include "streams.h"

#include "core/context.h"

/* ---- 65: items come before the end; an error is one item, then the end, again and again ------ */

static int behaviour_65_items_come_before_the_end(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = count_up_async(&far, 10, MS);
    int64_t x;
    uint64_t count;
    CHECK(take_one(xs, &x) == MANTA_OK && x == 0);
    CHECK(manta_wait(&xs, 1, 1, 0, NULL) == MANTA_E_TIMEOUT);
    for (int64_t i = 1; i < 10; i++) {
        CHECK(take_one(xs, &x) == MANTA_OK && x == i);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(take_one(xs, &x) == MANTA_E_END);
    }
    CHECK(count_up_get(xs, &count) == MANTA_OK && count == 10);
    CHECK(take_one(xs, &x) == MANTA_E_END);
    return 0;
}

MANTA_TASK(count_then_fail, val(int64_t, n), stream(int64_t, xs))
{
    for (int64_t i = 0; i < n; i++) {
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return manta_fail(7, "after %lld", (long long)n);
}

static int behaviour_65_an_error_is_one_item_then_the_end(int argc, char **argv)
{
    const manta_options far = on_far();
    int64_t x;
    for (int64_t n = 0; n < 200; n += 1 + n * n) {
        manta_ref xs = count_then_fail_async(&far, n), item;
        for (int64_t i = 0; i < n; i++) {
            CHECK(take_one(xs, &x) == MANTA_OK && x == i);
        }
        CHECK(manta_next(xs, MANTA_FOREVER, &item) == MANTA_OK);
        CHECK(manta_get(item, &x, sizeof x) == 7 && error_says("after"));
        CHECK(strcmp(manta_last_error()->task, "count_then_fail") == 0);
        for (int i = 0; i < 2; i++) {
            CHECK(manta_next(xs, MANTA_FOREVER, &item) == MANTA_E_END);
        }
    }
    return 0;
}

static int behaviour_65_a_stream_of_nothing_ends(int argc, char **argv)
{
    const manta_options far = on_far();
    int64_t x;
    uint64_t count = 1;
    manta_ref xs = count_up_async(&far, 0, 0);
    CHECK(take_one(xs, &x) == MANTA_E_END);
    CHECK(count_up_get(xs, &count) == MANTA_OK && count == 0);
    return 0;
}

static int behaviour_65_a_timeout_leaves_the_stream_as_it_is(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = count_up_async(&far, 3, 5 * MS), item;
    int64_t count = 0, sum = 0, timeouts = 0;
    int code;
    while ((code = manta_next(xs, MS, &item)) == MANTA_E_TIMEOUT) {
        timeouts++;
    }
    CHECK(code == MANTA_OK && timeouts >= 3);
    CHECK(take_all(xs, 1, &count, &sum) == MANTA_E_END && count == 2);
    return 0;
}

/* ---- 66: what was consumed is freed; nothing leaks ------------------------------------------- */

static int behaviour_66_long_items_are_freed_as_they_are_dropped(int argc, char **argv)
{
    const manta_options far = {.rank = MANTA_ON(world_size() - 1), .ahead = 4};
    enum { ITEMS = 400 }; /* far more than the store holds */
    manta_ref bytes = long_items_async(&far, ITEMS), item;
    for (int64_t i = 0; i < ITEMS; i++) {
        CHECK(manta_next(bytes, MANTA_FOREVER, &item) == MANTA_OK);
        CHECK(is_long_item(item, i));
        CHECK(manta_drop(item) == MANTA_OK);
    }
    CHECK(manta_next(bytes, MANTA_FOREVER, &item) == MANTA_E_END);
    return 0;
}

static int behaviour_66_long_items_are_held_back_by_their_bytes(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref bytes = long_items_async(&far, 300), item;
    core_work(20 * MS); /* nobody reads: the store of the node must not fill up */
    for (int64_t i = 0; i < 300; i++) {
        CHECK(manta_next(bytes, MANTA_FOREVER, &item) == MANTA_OK);
        CHECK(is_long_item(item, i));
        CHECK(manta_drop(item) == MANTA_OK);
    }
    return 0;
}

static int behaviour_66_what_nobody_takes_is_freed_with_the_stream(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = count_up_async(&far, 1000000000, 0), bytes = long_items_async(&far, 1000000);
    manta_ref item;
    int64_t x;
    for (int i = 0; i < 5; i++) {
        CHECK(take_one(xs, &x) == MANTA_OK && x == i);
        CHECK(manta_next(bytes, MANTA_FOREVER, &item) == MANTA_OK && is_long_item(item, i));
    }
    CHECK(manta_drop(xs) == MANTA_OK && manta_drop(bytes) == MANTA_OK);
    CHECK(is_long_item(item, 4)); /* what was taken is the reader's */
    return 0;
}

static int behaviour_66_a_stream_that_nobody_reads_ends_with_the_job(int argc, char **argv)
{
    const manta_options far = on_far();
    (void)count_up_async(&far, 1000000000, 0);
    core_work(MS);
    return 0;
}

MANTA_TASK(yields_for_ever, stream(int64_t, xs), val(int64_t, unused))
{
    int code = MANTA_OK;
    for (int64_t i = 0; code == MANTA_OK; i++) {
        code = manta_yield(xs, &i, 1);
    }
    return manta_cancelled() ? code : manta_fail(103, "yield gave %d", code);
}

static int behaviour_66_an_endless_stream_is_stopped_when_it_is_dropped(int argc, char **argv)
{
    for (uint32_t rank = 0; rank < world_size(); rank++) {
        const manta_options there = {.rank = MANTA_ON(rank)};
        manta_ref xs = yields_for_ever_async(&there, 0);
        int64_t x;
        for (int i = 0; i < 100; i++) {
            CHECK(take_one(xs, &x) == MANTA_OK && x == i);
        }
        CHECK(manta_drop(xs) == MANTA_OK);
    }
    return 0;
}

/* ---- Back-pressure ----------------------------------------------------------------------------
 */

static int64_t yielded;

MANTA_TASK(counts_what_it_yields, val(int64_t, n), stream(int64_t, xs))
{
    for (yielded = 0; yielded < n; yielded++) {
        MANTA_TRY(manta_yield(xs, &yielded, 1));
    }
    return MANTA_OK;
}

static int the_body_is_held_back(int argc, char **argv)
{
    for (uint32_t ahead = 1; ahead < 100; ahead *= 3) {
        const manta_options far = {.rank = MANTA_ON(world_size() - 1), .ahead = ahead};
        manta_ref xs = counts_what_it_yields_async(&far, 400), item;
        for (int64_t i = 0; i < 400; i++) {
            CHECK(manta_next(xs, MANTA_FOREVER, &item) == MANTA_OK);
            CHECK(yielded <= i + 1 + (int64_t)ahead);
            manta_drop(item);
        }
        manta_drop(xs);
    }
    return 0;
}

/* ---- Readers elsewhere, and chains ------------------------------------------------------------
 */

static int readers_and_sources_on_any_ranks(int argc, char **argv)
{
    int64_t total;
    for (uint32_t source = 0; source < world_size(); source += 2) {
        for (uint32_t reader = 0; reader < world_size(); reader++) {
            const manta_options there = {.rank = MANTA_ON(source)},
                                here = {.rank = MANTA_ON(reader)};
            manta_ref xs = count_up_async(&there, 300, 0);
            manta_ref sum = sum_up_async(&here, xs, 0);
            manta_drop(xs); /* the reader holds it */
            CHECK(sum_up_get(sum, &total) == MANTA_OK && total == sum_below(300));
        }
    }
    return 0;
}

static int long_items_for_readers_elsewhere(int argc, char **argv)
{
    int64_t count;
    for (uint32_t reader = 0; reader < world_size(); reader++) {
        const manta_options here = {.rank = MANTA_ON(reader)}, far = on_far();
        manta_ref sum = read_long_async(&here, long_items_async(&far, 60));
        CHECK(read_long_get(sum, &count) == MANTA_OK && count == 60);
    }
    return 0;
}

static int behaviour_68_chained_generators_across_four_ranks(int argc, char **argv)
{
    manta_ref xs = count_up_async(NULL, 500, 1000);
    for (uint32_t i = 0; i < 4; i++) {
        const manta_options there = {.rank = MANTA_ON((i + 1) % world_size())};
        xs = one_more_async(&there, xs);
    }
    int64_t count = 0, sum = 0;
    CHECK(take_all(xs, 4, &count, &sum) == MANTA_E_END);
    CHECK(count == 500 && sum == sum_below(500) + 4 * 500);
    return 0;
}

static int an_item_is_an_argument(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = count_up_async(&far, 20, 0), item, ys[20];
    int64_t y;
    for (int i = 0; i < 20; i++) {
        CHECK(manta_next(xs, MANTA_FOREVER, &item) == MANTA_OK);
        ys[i] = increment_async(&far, item);
        manta_drop(item);
    }
    for (int64_t i = 0; i < 20; i++) {
        CHECK(increment_get(ys[i], &y) == MANTA_OK && y == i + 1);
    }
    return 0;
}

/* ---- 68: cancel -------------------------------------------------------------------------------
 */

static int behaviour_68_cancel_mid_stream_is_an_error_then_the_end(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = yields_for_ever_async(&far, 0), item;
    int64_t x;
    int code;
    for (int i = 0; i < 10; i++) {
        CHECK(take_one(xs, &x) == MANTA_OK && x == i);
    }
    CHECK(manta_cancel(xs) == MANTA_OK);
    do { /* what had come before is there still */
        CHECK(manta_next(xs, MANTA_FOREVER, &item) == MANTA_OK);
        code = manta_get(item, &x, sizeof x);
    } while (code == MANTA_OK);
    CHECK(code == MANTA_E_CANCELLED);
    CHECK(manta_next(xs, MANTA_FOREVER, &item) == MANTA_E_END);
    CHECK(manta_next(xs, 0, &item) == MANTA_E_END);
    return 0;
}

static int behaviour_68_a_cancel_reaches_through_a_chain(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = yields_for_ever_async(NULL, 0), ys = one_more_async(&far, xs), item;
    int64_t x;
    int code;
    CHECK(take_one(ys, &x) == MANTA_OK && x == 1);
    CHECK(manta_cancel(xs) == MANTA_OK);
    do {
        CHECK(manta_next(ys, MANTA_FOREVER, &item) == MANTA_OK);
        code = manta_get(item, &x, sizeof x);
    } while (code == MANTA_OK);
    CHECK(code == MANTA_E_CANCELLED);
    CHECK(manta_next(ys, MANTA_FOREVER, &item) == MANTA_E_END);
    return 0;
}

/* ---- 67: a run again does not repeat what was delivered ---------------------------------------
 */

static int attempts;

MANTA_TASK(fails_once_in_between, val(int64_t, n), stream(int64_t, xs))
{
    int attempt = ++attempts;
    for (int64_t i = 0; i < n; i++) {
        if (attempt == 1 && i == n / 2) {
            return manta_fail(9, "half way");
        }
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return MANTA_OK;
}

static int behaviour_67_a_run_again_does_not_repeat_items(int argc, char **argv)
{
    const manta_options far = {.rank = MANTA_ON(world_size() - 1), .retry_errors = 1, .ahead = 5};
    int64_t count = 0, sum = 0;
    attempts = 0;
    manta_ref xs = fails_once_in_between_async(&far, 100);
    CHECK(take_all(xs, 0, &count, &sum) == MANTA_E_END);
    CHECK(count == 100 && sum == sum_below(100) && attempts == 2);
    return 0;
}

MANTA_TASK(reads_half_then_fails, ref(xs), out(int64_t, total))
{
    int64_t x, count = 0;
    int attempt = ++attempts;
    for (int i = 0; i < 100; i++) {
        MANTA_TRY(take_one(xs, &x));
        if (x != i) {
            return manta_fail(104, "item %d is %lld", i, (long long)x);
        }
        *total += x;
    }
    if (attempt == 1) {
        return manta_fail(9, "half way");
    }
    int64_t sum = 0;
    int code = take_all(xs, 100, &count, &sum);
    *total += sum;
    return code == MANTA_E_END ? MANTA_OK : code;
}

static int behaviour_67_a_reader_that_runs_again_reads_from_the_beginning(int argc, char **argv)
{
    int64_t total;
    for (int64_t n = 100; n < 1000; n += 350) {
        const manta_options far = on_far(), again = {.retry_errors = 1};
        attempts = 0;
        manta_ref xs = count_up_async(&far, n, 0);
        CHECK(reads_half_then_fails_get(reads_half_then_fails_async(&again, xs), &total) ==
              MANTA_OK);
        CHECK(total == sum_below(n) && attempts == 2);
    }
    return 0;
}

/* ---- One reader -------------------------------------------------------------------------------
 */

static int a_second_reader_is_refused(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref xs = count_up_async(&far, 10, 0);
    int64_t x, total;
    CHECK(take_one(xs, &x) == MANTA_OK && x == 0);
    manta_ref other = sum_up_async(&far, xs, 0);
    CHECK(sum_up_get(other, &total) == MANTA_E_STATE && error_says("one reader"));
    CHECK(take_one(xs, &x) == MANTA_OK && x == 1);
    return 0;
}

static int what_is_no_stream_is_refused(int argc, char **argv)
{
    const manta_options far = on_far();
    manta_ref y = square_async(&far, 3), item;
    int64_t total;
    CHECK(manta_next(y, MANTA_FOREVER, &item) == MANTA_E_TYPE && error_says("not a stream"));
    CHECK(sum_up_get(sum_up_async(&far, y, 0), &total) == MANTA_E_TYPE && error_says("stream"));
    CHECK(manta_next((manta_ref){0}, 0, &item) == MANTA_E_INVALID);
    CHECK(square_get(square_async(MANTA_OPTIONS(.ahead = 3), 3), &total) == MANTA_E_INVALID &&
          error_says("ahead"));
    return 0;
}

/* ---- What items cost --------------------------------------------------------------------------
 */

static struct comm_stats stats_here(void)
{
    struct context *context = context_get();
    return comm_get_stats(context->rank->comm);
}

/* Reads n items from the last rank; how many messages and bytes went each way. */
static int count_messages(int64_t n, uint64_t work_ns, struct comm_stats *ret_cost)
{
    const manta_options far = on_far();
    int64_t count = 0, sum = 0;
    struct comm_stats before = stats_here();
    manta_ref xs = count_up_async(&far, n, work_ns);
    CHECK(take_all(xs, 0, &count, &sum) == MANTA_E_END && count == n);
    struct comm_stats after = stats_here();
    ret_cost->messages_received = after.messages_received - before.messages_received;
    ret_cost->messages_sent = after.messages_sent - before.messages_sent;
    ret_cost->bytes_received = after.bytes_received - before.bytes_received;
    return 0;
}

/* A fast source makes batches of 16 bytes for an item of 8; a slow one sends each at once, and that
 * is a line. What comes back is one message for one, at most. */
static int small_items_cost_a_line_at_most(int argc, char **argv)
{
    enum { ITEMS = 2000, OTHER = 40 }; /* of the task itself */
    struct comm_stats cost;
    if (world_size() == 1) {
        return 0;
    }
    CHECK(count_messages(ITEMS, 0, &cost) == 0);
    CHECK(cost.messages_received <= ITEMS / 8 + OTHER && cost.messages_sent <= ITEMS / 8 + OTHER);
    CHECK(cost.bytes_received <= (uint64_t)ITEMS * 24 + OTHER * 64);
    CHECK(count_messages(ITEMS, 100000, &cost) == 0);
    CHECK(cost.messages_received <= ITEMS + OTHER && cost.messages_sent <= ITEMS + OTHER);
    CHECK(cost.bytes_received <= (uint64_t)ITEMS * (24 + 8 + 8 + 8) + OTHER * 64);
    return 0;
}

#define EACH_DRIVER(X)                                                                             \
    X(behaviour_65_items_come_before_the_end)                                                      \
    X(behaviour_65_an_error_is_one_item_then_the_end)                                              \
    X(behaviour_65_a_stream_of_nothing_ends)                                                       \
    X(behaviour_65_a_timeout_leaves_the_stream_as_it_is)                                           \
    X(behaviour_66_long_items_are_freed_as_they_are_dropped)                                       \
    X(behaviour_66_long_items_are_held_back_by_their_bytes)                                        \
    X(behaviour_66_what_nobody_takes_is_freed_with_the_stream)                                     \
    X(behaviour_66_a_stream_that_nobody_reads_ends_with_the_job)                                   \
    X(behaviour_66_an_endless_stream_is_stopped_when_it_is_dropped)                                \
    X(the_body_is_held_back)                                                                       \
    X(readers_and_sources_on_any_ranks)                                                            \
    X(long_items_for_readers_elsewhere)                                                            \
    X(behaviour_68_chained_generators_across_four_ranks)                                           \
    X(an_item_is_an_argument)                                                                      \
    X(behaviour_68_cancel_mid_stream_is_an_error_then_the_end)                                     \
    X(behaviour_68_a_cancel_reaches_through_a_chain)                                               \
    X(behaviour_67_a_run_again_does_not_repeat_items)                                              \
    X(behaviour_67_a_reader_that_runs_again_reads_from_the_beginning)                              \
    X(a_second_reader_is_refused)                                                                  \
    X(what_is_no_stream_is_refused)                                                                \
    X(small_items_cost_a_line_at_most)

/* One rank, several of a node, and several of several nodes. */
#define TEST_ON_NODES(driver)                                                                      \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        world_on_nodes(TEST_NAME, driver, 8 * MIB, 30);                                            \
    }
EACH_DRIVER(TEST_ON_NODES)

int main(void)
{
    const struct CMUnitTest tests[] = {EACH_DRIVER(ENTRY)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
