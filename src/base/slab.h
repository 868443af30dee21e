/*
 * Fixed-size records by index. Last in, first out reuse; records never move; chunks
 * double as needed. get/put are O(1) and touch only the record. Index 0 is never
 * given out, so 0 can mean "none". Not thread-safe.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include "base/compiler.h"

#include <stdint.h>

#define BASE_SLAB_CHUNK_RECORDS 1024

struct base_slab {
    char **chunks; /* each of BASE_SLAB_CHUNK_RECORDS records, aligned to a cache line */
    uint32_t record_bytes, chunk_count, chunk_capacity;
    uint32_t free_head; /* index; the first 4 bytes of a free record hold the next */
    uint32_t fresh;     /* next index never used */
    uint32_t live;
};

void base_slab_init(struct base_slab *slab, uint32_t record_bytes);
void base_slab_fini(struct base_slab *slab);
/* Adds a chunk. MANTA_OK or MANTA_E_NOMEM. */
int base_slab_grow(struct base_slab *slab) MT_CHECKED;

static inline void *base_slab_at(const struct base_slab *slab, uint32_t index)
{
    return slab->chunks[index / BASE_SLAB_CHUNK_RECORDS] +
           (size_t)(index % BASE_SLAB_CHUNK_RECORDS) * slab->record_bytes;
}

/* An index, 0 when memory is out. The record's bytes are whatever they were. */
static inline uint32_t base_slab_take(struct base_slab *slab)
{
    uint32_t index = slab->free_head;
    if (MT_LIKELY(index != 0)) {
        slab->free_head = *(uint32_t *)base_slab_at(slab, index);
    } else {
        if (slab->fresh == slab->chunk_count * BASE_SLAB_CHUNK_RECORDS &&
            base_slab_grow(slab) != 0) {
            return 0;
        }
        index = slab->fresh++;
    }
    slab->live++;
    return index;
}

static inline void base_slab_give(struct base_slab *slab, uint32_t index)
{
    *(uint32_t *)base_slab_at(slab, index) = slab->free_head;
    slab->free_head = index;
    slab->live--;
}

/* True for an index that take can have given out. */
static inline int base_slab_is_known(const struct base_slab *slab, uint32_t index)
{
    return index != 0 && index < slab->fresh;
}

#endif
