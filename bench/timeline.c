/*
 * What a timeline costs: tasks of about 10 us on this process's own workers. run.py runs it with
 * and without MANTA_TIMELINE in turn. Tasks come in batches of a millisecond or so; what is printed
 * is the nanoseconds per task of the fastest batch, which no neighbour has disturbed.
 *
 *   bench_timeline BATCHES STEPS
 */
#include "bench.h"

#include <manta/manta.h>

#include <stdlib.h>

enum { BATCH = 100 };

/* A chain of multiplications: about 0.9 ns a step, and nothing that a neighbour can slow down. */
MANTA_TASK(compute, val(uint64_t, steps), out(uint64_t, y))
{
    uint64_t x = steps | 1;
    for (uint64_t i = 0; i < steps; i++) {
        x = x * UINT64_C(6364136223846793005) + 1;
    }
    *y = x;
    return MANTA_OK;
}

static int run_batch(uint64_t steps, uint64_t *ret_took_ns)
{
    manta_ref refs[BATCH];
    uint64_t y, start_ns = bench_now_ns();
    MANTA_TRY(manta_scope_begin());
    for (int i = 0; i < BATCH; i++) {
        refs[i] = compute_async(NULL, steps);
    }
    for (int i = 0; i < BATCH; i++) {
        MANTA_TRY(compute_get(refs[i], &y));
    }
    *ret_took_ns = bench_now_ns() - start_ns;
    return manta_scope_end();
}

static int drive(int argc, char **argv)
{
    uint64_t batches = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
    uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 11000;
    uint64_t least_ns = UINT64_MAX;
    for (uint64_t i = 0; i < batches; i++) {
        uint64_t took_ns;
        MANTA_TRY(run_batch(steps, &took_ns));
        least_ns = took_ns < least_ns ? took_ns : least_ns;
    }
    printf("%.1f\n", (double)least_ns / BATCH);
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, drive);
}
