/*
 * Objects on one node: put, get, view, many of them, many as arguments, many as results. For
 * `mpirun -n 2`. Memory is the limit of a large put: what a copy of as many bytes into shared
 * memory takes that the process has just got, in the same run.
 */
#include "bench.h"

#include <manta/manta.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SMALL = 64, MANY = 10000, ARGUMENTS = 2000, RESULTS = 3000, BATCH = 1000 };
#define LARGE ((size_t)256 << 20)
#define MIDDLE ((size_t)1 << 20)

MANTA_TASK(sum_all, refs(values), out(int64_t, total))
{
    *total = 0;
    MANTA_TRY(manta_wait(values, values_len, values_len, MANTA_FOREVER, NULL)); /* asks for all */
    for (size_t i = 0; i < values_len; i++) {
        int64_t value[SMALL / sizeof(int64_t)];
        MANTA_TRY(manta_get(values[i], value, sizeof value));
        *total += value[0];
    }
    return MANTA_OK;
}

MANTA_TASK(make_many, val(int64_t, count), outrefs(made))
{
    manta_ref *refs = manta_outv_alloc(made, (size_t)count);
    if (!refs) {
        return manta_last_error()->code;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t value[SMALL / sizeof(int64_t)] = {i};
        refs[i] = manta_put(value, sizeof value);
    }
    return MANTA_OK;
}

struct objects {
    struct bench_series put_get, view, put_large, copy_large, many, arguments, results;
};

static manta_ref refs[MANY];
static uint8_t *source;

static double since_ns(uint64_t start_ns, uint32_t count)
{
    return (double)(bench_now_ns() - start_ns) / count;
}

static int put_small(int64_t first, manta_ref *ret_ref)
{
    int64_t value[SMALL / sizeof(int64_t)] = {first};
    *ret_ref = manta_put(value, sizeof value);
    return ret_ref->parent ? MANTA_OK : manta_last_error()->code;
}

static int run_put_get(struct bench_series *series)
{
    int64_t value[SMALL / sizeof(int64_t)];
    uint64_t start_ns = bench_now_ns();
    for (int64_t i = 0; i < BATCH; i++) {
        manta_ref ref;
        MANTA_TRY(put_small(i, &ref));
        MANTA_TRY(manta_get(ref, value, sizeof value));
        MANTA_TRY(manta_drop(ref));
    }
    bench_add(series, since_ns(start_ns, BATCH));
    return value[0] == BATCH - 1 ? MANTA_OK : 1;
}

static int run_view(struct bench_series *series)
{
    const void *data;
    size_t bytes;
    manta_ref ref = manta_put(source, MIDDLE);
    MANTA_TRY(manta_view(ref, &data, &bytes));
    MANTA_TRY(manta_unview(ref));
    uint64_t start_ns = bench_now_ns();
    for (uint32_t i = 0; i < BATCH; i++) {
        MANTA_TRY(manta_view(ref, &data, &bytes));
        MANTA_TRY(manta_unview(ref));
    }
    bench_add(series, since_ns(start_ns, BATCH));
    return manta_drop(ref);
}

static int copy_to_fresh(struct bench_series *series)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    uint64_t start_ns = bench_now_ns();
    if (fd < 0 || ftruncate(fd, (off_t)LARGE)) {
        return 1;
    }
    void *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return 1;
    }
    memcpy(memory, source, LARGE);
    bench_add(series, since_ns(start_ns, 1));
    munmap(memory, LARGE);
    close(fd);
    return MANTA_OK;
}

static int run_put_large(struct bench_series *series)
{
    uint64_t start_ns = bench_now_ns();
    manta_ref ref = manta_put(source, LARGE);
    bench_add(series, since_ns(start_ns, 1));
    MANTA_TRY(manta_wait(&ref, 1, 1, 0, NULL));
    return manta_drop(ref);
}

static int run_many(struct bench_series *series)
{
    int64_t value[SMALL / sizeof(int64_t)];
    MANTA_TRY(manta_scope_begin());
    for (int64_t i = 0; i < MANY; i++) {
        MANTA_TRY(put_small(i, &refs[i]));
    }
    uint64_t start_ns = bench_now_ns();
    for (uint32_t i = 0; i < MANY; i++) {
        MANTA_TRY(manta_get(refs[i], value, sizeof value));
    }
    bench_add(series, since_ns(start_ns, 1));
    return manta_scope_end();
}

static int run_arguments(struct bench_series *series)
{
    int64_t total;
    MANTA_TRY(manta_scope_begin());
    for (int64_t i = 0; i < ARGUMENTS; i++) {
        MANTA_TRY(put_small(i, &refs[i]));
    }
    uint64_t start_ns = bench_now_ns();
    manta_ref sum = sum_all_async(MANTA_OPTIONS(.rank = MANTA_ON(1)), refs, ARGUMENTS);
    MANTA_TRY(sum_all_get(sum, &total));
    bench_add(series, since_ns(start_ns, 1));
    MANTA_TRY(manta_scope_end());
    return total == (int64_t)ARGUMENTS * (ARGUMENTS - 1) / 2 ? MANTA_OK : 1;
}

static int run_results(struct bench_series *series)
{
    const manta_ref *made;
    size_t count;
    int64_t value[SMALL / sizeof(int64_t)], total = 0;
    MANTA_TRY(manta_scope_begin());
    uint64_t start_ns = bench_now_ns();
    manta_ref all = make_many_async(MANTA_OPTIONS(.rank = MANTA_ON(1)), RESULTS);
    MANTA_TRY(make_many_get(all, &made, &count));
    MANTA_TRY(manta_wait(made, count, count, MANTA_FOREVER, NULL));
    for (size_t i = 0; i < count; i++) {
        MANTA_TRY(manta_get(made[i], value, sizeof value));
        total += value[0];
    }
    bench_add(series, since_ns(start_ns, 1));
    MANTA_TRY(manta_unview(all));
    MANTA_TRY(manta_scope_end());
    return total == (int64_t)RESULTS * (RESULTS - 1) / 2 ? MANTA_OK : 1;
}

static int measure_all(struct objects *objects, uint32_t points)
{
    for (uint32_t i = 0; i < points; i++) {
        MANTA_TRY(run_put_get(&objects->put_get));
        MANTA_TRY(run_view(&objects->view));
        MANTA_TRY(copy_to_fresh(&objects->copy_large));
        MANTA_TRY(run_put_large(&objects->put_large));
        MANTA_TRY(run_many(&objects->many));
        MANTA_TRY(run_arguments(&objects->arguments));
        MANTA_TRY(run_results(&objects->results));
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    struct bench bench;
    static struct objects objects;
    if (bench_open(&bench, "objects", argc, argv) != 0 || !(source = malloc(LARGE))) {
        return 1;
    }
    memset(source, 7, LARGE);
    int code = measure_all(&objects, bench.points);
    free(source);
    MANTA_TRY(code);
    const struct bench_row rows[] = {
        {"put, get and drop of 64 bytes", "ns", &objects.put_get, NULL, NULL, BENCH_AT_MOST, 1000},
        {"view of 1 MiB on the node", "ns", &objects.view, NULL, NULL, BENCH_AT_MOST, 1000},
        {"put of 256 MiB", "ns", &objects.put_large, "memcpy to fresh shared memory",
         &objects.copy_large, BENCH_RATIO_AT_MOST, 1 / 0.9},
        {"get of 10,000 small objects", "ns", &objects.many, NULL, NULL, BENCH_AT_MOST, 1.0e6},
        {"a task gets 2,000 objects of another rank", "ns", &objects.arguments, NULL, NULL,
         BENCH_AT_MOST, 1.25e6},
        {"a task on another rank returns 3,000 objects", "ns", &objects.results, NULL, NULL,
         BENCH_AT_MOST, 0.55e6}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bench_print(&bench, &rows[i]);
    }
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
