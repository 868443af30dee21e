/*
 * The host: where time, sleep, threads and randomness come from.
 *
 * Nothing above base asks the operating system for these directly. A rank is
 * handed a `struct base_host` and uses only that, so the very same code runs on
 * real threads (base_host_real) and on the simulator's virtual ones
 * (sim_host in comm/sim), where time is virtual and every run is replayable.
 *
 * A park is where one thread sleeps. It holds at most one token: a wake leaves
 * the token, a wait takes it, at once if it is already there; so a wake that
 * comes before the wait is never lost, and several wakes count as one. Exactly
 * one thread waits at a park, any number may wake it.
 */
#ifndef BASE_HOST_H
#define BASE_HOST_H

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* No deadline: sleep until woken. */
#define BASE_FOREVER UINT64_MAX

struct base_park {
    _Atomic uint32_t token; /* 0 empty, 1 token left, 2 sleeper waiting */
    void *sleeper;          /* the simulator's virtual thread; unused on real threads */
};

struct base_thread {
    uint64_t handle; /* pthread_t, or the simulator's thread index */
    void *sim;
};

struct base_thread_options {
    const char *name;   /* at most 15 characters */
    const void *cpuset; /* hwloc_const_cpuset_t to bind to; NULL: inherit */
    void *topology;     /* hwloc_topology_t for the binding; NULL: inherit */
    size_t stack_bytes; /* 0: the default */
};

struct base_host {
    /* Monotonic time. Not for hot paths: 25 ns on real hosts. */
    uint64_t (*now_ns)(void *self);
    /* A counter that runs steadily and is cheap to read; how fast, comparing it with now_ns tells.
     * For traces. */
    uint64_t (*ticks)(void *self);
    /* Sleeps until the token or the deadline (absolute, BASE_FOREVER: none). True: got the token.
     */
    bool (*park)(void *self, struct base_park *park, uint64_t deadline_ns);
    void (*wake)(void *self, struct base_park *park);
    /* Starts a thread. 0 or MANTA_E_NOMEM / MANTA_E_LIMIT. */
    int (*thread_start)(void *self, struct base_thread *ret_thread,
                        const struct base_thread_options *options, void (*main)(void *), void *arg);
    void (*thread_join)(void *self, struct base_thread *thread);
    /* Lets another runnable thread go first. */
    void (*yield)(void *self);
    /* Computes for a modelled time: sleeps virtually in the simulator, for real elsewhere. */
    void (*work)(void *self, uint64_t duration_ns);
    /* 64 bits nobody can guess on real hosts; from the seed in the simulator. */
    uint64_t (*random)(void *self);
    void *self;
    /* How long a waiter polls before it sleeps; 0 in the simulator. */
    uint64_t spin_ns;
};

/* The operating system's clock, futexes and threads. */
extern const struct base_host base_host_real;

/* Calendar time, of the operating system also in the simulator: to mark what outlives a run, or to
 * come after an earlier one. It may be set back, so never for deadlines. */
uint64_t base_since_1970_ns(void);

static inline uint64_t base_now_ns(const struct base_host *host)
{
    return host->now_ns(host->self);
}

static inline bool base_park_wait(const struct base_host *host, struct base_park *park,
                                  uint64_t deadline_ns)
{
    return host->park(host->self, park, deadline_ns);
}

static inline void base_park_wake(const struct base_host *host, struct base_park *park)
{
    host->wake(host->self, park);
}

/* now + duration, saturating at BASE_FOREVER. */
static inline uint64_t base_deadline_after(uint64_t now_ns, uint64_t duration_ns)
{
    return duration_ns > BASE_FOREVER - now_ns ? BASE_FOREVER : now_ns + duration_ns;
}

#endif
