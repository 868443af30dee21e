/*
 * Streams under faults: sources, readers and owners of both die at drawn moments; every reader gets
 * every item once and in order, whatever ran again.
 */
#define TEST_NAME "stream_faults"
#include "chaos.h"
#include "streams.h"

enum { ITEMS = 60 };

static const manta_options many_tries = {.retries = 100, .ahead = 8};

/* The driver reads what others yield. */
static int behaviour_67_read_by_the_driver(int argc, char **argv)
{
    manta_ref xs[4];
    for (int i = 0; i < 4; i++) {
        xs[i] = count_up_async(&many_tries, ITEMS, 5 * US);
    }
    for (int i = 0; i < 4; i++) {
        int64_t count = 0, sum = 0;
        CHECK(take_all(xs[i], 0, &count, &sum) == MANTA_E_END && count == ITEMS);
        CHECK(sum == sum_below(ITEMS));
    }
    return 0;
}

/* Readers and sources are tasks of the driver's. */
static int behaviour_67_read_by_tasks(int argc, char **argv)
{
    manta_ref sums[4];
    for (int i = 0; i < 4; i++) {
        manta_ref xs = count_up_async(&many_tries, ITEMS, 5 * US);
        sums[i] = sum_up_async(MANTA_OPTIONS(.retries = 100), xs, 4 * US);
        manta_drop(xs);
    }
    for (int i = 0; i < 4; i++) {
        int64_t total;
        CHECK(sum_up_get(sums[i], &total) == MANTA_OK && total == sum_below(ITEMS));
    }
    return 0;
}

static int behaviour_68_read_in_chains(int argc, char **argv)
{
    manta_ref xs = count_up_async(&many_tries, ITEMS, 3 * US);
    for (int i = 0; i < 3; i++) {
        xs = one_more_async(&many_tries, xs);
    }
    int64_t count = 0, sum = 0;
    CHECK(take_all(xs, 3, &count, &sum) == MANTA_E_END && count == ITEMS);
    CHECK(sum == sum_below(ITEMS) + 3 * ITEMS);
    return 0;
}

static int behaviour_66_read_long_items(int argc, char **argv)
{
    manta_ref counts[3];
    for (int i = 0; i < 3; i++) {
        manta_ref bytes = long_items_async(&many_tries, 20);
        counts[i] = read_long_async(MANTA_OPTIONS(.retries = 100), bytes);
    }
    for (int i = 0; i < 3; i++) {
        int64_t count;
        CHECK(read_long_get(counts[i], &count) == MANTA_OK && count == 20);
    }
    return 0;
}

/* Whoever submits source and reader may die as well. */
MANTA_TASK(pipeline, val(int64_t, which), out(int64_t, total))
{
    manta_ref xs = count_up_async(&many_tries, ITEMS, 3 * US);
    if (which % 3 == 0) {
        int64_t count = 0;
        int code = take_all(xs, 0, &count, total);
        return code == MANTA_E_END ? MANTA_OK : code;
    }
    xs = which % 3 == 1 ? xs : one_more_async(&many_tries, one_more_async(&many_tries, xs));
    if (which % 3 == 2) {
        int64_t count = 0;
        int code = take_all(xs, 2, &count, total);
        *total -= 2 * count;
        return code == MANTA_E_END ? MANTA_OK : code;
    }
    return sum_up_get(sum_up_async(MANTA_OPTIONS(.retries = 100), xs, 2 * US), total);
}

static int pipelines_inside_tasks(int argc, char **argv)
{
    manta_ref sums[6];
    for (int64_t i = 0; i < 6; i++) {
        sums[i] = pipeline_async(MANTA_OPTIONS(.retries = 100), i);
    }
    for (int i = 0; i < 6; i++) {
        int64_t total;
        CHECK(pipeline_get(sums[i], &total) == MANTA_OK && total == sum_below(ITEMS));
    }
    return 0;
}

/* Half read, then dropped or cancelled. */
static int behaviour_66_left_in_the_middle(int argc, char **argv)
{
    manta_ref streams[6];
    for (int i = 0; i < 6; i++) {
        streams[i] = count_up_async(&many_tries, 100 * ITEMS, 10 * US);
    }
    for (int i = 0; i < 6; i++) {
        manta_ref xs = streams[i];
        int64_t x;
        for (int64_t k = 0; k < 10; k++) {
            CHECK(take_one(xs, &x) == MANTA_OK && x == k);
        }
        if (i % 2) {
            int64_t count = 0, sum = 0;
            CHECK(manta_cancel(xs) == MANTA_OK);
            CHECK(take_all(xs, 10, &count, &sum) == MANTA_E_CANCELLED);
            CHECK(take_one(xs, &x) == MANTA_E_END);
        }
        manta_drop(xs);
    }
    return 0;
}

/* What, all its tasks one after the other, when faults come: in us. */
static const struct chaos campaigns[] = {
    CHAOS(behaviour_67_read_by_the_driver, 1500, 700),
    CHAOS(behaviour_67_read_by_tasks, 2500, 1200),
    CHAOS(behaviour_68_read_in_chains, 500, 400),
    CHAOS(behaviour_66_read_long_items, 500, 300),
    CHAOS(pipelines_inside_tasks, 3000, 1200),
    CHAOS(behaviour_66_left_in_the_middle, 2000, 500),
};

int main(void)
{
    return chaos_main(TEST_NAME, 64 * MIB, campaigns, sizeof campaigns / sizeof *campaigns);
}
