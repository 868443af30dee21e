/*
 * The round trip of a no-op: submit on rank 0, run on rank 1, get on rank 0. For `mpirun -n 2`.
 *
 * Against two limits taken in turn with it, on the same two threads: R, a hand-written ping-pong
 * of one cache line, and the ping-pong of comm's own rings; who begins changes. The refs of a point
 * go with a scope block after its clock has stopped; the second row drops each ref at once, within
 * the clock.
 */
#include "bench.h"
#include "raw.h"

MANTA_TASK(noop)
{
    return MANTA_OK;
}

enum { ROUNDS = 2000 };

struct points {
    struct bench_series raw, comm, kept, dropped;
};

static int measure_noop(bool drops, struct bench_series *series)
{
    const manta_options *there = MANTA_OPTIONS(.rank = MANTA_ON(1));
    MANTA_TRY(manta_scope_begin());
    MANTA_TRY(noop_get(noop_async(there)));
    uint64_t start_ns = bench_now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        manta_ref ref = noop_async(there);
        MANTA_TRY(noop_get(ref));
        if (drops) {
            manta_drop(ref);
        }
    }
    bench_add(series, (double)(bench_now_ns() - start_ns) / ROUNDS);
    return manta_scope_end();
}

static int measure_raw(int (*ping)(uint32_t rounds, double *ret_ns), struct bench_series *series)
{
    double ns;
    MANTA_TRY(ping(ROUNDS, &ns));
    bench_add(series, ns);
    return MANTA_OK;
}

/* Point `i` of each, beginning with another one each time. */
static int measure_all(struct points *points, uint32_t i)
{
    enum { KINDS = 4 };
    for (uint32_t k = 0; k < KINDS; k++) {
        switch ((i + k) % KINDS) {
        case 0:
            MANTA_TRY(measure_raw(raw_ping, &points->raw));
            break;
        case 1:
            MANTA_TRY(measure_raw(raw_comm_ping, &points->comm));
            break;
        case 2:
            MANTA_TRY(measure_noop(false, &points->kept));
            break;
        default:
            MANTA_TRY(measure_noop(true, &points->dropped));
        }
    }
    return MANTA_OK;
}

static int driver(int argc, char **argv)
{
    struct bench bench;
    struct points points = {.raw = {.count = 0}};
    manta_world world;
    MANTA_TRY(manta_world_get(&world));
    if (world.size < 2) {
        return fprintf(stderr, "roundtrip: start it with mpirun -n 2\n") > 0;
    }
    MANTA_TRY(bench_open(&bench, "roundtrip", argc, argv));
    for (uint32_t i = 0; i < bench.points; i++) {
        MANTA_TRY(measure_all(&points, i));
    }
    double raw_ns = bench_summarise(&points.raw).median;
    double goal = raw_ns > RAW_SEPARATE_NS ? 1.6 : 2.5;
    bench_note(&bench, "placement", raw_placement(raw_ns));
    const struct bench_row rows[] = {
        {.metric = "R: raw slot ping-pong", .series = &points.raw},
        {.metric = "comm ping-pong", .series = &points.comm, .peer_name = "R", .peer = &points.raw},
        {.metric = "remote no-op, submit + get",
         .series = &points.kept,
         .peer_name = "R",
         .peer = &points.raw,
         .goal_kind = BENCH_RATIO_AT_MOST,
         .goal = goal},
        {.metric = "the same", .series = &points.kept, .peer_name = "comm", .peer = &points.comm},
        {.metric = "remote no-op, submit + get + drop",
         .series = &points.dropped,
         .peer_name = "R",
         .peer = &points.raw},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench_row row = rows[i];
        row.unit = "ns";
        bench_print(&bench, &row);
    }
    return bench_close(&bench);
}

int main(int argc, char **argv)
{
    return manta_run(argc, argv, driver);
}
