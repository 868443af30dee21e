/*
 * Campaigns of faults over values in the store: chains and trees of them, inputs of maps, refs
 * handed on, values put inside tasks, changed in place, and all of it inside tasks. As in
 * test_chaos.c; besides, no block of any share is left, a dead rank's on a node that lives
 * included.
 */
#include "chaos.h"
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* From a little over what travels in messages to several chunks of a copy. */
enum { SIZES = 4 };
static const size_t sizes[SIZES] = {10000, 10240, 40000, 131072};

static const manta_options many_tries = {.retries = 100};

static int fill(manta_outv *xs, size_t n, int64_t first)
{
    int64_t *x = (int64_t *)manta_outv_alloc(xs, n);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = first + (int64_t)i;
    }
    return MANTA_OK;
}

/* What is right for a value that begins with `first`; else what is wrong. */
static int check(const int64_t *xs, size_t n, int64_t first)
{
    for (size_t i = 0; i < n; i++) {
        if (xs[i] != first + (int64_t)i) {
            return manta_fail(1, "element %zu of %zu is %lld, not %lld", i, n, (long long)xs[i],
                              (long long)(first + (int64_t)i));
        }
    }
    return MANTA_OK;
}

MANTA_TASK(make, val(int64_t, first), outv(int64_t, xs))
{
    core_work(20 * US);
    return fill(xs, sizes[first % SIZES], first);
}

/* Reads all of it, and makes one like it. */
MANTA_TASK(next, in(int64_t, before), outv(int64_t, xs))
{
    core_work(20 * US);
    MANTA_TRY(check(before, before_len, before[0]));
    return fill(xs, before_len, before[0] + 1);
}

MANTA_TASK(join, in(int64_t, a), in(int64_t, b), outv(int64_t, xs))
{
    core_work(20 * US);
    MANTA_TRY(check(a, a_len, a[0]));
    MANTA_TRY(check(b, b_len, b[0]));
    return fill(xs, a_len, a[0] + b[0]);
}

MANTA_TASK(shift, inout(int64_t, xs))
{
    core_work(10 * US);
    for (size_t i = 0; i < xs_len; i++) {
        xs[i] += 10;
    }
    return MANTA_OK;
}

MANTA_TASK(first_of, in(int64_t, xs), out(int64_t, first))
{
    core_work(10 * US);
    *first = xs[0];
    return check(xs, xs_len, xs[0]);
}

MANTA_TASK(first_of_ref, ref(xs), out(int64_t, first))
{
    const int64_t *data;
    size_t length;
    int code = make_get(xs, &data, &length);
    if (code != MANTA_OK) {
        return manta_fail(code, "%s", manta_last_error()->text);
    }
    *first = data[0];
    return check(data, length, data[0]);
}

/* All are there, and have been for a while in which ranks die. */
static int settle(const manta_ref *refs, size_t count)
{
    MANTA_TRY(manta_wait(refs, count, count, MANTA_FOREVER, NULL));
    core_work(1000 * US);
    return MANTA_OK;
}

static bool begins_with(manta_ref xs, int64_t first)
{
    int64_t is;
    return first_of_ref(xs, &is) == MANTA_OK && is == first;
}

/* ---- Chains, trees, maps -------------------------------------------------------------------- */

enum { LADDERS = 4, LEVELS = 6 };

static int chains(int argc, char **argv)
{
    enum { CHAINS = 4 };
    manta_ref ends[CHAINS];
    for (int64_t i = 0; i < CHAINS; i++) {
        ends[i] = make_async(&many_tries, i);
        for (int level = 0; level < LEVELS; level++) {
            manta_ref after = next_async(&many_tries, ends[i]);
            CHECK(manta_drop(ends[i]) == MANTA_OK);
            ends[i] = after;
        }
    }
    CHECK(settle(ends, CHAINS) == MANTA_OK);
    for (int64_t i = 0; i < CHAINS; i++) {
        CHECK(begins_with(ends[i], i + LEVELS));
    }
    return 0;
}

static void climb(int64_t start, manta_ref *levels, int64_t *firsts)
{
    levels[0] = make_async(&many_tries, start);
    firsts[0] = start;
    for (int i = 1; i < LEVELS; i++) {
        levels[i] = i % 3 ? next_async(&many_tries, levels[i - 1])
                          : join_async(&many_tries, levels[i - 1], levels[i - 2]);
        firsts[i] = i % 3 ? firsts[i - 1] + 1 : firsts[i - 1] + firsts[i - 2];
    }
}

/* All levels stay held, and are looked at in the end, the last first. */
static int levels_that_stay(int argc, char **argv)
{
    manta_ref levels[LADDERS * LEVELS];
    int64_t firsts[LADDERS * LEVELS], first;
    for (int i = 0; i < LADDERS; i++) {
        climb(i, levels + i * LEVELS, firsts + i * LEVELS);
    }
    CHECK(settle(levels, LADDERS * LEVELS) == MANTA_OK);
    for (int i = LADDERS * LEVELS - 1; i >= 0; i--) {
        CHECK(first_of_get(first_of_async(&many_tries, levels[i]), &first) == MANTA_OK);
        CHECK(first == firsts[i] && begins_with(levels[i], first));
    }
    return 0;
}

MANTA_TASK(tree, val(int64_t, first), val(int64_t, count), outv(int64_t, xs))
{
    if (count == 1) {
        core_work(20 * US);
        return fill(xs, sizes[0], first);
    }
    manta_ref left = tree_async(&many_tries, first, count / 2);
    manta_ref right = tree_async(&many_tries, first + count / 2, count - count / 2);
    const int64_t *a, *b;
    size_t a_length, b_length;
    MANTA_TRY(tree_get(left, &a, &a_length));
    MANTA_TRY(tree_get(right, &b, &b_length));
    MANTA_TRY(check(a, a_length, a[0]));
    MANTA_TRY(check(b, b_length, b[0]));
    return fill(xs, sizes[0], a[0] + b[0]);
}

static int trees(int argc, char **argv)
{
    manta_ref top = tree_async(&many_tries, 0, 24);
    CHECK(begins_with(top, 24 * 23 / 2));
    return 0;
}

MANTA_TASK(pick, in(int64_t, xs), out(int64_t, x))
{
    core_work(3 * US);
    *x = xs[manta_map_index()];
    return MANTA_OK;
}

static int maps_read_a_value(int argc, char **argv)
{
    enum { N = 400 };
    static int64_t values[N];
    manta_ref xs = next_async(&many_tries, make_async(&many_tries, 2));
    manta_ref map = pick_map(&many_tries, N, xs);
    CHECK(pick_map_get(map, values, N) == MANTA_OK);
    CHECK(settle(&xs, 1) == MANTA_OK);
    map = pick_map(&many_tries, N, xs);
    CHECK(manta_drop(xs) == MANTA_OK);
    CHECK(pick_map_get(map, values, N) == MANTA_OK);
    for (int i = 0; i < N; i++) {
        CHECK(values[i] == 3 + i);
    }
    return 0;
}

static int inouts(int argc, char **argv)
{
    manta_ref ends[4];
    for (int64_t i = 0; i < 4; i++) {
        ends[i] = make_async(&many_tries, i);
        for (int level = 0; level < 5; level++) {
            ends[i] = shift_async(&many_tries, ends[i]);
        }
    }
    CHECK(settle(ends, 4) == MANTA_OK);
    for (int64_t i = 0; i < 4; i++) {
        CHECK(begins_with(ends[i], i + 50));
    }
    return 0;
}

/* ---- Refs ----------------------------------------------------------------------------------- */

/* Makes values in tasks, puts others, and hands the refs up. */
MANTA_TASK(make_all, val(int64_t, first), val(int64_t, count), outrefs(parts))
{
    int64_t *scratch = malloc(sizes[0] * sizeof *scratch);
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, (size_t)count);
    core_work(10 * US);
    for (int64_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizes[0]; k++) {
            scratch[k] = first + i + (int64_t)k;
        }
        refs[i] = i % 3 ? make_async(&many_tries, first + i)
                        : manta_put(scratch, sizes[0] * sizeof *scratch);
    }
    free(scratch);
    return MANTA_OK;
}

MANTA_TASK(sum_firsts, refs(parts), out(int64_t, total))
{
    for (size_t i = 0; i < parts_len; i++) {
        int64_t first;
        MANTA_TRY(first_of_ref(parts[i], &first));
        *total += first;
    }
    return MANTA_OK;
}

static int refs_handed_on(int argc, char **argv)
{
    enum { GROUPS = 4, EACH = 6 };
    manta_ref made[GROUPS], sums[GROUPS], joined[GROUPS];
    int64_t total;
    for (int i = 0; i < GROUPS; i++) {
        made[i] = make_all_async(&many_tries, i * EACH, EACH);
    }
    for (int i = 0; i < GROUPS; i++) {
        const manta_ref *parts;
        size_t count;
        CHECK(make_all_get(made[i], &parts, &count) == MANTA_OK && count == EACH);
        sums[i] = sum_firsts_async(&many_tries, parts, count);
        joined[i] = join_async(&many_tries, parts[0], parts[1]);
        CHECK(manta_drop(made[i]) == MANTA_OK);
    }
    CHECK(settle(joined, GROUPS) == MANTA_OK);
    for (int i = 0; i < GROUPS; i++) {
        CHECK(sum_firsts_get(sums[i], &total) == MANTA_OK);
        CHECK(total == EACH * EACH * i + EACH * (EACH - 1) / 2);
        CHECK(begins_with(joined[i], 2 * EACH * i + 1));
    }
    return 0;
}

/* The value that is returned is made from others that nobody holds any more. */
MANTA_TASK(chain_of, val(int64_t, first), val(int64_t, levels), outrefs(end))
{
    manta_ref xs = make_async(&many_tries, first);
    core_work(10 * US);
    for (int64_t i = 0; i < levels; i++) {
        xs = next_async(&many_tries, xs);
    }
    *(manta_ref *)manta_outv_alloc(end, 1) = xs;
    return MANTA_OK;
}

static int values_of_owners_that_die(int argc, char **argv)
{
    enum { N = 6 };
    manta_ref ends[N];
    for (int64_t i = 0; i < N; i++) {
        ends[i] = chain_of_async(&many_tries, i, LEVELS);
    }
    CHECK(settle(ends, N) == MANTA_OK);
    for (int64_t i = 0; i < N; i++) {
        const manta_ref *end;
        size_t count;
        int64_t first;
        CHECK(chain_of_get(ends[i], &end, &count) == MANTA_OK && count == 1);
        CHECK(first_of_get(first_of_async(&many_tries, *end), &first) == MANTA_OK);
        CHECK(first == i + LEVELS && begins_with(*end, first));
    }
    return 0;
}

/* ---- All of it inside tasks ----------------------------------------------------------------- */

static const manta_driver parts[] = {
    chains,         levels_that_stay,         trees, maps_read_a_value, inouts,
    refs_handed_on, values_of_owners_that_die};

static int everything_inside_tasks(int argc, char **argv)
{
    return chaos_inside_tasks(parts, sizeof parts / sizeof *parts);
}

/* What, all its tasks one after the other, when faults come: in us. */
static const struct chaos campaigns[] = {
    CHAOS(chains, 5000, 1200),
    CHAOS(levels_that_stay, 5000, 1200),
    CHAOS(trees, 4000, 500),
    CHAOS(maps_read_a_value, 6000, 1500),
    CHAOS(inouts, 5000, 1200),
    CHAOS(refs_handed_on, 6000, 1500),
    CHAOS(values_of_owners_that_die, 7000, 1500),
    CHAOS(everything_inside_tasks, 35000, 5000),
};

int main(void)
{
    return chaos_main("chaos_objects", 256 * MIB, campaigns, sizeof campaigns / sizeof *campaigns);
}
