/*
 * Dependent tasks: a chain, one value to many tasks, many values to one task. Time per task,
 * against as many independent tasks in the same run. For `mpirun -n 2`, and alone.
 */
#include "bench.h"

#include <manta/manta.h>
#include <stdlib.h>

MANTA_TASK(independent, val(int64_t, x), out(int64_t, y))
{
    *y = x + 1;
    return MANTA_OK;
}

MANTA_TASK(next, in(int64_t, x), out(int64_t, y))
{
    *y = *x + 1;
    return MANTA_OK;
}

MANTA_TASK(sum, refs(values), out(int64_t, total))
{
    *total = 0;
    for (size_t i = 0; i < values_len; i++) {
        int64_t value;
        MANTA_TRY(manta_get(values[i], &value, sizeof value));
        *total += value;
    }
    return MANTA_OK;
}

enum { TASKS = 2000 };

static manta_ref refs[TASKS];

struct shapes {
    struct bench_series independent, chain, alternating, fan_out, fan_in;
};

static int wait_all(void)
{
    return manta_wait(refs, TASKS, TASKS, MANTA_FOREVER, NULL);
}

static int run_independent(void)
{
    for (int64_t i = 0; i < TASKS; i++) {
        refs[i] = independent_async(NULL, i);
    }
    return wait_all();
}

/* ranks 0: wherever Manta puts them; else the links take turns among so many. */
static int run_chain_on(uint32_t ranks)
{
    int64_t end;
    manta_ref at = independent_async(NULL, 0);
    for (uint32_t i = 1; i < TASKS; i++) {
        at = next_async(MANTA_OPTIONS(.rank = ranks ? MANTA_ON(i % ranks) : 0), at);
    }
    MANTA_TRY(next_get(at, &end));
    return end == TASKS ? MANTA_OK : 1;
}

static int run_chain(void)
{
    return run_chain_on(0);
}

static int run_alternating(void)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    return run_chain_on(world.size);
}

static int run_fan_out(void)
{
    manta_ref root = independent_async(NULL, 0);
    for (uint32_t i = 0; i < TASKS; i++) {
        refs[i] = next_async(NULL, root);
    }
    return wait_all();
}

static int run_fan_in(void)
{
    int64_t total;
    for (int64_t i = 0; i < TASKS; i++) {
        refs[i] = independent_async(NULL, i);
    }
    MANTA_TRY(sum_get(sum_async(NULL, refs, TASKS), &total));
    return total == (int64_t)TASKS * (TASKS + 1) / 2 ? MANTA_OK : 1;
}

static int measure(int (*shape)(void), struct bench_series *series)
{
    MANTA_TRY(manta_scope_begin());
    uint64_t start_ns = bench_now_ns();
    MANTA_TRY(shape());
    bench_add(series, (double)(bench_now_ns() - start_ns) / TASKS);
    return manta_scope_end();
}

static int measure_all(struct shapes *shapes, uint32_t points)
{
    for (uint32_t i = 0; i < points; i++) {
        MANTA_TRY(measure(run_independent, &shapes->independent));
        MANTA_TRY(measure(run_chain, &shapes->chain));
        MANTA_TRY(measure(run_alternating, &shapes->alternating));
        MANTA_TRY(measure(run_fan_out, &shapes->fan_out));
        MANTA_TRY(measure(run_fan_in, &shapes->fan_in));
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    struct bench bench;
    struct shapes shapes = {.chain = {.count = 0}};
    if (bench_open(&bench, "shapes", argc, argv) != 0) {
        return 1;
    }
    MANTA_TRY(measure_all(&shapes, bench.points));
    const struct bench_series *all[] = {&shapes.independent, &shapes.chain, &shapes.alternating,
                                        &shapes.fan_out, &shapes.fan_in};
    const char *const names[] = {"2,000 independent tasks, anywhere", "chain, anywhere",
                                 "chain, every link on the next rank",
                                 "fan-out: one value, 2,000 readers",
                                 "fan-in: one task gets 2,000 values"};
    for (int i = 0; i < 5; i++) {
        bench_print(&bench, &(struct bench_row){.metric = names[i],
                                                .unit = "ns",
                                                .series = all[i],
                                                .peer_name = "independent",
                                                .peer = i ? &shapes.independent : NULL});
    }
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
