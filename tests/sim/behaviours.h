/*
 * What the tests of tasks and of behaviours share: small tasks, and running a driver on 1, 2 and 7
 * virtual ranks over several seeds.
 */
#ifndef TESTS_SIM_BEHAVIOURS_H
#define TESTS_SIM_BEHAVIOURS_H

#include "check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(increment, in(int64_t, x), out(int64_t, y))
{
    *y = x[0] + 1;
    return MANTA_OK;
}

MANTA_TASK(compute, val(uint64_t, duration_ns), out(int64_t, y))
{
    core_work(duration_ns);
    *y = (int64_t)duration_ns;
    return MANTA_OK;
}

MANTA_TASK(until_cancelled, val(uint64_t, step_ns), out(int64_t, y))
{
    while (!manta_cancelled()) {
        core_work(step_ns);
    }
    return MANTA_E_CANCELLED;
}

static inline void run_with(struct world_options options, manta_driver driver)
{
    static const uint32_t sizes[] = {1, 2, 7};
    uint64_t first, count;
    world_seeds(5, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        for (unsigned i = 0; i < 3; i++) {
            struct world_result result;
            options.seed = seed;
            options.ranks = sizes[i];
            options.workers = 1 + seed % 2;
            assert_int_equal(world_run(&options, driver, &result), 0);
            assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
        }
    }
}

#define TEST(driver)                                                                               \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        run_with((struct world_options){0}, driver);                                               \
    }
#define ENTRY(driver) {#driver, test_##driver, NULL, NULL, NULL},

#endif
