/*
 * How many no-op tasks a second one submitter gets through: submit all, get all, release all.
 *
 * Under `mpirun -n 2` they go to rank 1; alone, to this rank's own workers. The raw limit is the
 * same number of message pairs over comm's rings, taken in turn. Bytes per queued task: what rank
 * 0 grows by while a million tasks lie behind one that does not end.
 */
#include "bench.h"
#include "raw.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

MANTA_TASK(noop)
{
    return MANTA_OK;
}

/* Ends when somebody sets the page's first word. */
MANTA_TASK(gate, val(int32_t, process), val(int32_t, descriptor))
{
    const struct timespec pause = {.tv_nsec = 1000000};
    _Atomic uint32_t *open = raw_page_map(process, descriptor, sizeof *open);
    if (!open) {
        return manta_fail(MANTA_E_SYSTEM, "cannot map the page of process %d", process);
    }
    while (!*open) {
        nanosleep(&pause, NULL);
    }
    raw_page_unmap((void *)open, sizeof *open);
    return MANTA_OK;
}

enum { SIZES = 5, SIZE_MAX_COUNT = 1000000, RAW_MAX = 100000 };

struct size_points {
    uint32_t count;
    struct bench_series whole, submit, get, release, raw, rate;
};

static struct size_points sizes[SIZES] = {{.count = 100},
                                          {.count = 1000},
                                          {.count = 10000},
                                          {.count = 100000},
                                          {.count = SIZE_MAX_COUNT}};
static manta_ref *refs;

static double per_task(uint64_t from_ns, uint64_t to_ns, uint32_t count)
{
    return (double)(to_ns - from_ns) / count;
}

static int measure_once(const manta_options *options, struct size_points *size)
{
    uint64_t at_ns[4];
    MANTA_TRY(manta_scope_begin());
    at_ns[0] = bench_now_ns();
    for (uint32_t i = 0; i < size->count; i++) {
        refs[i] = noop_async(options);
    }
    at_ns[1] = bench_now_ns();
    for (uint32_t i = 0; i < size->count; i++) {
        MANTA_TRY(noop_get(refs[i]));
    }
    at_ns[2] = bench_now_ns();
    MANTA_TRY(manta_scope_end());
    at_ns[3] = bench_now_ns();
    bench_add(&size->submit, per_task(at_ns[0], at_ns[1], size->count));
    bench_add(&size->get, per_task(at_ns[1], at_ns[2], size->count));
    bench_add(&size->release, per_task(at_ns[2], at_ns[3], size->count));
    bench_add(&size->whole, per_task(at_ns[0], at_ns[3], size->count));
    bench_add(&size->rate, 1e3 / per_task(at_ns[0], at_ns[2], size->count));
    return MANTA_OK;
}

static int measure_sizes(const manta_options *options, bool is_remote, uint32_t points)
{
    for (uint32_t i = 0; i < points; i++) {
        for (struct size_points *size = sizes; size < sizes + SIZES; size++) {
            double ns = 0;
            if (is_remote) {
                MANTA_TRY(raw_comm_stream(size->count < RAW_MAX ? size->count : RAW_MAX, &ns));
                bench_add(&size->raw, ns);
            }
            MANTA_TRY(measure_once(options, size));
        }
    }
    return MANTA_OK;
}

static double resident_bytes(void)
{
    unsigned long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2) {
        resident = 0;
    }
    if (file) {
        fclose(file);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* Before anything else has made the slabs grow. */
static int measure_bytes(const manta_options *options, struct bench_series *bytes)
{
    struct raw_page page;
    MANTA_TRY(raw_page_create(&page, sizeof(uint32_t)));
    MANTA_TRY(manta_scope_begin());
    manta_ref closed = gate_async(options, page.process, page.descriptor);
    double before = resident_bytes();
    for (uint32_t i = 0; i < SIZE_MAX_COUNT; i++) {
        refs[i] = noop_async(options);
    }
    bench_add(bytes, (resident_bytes() - before) / SIZE_MAX_COUNT);
    *(_Atomic uint32_t *)page.memory = 1;
    MANTA_TRY(gate_get(closed));
    MANTA_TRY(manta_wait(refs, SIZE_MAX_COUNT, SIZE_MAX_COUNT, MANTA_FOREVER, NULL));
    MANTA_TRY(manta_scope_end());
    raw_page_destroy(&page);
    return MANTA_OK;
}

static void print_size(struct bench *bench, const char *where, const struct size_points *size)
{
    char name[4][64];
    const struct bench_series *parts[] = {&size->whole, &size->submit, &size->get, &size->release};
    const char *const words[] = {"submit + get + release", "  submit", "  get", "  release"};
    bool has_raw = size->raw.count > 0;
    for (int i = 0; i < 4; i++) {
        snprintf(name[i], sizeof name[i], "%s, %u tasks: %s", where, size->count, words[i]);
        if (i == 0 || size->count == SIZE_MAX_COUNT) {
            bench_print(bench, &(struct bench_row){.metric = name[i],
                                                   .unit = "ns",
                                                   .series = parts[i],
                                                   .peer_name = "comm pairs",
                                                   .peer = i == 0 && has_raw ? &size->raw : NULL});
        }
    }
}

static void print_all(struct bench *bench, const char *where, const struct bench_series *bytes)
{
    char name[64];
    const struct size_points *thousand = &sizes[1], *million = &sizes[SIZES - 1];
    for (uint32_t i = 0; i < SIZES; i++) {
        print_size(bench, where, &sizes[i]);
    }
    snprintf(name, sizeof name, "%s, a million against a thousand", where);
    bench_print(bench, &(struct bench_row){.metric = name,
                                           .unit = "ns",
                                           .series = &million->whole,
                                           .peer_name = "a thousand",
                                           .peer = &thousand->whole,
                                           .goal_kind = BENCH_RATIO_AT_MOST,
                                           .goal = 1.5});
    snprintf(name, sizeof name, "%s, a million: tasks/s, submit + get", where);
    bench_print(bench, &(struct bench_row){.metric = name,
                                           .unit = "M/s",
                                           .series = &million->rate,
                                           .goal_kind = BENCH_AT_LEAST,
                                           .goal = 1.5});
    snprintf(name, sizeof name, "%s, bytes per queued task", where);
    bench_print(
        bench,
        &(struct bench_row){
            .metric = name, .unit = "B", .series = bytes, .goal_kind = BENCH_AT_MOST, .goal = 256});
}

static int driver(int argc, char **argv)
{
    struct bench bench;
    struct bench_series bytes = {.count = 0};
    manta_world world;
    double raw_ns;
    MANTA_TRY(manta_world_get(&world));
    bool is_remote = world.size > 1;
    const manta_options *options = MANTA_OPTIONS(.rank = MANTA_ON(is_remote));
    refs = calloc(SIZE_MAX_COUNT, sizeof *refs);
    if (!refs || bench_open(&bench, "rate", argc, argv) != 0) {
        return 1;
    }
    memset(refs, 1, SIZE_MAX_COUNT * sizeof *refs);
    if (is_remote) {
        MANTA_TRY(raw_ping(1000, &raw_ns));
        bench_note(&bench, "placement", raw_placement(raw_ns));
    }
    MANTA_TRY(measure_bytes(options, &bytes));
    MANTA_TRY(measure_sizes(options, is_remote, bench.points > 7 ? 7 : 3));
    print_all(&bench, is_remote ? "remote" : "local", &bytes);
    free(refs);
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
