/*
 * Every invariant of a heap, checked from its front to its end. For tests.
 */
#include "store/heap.h"

static bool is_free(const struct heap_block *block)
{
    return heap_state(block) <= HEAP_HOLLOW;
}

static bool is_empty(const struct heap_block *block)
{
    return heap_state(block) == HEAP_HOLLOW || heap_state(block) == HEAP_SPILLED;
}

/* How many blocks are in lists; UINT64_MAX: one that is not free. */
static uint64_t count_listed(const struct heap *heap)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < HEAP_POWERS * HEAP_CLASSES; i++) {
        uint64_t offset = heap->lists[i / HEAP_CLASSES][i % HEAP_CLASSES];
        while (offset) {
            const struct heap_block *block = header_at(heap_head(heap), offset);
            if (!is_free(block)) {
                return UINT64_MAX;
            }
            count++;
            offset = block->next;
        }
    }
    return count;
}

static uint64_t held_for_headers(const struct heap *heap)
{
    struct heap_head *head = heap_head(heap);
    uint64_t held = header_map_end(head, heap->top), slots = header_slots(head, heap->top);
    for (uint64_t slot = 0; slot < slots; slot += HEADERS_PER_PAGE) {
        uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_relaxed);
        held += map & HEADER_TABLE ? HEAP_PAGE : 0;
    }
    return held;
}

/* Of a header that is away: nothing else in its page may be needed. */
static bool is_page_needed(const struct heap *heap, const struct heap_block *before,
                           const struct heap_block *block)
{
    bool is_shared = before && heap_offset(heap, block) % HEAP_PAGE;
    return !is_empty(block) || (is_shared && !is_empty(before));
}

const char *heap_check(const struct heap *heap)
{
    uint64_t first = heap_head(heap)->first, end = first, taken = 0, free_count = 0;
    uint64_t held = heap->top - first + held_for_headers(heap);
    const struct heap_block *block = NULL, *next;
    while ((next = heap_next(heap->base, heap->size, block))) {
        bool is_away = header_is_away(heap_head(heap), next);
        if (next->before != (block ? heap_bytes(block) : 0)) {
            return "a block has a wrong length before it";
        }
        if (block && is_free(next) && heap_state(next) == heap_state(block)) {
            return "two free blocks of one kind lie side by side";
        }
        if (is_away && is_page_needed(heap, block, next)) {
            return "the header of a block is away, and its page is needed";
        }
        block = next;
        held -= is_empty(next) ? heap_inside(heap, next).bytes : 0;
        held -= is_away ? HEAP_PAGE : 0;
        taken += is_free(next) ? 0 : heap_bytes(next);
        free_count += is_free(next);
        end += heap_bytes(next);
    }
    return end != heap->top                   ? "the blocks do not cover the range"
           : held != heap->held               ? "the pages held do not add up"
           : taken != heap->taken             ? "the bytes taken do not add up"
           : free_count != count_listed(heap) ? "free, and in no list, or the reverse"
           : block && heap_offset(heap, block) != heap->last ? "the last block is another one"
                                                             : NULL;
}
