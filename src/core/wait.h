/*
 * Waiting for objects.
 *
 * A waiter counts down what it waits for. A task that waits gives its worker another
 * stack to go on with and is resumed on the same worker; a driver or foreign thread
 * polls, then sleeps at its own park. Everything is called with the baton held and
 * returns with it held; user code runs in between only on other stacks.
 */
#ifndef CORE_WAIT_H
#define CORE_WAIT_H

#include "core/object.h"

struct waiter {
    struct context *context;
    uint32_t missing;  /* how many more must be done */
    uint8_t is_parked; /* a task's stack is put aside for it */
    uint8_t is_timed_out;
    uint64_t deadline_ns;
    const struct target *targets; /* what it waits for, or: */
    size_t target_count;
    manta_queue *queue;
    struct base_list timed; /* link in the worker's list of deadlines */
    struct base_list link;  /* in a queue's or the throttle's list of waiters */
};

void waiter_notify(struct rank *rank, struct waiter *waiter, uint32_t position);

/* Until missing is 0 or the deadline (BASE_FOREVER: none). MANTA_OK, MANTA_E_TIMEOUT,
 * MANTA_E_SHUTDOWN, MANTA_E_STACK. */
int wait_for(struct context *context, struct waiter *waiter, uint64_t deadline_ns);

/* Until one target is done; runs its task right here when it has not started and lies on this rank.
 */
int wait_target(struct context *context, const struct target *target, uint64_t deadline_ns);

/*
 * All stacks are parked: runs an awaited task that has not started on top of this stack, or does
 * the same for what it waits for when it is parked here itself. What lies unstarted on another rank
 * comes back when that one has no stacks either (exec_give_back). MANTA_E_STACK: it lies here, but
 * this stack has no room for another body.
 */
int wait_help(struct context *context, const struct target *target);
/* The same for what a queue waits for, until something is ready. */
int queue_help(struct context *context, manta_queue *queue);

/* A completion queue's entry got ready. */
void queue_notify(struct rank *rank, void *entry);
/* The end of the run: what is still in queues is held by them no more. */
void queue_detach_all(struct rank *rank);

#endif
