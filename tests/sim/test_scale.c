/*
 * A thousand virtual ranks in this process: a fan-out of 100,000 tasks from one driver reaches them,
 * costs a bounded number of messages per task, as many as on ten ranks, and ends with every count at
 * zero.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_ranks_take_100000_tasks),
        cmocka_unit_test(a_task_costs_as_many_messages_on_1000_ranks_as_on_10)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
