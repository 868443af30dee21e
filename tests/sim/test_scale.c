/*
 * A thousand virtual ranks in this process: a fan-out of 100,000 tasks from one driver reaches them,
 * costs a bounded number of messages per task, and ends with every count at zero.
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thousand_ranks_take_100000_tasks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
