/*
 * The operations whose instructions are counted: each is done CALLS times between two dumps of
 * callgrind's counters, whose name says which it was. budget.py runs this, divides and compares.
 *
 * Everything runs on one thread in an order that follows from a seed, so the counts are exact: over
 * the end to oneself, over two ends of one shared segment, and as whole virtual ranks in the
 * simulator. Outside valgrind the dumps do nothing and the program only checks itself.
 */
#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/sim.h"
#include "fiber/fiber.h"
#include "tests/sim/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

enum { CALLS = 100, WIDTH = 10, MS = 1000000 };

static void begin(void)
{
    CALLGRIND_ZERO_STATS;
}

static void end(const char *name)
{
    CALLGRIND_DUMP_STATS_AT(name);
    begin();
}

/* ---- comm ----------------------------------------------------------------------------------- */

static void count_message(void *owner, uint32_t from, const struct wire_header *header,
                          const void *body)
{
    ++*(uint32_t *)owner;
}

static void ignore_death(void *owner, uint32_t peer)
{
}

static void send_all(struct comm *comm, uint32_t peer)
{
    for (uint32_t i = 0; i < CALLS; i++) {
        struct wire_header *header = comm_prepare(comm, peer, 8);
        *header = (struct wire_header){.kind = 1};
        memset(comm_body(header), 0, 8);
        comm_commit(comm);
        comm_flush(comm);
    }
}

/* One message a turn, as in a round trip. */
static void receive_all(struct comm *comm, const uint32_t *received)
{
    for (unsigned turns = 0; *received < CALLS && turns < 10 * CALLS; turns++) {
        (void)comm_progress(comm, 1);
    }
}

/* The first exchange makes first contact; the second is counted. */
static int count_comm(struct comm *from, struct comm *to, const char *send_name,
                      const char *receive_name)
{
    uint32_t received = 0;
    struct comm_sink sink = {count_message, ignore_death, &received};
    comm_set_sink(from, &sink);
    comm_set_sink(to, &sink);
    for (int round = 0; round < 2; round++) {
        received = 0;
        begin();
        send_all(from, comm_rank(to));
        if (round) {
            end(send_name);
        }
        begin();
        receive_all(to, &received);
        if (round) {
            end(receive_name);
        }
    }
    return received == CALLS ? 0 : 1;
}

static int count_alone(void)
{
    struct comm *comm;
    if (comm_create_alone(&base_host_real, &comm) != 0) {
        return 1;
    }
    int failed = count_comm(comm, comm, "self.send", "self.receive");
    comm_destroy(comm);
    return failed;
}

static int count_shm(void)
{
    struct comm *ends[2] = {NULL, NULL};
    int fd, failed = 1;
    if (comm_shm_segment_create(2, 0, &fd) != 0) {
        return 1;
    }
    if (comm_create_shm(&base_host_real, fd, 0, 2, &ends[0]) == 0 &&
        comm_create_shm(&base_host_real, fd, 1, 2, &ends[1]) == 0) {
        failed = count_comm(ends[0], ends[1], "shm.send", "shm.receive");
    }
    comm_destroy(ends[0]);
    comm_destroy(ends[1]);
    close(fd);
    return failed;
}

struct sim_end {
    struct sim *sim;
    uint32_t rank;
    int code;
};

static void sim_main(void *arg)
{
    struct sim_end *self = arg;
    const struct base_host *host = sim_host(self->sim, self->rank);
    struct comm *comm = sim_comm(self->sim, self->rank);
    uint32_t received = 0;
    comm_set_sink(comm, &(struct comm_sink){count_message, ignore_death, &received});
    if (self->rank == 0) {
        begin();
        send_all(comm, 1);
        end("sim.send");
        return;
    }
    host->work(host->self, 10 * MS);
    begin();
    receive_all(comm, &received);
    end("sim.receive");
    self->code = received == CALLS ? 0 : 1;
}

static int count_sim(void)
{
    struct sim *sim = sim_create(&(struct sim_options){.seed = 1, .ranks = 2});
    struct sim_end ends[2] = {{sim, 0, 0}, {sim, 1, 1}};
    if (!sim) {
        return 1;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (sim_start(sim, i, sim_main, &ends[i]) != 0) {
            return 1;
        }
    }
    int code = sim_run(sim);
    sim_destroy(sim);
    return code || ends[1].code;
}

/* ---- Stacks --------------------------------------------------------------------------------- */

static struct fiber *outside;

static void switch_back(void *arg)
{
    struct fiber **self = arg;
    for (;;) {
        fiber_switch(*self, outside);
    }
}

static int count_switch(void)
{
    struct fiber *inside;
    struct fiber_pool *pool = fiber_pool_create(64 * 1024, 4);
    outside = fiber_adopt_thread();
    if (!pool || !outside || !(inside = fiber_create(pool, switch_back, &inside))) {
        return 1;
    }
    fiber_switch(outside, inside);
    begin();
    for (int i = 0; i < CALLS; i++) {
        fiber_switch(outside, inside);
    }
    end("fiber.there_and_back");
    fiber_release(inside);
    fiber_release_thread(outside);
    fiber_pool_destroy(pool);
    return 0;
}

/* ---- Tasks ---------------------------------------------------------------------------------- */

MANTA_TASK(noop)
{
    return MANTA_OK;
}

MANTA_TASK(add, val(int64_t, x), val(int64_t, y), out(int64_t, z))
{
    *z = x + y;
    return MANTA_OK;
}

struct point {
    uint32_t step, at;
    double value;
};

MANTA_TASK(start_point, val(struct point, here), out(struct point, result))
{
    *result = here;
    return MANTA_OK;
}

/* Of a stencil: what is next at a point, from three of the row before. */
MANTA_TASK(next_point, val(struct point, here), in(struct point, left), in(struct point, middle),
           in(struct point, right), out(struct point, result))
{
    *result = here;
    result->value = left->value + middle->value + right->value;
    return middle->step + 1 == here.step && middle->at == here.at ? MANTA_OK : 1;
}

MANTA_TASK(compute, val(uint64_t, duration_ns))
{
    core_work(duration_ns);
    return MANTA_OK;
}

MANTA_TASK(await_other, ref(other))
{
    return compute_get(other);
}

static uint32_t target_rank;
static const char *world_name;
static manta_ref refs[CALLS];

static void end_phase(const char *phase)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", world_name, phase);
    end(name);
}

static int wait_all(void)
{
    return manta_wait(refs, CALLS, CALLS, MANTA_FOREVER, NULL);
}

static int count_tasks(bool is_counted)
{
    const manta_options *there = MANTA_OPTIONS(.rank = MANTA_ON(target_rank));
    MANTA_TRY(manta_scope_begin());
    begin();
    for (int i = 0; i < CALLS; i++) {
        refs[i] = noop_async(there);
    }
    is_counted ? end_phase("submit") : begin();
    MANTA_TRY(wait_all());
    is_counted ? end_phase("run") : begin();
    for (int i = 0; i < CALLS; i++) {
        MANTA_TRY(noop_get(refs[i]));
    }
    is_counted ? end_phase("get") : begin();
    MANTA_TRY(manta_scope_end());
    if (is_counted) {
        end_phase("release");
    }
    return MANTA_OK;
}

static int count_small(void)
{
    const manta_options *there = MANTA_OPTIONS(.rank = MANTA_ON(target_rank));
    int64_t sum = 0;
    MANTA_TRY(manta_scope_begin());
    begin();
    for (int64_t i = 0; i < CALLS; i++) {
        refs[i] = add_async(there, i, i);
    }
    end_phase("submit_small");
    MANTA_TRY(wait_all());
    end_phase("run_small");
    for (int i = 0; i < CALLS; i++) {
        int64_t value;
        MANTA_TRY(add_get(refs[i], &value));
        sum += value;
    }
    end_phase("get_small");
    return sum == CALLS * (CALLS - 1) ? manta_scope_end() : 1;
}

/* Tasks with three small inputs, submitted before these are there: rows of a periodic stencil. */
static int count_inputs(bool is_counted)
{
    const manta_options *there = MANTA_OPTIONS(.rank = MANTA_ON(target_rank));
    manta_ref starts[WIDTH];
    const manta_ref *before = starts;
    struct point last;
    MANTA_TRY(manta_scope_begin());
    for (uint32_t i = 0; i < WIDTH; i++) {
        starts[i] = start_point_async(there, (struct point){0, i, 1});
    }
    begin();
    for (uint32_t i = 0; i < CALLS; i++) {
        uint32_t at = i % WIDTH;
        refs[i] = next_point_async(there, (struct point){i / WIDTH + 1, at, 0},
                                   before[(at + WIDTH - 1) % WIDTH], before[at],
                                   before[(at + 1) % WIDTH]);
        before = at == WIDTH - 1 ? &refs[i - at] : before;
    }
    is_counted ? end_phase("submit_inputs") : begin();
    MANTA_TRY(wait_all());
    is_counted ? end_phase("run_inputs") : begin();
    MANTA_TRY(next_point_get(refs[CALLS - 1], &last));
    return last.value == pow(3, CALLS / WIDTH) ? manta_scope_end() : 1;
}

/* Bodies that wait for one long task: counted until all have parked, then until all have ended. */
static int count_parking(bool is_counted)
{
    const manta_options *there = MANTA_OPTIONS(.rank = MANTA_ON(target_rank));
    const manta_options *driver_rank = MANTA_OPTIONS(.rank = MANTA_ON(0), .priority = 7);
    MANTA_TRY(manta_scope_begin());
    manta_ref other = compute_async(driver_rank, 100 * MS);
    for (int i = 0; i < CALLS; i++) {
        refs[i] = await_other_async(there, other);
    }
    begin();
    if (manta_wait(refs, CALLS, 1, 50 * MS, NULL) != MANTA_E_TIMEOUT) {
        return 1;
    }
    is_counted ? end_phase("park") : begin();
    MANTA_TRY(wait_all());
    if (is_counted) {
        end_phase("resume");
    }
    return manta_scope_end();
}

static int driver(int argc, char **argv)
{
    MANTA_TRY(count_tasks(false));
    MANTA_TRY(count_tasks(true));
    MANTA_TRY(count_small());
    MANTA_TRY(count_inputs(false));
    MANTA_TRY(count_inputs(true));
    MANTA_TRY(count_parking(false));
    return count_parking(true);
}

/* The task to wait for keeps a worker busy, hence two of them. */
static int count_world(const char *name, uint32_t ranks)
{
    struct world_options options = {.seed = 1, .ranks = ranks, .workers = 2};
    struct world_result result;
    world_name = name;
    target_rank = ranks - 1;
    return world_run(&options, driver, &result) || world_check(name, &options, &result);
}

int main(void)
{
    static const char *const names[] = {"self", "shm", "sim", "switch", "self tasks", "sim tasks"};
    int failed[] = {count_alone(),          count_shm(),          count_sim(), count_switch(),
                    count_world("self", 1), count_world("sim", 2)};
    int any = 0;
    for (size_t i = 0; i < sizeof failed / sizeof *failed; i++) {
        if (failed[i]) {
            fprintf(stderr, "budget: %s does not work\n", names[i]);
            any = 1;
        }
    }
    return any;
}
