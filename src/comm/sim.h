/*
 * comm/sim: many virtual ranks in one process, in virtual time, from one seed.
 *
 * A world has N ranks. Each rank has an end (struct comm) and a host (struct
 * base_host) whose threads are fibers. sim_run repeatedly picks the next event in
 * virtual time (a message's arrival, a sleeper's deadline, a thread's turn; ties
 * broken by the seeded generator) and runs it until it sleeps. Delays between two
 * ranks are drawn per message; order between one pair is kept, between pairs it is
 * not.
 *
 * Faults: a killed rank stops at the step it is at: its threads never run again, its
 * committed messages may still arrive or not (drawn per peer: a prefix arrives).
 * A stopped one goes on later; a slow one takes longer; between ranks that are cut from
 * each other messages wait. Rank 0 notices as launch/watch.c does and each survivor is
 * told after a detection delay of its own; who is taken for dead and is not learns it
 * when it can, and leaves (sim_faults.c).
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
    uint64_t silence_ns; /* before a rank counts as dead, or one cut off leaves; 0: 2 ms */
    uint64_t leave_ns;   /* for a rank to end by itself once it knows that it is out; 0: 1 ms */
    /* Called, from outside any virtual thread, when a rank learns that it is out: it is to end its
     * threads. NULL: it is killed. */
    void (*fenced)(void *arg, uint32_t rank);
    void *fenced_arg;
    uint32_t node_ranks;    /* which share a node, in a row: its boards, and rank 0 kills the silent
                             * of its own; 0: all */
    uint64_t bytes_per_us;  /* that a rank can send to other nodes, all of them together; 0: any */
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

/*
 * Faults, from now on. Each from a sim_at hook only, whose business it is to free what a rank
 * that does not come back has allocated. Rank 0 can be stopped, for less than silence_ns, and
 * slowed, but not killed or cut off.
 */
void sim_kill(struct sim *sim, uint32_t rank);
void sim_stop(struct sim *sim, uint32_t rank, uint64_t duration_ns);
/* Each of its steps and messages, both ways, takes up to extra_ns longer. */
void sim_slow(struct sim *sim, uint32_t rank, uint64_t extra_ns, uint64_t duration_ns);
/* The ranks with is_inside[rank] are apart from all others, not from each other. */
void sim_cut(struct sim *sim, const uint8_t *is_inside, uint64_t duration_ns);

/* False also for one that knows that it is out. */
bool sim_is_alive(const struct sim *sim, uint32_t rank);
/* Rank 0 has told the others, or is about to, that it is dead. */
bool sim_is_judged(const struct sim *sim, uint32_t rank);

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
