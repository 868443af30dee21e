/*
 * Manta as bench/peers.py asks every system: lines "rate N" and "roundtrip N" on standard input, a
 * number on standard output for each. One submitter; where the no-ops of a rate run is Manta's
 * choice, as it is the others'. A round trip goes to another process, as theirs do; of N the median
 * batch counts.
 */
#include "bench.h"

#include <manta/manta.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WARM = 200000 }; /* so that what is measured finds its memory there */

MANTA_TASK(noop)
{
    return MANTA_OK;
}

static int measure_rate(uint64_t count, double *ret_value)
{
    manta_ref *refs = calloc(count, sizeof *refs);
    int code = refs ? manta_scope_begin() : MANTA_E_NOMEM;
    uint64_t start_ns = bench_now_ns();
    for (uint64_t i = 0; i < count && code == MANTA_OK; i++) {
        refs[i] = noop_async(NULL);
    }
    for (uint64_t i = 0; i < count && code == MANTA_OK; i++) {
        code = noop_get(refs[i]);
    }
    *ret_value = (double)count / ((double)(bench_now_ns() - start_ns) / 1e9);
    free(refs);
    return code == MANTA_OK ? manta_scope_end() : code;
}

static int measure_round_trip(uint64_t count, double *ret_value)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    const manta_options *away = MANTA_OPTIONS(.rank = MANTA_ON(world.size - 1));
    struct bench_series series = {.count = 0};
    for (int batch = 0; batch < BENCH_POINTS_MAX; batch++) {
        uint64_t start_ns = bench_now_ns();
        for (uint64_t i = 0; i < count / BENCH_POINTS_MAX; i++) {
            manta_ref ref = noop_async(away);
            MANTA_TRY(noop_get(ref));
            MANTA_TRY(manta_drop(ref));
        }
        bench_add(&series,
                  (double)(bench_now_ns() - start_ns) / 1e3 / (double)(count / BENCH_POINTS_MAX));
    }
    *ret_value = bench_summarise(&series).median;
    return MANTA_OK;
}

static int answer(const char *what, uint64_t count)
{
    bool is_rate = strcmp(what, "rate") == 0;
    double value;
    MANTA_TRY((is_rate ? measure_rate : measure_round_trip)(count, &value));
    printf("%.6g\n", value);
    return fflush(stdout);
}

static int drive(int argc, char **argv)
{
    char what[16];
    uint64_t count;
    double unused;
    MANTA_TRY(measure_rate(WARM, &unused));
    printf("ready %d.%d.%d\n", MANTA_VERSION_MAJOR, MANTA_VERSION_MINOR, MANTA_VERSION_PATCH);
    fflush(stdout);
    while (scanf("%15s %" SCNu64, what, &count) == 2) {
        MANTA_TRY(answer(what, count));
    }
    return 0;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, drive);
}
