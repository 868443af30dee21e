/*
 * The slow half of the slab: chunks.
 *
 * A chunk holds BASE_SLAB_CHUNK_RECORDS records and never moves; only the array of
 * chunk pointers is reallocated, doubling. `fresh` starts at 0, equal to the zero
 * records there are, so that the first take comes here; the first chunk then skips
 * index 0, which means "none". Records are at least four bytes, the link of the free
 * list, and rounded up to eight, so that every record is aligned for a pointer.
 */
#include "base/slab.h"

#include "base/alloc.h"
#include "manta/error.h"

#define MOST_CHUNKS (UINT32_MAX / BASE_SLAB_CHUNK_RECORDS)

void base_slab_init(struct base_slab *slab, uint32_t record_bytes)
{
    *slab = (struct base_slab){.record_bytes = MT_ALIGN_UP(MT_MAX(record_bytes, 8u), 8u)};
}

void base_slab_fini(struct base_slab *slab)
{
    for (uint32_t i = 0; i < slab->chunk_count; i++) {
        base_free(slab->chunks[i]);
    }
    base_free(slab->chunks);
    base_slab_init(slab, slab->record_bytes);
}

static int grow_chunks(struct base_slab *slab)
{
    uint32_t capacity = MT_MAX(slab->chunk_capacity * 2, 4u);
    char **chunks = base_realloc(slab->chunks, slab->chunk_capacity * sizeof *chunks,
                                 capacity * sizeof *chunks);
    if (!chunks) {
        return MANTA_E_NOMEM;
    }
    slab->chunks = chunks;
    slab->chunk_capacity = capacity;
    return MANTA_OK;
}

int base_slab_grow(struct base_slab *slab)
{
    if (slab->chunk_count == MOST_CHUNKS ||
        (slab->chunk_count == slab->chunk_capacity && grow_chunks(slab) != MANTA_OK)) {
        return MANTA_E_NOMEM;
    }
    char *chunk =
        base_alloc_aligned(MT_CACHE_LINE, (size_t)BASE_SLAB_CHUNK_RECORDS * slab->record_bytes);
    if (!chunk) {
        return MANTA_E_NOMEM;
    }
    slab->chunks[slab->chunk_count++] = chunk;
    slab->fresh = MT_MAX(slab->fresh, 1u);
    return MANTA_OK;
}
