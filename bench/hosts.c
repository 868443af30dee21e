/*
 * Tasks between two hosts against raw UCX between them. For two ranks, one on each host; run.py
 * makes virtual ones. Round trip: submit and get of a no-op, against a ping-pong of active messages
 * of the same size. Rate: submit all and get all, so each task is a message there and one back,
 * against one-way messages of that size. Values: a view of one that was made on the other host,
 * against an active message of that size into memory in use, asked for by another. Point by point
 * in turn.
 *
 * Raw UCX runs on the very threads that Manta's side of a point uses: the driver and a task that
 * serves until it is dismissed. While that task runs, no other one does.
 */
#include "bench.h"
#include "ucx_raw.h"

#include <manta/manta.h>

#include <string.h>

/* As long as a packet that holds one no-op: head 24, frame 32, function and flags 8. */
enum { TASK_BYTES = 64, ROUNDS = 1000, TASKS = 50000, VALUES = 8, SIZES = 2 };

static const uint32_t value_bytes[SIZES] = {4 << 20, 64 << 20};

MANTA_TASK(noop)
{
    return MANTA_OK;
}

static struct raw_ucx *answering; /* on rank 1 */

MANTA_TASK(raw_meet, span(uint8_t, address), outv(uint8_t, mine))
{
    uint8_t own[RAW_UCX_ADDRESS_MAX];
    MANTA_TRY(raw_ucx_open(&answering));
    size_t bytes = raw_ucx_address(answering, own);
    void *room = manta_outv_alloc(mine, bytes);
    if (!room || !bytes || address_len == 0) {
        return MANTA_E_SYSTEM;
    }
    memcpy(room, own, bytes);
    return raw_ucx_connect(answering, address);
}

MANTA_TASK(raw_serve)
{
    return raw_ucx_serve(answering);
}

MANTA_TASK(make, val(uint32_t, bytes), outv(uint8_t, xs))
{
    uint8_t *x = (uint8_t *)manta_outv_alloc(xs, bytes);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    memset(x, 7, bytes);
    return MANTA_OK;
}

struct points {
    struct bench_series raw_ping, ping, raw_message, task;
    struct bench_series raw_value[SIZES], value[SIZES];
};

static const manta_options *there(void)
{
    static const manta_options options = {.rank = MANTA_ON(1)};
    return &options;
}

static int meet(struct raw_ucx **ret_raw)
{
    uint8_t own[RAW_UCX_ADDRESS_MAX];
    const uint8_t *other;
    size_t bytes, other_bytes;
    MANTA_TRY(raw_ucx_open(ret_raw));
    bytes = raw_ucx_address(*ret_raw, own);
    manta_ref met = raw_meet_async(there(), own, bytes);
    MANTA_TRY(raw_meet_get(met, &other, &other_bytes));
    MANTA_TRY(raw_ucx_connect(*ret_raw, other));
    return MANTA_OK;
}

static int measure_raw(struct raw_ucx *raw, struct points *points)
{
    double ns;
    manta_ref serving = raw_serve_async(there());
    MANTA_TRY(raw_ucx_ping(raw, ROUNDS / 10, TASK_BYTES, &ns)); /* until it serves */
    MANTA_TRY(raw_ucx_ping(raw, ROUNDS, TASK_BYTES, &ns));
    bench_add(&points->raw_ping, ns / 1e3);
    MANTA_TRY(raw_ucx_stream(raw, TASKS, TASK_BYTES, &ns));
    bench_add(&points->raw_message, ns);
    for (int k = 0; k < SIZES; k++) {
        for (int i = 0; i < VALUES; i++) {
            MANTA_TRY(raw_ucx_fetch(raw, value_bytes[k], &ns));
            bench_add(&points->raw_value[k], ns / 1e6);
        }
    }
    MANTA_TRY(raw_ucx_dismiss(raw));
    return raw_serve_get(serving);
}

/* The memory on both sides has been in use before, but for the first one's. */
static int measure_values(struct points *points)
{
    const void *data;
    size_t bytes;
    for (int k = 0; k < SIZES; k++) {
        for (int i = 0; i <= VALUES; i++) {
            manta_ref xs = make_async(there(), value_bytes[k]);
            MANTA_TRY(manta_wait(&xs, 1, 1, MANTA_FOREVER, NULL));
            uint64_t start_ns = bench_now_ns();
            MANTA_TRY(manta_view(xs, &data, &bytes));
            if (i) {
                bench_add(&points->value[k], (double)(bench_now_ns() - start_ns) / 1e6);
            }
            MANTA_TRY(manta_unview(xs));
            MANTA_TRY(manta_drop(xs));
        }
    }
    return MANTA_OK;
}

static int measure_tasks(struct points *points)
{
    static manta_ref refs[TASKS];
    MANTA_TRY(manta_scope_begin());
    MANTA_TRY(noop_get(noop_async(there())));
    uint64_t start_ns = bench_now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        MANTA_TRY(noop_get(noop_async(there())));
    }
    bench_add(&points->ping, (double)(bench_now_ns() - start_ns) / ROUNDS / 1e3);
    start_ns = bench_now_ns();
    for (int i = 0; i < TASKS; i++) {
        refs[i] = noop_async(there());
    }
    for (int i = 0; i < TASKS; i++) {
        MANTA_TRY(noop_get(refs[i]));
    }
    bench_add(&points->task, (double)(bench_now_ns() - start_ns) / TASKS);
    return manta_scope_end();
}

static void print_all(struct bench *bench, const struct points *points)
{
    const struct bench_row rows[] = {
        {.metric = "raw UCX ping-pong, 64 bytes", .unit = "us", .series = &points->raw_ping},
        {.metric = "no-op on the other host, submit + get",
         .unit = "us",
         .series = &points->ping,
         .peer_name = "raw UCX",
         .peer = &points->raw_ping,
         .goal_kind = BENCH_RATIO_AT_MOST,
         .goal = 1.5},
        {.metric = "raw UCX one-way message, 64 bytes",
         .unit = "ns",
         .series = &points->raw_message},
        {.metric = "one of 50,000 no-ops, submit all, get all",
         .unit = "ns",
         .series = &points->task,
         .peer_name = "raw UCX",
         .peer = &points->raw_message,
         .goal_kind = BENCH_RATIO_AT_MOST,
         .goal = 2},
        {.metric = "raw UCX, 4 MiB asked for and received",
         .unit = "ms",
         .series = &points->raw_value[0]},
        {.metric = "view of 4 MiB on the other host",
         .unit = "ms",
         .series = &points->value[0],
         .peer_name = "raw UCX",
         .peer = &points->raw_value[0],
         .goal_kind = BENCH_RATIO_AT_MOST,
         .goal = 1.11},
        {.metric = "raw UCX, 64 MiB asked for and received",
         .unit = "ms",
         .series = &points->raw_value[1]},
        {.metric = "view of 64 MiB on the other host",
         .unit = "ms",
         .series = &points->value[1],
         .peer_name = "raw UCX",
         .peer = &points->raw_value[1],
         .goal_kind = BENCH_RATIO_AT_MOST,
         .goal = 1.11},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        bench_print(bench, &rows[i]);
    }
}

static int driver(int argc, char **argv)
{
    struct bench bench;
    struct points points = {.ping = {.count = 0}};
    struct raw_ucx *raw;
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    if (world.size != 2) {
        return fprintf(stderr, "hosts: start it with one rank on each of two hosts\n") > 0;
    }
    MANTA_TRY(bench_open(&bench, "hosts", argc, argv));
    MANTA_TRY(meet(&raw));
    for (uint32_t i = 0; i < bench.points; i++) {
        MANTA_TRY(measure_raw(raw, &points));
        MANTA_TRY(measure_tasks(&points));
        MANTA_TRY(measure_values(&points));
    }
    print_all(&bench, &points);
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
