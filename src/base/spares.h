/*
 * Records that were freed and wait to be used again, for kinds of which thousands come and go at
 * once: the C library's allocator takes several times as long for a row of small blocks. Last in,
 * first out; O(1); at most `most` are kept, the rest go back. Not thread-safe.
 */
#ifndef BASE_SPARES_H
#define BASE_SPARES_H

#include "base/alloc.h"

#include <string.h>

struct base_spares {
    void *first; /* each begins with the address of the next */
    uint32_t count, most;
    size_t bytes; /* of a record, at least a pointer's */
};

static inline void base_spares_init(struct base_spares *spares, size_t bytes, uint32_t most)
{
#ifdef __SANITIZE_ADDRESS__
    most = 0; /* it is to see each end */
#endif
    *spares = (struct base_spares){.most = most, .bytes = bytes};
}

/* 16-aligned, with whatever bytes; NULL when memory is out. */
static inline void *base_spares_take_raw(struct base_spares *spares)
{
    void *record = spares->first;
    if (MT_UNLIKELY(!record)) {
        return base_alloc_aligned(16, spares->bytes);
    }
    memcpy(&spares->first, record, sizeof record);
    spares->count--;
    return record;
}

/* The same, zeroed. */
static inline void *base_spares_take(struct base_spares *spares)
{
    void *record = base_spares_take_raw(spares);
    return record ? memset(record, 0, spares->bytes) : NULL;
}

static inline void base_spares_give(struct base_spares *spares, void *record)
{
    if (MT_UNLIKELY(spares->count == spares->most)) {
        base_free(record);
        return;
    }
    memcpy(record, &spares->first, sizeof record);
    spares->first = record;
    spares->count++;
}

static inline void base_spares_fini(struct base_spares *spares)
{
    while (spares->first) {
        void *record = spares->first;
        memcpy(&spares->first, record, sizeof record);
        base_free(record);
    }
    spares->count = 0;
}

#endif
