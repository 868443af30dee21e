#include "store/header.h"

#include <stddef.h>
#include <string.h>

static uint64_t slots_of(uint64_t range)
{
    return (range + HEADER_SLOT - 1) / HEADER_SLOT;
}

static uint64_t table_of(uint64_t range)
{
    return MT_ALIGN_UP(offsetof(struct heap_head, map) + slots_of(range) * sizeof(uint16_t),
                       HEAP_PAGE);
}

uint64_t header_first(uint64_t range)
{
    return MT_ALIGN_UP(table_of(range) + slots_of(range) * HEAP_LINE, HEAP_PAGE);
}

void header_lay_out(struct heap_head *head, uint64_t range)
{
    head->table = table_of(range);
    head->first = header_first(range);
}

uint64_t header_slots(const struct heap_head *head, uint64_t top)
{
    return slots_of(top - head->first);
}

uint64_t header_map_end(const struct heap_head *head, uint64_t top)
{
    uint64_t bytes = header_slots(head, top) * sizeof(uint16_t);
    return MT_ALIGN_UP(offsetof(struct heap_head, map) + bytes, HEAP_PAGE);
}

bool header_peek(const void *base, uint64_t range, uint64_t offset, struct heap_block *ret_block)
{
    struct heap_head *head = (void *)(uintptr_t)base;
    uint64_t top = MT_MIN(atomic_load_explicit(&head->top, memory_order_acquire), range);
    if (offset % HEAP_LINE || offset < head->first || offset >= top) {
        return false;
    }
    const struct heap_block *block = header_at(head, offset), *was;
    do {
        was = block;
        /* Pairs with heap.c's set_word: the bytes of one that is sealed are there. */
        uint64_t word = atomic_load_explicit(&block->word, memory_order_acquire);
        memcpy((void *)ret_block, (const void *)block, sizeof *ret_block);
        atomic_store_explicit(&ret_block->word, word, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        block = header_at(head, offset);
    } while (block != was);
    return true;
}
