/*
 * Ranks die at drawn moments under trees of tasks, maps, and refs handed from task to task.
 * What must hold for every seed: the driver gets every right answer, nothing hangs, and on
 * every living rank all counts end at zero. Tasks here are deterministic, so an answer
 * that was made twice is the same answer; that each is visible once is checked by the
 * completion queue, which would give it twice.
 */
#include "check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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
    enum { N = 2000 };
    static int64_t values[N];
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

static void campaign(const char *test, manta_driver driver, uint64_t within_ns)
{
    uint64_t first, count, killed = 0, adopted = 0, retried = 0;
    world_seeds(200, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 3 + (uint32_t)(seed % 6),
                                        .workers = 1 + (uint32_t)(seed / 7 % 2),
                                        .kills = 1 + (uint32_t)(seed % 5),
                                        .kill_within_ns = within_ns};
        struct world_result result;
        assert_int_equal(world_run(&options, driver, &result), 0);
        assert_int_equal(world_check(test, &options, &result), 0);
        killed += result.killed;
        adopted += result.total.adopted;
        retried += result.total.retried;
    }
    print_message("%s: %u seeds, %u ranks killed, %u tasks run again, %u adopted\n", test,
                  (unsigned)count, (unsigned)killed, (unsigned)retried, (unsigned)adopted);
    assert_true(count < 50 || (killed > count / 2 && retried > 0));
}

static void trees_survive(void **state)
{
    campaign("kills", tree_of_tasks, 2000000);
}

static void refs_survive(void **state)
{
    campaign("kills", refs_handed_on, 400000);
}

static void maps_survive(void **state)
{
    campaign("kills", maps_and_chains, 2000000);
}

static void results_come_once(void **state)
{
    campaign("kills", each_result_once, 4000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_survive), cmocka_unit_test(refs_survive),
        cmocka_unit_test(maps_survive), cmocka_unit_test(results_come_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
