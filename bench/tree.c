/*
 * A tree of tasks, for run.py to kill a rank under it: fan-out 10, leaves of 1 ms. Prints "running"
 * at the start and "right" at the end, if every leaf was counted once.
 *
 *     bench_tree DEPTH
 */
#include "bench.h"

#include <manta/manta.h>
#include <stdlib.h>
#include <unistd.h>

enum { FAN_OUT = 10, LEAF_US = 1000 };

MANTA_TASK(grow, val(int, depth), out(int64_t, leaves))
{
    manta_ref children[FAN_OUT];
    *leaves = depth == 0;
    if (depth == 0) {
        usleep(LEAF_US);
        return MANTA_OK;
    }
    for (int i = 0; i < FAN_OUT; i++) {
        children[i] = grow_async(NULL, depth - 1);
    }
    for (int i = 0; i < FAN_OUT; i++) {
        int64_t part;
        MANTA_TRY(grow_get(children[i], &part));
        *leaves += part;
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    int depth = argc > 1 ? atoi(argv[1]) : 3;
    int64_t leaves, expected = 1;
    puts("running");
    fflush(stdout);
    MANTA_TRY(grow_get(grow_async(NULL, depth), &leaves));
    for (int i = 0; i < depth; i++) {
        expected *= FAN_OUT;
    }
    return leaves == expected ? puts("right") < 0 : 1;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
