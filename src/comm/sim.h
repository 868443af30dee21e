/*
 * comm/sim: many virtual ranks in one process, in virtual time, from one seed.
 *
 * A world has N ranks. Each rank has an end (struct comm) and a host (struct
 * base_host) whose threads are fibers. sim_run repeatedly picks the next event in
 * virtual time (a message's arrival, a sleeper's deadline, a thread's turn; ties
 * broken by the seeded generator) and runs it until it sleeps. Delays between two
 * ranks are drawn per message; order between one pair is kept, between pairs it is
 * not. A killed rank stops at the step it is at: its threads never run again, its
 * committed messages may still arrive or not (drawn per peer: a prefix arrives),
 * and the others hear of it after a detection delay.
 *
 * The same seed gives the same trace: sim_trace_hash covers every event.
 */
#ifndef COMM_SIM_H
#define COMM_SIM_H

#include "base/host.h"
#include "comm/comm.h"

struct sim;

struct sim_options {
    uint64_t seed;
    uint32_t ranks;
    uint64_t delay_min_ns, delay_max_ns;   /* of a message; 0, 0: 1 to 20 us */
    uint64_t detect_min_ns, detect_max_ns; /* of a death by each survivor; 0, 0: 10 us to 5 ms */
    uint32_t node_ranks;    /* which share a node, in a row: its boards; 0: all */
    uint32_t window;        /* messages in flight per ordered pair before the way is full; 0: 256 */
    uint64_t time_limit_ns; /* virtual; 0: one hour. Reaching it is a failure (hang). */
    size_t stack_bytes;     /* of each virtual thread; 0: 64 KiB */
};

/* NULL when memory is out. */
struct sim *sim_create(const struct sim_options *options);
void sim_destroy(struct sim *sim);

/* Borrowed until sim_destroy. comm_destroy on a sim end is harmless. */
struct comm *sim_comm(struct sim *sim, uint32_t rank);
const struct base_host *sim_host(struct sim *sim, uint32_t rank);

/* Starts `main(arg)` as rank's first virtual thread when sim_run begins. */
int sim_start(struct sim *sim, uint32_t rank, void (*main)(void *), void *arg);

/* Calls `hook(arg)` from outside any virtual thread at a virtual time (to kill, to check). */
int sim_at(struct sim *sim, uint64_t time_ns, void (*hook)(void *), void *arg);

/*
 * The program's thread-local "current something": sim keeps *slot apart for each
 * virtual thread (NULL at its start) and gives the caller of sim_run its own back.
 * Borrowed until sim_destroy; set before sim_run.
 */
void sim_set_switch_hook(struct sim *sim, void **slot);

/* Kills a rank now. From a sim_at hook only, whose business it is to free what the rank allocated.
 */
void sim_kill(struct sim *sim, uint32_t rank);
bool sim_is_alive(const struct sim *sim, uint32_t rank);

/*
 * 0 when all threads of living ranks have ended; MANTA_E_TIMEOUT at the limit;
 * MANTA_E_DEADLOCK when all sleep forever; MANTA_E_NOMEM when an event was lost for want of memory.
 */
int sim_run(struct sim *sim);

uint64_t sim_now_ns(const struct sim *sim);
uint64_t sim_trace_hash(const struct sim *sim);
uint64_t sim_event_count(const struct sim *sim);

/* Uniform in [0, n): from the world's seeded generator, for tests that draw their own faults. */
uint64_t sim_draw(struct sim *sim, uint64_t n);

#endif
