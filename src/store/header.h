/*
 * Where the headers of a range's blocks are.
 *
 * Each lies in front of its block, in a page that has the end of the block before, too. When both
 * are empty (free without pages, or spilled) the page has nothing else any more, and it can go: the
 * header is put away into a table, of which a page holds 64, and a map says so. It comes back to
 * its place before either block gets pages again.
 *
 *     head | map: 2 bytes for each 64 KiB | table: 64 bytes for each 64 KiB | blocks
 *
 * Of the headers that lie in the same 64 KiB one can be put away. That is enough for what gets
 * spilled, which is at least as large; a page with two headers stays. The map has its pages as far
 * as the range has grown; those of the table come with the first that needs them and go with the
 * last.
 *
 * Readers in other processes look at headers without a lock. Who writes makes the copy, then notes
 * in the map which of the two is valid, and only then lets the other one go; who reads looks at the
 * map again after it has copied. In the worst case it has touched a page that was just going: then
 * that one is there again, and not counted until its block is used.
 */
#ifndef STORE_HEADER_H
#define STORE_HEADER_H

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HEAP_LINE UINT64_C(64)
#define HEAP_PAGE UINT64_C(4096)
#define HEADER_SLOT UINT64_C(65536)
#define HEADERS_PER_PAGE (HEAP_PAGE / HEAP_LINE)

enum heap_state {
    HEAP_FREE,    /* with its pages */
    HEAP_HOLLOW,  /* free, without the whole pages inside it */
    HEAP_OPEN,    /* being written */
    HEAP_SEALED,  /* not written any more */
    HEAP_LEAVING, /* sealed, and about to be spilled: nobody is to begin to read it */
    HEAP_SPILLED, /* sealed, without the whole pages inside it */
    HEAP_COMING,  /* spilled, and being written again */
};

enum heap_written { HEAP_UNWRITTEN, HEAP_WRITTEN, HEAP_SPOILED };

/* In front of every block. */
struct heap_block {
    _Atomic uint64_t word; /* bytes, header included, a multiple of HEAP_LINE; | enum heap_state */
    uint64_t before;       /* bytes of the block before; 0: the first */
    uint64_t payload;      /* bytes that were asked for */
    uint64_t tag[3];       /* the taker's */
    union {
        struct {
            uint64_t next, prev; /* of a free one: offsets in its list; 0: none */
        };
        struct {
            _Atomic uint64_t written; /* of a sealed one: its bytes are also elsewhere */
            uint64_t sum;
        };
    };
};
_Static_assert(sizeof(struct heap_block) == HEAP_LINE, "data begins at a line");

/* The first page of a range, and the map, which goes on behind it. */
struct heap_head {
    _Atomic uint64_t magic;
    _Atomic uint64_t top;   /* where the range ends now, from its start */
    _Atomic uint64_t heirs; /* how often it was taken over: whoever had it before lets go */
    uint64_t table, first;  /* offsets, of the table and of the first block; never change */
    /* Low bits: which line of the 64 KiB has the header that is put away, from 1; 0: none. */
    _Atomic uint16_t map[];
};

#define HEADER_LINE UINT16_C(0x7ff)
#define HEADER_TABLE UINT16_C(0x8000) /* of each 64th slot: their page of the table is there */

/* Writes where things are into the head of a range of so many bytes. */
void header_lay_out(struct heap_head *head, uint64_t range);
/* Offset of the first block of a range of so many bytes. */
uint64_t header_first(uint64_t range) MT_CHECKED;
/* Slots of a range that ends at top. */
uint64_t header_slots(const struct heap_head *head, uint64_t top);
/* Where the pages of the map end, then. */
uint64_t header_map_end(const struct heap_head *head, uint64_t top);

static inline uint64_t header_slot(const struct heap_head *head, uint64_t offset)
{
    return (offset - head->first) / HEADER_SLOT;
}

static inline uint16_t header_line(const struct heap_head *head, uint64_t offset)
{
    return (uint16_t)((offset - head->first) % HEADER_SLOT / HEAP_LINE + 1);
}

static inline struct heap_block *header_entry(struct heap_head *head, uint64_t slot)
{
    return (struct heap_block *)((uint8_t *)head + head->table) + slot;
}

/* Of the block at an offset, wherever it is just now. */
static inline struct heap_block *header_at(struct heap_head *head, uint64_t offset)
{
    uint64_t slot = header_slot(head, offset);
    uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_acquire); /* header_note */
    return MT_UNLIKELY((map & HEADER_LINE) == header_line(head, offset))
               ? header_entry(head, slot)
               : (struct heap_block *)((uint8_t *)head + offset);
}

/* Whether a header is the one that was put away. */
static inline bool header_is_away(const struct heap_head *head, const struct heap_block *block)
{
    return (uint64_t)((const uint8_t *)block - (const uint8_t *)head) < head->first;
}

/* The offset of its block, also of one that is put away. */
static inline uint64_t header_offset(const struct heap_head *head, const struct heap_block *block)
{
    uint64_t offset = (uint64_t)((const uint8_t *)block - (const uint8_t *)head);
    if (MT_LIKELY(offset >= head->first)) {
        return offset;
    }
    uint64_t slot = (offset - head->table) / HEAP_LINE;
    uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_relaxed);
    return head->first + slot * HEADER_SLOT + ((map & HEADER_LINE) - UINT64_C(1)) * HEAP_LINE;
}

/* The header at an offset is the one in the table from now on (line), or in its place (0). */
static inline void header_note(struct heap_head *head, uint64_t slot, uint16_t line)
{
    uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_relaxed);
    atomic_store_explicit(&head->map[slot], (uint16_t)((map & HEADER_TABLE) | line),
                          memory_order_release);
}

/* A copy of the header at an offset of a range that lives in another process. False: there can be
 * none. */
bool header_peek(const void *base, uint64_t range, uint64_t offset, struct heap_block *ret_block);

#endif
