/*
 * Pi by darts: 100 tasks of a million darts each. A task's random numbers depend on the seed and
 * on its index only, so `pi` and `mpirun -n 7 pi` print the same digits. The speed, which does
 * depend on the ranks, goes to standard error.
 */
#include "clock.h"

#include <manta/manta.h>
#include <math.h>
#include <stdio.h>

MANTA_TASK(count_hits, val(uint64_t, seed), val(uint64_t, samples), out(uint64_t, hits))
{
    manta_rng rng = manta_rng_stream(seed, manta_map_index());
    for (*hits = 0; samples--;) {
        double x = manta_rng_uniform(&rng), y = manta_rng_uniform(&rng);
        *hits += x * x + y * y < 1.0;
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    uint64_t hits[100];
    double share = 0, start = seconds();
    MANTA_TRY(count_hits_map_get(count_hits_map(NULL, 100, 42, 1000000), hits, 100));
    for (int i = 0; i < 100; i++)
        share += (double)hits[i] / 1e8;
    printf("Pi estimate: %.8f +- %.8f\n", 4 * share, 4 * sqrt(share * (1 - share) / 1e8));
    return fprintf(stderr, "%.1f million samples/s\n", 1e8 / 1e6 / (seconds() - start)) < 0;
}

/* clang-format off */
int main(int argc, char **argv) { return manta_run(argc, argv, driver); }
