/*
 * Polling and sleeping.
 *
 * Whoever waits polls: rank_turn is one look at everything. A thread that finds nothing
 * for a while sleeps. The last thing a rank does before all its threads sleep is to arm
 * comm's bell, and one of them, the sentinel, sleeps there instead of at its own park.
 * The ticker is a thread that looks only when nobody else has for a tick, because all
 * workers are in user code: so a busy rank still answers; it sleeps while the rank does.
 */
#ifndef CORE_IDLE_H
#define CORE_IDLE_H

#include "core/rank.h"

#define TICK_NS UINT64_C(500000)

/* One look: messages in, tasks out. Baton held. Returns how much happened. */
unsigned rank_turn(struct rank *rank);
/* As many as it takes until what has come is handled, but no more than bodies can wait for (4,096
 * messages), or another thread wants the baton: for who is not going to look again soon. One turn
 * before each body, or each tick, would let the results of many ranks queue up for as long as the
 * workers are in user code. */
unsigned rank_catch_up(struct rank *rank);

/* One step of waiting, baton held and given up inside: polls for a while (*spin_until is the
 * caller's, 0 at first), then sleeps until woken or the deadline. Returns after each step; the
 * caller looks whether its wait is over. */
void idle_step(struct rank *rank, struct sleeper *sleeper, uint64_t *spin_until,
               uint64_t deadline_ns);

/* Wakes one sleeping thread, from under the baton. */
void idle_wake(struct rank *rank, struct sleeper *sleeper);
/* Work is ready: wakes a worker that waits for some. */
void idle_wake_worker(struct rank *rank);
/*
 * Ends the state in which senders ring. From then on somebody must look: whoever calls this, and
 * after it the ticker, which is woken for that. Nothing else disarms the bell.
 */
void idle_rouse(struct rank *rank);
/* The same, off the usual ways, whose copies of it stay where they are. */
void idle_rouse_rarely(struct rank *rank);

void ticker_main(void *rank);

#endif
