/*
 * A thousand virtual ranks in this process: a fan-out of 100,000 tasks from one driver reaches
 * them, costs a bounded number of messages per task, as many as on ten ranks, and ends with every
 * count at zero. Where all of them own tasks of others, deaths cost each survivor a few messages,
 * however many ranks there are.
 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RANKS = 1000, TASKS = 100000 };

MANTA_TASK(where, val(uint32_t, i), out(uint32_t, rank), out(uint32_t, same))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    core_work(200000);
    *rank = world.rank;
    *same = i;
    return MANTA_OK;
}

static uint8_t reached[RANKS];

static int fan_out(int argc, char **argv)
{
    static struct where_refs refs[TASKS];
    for (uint32_t i = 0; i < TASKS; i++) {
        refs[i] = where_async(NULL, i);
    }
    for (uint32_t i = 0; i < TASKS; i++) {
        uint32_t rank, same;
        MANTA_TRY(where_get(refs[i], &rank, &same));
        if (same != i || rank >= RANKS) {
            return 1;
        }
        reached[rank] = 1;
    }
    return 0;
}

static void a_thousand_ranks_take_100000_tasks(void **state)
{
    struct world_options options = {.seed = 7, .ranks = RANKS};
    struct world_result result;
    unsigned count = 0;
    assert_int_equal(world_run(&options, fan_out, &result), 0);
    assert_int_equal(world_check("scale", &options, &result), 0);
    for (unsigned i = 0; i < RANKS; i++) {
        count += reached[i];
    }
    print_message("%u of %u ranks, %.1f events per task, %.1f ms of virtual time\n", count, RANKS,
                  (double)result.events / TASKS, (double)result.time_ns / 1e6);
    assert_int_equal(count, RANKS);
    assert_true(result.events < UINT64_C(40) * TASKS);
}

static uint32_t away; /* tasks that another rank than the driver's ran */

MANTA_TASK(is_away, val(uint32_t, i))
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    core_work(200000);
    away += world.rank != 0;
    return MANTA_OK;
}

static uint32_t fan_tasks;

static int fan_away(int argc, char **argv)
{
    static manta_ref refs[20 * RANKS];
    for (uint32_t i = 0; i < fan_tasks; i++) {
        refs[i] = is_away_async(NULL, i);
    }
    return manta_wait(refs, fan_tasks, fan_tasks, MANTA_FOREVER, NULL);
}

/* Until the driver returns: the end asks every rank, once per job. */
static double messages_per_task(uint32_t ranks)
{
    struct world_options options = {.seed = 7, .ranks = ranks};
    struct world_result result;
    away = 0;
    fan_tasks = 20 * ranks;
    assert_int_equal(world_run(&options, fan_away, &result), 0);
    assert_int_equal(world_check("scale", &options, &result), 0);
    print_message("%u ranks: %.3f messages per task sent away\n", ranks,
                  (double)result.driver_messages / away);
    return (double)result.driver_messages / away;
}

static void a_task_costs_as_many_messages_on_1000_ranks_as_on_10(void **state)
{
    double few = messages_per_task(10), many = messages_per_task(RANKS);
    assert_true(many < 1.1 * few && few < 1.1 * many);
}

/* ---- Deaths --------------------------------------------------------------------------------- */

enum { OWNERS = 3000, LEAVES = 4 };

static const manta_options many_tries = {.retries = 100};

MANTA_TASK(leaf, val(int64_t, x), out(int64_t, y))
{
    core_work(200000);
    *y = x;
    return MANTA_OK;
}

/* Lives as long as its children. */
MANTA_TASK(sum_leaves, val(int64_t, first), out(int64_t, total))
{
    manta_ref refs[LEAVES];
    for (int64_t i = 0; i < LEAVES; i++) {
        refs[i] = leaf_async(&many_tries, first + i);
    }
    for (int64_t i = 0; i < LEAVES; i++) {
        int64_t y;
        MANTA_TRY(leaf_get(refs[i], &y));
        *total += y;
    }
    return MANTA_OK;
}

/* Has ended while they run. */
MANTA_TASK(hand_leaves, val(int64_t, first), outrefs(parts))
{
    manta_ref *refs = (manta_ref *)manta_outv_alloc(parts, LEAVES);
    for (int64_t i = 0; i < LEAVES; i++) {
        refs[i] = leaf_async(&many_tries, first + i);
    }
    return MANTA_OK;
}

static int own_everywhere(int argc, char **argv)
{
    static manta_ref refs[OWNERS];
    int64_t total = 0;
    for (int64_t i = 0; i < OWNERS; i++) {
        refs[i] = (i % 2 ? sum_leaves_async : hand_leaves_async)(&many_tries, i * LEAVES);
    }
    for (int i = 0; i < OWNERS; i++) {
        int64_t y = 0;
        const manta_ref *parts = NULL;
        size_t count = 0;
        MANTA_TRY(i % 2 ? sum_leaves_get(refs[i], &y) : hand_leaves_get(refs[i], &parts, &count));
        total += y;
        for (size_t k = 0; k < count; k++) {
            MANTA_TRY(leaf_get(parts[k], &y));
            total += y;
        }
    }
    return total != (int64_t)OWNERS * LEAVES * (OWNERS * LEAVES - 1) / 2;
}

static struct world_result run_with_deaths(uint32_t deaths)
{
    struct world_options options = {
        .seed = 11, .ranks = RANKS, .kills = deaths, .kill_within_ns = 2000000};
    struct world_result result;
    assert_int_equal(world_run(&options, own_everywhere, &result), 0);
    assert_int_equal(world_check("scale", &options, &result), 0);
    assert_int_equal(result.deaths, deaths);
    print_message("%u deaths: %.1f ms of virtual time, %.0f messages a rank, at most %.0f, %.0f "
                  "tasks again, %.0f adopted\n",
                  deaths, (double)result.time_ns / 1e6, (double)result.messages / RANKS,
                  (double)result.most_messages, (double)result.total.retried,
                  (double)result.total.adopted);
    return result;
}

static void deaths_among_a_thousand_ranks_cost_each_survivor_little(void **state)
{
#if defined(__SANITIZE_THREAD__)
    print_message("not under the thread sanitizer: it has no memory for so many stacks\n");
    skip();
#endif
    const struct world_result none = run_with_deaths(0);
    const uint32_t deaths[] = {1, FAULTS_MAX};
    for (size_t i = 0; i < MT_COUNT(deaths); i++) {
        struct world_result some = run_with_deaths(deaths[i]);
        assert_true(some.total.retried > 0 && some.total.adopted > 0);
        assert_true(some.messages < none.messages + 8 * deaths[i] * RANKS);
        assert_true(some.most_messages < none.most_messages + 100 * deaths[i]);
        assert_true(some.time_ns < none.time_ns + 50000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_ranks_take_100000_tasks),
        cmocka_unit_test(a_task_costs_as_many_messages_on_1000_ranks_as_on_10),
        cmocka_unit_test(deaths_among_a_thousand_ranks_cost_each_survivor_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
