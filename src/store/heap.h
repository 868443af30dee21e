/*
 * The allocator of one rank's share of the node's memory: TLSF (Masmano et al., 2004) over
 * a range that grows, with everything an heir needs to know inside the range itself.
 *
 * A range is cut into blocks, one behind the other, each with a header of one cache line.
 * Free blocks are in lists by size: 16 classes to each power of two, found by two bit
 * scans, so taking and giving are O(1), and a request gets a block that is at most 1/16
 * larger than it need be, of which the rest is cut off again. Neighbours that are free are
 * merged at once, if both have their pages or neither.
 *
 * One rank writes a range; others read. It may die between any two stores. So the cut of
 * a block is one store of its size (the new header behind it was written before), and so
 * is a merge; whoever walks the sizes from the front sees whole blocks at any moment. The
 * lists and what else is only an index are the writer's own memory; heap_adopt makes them
 * anew from the range, and gives back what was open, which is what the dead was writing.
 *
 * A free block is hollow as long as nobody has asked for the pages inside it: where the
 * range has grown, and after heap_trim has returned them. Small blocks are cut from pieces
 * of a mebibyte that are filled with pages in one go; the pages of a large one are only
 * counted when it is taken, and the taker asks for them (struct heap_raw), because that may
 * take long and needs no lock. What the range holds of the node's memory is exact at any
 * moment: what it has grown to, less the pages inside hollow blocks and spilled ones and
 * those of headers that are put away.
 *
 * A sealed block can be spilled: its bytes go elsewhere and come back to the same place, what
 * else is in the range does not notice. Its pages go, those that it shares with a neighbour when
 * that is empty too; then the header between the two is put away (header.h). Readers in other
 * processes look at the state in the header.
 */
#ifndef STORE_HEAP_H
#define STORE_HEAP_H

#include "store/header.h"

#define HEAP_CLASSES 16
#define HEAP_POWERS 42

/* Where pages come from and go to; offsets from the start of the range, whole pages. */
struct heap_pages {
    /* They count as held from now on. MANTA_OK, or why not. */
    int (*reserve)(void *arg, uint64_t bytes);
    /* They can be written from now on. MANTA_OK, or why not: then some may, some may not. */
    int (*populate)(void *arg, uint64_t offset, uint64_t bytes);
    /* Neither any more. */
    void (*release)(void *arg, uint64_t offset, uint64_t bytes);
    void *arg;
};

/* Pages of a block that are reserved, and to be populated before they are written. */
struct heap_raw {
    uint64_t offset, bytes;
};

struct heap {
    uint8_t *base; /* of a struct heap_head */
    uint64_t size; /* it may grow to */
    uint64_t top;
    uint64_t last;   /* offset of the block that ends at top; 0: none */
    uint64_t held;   /* bytes of pages */
    uint64_t taken;  /* bytes of blocks that are open or sealed */
    uint64_t blocks; /* of these, how many */
    struct heap_pages pages;
    uint64_t powers; /* bit: some list of this power has blocks */
    uint16_t classes[HEAP_POWERS];
    uint64_t lists[HEAP_POWERS][HEAP_CLASSES];
};

/* An empty heap in a range of `size` bytes at `base` (page-aligned, zero pages). */
int heap_init(struct heap *heap, void *base, uint64_t size,
              const struct heap_pages *pages) MT_CHECKED;

/*
 * Takes over the range of a dead writer. Open blocks are given back; of each sealed one, spilled or
 * not, the caller is asked whether it stays. MANTA_E_INVALID: this is no range, or it is damaged.
 */
int heap_adopt(struct heap *heap, void *base, uint64_t size, const struct heap_pages *pages,
               bool (*stays)(void *arg, const struct heap_block *block), void *arg) MT_CHECKED;

/* Whether there is one in the range: the writer may have died before it made it. */
bool heap_is_made(const void *base);

/* An open block with room for `bytes`. O(1). MANTA_OK, MANTA_E_TOOBIG when the range could never
 * hold it, MANTA_E_LIMIT when it cannot now, or what reserve or populate said. */
int heap_take(struct heap *heap, uint64_t bytes, struct heap_block **ret_block,
              struct heap_raw *ret_raw) MT_CHECKED;
void heap_seal(struct heap_block *block);
/* O(1). */
void heap_give(struct heap *heap, struct heap_block *block);
/* The same with its pages: also of one whose raw part was never populated. */
void heap_give_hollow(struct heap *heap, struct heap_block *block);

/* The whole pages inside a block: those that it loses at least when it is spilled. */
struct heap_raw heap_inside(const struct heap *heap, const struct heap_block *block);
/* SEALED to LEAVING, and back. */
void heap_leave(struct heap_block *block);
void heap_stay(struct heap_block *block);
/* LEAVING, or COMING, to SPILLED: the pages go, and the header may move. */
void heap_spill(struct heap *heap, struct heap_block *block);
/* SPILLED to COMING: reserves the pages of a block again and puts headers back; the pages inside it
 * are then to be populated, all its bytes to be written, at last heap_refilled, or, when that
 * fails, heap_spill. MANTA_OK, or what reserve or populate said. */
int heap_refill(struct heap *heap, struct heap_block *block) MT_CHECKED;
void heap_refilled(struct heap_block *block);

/* Shortens an open block to what was used of it. O(1). */
void heap_shorten(struct heap *heap, struct heap_block *block, uint64_t bytes);

/* Returns pages of free blocks, large ones first, until `bytes` are returned or there are no more.
 * Returns how many bytes. O(blocks it empties). */
uint64_t heap_trim(struct heap *heap, uint64_t bytes);

static inline void *heap_data(struct heap_block *block)
{
    return block + 1;
}

static inline struct heap_block *heap_block_of(const void *data)
{
    return (struct heap_block *)(uintptr_t)data - 1;
}

static inline struct heap_head *heap_head(const struct heap *heap)
{
    return (struct heap_head *)heap->base;
}

static inline uint64_t heap_offset(const struct heap *heap, const struct heap_block *block)
{
    return header_offset(heap_head(heap), block);
}

static inline uint64_t heap_bytes(const struct heap_block *block)
{
    return atomic_load_explicit(&block->word, memory_order_relaxed) & ~(HEAP_LINE - 1);
}

static inline enum heap_state heap_state(const struct heap_block *block)
{
    return (enum heap_state)(atomic_load_explicit(&block->word, memory_order_relaxed) &
                             (HEAP_LINE - 1));
}

/* Where a range ends, also of one that lives in another process; 0: there is none. */
static inline uint64_t heap_top(const void *base)
{
    return atomic_load_explicit(&((const struct heap_head *)base)->top, memory_order_acquire);
}

/*
 * The blocks of a range in their order, also of one that lives in another process: start with
 * NULL. NULL: the end. `range` bytes are mapped at `base`; what does not fit there ends the walk.
 */
const struct heap_block *heap_next(const void *base, uint64_t range,
                                   const struct heap_block *block);

/* Every invariant, in O(blocks), for tests: NULL, or what is wrong. */
const char *heap_check(const struct heap *heap);

#endif
