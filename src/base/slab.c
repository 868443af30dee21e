/*
 * The slow half of the slab: chunks.
 *
 * A chunk holds BASE_SLAB_CHUNK_RECORDS records and never moves; only the array of
 * chunk pointers is reallocated, doubling. `fresh` starts at 0, equal to the zero
 * records there are, so that the first take comes here; the first chunk then skips
 * index 0, which means "none". Records are at least four bytes, the link of the free
 * list, and rounded up to eight, so that every record is aligned for a pointer.
 *
 * The first chunks come one by one, so that a small program stays small. Later ones come
 * many at a time from regions of huge pages: with a million records alive, a page of
 * 4 KiB for each sixteen of them costs more than everything else that is done to them.
 */
#include "base/slab.h"

#include "base/alloc.h"
#include "manta/error.h"

#define MOST_CHUNKS (UINT32_MAX / BASE_SLAB_CHUNK_RECORDS)
#define SINGLE_CHUNKS 8u
#define REGION_BYTES (4u << 20)

static size_t chunk_bytes(const struct base_slab *slab)
{
    return (size_t)BASE_SLAB_CHUNK_RECORDS * slab->record_bytes;
}

static uint32_t chunks_per_region(const struct base_slab *slab)
{
    return (uint32_t)MT_MAX(REGION_BYTES / chunk_bytes(slab), (size_t)1);
}

void base_slab_init(struct base_slab *slab, uint32_t record_bytes)
{
    *slab = (struct base_slab){.record_bytes = MT_ALIGN_UP(MT_MAX(record_bytes, 8u), 8u)};
}

void base_slab_fini(struct base_slab *slab)
{
    uint32_t step = chunks_per_region(slab);
    for (uint32_t i = 0; i < slab->chunk_count && i < SINGLE_CHUNKS; i++) {
        base_free(slab->chunks[i]);
    }
    for (uint32_t i = SINGLE_CHUNKS; i < slab->chunk_count; i += step) {
        base_free_pages(slab->chunks[i], step * chunk_bytes(slab));
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

static int add_chunk(struct base_slab *slab, char *chunk)
{
    if (slab->chunk_count == slab->chunk_capacity && grow_chunks(slab) != MANTA_OK) {
        return MANTA_E_NOMEM;
    }
    slab->chunks[slab->chunk_count++] = chunk;
    slab->fresh = MT_MAX(slab->fresh, 1u);
    return MANTA_OK;
}

static int add_single(struct base_slab *slab)
{
    char *chunk = base_alloc_aligned(MT_CACHE_LINE, chunk_bytes(slab));
    if (!chunk || add_chunk(slab, chunk) != MANTA_OK) {
        base_free(chunk);
        return MANTA_E_NOMEM;
    }
    return MANTA_OK;
}

static int add_region(struct base_slab *slab)
{
    uint32_t step = chunks_per_region(slab), before = slab->chunk_count;
    size_t bytes = step * chunk_bytes(slab);
    char *region = base_alloc_pages(bytes);
    for (uint32_t i = 0; region && i < step; i++) {
        if (add_chunk(slab, region + i * chunk_bytes(slab)) != MANTA_OK) {
            slab->chunk_count = before;
            base_free_pages(region, bytes);
            return MANTA_E_NOMEM;
        }
    }
    return region ? MANTA_OK : MANTA_E_NOMEM;
}

int base_slab_grow(struct base_slab *slab)
{
    if (slab->chunk_count >= MOST_CHUNKS - chunks_per_region(slab)) {
        return MANTA_E_NOMEM;
    }
    return slab->chunk_count < SINGLE_CHUNKS ? add_single(slab) : add_region(slab);
}
