/*
 * Campaigns of faults over what programs do: trees of tasks, refs that are handed on, owners of
 * owners, maps, chains, failures that are retried, cancels, pinned tasks, and all of these at once
 * inside tasks. Faults of every kind come at drawn moments (faults.h). What must hold for every
 * seed: the driver gets every right answer, in time, and what world.h lists. Tasks here are
 * deterministic, so an answer that was made twice is the same answer; that each is visible once
 * is checked by the completion queue, which would give it twice.
 */
#include "chaos.h"
#include "check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const manta_options many_tries = {.retries = 100};

MANTA_TASK(leaf, val(int64_t, x), out(int64_t, y))
{
    core_work(20000);
    *y = x;
    return MANTA_OK;
}

/* The sum of [first, first + count) by a tree of tasks that wait for their children. */
MANTA_TASK(tree, val(int64_t, first), val(int64_t, count), out(int64_t, total))
{
    enum { FAN = 4 };
    if (count == 1) {
        core_work(20000);
        *total = first;
        return MANTA_OK;
    }
    manta_ref parts[FAN];
    int64_t step = (count + FAN - 1) / FAN, used = 0;
    int n = 0;
    for (; used < count; used += step, n++) {
        int64_t size = count - used < step ? count - used : step;
        parts[n] = tree_async(&many_tries, first + used, size);
    }
    for (int i = 0; i < n; i++) {
        int64_t part;
        MANTA_TRY(tree_get(parts[i], &part));
        *total += part;
    }
    return MANTA_OK;
}

/* Makes leaves and hands their refs up instead of waiting for them. */
MANTA_TASK(seed_leaves, val(int64_t, first), val(int64_t, count), outrefs(parts))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, (size_t)count);
    core_work(10000);
    for (int64_t i = 0; i < count; i++) {
        refs[i] = leaf_async(&many_tries, first + i);
    }
    return MANTA_OK;
}

MANTA_TASK(add, in(int64_t, a), in(int64_t, b), out(int64_t, y))
{
    core_work(5000);
    *y = a[0] + b[0];
    return MANTA_OK;
}

MANTA_TASK(sum_refs, refs(parts), out(int64_t, total))
{
    for (size_t i = 0; i < parts_len; i++) {
        int64_t y;
        MANTA_TRY(leaf_get(parts[i], &y));
        *total += y;
    }
    return MANTA_OK;
}

MANTA_TASK(index_squared, out(int64_t, y))
{
    core_work(3000);
    *y = (int64_t)(manta_map_index() * manta_map_index());
    return MANTA_OK;
}

static int tree_of_tasks(int argc, char **argv)
{
    int64_t total;
    CHECK(tree_get(tree_async(&many_tries, 0, 200), &total) == MANTA_OK);
    CHECK(total == 199 * 200 / 2);
    return 0;
}

static int refs_handed_on(int argc, char **argv)
{
    enum { GROUPS = 6, EACH = 8 };
    manta_ref made[GROUPS], sums[GROUPS];
    int64_t total = 0, part;
    for (int i = 0; i < GROUPS; i++) {
        made[i] = seed_leaves_async(&many_tries, i * EACH, EACH);
    }
    for (int i = 0; i < GROUPS; i++) {
        const manta_ref *parts;
        size_t count;
        CHECK(seed_leaves_get(made[i], &parts, &count) == MANTA_OK && count == EACH);
        sums[i] = sum_refs_async(&many_tries, parts, count);
        CHECK(manta_drop(made[i]) == MANTA_OK);
    }
    for (int i = 0; i < GROUPS; i++) {
        CHECK(sum_refs_get(sums[i], &part) == MANTA_OK);
        total += part;
    }
    CHECK(total == GROUPS * EACH * (GROUPS * EACH - 1) / 2);
    return 0;
}

static int maps_and_chains(int argc, char **argv)
{
    enum { N = 1000 };
    int64_t values[N];
    manta_ref map = index_squared_map(&many_tries, N);
    manta_ref sum = leaf_async(&many_tries, 0);
    for (int i = 0; i < 40; i++) {
        sum = add_async(&many_tries, sum, leaf_async(&many_tries, i));
    }
    int64_t total;
    CHECK(add_get(sum, &total) == MANTA_OK && total == 780);
    CHECK(index_squared_map_get(map, values, N) == MANTA_OK);
    for (int64_t i = 0; i < N; i++) {
        CHECK(values[i] == i * i);
    }
    return 0;
}

static int each_result_once(int argc, char **argv)
{
    enum { N = 150 };
    uint8_t seen[N] = {0};
    manta_queue *queue;
    CHECK(manta_queue_create(&queue) == MANTA_OK);
    for (uintptr_t i = 0; i < N; i++) {
        CHECK(manta_queue_add(queue, tree_async(&many_tries, (int64_t)i, 3), (void *)i) ==
              MANTA_OK);
    }
    for (int i = 0; i < N; i++) {
        manta_ref ref;
        void *label;
        int64_t y;
        CHECK(manta_queue_next(queue, MANTA_FOREVER, &ref, &label) == MANTA_OK &&
              !seen[(uintptr_t)label]);
        seen[(uintptr_t)label] = 1;
        CHECK(tree_get(ref, &y) == MANTA_OK && y == 3 * (int64_t)(uintptr_t)label + 3);
    }
    manta_queue_destroy(queue);
    return 0;
}

/* ---- Owners of owners ----------------------------------------------------------------------- */

enum { BRANCHES = 3 };

/* Makes children and returns their refs at once: it has ended while they, and theirs, still run. */
MANTA_TASK(branch, val(int64_t, depth), val(int64_t, first), val(int64_t, count), outrefs(parts))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, BRANCHES);
    int64_t each = count / BRANCHES;
    core_work(5 * US);
    for (int64_t i = 0; i < BRANCHES; i++) {
        refs[i] = depth ? branch_async(&many_tries, depth - 1, first + i * each, each)
                        : leaf_async(&many_tries, first + i);
    }
    return MANTA_OK;
}

/* Gives borrowed refs on as its own result. */
MANTA_TASK(relay, refs(given), outrefs(same))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(same, given_len);
    core_work(5 * US);
    memcpy(refs, given, given_len * sizeof *refs);
    return MANTA_OK;
}

/* Follows the refs down, each level in tasks of their own. */
MANTA_TASK(gather, ref(part), val(int64_t, depth), out(int64_t, total))
{
    const manta_ref *parts;
    size_t count;
    manta_ref sums[BRANCHES];
    if (depth < 0) {
        return leaf_get(part, total);
    }
    MANTA_TRY(branch_get(part, &parts, &count));
    if (depth % 2) {
        MANTA_TRY(relay_get(relay_async(&many_tries, parts, count), &parts, &count));
    }
    for (size_t i = 0; i < count; i++) {
        sums[i] = gather_async(&many_tries, parts[i], depth - 1);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t sum;
        MANTA_TRY(gather_get(sums[i], &sum));
        *total += sum;
    }
    return MANTA_OK;
}

/* Ends at once; what it started needs the ref it was given. */
MANTA_TASK(gather_later, ref(part), val(int64_t, depth), outrefs(sum))
{
    *(manta_ref *)manta_outv_alloc(sum, 1) = gather_async(&many_tries, part, depth);
    return MANTA_OK;
}

static int owners_of_owners(int argc, char **argv)
{
    enum { TREES = 4, DEPTH = 2, LEAVES = 27 };
    manta_ref sums[TREES];
    int64_t total;
    for (int i = 0; i < TREES; i++) {
        manta_ref tree = branch_async(&many_tries, DEPTH, i * LEAVES, LEAVES);
        sums[i] = i % 2 ? gather_async(&many_tries, tree, DEPTH)
                        : gather_later_async(&many_tries, tree, DEPTH);
        CHECK(manta_drop(tree) == MANTA_OK);
    }
    for (int i = 0; i < TREES; i++) {
        const manta_ref *later;
        size_t count = 0;
        if (i % 2 == 0) {
            CHECK(gather_later_get(sums[i], &later, &count) == MANTA_OK && count == 1);
        }
        CHECK(gather_get(count ? *later : sums[i], &total) == MANTA_OK);
        CHECK(total == i * LEAVES * LEAVES + LEAVES * (LEAVES - 1) / 2);
    }
    return 0;
}

/* ---- Elements of owners' maps ---------------------------------------------------------------- */

enum { POINTS = 3, ROWS = 4 };

MANTA_TASK(point, val(int64_t, first), out(int64_t, y))
{
    core_work(20 * US);
    *y = first + (int64_t)manta_map_index();
    return MANTA_OK;
}

/* A map, and a task after it, so that what a map takes in the parent's scope shows. */
MANTA_TASK(row, val(int64_t, first), outrefs(parts))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, POINTS + 1);
    core_work(5 * US);
    manta_ref map = point_map(&many_tries, POINTS, first);
    for (uint64_t i = 0; i < POINTS; i++) {
        refs[i] = manta_map_at(map, i);
    }
    refs[POINTS] = leaf_async(&many_tries, first + POINTS);
    return MANTA_OK;
}

MANTA_TASK(table, val(int64_t, first), outrefs(parts))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, ROWS);
    core_work(5 * US);
    for (int64_t i = 0; i < ROWS; i++) {
        refs[i] = row_async(&many_tries, first + i * (POINTS + 1));
    }
    return MANTA_OK;
}

MANTA_TASK(sum_row, ref(part), out(int64_t, total))
{
    const manta_ref *parts;
    size_t count;
    MANTA_TRY(row_get(part, &parts, &count));
    return sum_refs_get(sum_refs_async(&many_tries, parts, count), total);
}

MANTA_TASK(sum_table, ref(whole), out(int64_t, total))
{
    const manta_ref *parts;
    size_t count;
    manta_ref sums[ROWS];
    MANTA_TRY(table_get(whole, &parts, &count));
    for (size_t i = 0; i < count; i++) {
        sums[i] = sum_row_async(&many_tries, parts[i]);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t sum;
        MANTA_TRY(sum_row_get(sums[i], &sum));
        *total += sum;
    }
    return MANTA_OK;
}

static int maps_of_owners(int argc, char **argv)
{
    enum { TABLES = 5, EACH = ROWS * (POINTS + 1) };
    manta_ref sums[TABLES];
    for (int i = 0; i < TABLES; i++) {
        manta_ref whole = table_async(&many_tries, i * EACH);
        sums[i] = sum_table_async(&many_tries, whole);
        CHECK(manta_drop(whole) == MANTA_OK);
    }
    for (int i = 0; i < TABLES; i++) {
        int64_t total;
        CHECK(sum_table_get(sums[i], &total) == MANTA_OK);
        CHECK(total == i * EACH * EACH + EACH * (EACH - 1) / 2);
    }
    return 0;
}

/* ---- Failures and retries ------------------------------------------------------------------- */

enum { FLAKY = 40, FAILS_ITSELF = 9 };

static uint8_t tries[FLAKY]; /* of all ranks: they share this process */

MANTA_TASK(flaky, val(int64_t, id), out(int64_t, y))
{
    core_work(10 * US);
    if (tries[id]++ < id % 3) {
        return manta_fail(FAILS_ITSELF, "not yet");
    }
    *y = id;
    return MANTA_OK;
}

MANTA_TASK(hopeless, val(int64_t, id), out(int64_t, y))
{
    core_work(10 * US);
    return manta_fail(FAILS_ITSELF, "never");
}

/* Its children fail in every way, and it lives with that. */
MANTA_TASK(tolerant, val(int64_t, id), out(int64_t, y))
{
    manta_options stubborn = {.retries = 100, .retry_errors = 1};
    manta_ref good = flaky_async(&stubborn, id), bad = hopeless_async(&many_tries, id);
    manta_ref derived = add_async(&many_tries, good, bad);
    int64_t none;
    int failed = hopeless_get(bad, &none), because = add_get(derived, &none);
    if (failed != FAILS_ITSELF || because != MANTA_E_DEPENDENCY) {
        return manta_fail(1, "a failure became %d, what depended on it %d", failed, because);
    }
    return flaky_get(good, y);
}

static int failures_and_retries(int argc, char **argv)
{
    manta_ref refs[FLAKY];
    int64_t y;
    for (int64_t i = 0; i < FLAKY; i++) {
        refs[i] = tolerant_async(&many_tries, i);
    }
    for (int64_t i = 0; i < FLAKY; i++) {
        CHECK(tolerant_get(refs[i], &y) == MANTA_OK && y == i);
    }
    return 0;
}

/* ---- Cancels and pinned tasks --------------------------------------------------------------- */

/* Runs until it is cancelled; one of its children does too. One that is gentle lets others have its
 * worker meanwhile. */
MANTA_TASK(endless, val(int64_t, depth), val(int64_t, is_gentle), out(int64_t, y))
{
    manta_ref child =
        depth ? endless_async(&many_tries, depth - 1, is_gentle) : leaf_async(&many_tries, 1);
    while (!manta_cancelled()) {
        manta_ref tick = is_gentle ? leaf_async(&many_tries, 0) : (manta_ref){0};
        if (!is_gentle) {
            core_work(20 * US);
        } else if (manta_wait(&tick, 1, 1, 100 * US, NULL) == MANTA_OK) {
            (void)manta_drop(tick);
        }
    }
    (void)child;
    return MANTA_E_CANCELLED;
}

static int cancel_some(bool are_gentle)
{
    enum { N = 24 };
    manta_ref refs[N];
    int64_t y;
    for (int64_t i = 0; i < N; i++) {
        refs[i] = i % 4 == 0 ? endless_async(&many_tries, i % 3, are_gentle)
                             : tree_async(&many_tries, i, 6);
        if (i % 8 == 7) {
            core_work(60 * US);
            CHECK(manta_cancel(refs[i - 7]) == MANTA_OK && manta_cancel(refs[i - 2]) == MANTA_OK);
        }
    }
    core_work(60 * US);
    for (int64_t i = 4; i < N; i += 8) {
        CHECK(manta_cancel(refs[i]) == MANTA_OK);
    }
    for (int64_t i = 0; i < N; i++) {
        int code = manta_get(refs[i], &y, sizeof y);
        bool is_cancelled = code == MANTA_E_CANCELLED && (i % 4 == 0 || i % 8 == 5);
        CHECK(is_cancelled || (code == MANTA_OK && i % 4 != 0 && y == 6 * i + 15));
    }
    return 0;
}

static int cancels_at_any_time(int argc, char **argv)
{
    return cancel_some(false);
}

/* Where the canceller is a task too, it may need the worker that an endless one has. */
static int cancels_from_tasks(int argc, char **argv)
{
    return cancel_some(true);
}

/* On a rank that dies they fail, saying so; what depends on them does too. */
static int pinned_to_ranks(int argc, char **argv)
{
    enum { EACH = 6 };
    manta_world world;
    CHECK(manta_world_get(&world) == MANTA_OK);
    for (uint32_t rank = 0; rank < world.size; rank++) {
        manta_options there = {.rank = MANTA_ON(rank), .retries = 100};
        manta_ref refs[EACH];
        for (int64_t i = 0; i < EACH; i++) {
            refs[i] = tree_async(&there, i, 5);
        }
        manta_ref sum = add_async(&many_tries, refs[0], refs[1]);
        for (int64_t i = 0; i < EACH; i++) {
            int64_t y;
            int code = tree_get(refs[i], &y);
            CHECK((code == MANTA_OK && y == 5 * i + 10) || (code == MANTA_E_RANK && rank != 0));
        }
        int64_t y;
        int code = add_get(sum, &y);
        CHECK((code == MANTA_OK && y == 25) || (code == MANTA_E_DEPENDENCY && rank != 0));
    }
    return 0;
}

/* ---- All of it inside tasks ----------------------------------------------------------------- */

static const manta_driver parts[] = {tree_of_tasks,      refs_handed_on,       maps_and_chains,
                                     each_result_once,   failures_and_retries, pinned_to_ranks,
                                     cancels_from_tasks, owners_of_owners,     maps_of_owners};

static int everything_inside_tasks(int argc, char **argv)
{
    return chaos_inside_tasks(parts, sizeof parts / sizeof *parts);
}

/* What, all its tasks one after the other, when faults come: in us. */
static const struct chaos campaigns[] = {
    CHAOS_THAT_ADOPTS(tree_of_tasks, 4000, 2500),
    CHAOS_THAT_ADOPTS(refs_handed_on, 1100, 500),
    CHAOS(maps_and_chains, 4500, 2000),
    CHAOS(each_result_once, 9000, 4000),
    CHAOS_THAT_ADOPTS(owners_of_owners, 3500, 1500),
    CHAOS(maps_of_owners, 3500, 1500),
    CHAOS(failures_and_retries, 2000, 700),
    CHAOS(cancels_at_any_time, 5000, 1500),
    CHAOS(pinned_to_ranks, 5000, 2500),
    CHAOS(everything_inside_tasks, 45000, 8000),
};

int main(void)
{
    return chaos_main("chaos", 0, campaigns, sizeof campaigns / sizeof *campaigns);
}
