/*
 * Virtual threads, and the host that they see.
 *
 * A virtual thread is whatever runs between two switches of the loop to it and back.
 * It starts on a fiber from the world's pool but may itself switch between fibers of
 * its own (a rank's parked tasks); the loop therefore notes where it was left, not
 * where it began. Going back to the loop happens in park, yield, work and join, and
 * at the end, and nowhere else: between them a virtual thread is alone in the world.
 *
 * What a thread-local "current something" of the program points to belongs to the
 * virtual thread: *switch_slot is saved and restored around each turn.
 */
#include "base/alloc.h"
#include "comm/sim_world.h"
#include "manta/error.h"

#include <assert.h>

/* Virtual time of a yield, so that a loop of yields does not stop the clock. */
#define YIELD_MIN_NS 20u
#define YIELD_MAX_NS 200u

static struct sim *sim_of(void *self)
{
    return ((struct sim_rank *)self)->sim;
}

static void swap_context(struct sim *sim, struct sim_thread *thread)
{
    if (sim->switch_slot) {
        void *outer = *sim->switch_slot;
        *sim->switch_slot = thread->context;
        thread->context = outer;
    }
}

static void leave(struct sim *sim)
{
    struct sim_thread *thread = sim->current;
    thread->resume = fiber_current();
    fiber_switch(thread->resume, sim->outside);
}

/* What happens to a stopped rank's threads happens when it goes on. */
void sim_thread_turn(struct sim *sim, struct sim_thread *thread)
{
    const struct sim_rank *rank = &sim->ranks[thread->rank];
    if (!rank->alive) {
        return;
    }
    if (sim->now_ns < rank->stopped_until_ns) {
        sim_push(sim, rank->stopped_until_ns, SIM_TURN, thread->index, 0, NULL);
        return;
    }
    sim->current = thread;
    swap_context(sim, thread);
    fiber_switch(sim->outside, thread->resume);
    swap_context(sim, thread);
    sim->current = NULL;
    if (thread->state == SIM_ENDED) {
        thread->context = NULL;
        fiber_release(thread->base);
        thread->base = NULL;
    }
}

static void make_ready(struct sim *sim, struct sim_thread *thread, uint64_t time_ns)
{
    uint64_t late_ns = sim_slowness(sim, &sim->ranks[thread->rank]);
    thread->state = SIM_READY;
    sim_push(sim, time_ns + late_ns, SIM_TURN, thread->index, 0, NULL);
}

static void thread_entry(void *arg)
{
    struct sim_thread *thread = arg;
    struct sim *sim = thread->sim;
    thread->main(thread->arg);
    thread->state = SIM_ENDED;
    sim->ranks[thread->rank].live_threads--;
    sim->live_threads--;
    if (thread->joiner) {
        make_ready(sim, thread->joiner, sim->now_ns);
    }
    fiber_exit_to(fiber_current(), sim->outside);
}

static struct sim_thread *next_thread(struct sim *sim)
{
    if (sim->thread_count == sim->thread_capacity &&
        sim_grow(&sim->threads, &sim->thread_capacity, sizeof *sim->threads)) {
        return NULL;
    }
    struct sim_thread *thread = base_alloc(sizeof *thread);
    if (thread) {
        thread->index = sim->thread_count;
    }
    return thread;
}

int sim_thread_create(struct sim_rank *rank, void (*main)(void *), void *arg,
                      struct sim_thread **ret_thread)
{
    struct sim *sim = rank->sim;
    struct sim_thread *thread = next_thread(sim);
    if (!thread) {
        return MANTA_E_NOMEM;
    }
    thread->base = fiber_create(sim->pool, thread_entry, thread);
    if (!thread->base) {
        base_free(thread);
        return MANTA_E_NOMEM;
    }
    thread->sim = sim;
    thread->resume = thread->base;
    thread->main = main;
    thread->arg = arg;
    thread->rank = rank->index;
    sim->threads[sim->thread_count++] = thread;
    rank->live_threads++;
    sim->live_threads++;
    make_ready(sim, thread, sim->now_ns);
    *ret_thread = thread;
    return 0;
}

static uint64_t host_now(void *self)
{
    return sim_of(self)->now_ns;
}

static bool host_park(void *self, struct base_park *park, uint64_t deadline_ns)
{
    struct sim *sim = sim_of(self);
    struct sim_thread *thread = sim->current;
    assert(!park->sleeper); /* one thread at a park */
    if (atomic_load_explicit(&park->token, memory_order_relaxed)) {
        atomic_store_explicit(&park->token, 0, memory_order_relaxed);
        return true;
    }
    if (deadline_ns <= sim->now_ns) {
        return false;
    }
    atomic_store_explicit(&park->token, 2, memory_order_relaxed);
    park->sleeper = thread;
    thread->park = park;
    thread->got_token = false;
    thread->state = SIM_PARKED;
    thread->sleep++;
    if (deadline_ns != BASE_FOREVER) {
        sim_push(sim, deadline_ns, SIM_DEADLINE, thread->index, thread->sleep, NULL);
    }
    leave(sim);
    return thread->got_token;
}

static void end_park(struct sim *sim, struct sim_thread *thread, bool got_token)
{
    atomic_store_explicit(&thread->park->token, 0, memory_order_relaxed);
    thread->park->sleeper = NULL;
    thread->park = NULL;
    thread->got_token = got_token;
    make_ready(sim, thread, sim->now_ns);
}

void sim_thread_deadline(struct sim *sim, struct sim_thread *thread, uint32_t sleep)
{
    if (thread->state == SIM_PARKED && thread->sleep == sleep && sim->ranks[thread->rank].alive) {
        end_park(sim, thread, false);
    }
}

static void host_wake(void *self, struct base_park *park)
{
    if (atomic_load_explicit(&park->token, memory_order_relaxed) == 2) {
        end_park(sim_of(self), park->sleeper, true);
    } else {
        atomic_store_explicit(&park->token, 1, memory_order_relaxed);
    }
}

static int host_thread_start(void *self, struct base_thread *ret_thread,
                             const struct base_thread_options *options, void (*main)(void *),
                             void *arg)
{
    struct sim_thread *thread;
    int rc = sim_thread_create(self, main, arg, &thread);
    if (rc) {
        return rc;
    }
    ret_thread->handle = thread->index;
    ret_thread->sim = thread;
    return 0;
}

static void host_thread_join(void *self, struct base_thread *handle)
{
    struct sim *sim = sim_of(self);
    struct sim_thread *thread = handle->sim;
    if (thread->state != SIM_ENDED) {
        thread->joiner = sim->current;
        sim->current->state = SIM_JOINING;
        leave(sim);
    }
}

static void host_work(void *self, uint64_t duration_ns)
{
    struct sim *sim = sim_of(self);
    make_ready(sim, sim->current, base_deadline_after(sim->now_ns, duration_ns));
    leave(sim);
}

static void host_yield(void *self)
{
    host_work(self, sim_between(sim_of(self), YIELD_MIN_NS, YIELD_MAX_NS));
}

static uint64_t host_random(void *self)
{
    return sim_random(sim_of(self));
}

void sim_host_init(struct sim_rank *rank)
{
    rank->host = (struct base_host){.now_ns = host_now,
                                    .ticks = host_now,
                                    .park = host_park,
                                    .wake = host_wake,
                                    .thread_start = host_thread_start,
                                    .thread_join = host_thread_join,
                                    .yield = host_yield,
                                    .work = host_work,
                                    .random = host_random,
                                    .self = rank};
}
