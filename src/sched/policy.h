/*
 * sched: decisions about where work goes, as pure functions over small states, so that
 * tests and the simulator can ask them anything.
 *
 * The window of a peer is how many tasks its owner keeps in flight there. It must be
 * small while tasks are long (what waits in a queue there could run elsewhere) and large
 * while they are short (or the peer idles for a round trip after each). Nobody knows
 * the length, so the peer says with each result whether it ran dry: a dry peer whose
 * owner still had work gets twice the window. Each tick the window shrinks to what the
 * peer consumed in about two ticks, so after a change to long tasks at most a tick's
 * worth of work sits in the wrong place.
 */
#ifndef SCHED_POLICY_H
#define SCHED_POLICY_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct sched_window {
    uint32_t in_flight;
    uint32_t size;
    uint32_t floor, max;
    uint32_t results; /* since the last tick */
};

static inline void sched_window_init(struct sched_window *window, uint32_t floor, uint32_t max)
{
    *window = (struct sched_window){.size = floor, .floor = floor, .max = max};
}

static inline bool sched_window_has_room(const struct sched_window *window)
{
    return window->in_flight < window->size;
}

/* Room for a task that would have to take its arguments elsewhere otherwise. */
static inline bool sched_window_bears(const struct sched_window *window)
{
    return window->in_flight < 2 * window->size;
}

/* A result came; dry: the peer had nothing else of ours left; backlog: we had more to send. */
static inline void sched_window_result(struct sched_window *window, bool dry, bool backlog)
{
    window->results++;
    if (window->in_flight) {
        window->in_flight--;
    }
    if (dry && backlog && window->size < window->max) {
        window->size = MT_MIN(window->size * 2, window->max);
    }
}

/* Once per tick. */
void sched_window_tick(struct sched_window *window);

/*
 * How many indices of a map to lease next: a fixed fraction of an even share of what is
 * left, so that batches shrink towards the end (guided self-scheduling, Polychronopoulos
 * and Kuck 1987), at least 1, at most `limit`.
 */
uint64_t sched_map_batch(uint64_t left, uint32_t slots, uint64_t limit);

/* A process that could be ended when memory runs short. */
struct sched_victim {
    uint64_t serial;   /* of its start */
    bool is_retriable; /* it will run again */
};

/* True when `a` is rather ended than `b`: what can run again goes first, of these the newest, which
 * has the least to lose. */
bool sched_goes_before(const struct sched_victim *a, const struct sched_victim *b);

/*
 * How long a task waits before it is tried again after so many failed attempts: not at all after
 * the first, then 10 ms, 20, 40 ... up to 2.56 s.
 */
uint64_t sched_retry_delay_ns(uint32_t failures);

/*
 * From whom the n-th fetcher (1, 2 ...) of a value gets it: an earlier one, or 0, its maker. Values
 * go on chunk by chunk, so the few first ones make a chain, where everybody sends the value once;
 * who comes later hangs in a binary tree behind it, where everybody sends it twice. N fetchers
 * so have it in the time of one or two transfers, and of at most 8 + 2 log2(N) chunks. A chain is
 * never longer than there are chunks: with few of them the tree begins sooner.
 */
uint32_t sched_source(uint32_t n, uint64_t chunks);

/* Home of an id among `size` ranks: the first living one in its own pseudo-random order. rank 0
 * when all are down. */
uint32_t sched_home(uint64_t id, uint32_t size, const uint8_t *down);

#endif
