/*
 * The baton: who may touch a rank's state and its comm.
 *
 * One flag, taken by exchange. Whoever waits for something (a worker between tasks, a
 * driver in a get) takes it and polls; whoever submits takes it for a moment. It is held
 * for short, bounded stretches and never while asleep or in user code, so a contender
 * spins, and after a while lets others run. A poller that holds it through many turns
 * looks at `wanted` each turn and steps aside.
 */
#ifndef CORE_BATON_H
#define CORE_BATON_H

#include "base/host.h"

struct baton {
    _Atomic uint32_t taken;
    _Atomic uint32_t wanted; /* contenders; only a hint to the holder */
};

void baton_contend(struct baton *baton, const struct base_host *host);
/* For a thread that must go on even when the holder does not. */
bool baton_take_until(struct baton *baton, const struct base_host *host, uint64_t deadline_ns);

static inline bool baton_try(struct baton *baton)
{
    return atomic_load_explicit(&baton->taken, memory_order_relaxed) == 0 &&
           atomic_exchange_explicit(&baton->taken, 1, memory_order_acquire) == 0;
}

static inline void baton_take(struct baton *baton, const struct base_host *host)
{
    if (MT_UNLIKELY(atomic_exchange_explicit(&baton->taken, 1, memory_order_acquire) != 0)) {
        baton_contend(baton, host);
    }
}

static inline void baton_give(struct baton *baton)
{
    atomic_store_explicit(&baton->taken, 0, memory_order_release);
}

static inline bool baton_is_taken(const struct baton *baton)
{
    return atomic_load_explicit(&baton->taken, memory_order_relaxed) != 0;
}

static inline bool baton_is_wanted(const struct baton *baton)
{
    return atomic_load_explicit(&baton->wanted, memory_order_relaxed) != 0;
}

#endif
