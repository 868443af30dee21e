#include "sched/policy.h"

#include "base/map.h"

enum {
    SHARES_PER_SLOT = 2,
    HOME_TRIES = 1024,
    DELAY_FIRST_NS = 10000000,
    DOUBLINGS_MAX = 8,
    CHAIN_MAX = 8
};

void sched_window_tick(struct sched_window *window)
{
    uint32_t target = window->results * 2;
    if (target < window->size) {
        window->size = MT_MAX(target, window->floor);
    }
    window->results = 0;
}

uint64_t sched_map_batch(uint64_t left, uint32_t slots, uint64_t limit)
{
    uint64_t batch = left / ((uint64_t)MT_MAX(slots, 1u) * SHARES_PER_SLOT);
    return MT_MIN(MT_MAX(batch, 1), MT_MAX(limit, 1));
}

bool sched_goes_before(const struct sched_victim *a, const struct sched_victim *b)
{
    return a->is_retriable != b->is_retriable ? a->is_retriable : a->serial > b->serial;
}

uint64_t sched_retry_delay_ns(uint32_t failures)
{
    return failures < 2 ? 0 : (uint64_t)DELAY_FIRST_NS << MT_MIN(failures - 2, DOUBLINGS_MAX);
}

uint32_t sched_source(uint32_t n, uint64_t chunks)
{
    uint32_t chain = (uint32_t)MT_MIN(MT_MAX(chunks, 1), CHAIN_MAX);
    return n <= chain ? n - 1 : chain - 1 + (n - chain + 1) / 2;
}

uint32_t sched_home(uint64_t id, uint32_t size, const uint8_t *down)
{
    for (uint32_t k = 0; k < HOME_TRIES; k++) {
        uint32_t rank = (uint32_t)(base_mix64(id + k) % size);
        if (!down[rank]) {
            return rank;
        }
    }
    for (uint32_t rank = 0; rank < size; rank++) {
        if (!down[rank]) {
            return rank;
        }
    }
    return 0;
}
