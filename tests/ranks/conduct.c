/*
 * A program that ends, or does not end, as its arguments say:
 *
 *     conduct code N        the driver returns N
 *     conduct failed        the driver returns the code of a failed task
 *     conduct hooks [N]     each rank prints "start" and "stop"; with N its start hook returns N on
 *                           rank 1
 *     conduct spin          tasks on all ranks that run until they are cancelled
 *     conduct stubborn      the same, but they never look; nor does the driver
 *     conduct busy          small tasks without end, until the job is stopped
 *     conduct brief         small tasks for a moment, then a normal end
 *     conduct overflow [driver]     exhausts a task's stack, or the driver's
 *     conduct exit N        a task on the last rank calls exit(N)
 *     conduct parent        prints the pids of all ranks, then spins
 */
#include <manta/manta.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TASK_CODE = 9 };

MANTA_TASK(spin)
{
    while (!manta_cancelled()) {
        usleep(1000);
    }
    return MANTA_OK;
}

MANTA_TASK(stay)
{
    while (pause()) {}
    return MANTA_OK;
}

MANTA_TASK(add_one, val(int64_t, x), out(int64_t, y))
{
    *y = x + 1;
    return MANTA_OK;
}

MANTA_TASK(fails)
{
    return manta_fail(MANTA_E_TASK, "this one always fails");
}

MANTA_TASK(leaves, val(int, code))
{
    exit(code);
}

static int dig(int depth)
{
    volatile char room[4096];
    memset((char *)room, depth, sizeof room);
    return depth == INT_MAX ? 0 : dig(depth + 1) + room[depth % 4096];
}

MANTA_TASK(digs, out(int, sum))
{
    *sum = dig(0);
    return MANTA_OK;
}

MANTA_TASK(tell_pid, out(int, pid))
{
    *pid = getpid();
    return MANTA_OK;
}

static uint32_t count_ranks(void)
{
    manta_world world = {.size = 1};
    manta_world_get(&world);
    return world.size;
}

static int spin_everywhere(void)
{
    manta_ref ref = {0};
    for (uint32_t i = 0; i < count_ranks(); i++) {
        ref = spin_async(MANTA_OPTIONS(.rank = MANTA_ON(i)));
    }
    puts("running");
    fflush(stdout);
    return spin_get(ref);
}

static int stay_everywhere(void)
{
    for (uint32_t i = 0; i < count_ranks(); i++) {
        (void)stay_async(MANTA_OPTIONS(.rank = MANTA_ON(i)));
    }
    puts("running");
    fflush(stdout);
    while (pause()) {}
    return 0;
}

static int keep_busy(int rounds)
{
    manta_ref refs[64];
    puts("running");
    fflush(stdout);
    for (int round = 0; rounds == 0 || round < rounds; round++) {
        MANTA_TRY(manta_scope_begin());
        for (int i = 0; i < 64; i++) {
            refs[i] = add_one_async(NULL, i);
        }
        MANTA_TRY(manta_wait(refs, 64, 64, MANTA_FOREVER, NULL));
        MANTA_TRY(manta_scope_end());
    }
    return 0;
}

static int tell_pids(void)
{
    for (uint32_t i = 0; i < count_ranks(); i++) {
        int pid;
        MANTA_TRY(tell_pid_get(tell_pid_async(MANTA_OPTIONS(.rank = MANTA_ON(i))), &pid));
        printf("%d ", pid);
    }
    puts("");
    return spin_everywhere();
}

static int driver(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "code";
    int number = argc > 2 ? atoi(argv[2]) : 0, sum;
    if (strcmp(what, "failed") == 0) {
        return fails_get(fails_async(MANTA_OPTIONS(.rank = MANTA_ON(count_ranks() - 1))));
    }
    if (strcmp(what, "spin") == 0) {
        return spin_everywhere();
    }
    if (strcmp(what, "stubborn") == 0) {
        return stay_everywhere();
    }
    if (strcmp(what, "busy") == 0 || strcmp(what, "brief") == 0) {
        return keep_busy(what[1] == 'r' ? 200 : 0);
    }
    if (strcmp(what, "overflow") == 0) {
        return argc > 2 ? dig(0) : digs_get(digs_async(NULL), &sum);
    }
    if (strcmp(what, "exit") == 0) {
        return leaves_get(leaves_async(
            MANTA_OPTIONS(.rank = MANTA_ON(count_ranks() - 1), .retries = MANTA_NO_RETRY), number));
    }
    return strcmp(what, "parent") == 0 ? tell_pids() : number;
}

static int start_code;

static int on_start(void *arg)
{
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    printf("start %u of %u\n", world.rank, world.size);
    fflush(stdout);
    return world.rank == 1 ? start_code : 0;
}

static int on_stop(void *arg)
{
    puts("stop");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "hooks") == 0) {
        start_code = argc > 2 ? atoi(argv[2]) : 0;
        if (manta_hook(MANTA_AT_START, on_start, NULL) ||
            manta_hook(MANTA_AT_STOP, on_stop, NULL)) {
            return 99;
        }
        argc = 2;
    }
    return manta_run(argc, argv, driver);
}
