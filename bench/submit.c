/*
 * Short external commands through the public interface: `true`, many submitted at once and all
 * results read, against a bare posix_spawn and wait loop in a program of its own right before, with
 * as many at once as Manta runs: its workers. Alone. With MANTA_COMMAND_LOG their output is logged.
 *
 *     bench_submit [options]          the benchmark
 *     bench_submit posix COUNT N      the loop
 */
#include "bench.h"
#include "posix.h"

#include <manta/manta.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 10000, COUNT_QUICK = 2000, POINTS = 5 };

static const char *own_name;

static int manta_rate(uint32_t count, double *ret_rate)
{
    const char *argv[] = {"true", NULL};
    manta_ref *refs = malloc(count * sizeof *refs);
    uint64_t begin_ns = bench_now_ns();
    for (uint32_t i = 0; i < count; i++) {
        refs[i] = manta_command(NULL, argv, NULL);
    }
    for (uint32_t i = 0; i < count; i++) {
        manta_command_result result;
        MANTA_TRY(manta_command_get(refs[i], &result));
        MANTA_TRY(manta_drop(refs[i]));
    }
    *ret_rate = count * 1e9 / (double)(bench_now_ns() - begin_ns);
    free(refs);
    return MANTA_OK;
}

/* A process of its own: a large one is slower to copy, and these workers would poll beside it. */
static int bare_rate(uint32_t count, uint32_t at_once, double *ret_rate)
{
    char many[16], parallel[16];
    snprintf(many, sizeof many, "%u", count);
    snprintf(parallel, sizeof parallel, "%u", at_once);
    const char *argv[] = {own_name, "posix", many, parallel, NULL};
    manta_command_result result;
    MANTA_TRY(manta_command_get(manta_command(NULL, argv, NULL), &result));
    *ret_rate = atof(result.out_tail);
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    static struct bench_series commands, bare, ratio;
    struct bench bench;
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    if (bench_open(&bench, "submit", argc, argv) != 0) {
        return 1;
    }
    uint32_t points = bench.is_quick ? 3 : POINTS;
    for (uint32_t i = 0; i < points; i++) {
        double manta_per_s, posix_per_s;
        uint32_t count = bench.is_quick ? COUNT_QUICK : COUNT;
        MANTA_TRY(bare_rate(count, world.workers, &posix_per_s));
        MANTA_TRY(manta_rate(count, &manta_per_s));
        bench_add(&bare, posix_per_s);
        bench_add(&commands, manta_per_s);
        bench_add(&ratio, manta_per_s / posix_per_s);
    }
    bench_print(&bench, &(struct bench_row){.metric = "manta_command of true, and its result",
                                            .unit = "/s",
                                            .series = &commands,
                                            .peer_name = "posix_spawn",
                                            .peer = &bare});
    bench_print(&bench, &(struct bench_row){.metric = "the same, in rates of posix_spawn",
                                            .unit = "x",
                                            .series = &ratio,
                                            .goal_kind = BENCH_AT_LEAST,
                                            .goal = 0.6});
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    own_name = argv[0];
    if (argc == 4 && strcmp(argv[1], "posix") == 0) {
        printf("%f\n", posix_rate((uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3])));
        return 0;
    }
    return manta_run(argc, argv, driver);
}
