/*
 * Items per second through a stream, in turn with as many tasks that give one such value each:
 * 8 bytes, and 1 MiB that is written in place and viewed. Under `mpirun -n 2` source and tasks are
 * on rank 1; alone, on this rank's own workers.
 */
#include "bench.h"

#include <manta/manta.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 8, LARGE = 1 << 20, SMALL_ITEMS = 100000, LARGE_ITEMS = 400, AT_ONCE = 64 };

MANTA_TASK(small_stream, val(int64_t, n), stream(int64_t, xs))
{
    for (int64_t i = 0; i < n; i++) {
        MANTA_TRY(manta_yield(xs, &i, 1));
    }
    return MANTA_OK;
}

MANTA_TASK(small_task, val(int64_t, i), out(int64_t, x))
{
    *x = i;
    return MANTA_OK;
}

MANTA_TASK(large_stream, val(int64_t, n), stream(uint8_t, bytes))
{
    for (int64_t i = 0; i < n; i++) {
        void *room = manta_yield_alloc(bytes, LARGE);
        if (!room) {
            return manta_last_error()->code;
        }
        memset(room, (int)i, LARGE);
        MANTA_TRY(manta_yield(bytes, room, LARGE));
    }
    return MANTA_OK;
}

MANTA_TASK(large_task, val(int64_t, i), outv(uint8_t, bytes))
{
    void *room = manta_outv_alloc(bytes, LARGE);
    if (!room) {
        return manta_last_error()->code;
    }
    memset(room, (int)i, LARGE);
    return MANTA_OK;
}

/* Looks at a value and drops it. */
static int use(manta_ref ref, size_t size)
{
    const void *data;
    size_t bytes;
    MANTA_TRY(manta_view(ref, &data, &bytes));
    int code = bytes == size ? MANTA_OK : MANTA_E_TYPE;
    MANTA_TRY(manta_unview(ref));
    MANTA_TRY(manta_drop(ref));
    return code;
}

static int read_stream(manta_ref stream, size_t size)
{
    manta_ref item;
    int code;
    while ((code = manta_next(stream, MANTA_FOREVER, &item)) == MANTA_OK) {
        MANTA_TRY(use(item, size));
    }
    MANTA_TRY(manta_drop(stream));
    return code == MANTA_E_END ? MANTA_OK : code;
}

/* As many under way as a stream may be ahead. */
static int read_tasks(const manta_options *options, size_t size, int64_t n)
{
    manta_ref refs[AT_ONCE];
    for (int64_t i = 0; i < n + AT_ONCE; i++) {
        manta_ref *ref = &refs[i % AT_ONCE];
        if (i >= AT_ONCE) {
            MANTA_TRY(use(*ref, size));
        }
        if (i < n) {
            *ref = size == SMALL ? small_task_async(options, i) : large_task_async(options, i);
        }
    }
    return MANTA_OK;
}

static double rate(int64_t n, uint64_t from_ns)
{
    return 1e9 * (double)n / (double)(bench_now_ns() - from_ns);
}

static int measure(struct bench *bench, const manta_options *options, size_t size, int64_t n)
{
    struct bench_series items = {.count = 0}, tasks = {.count = 0};
    for (uint32_t i = 0; i <= bench->points; i++) {
        uint64_t at_ns = bench_now_ns();
        manta_ref stream =
            size == SMALL ? small_stream_async(options, n) : large_stream_async(options, n);
        MANTA_TRY(read_stream(stream, size));
        double items_rate = rate(n, at_ns);
        at_ns = bench_now_ns();
        MANTA_TRY(read_tasks(options, size, n));
        if (i > 0) { /* the first warms up */
            bench_add(&items, items_rate);
            bench_add(&tasks, rate(n, at_ns));
        }
    }
    bench_print(bench,
                &(struct bench_row){.metric = size == SMALL ? "items of 8 bytes through a stream"
                                                            : "items of 1 MiB through a stream",
                                    .unit = "/s",
                                    .series = &items,
                                    .peer_name = "tasks/s, 64 at once",
                                    .peer = &tasks});
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    struct bench bench;
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    if (bench_open(&bench, "streams", argc, argv)) {
        return 1;
    }
    const manta_options options = {.rank = MANTA_ON(world.size - 1)};
    int code = measure(&bench, &options, SMALL, bench.is_quick ? SMALL_ITEMS / 10 : SMALL_ITEMS);
    if (code == MANTA_OK) {
        code = measure(&bench, &options, LARGE, bench.is_quick ? LARGE_ITEMS / 4 : LARGE_ITEMS);
    }
    if (code != MANTA_OK) {
        fprintf(stderr, "streams: %s\n", manta_last_error()->text);
    }
    return bench_close(&bench) || code != MANTA_OK;
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
