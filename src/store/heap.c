#include "store/heap.h"

#include <manta/error.h>
#include <string.h>

#define MAGIC UINT64_C(0x6d616e7461686561)
#define GROW_STEP (UINT64_C(1) << 20)
#define LEAST (2 * HEAP_LINE) /* of a block: a header, and a line */
#define FIRST HEAP_PAGE       /* offset of the first block */

static struct heap_head *head_of(void *base)
{
    return base;
}

static struct heap_block *at(const struct heap *heap, uint64_t offset)
{
    return (struct heap_block *)(heap->base + offset);
}

static void set_word(struct heap_block *block, uint64_t bytes, enum heap_state state)
{
    atomic_store_explicit(&block->word, bytes | state, memory_order_release);
}

static bool is_free(const struct heap_block *block)
{
    return heap_state(block) <= HEAP_HOLLOW;
}

/* ---- Lists by size -------------------------------------------------------------------------- */

struct place {
    uint32_t power, class;
};

/* Of the list that a block of so many bytes belongs to. */
static struct place place_of(uint64_t bytes)
{
    uint64_t lines = bytes / HEAP_LINE;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(lines);
    uint64_t within = power < 4 ? (lines << 4 >> power) : lines >> (power - 4);
    return (struct place){MT_MIN(power, HEAP_POWERS - 1), (uint32_t)within & (HEAP_CLASSES - 1)};
}

/* Of the first list in which every block has at least so many bytes. */
static struct place place_for(uint64_t bytes)
{
    uint64_t lines = bytes / HEAP_LINE;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(lines);
    uint64_t step = power < 4 ? 1 : UINT64_C(1) << (power - 4);
    return place_of((lines + step - 1) * HEAP_LINE);
}

static void enlist(struct heap *heap, struct heap_block *block)
{
    struct place place = place_of(heap_bytes(block));
    uint64_t *first = &heap->lists[place.power][place.class], offset = heap_offset(heap, block);
    block->prev = 0;
    block->next = *first;
    if (*first) {
        at(heap, *first)->prev = offset;
    }
    *first = offset;
    heap->powers |= UINT64_C(1) << place.power;
    heap->classes[place.power] |= (uint16_t)(1u << place.class);
}

static void delist(struct heap *heap, struct heap_block *block)
{
    struct place place = place_of(heap_bytes(block));
    uint64_t *first = &heap->lists[place.power][place.class];
    if (block->next) {
        at(heap, block->next)->prev = block->prev;
    }
    if (block->prev) {
        at(heap, block->prev)->next = block->next;
        return;
    }
    *first = block->next;
    if (!*first) {
        heap->classes[place.power] &= (uint16_t) ~(1u << place.class);
        heap->powers &= ~((uint64_t)!heap->classes[place.power] << place.power);
    }
}

/* The head of the first list, from a place on, that is not empty; 0: none. */
static uint64_t find(const struct heap *heap, struct place place)
{
    uint32_t classes = heap->classes[place.power] & (UINT32_MAX << place.class);
    uint64_t powers;
    if (!classes) {
        powers = place.power + 1 < 64 ? heap->powers & (UINT64_MAX << (place.power + 1)) : 0;
        if (!powers) {
            return 0;
        }
        place.power = (uint32_t)__builtin_ctzll(powers);
        classes = heap->classes[place.power];
    }
    return heap->lists[place.power][__builtin_ctz(classes)];
}

/* In the list of its own size some are large enough, some are not: the last resort. */
static uint64_t search(const struct heap *heap, uint64_t bytes)
{
    struct place place = place_of(bytes);
    uint64_t offset = heap->lists[place.power][place.class];
    while (offset && heap_bytes(at(heap, offset)) < bytes) {
        offset = at(heap, offset)->next;
    }
    return offset;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

struct pages {
    uint64_t begin, end;
};

/* Those wholly inside a block, its header apart: a hollow one has none of them. */
static struct pages inside(uint64_t offset, uint64_t bytes)
{
    uint64_t begin = MT_ALIGN_UP(offset + HEAP_LINE, HEAP_PAGE);
    uint64_t end = (offset + bytes) & ~(HEAP_PAGE - 1);
    return (struct pages){begin, MT_MAX(begin, end)};
}

static int commit(struct heap *heap, uint64_t begin, uint64_t end)
{
    if (begin >= end) {
        return MANTA_OK;
    }
    int code = heap->pages.commit(heap->pages.arg, begin, end - begin);
    heap->held += code == MANTA_OK ? end - begin : 0;
    return code;
}

static void decommit(struct heap *heap, struct pages pages)
{
    if (pages.begin < pages.end) {
        heap->pages.decommit(heap->pages.arg, pages.begin, pages.end - pages.begin);
        heap->held -= pages.end - pages.begin;
    }
}

/* The pages of the first `bytes` of a hollow block; the rest stays hollow behind a header. */
static int fill(struct heap *heap, struct heap_block *block, uint64_t bytes)
{
    uint64_t offset = heap_offset(heap, block), all = heap_bytes(block);
    struct pages now = inside(offset, all);
    uint64_t end = now.end;
    if (all - bytes >= LEAST) {
        end = MT_MIN(inside(offset + bytes, all - bytes).begin, now.end);
    }
    return commit(heap, now.begin, end);
}

/* ---- Cutting and merging -------------------------------------------------------------------- */

static struct heap_block *behind(const struct heap *heap, const struct heap_block *block)
{
    uint64_t offset = heap_offset(heap, block) + heap_bytes(block);
    return offset < heap->top ? at(heap, offset) : NULL;
}

/* After a block got another length. */
static void note_length(struct heap *heap, struct heap_block *block)
{
    struct heap_block *next = behind(heap, block);
    if (next) {
        next->before = heap_bytes(block);
    } else {
        heap->last = heap_offset(heap, block);
    }
}

/* Cuts a block that is in no list; what is left over is a free block of the given state. */
static void cut(struct heap *heap, struct heap_block *block, uint64_t bytes, enum heap_state rest)
{
    uint64_t left = heap_bytes(block) - bytes;
    if (left < LEAST) {
        return;
    }
    struct heap_block *tail = at(heap, heap_offset(heap, block) + bytes);
    tail->before = bytes;
    set_word(tail, left, rest);
    set_word(block, bytes, heap_state(block));
    note_length(heap, tail);
    enlist(heap, tail);
}

/* Two free neighbours that are in no list become one; hollow if either is. */
static struct heap_block *merge(struct heap *heap, struct heap_block *first,
                                struct heap_block *second)
{
    enum heap_state a = heap_state(first), b = heap_state(second);
    struct heap_block *full = a == HEAP_FREE ? first : second;
    uint64_t bytes = heap_bytes(first) + heap_bytes(second);
    if (a != b) {
        decommit(heap, inside(heap_offset(heap, full), heap_bytes(full)));
    }
    enum heap_state state = a == b ? a : HEAP_HOLLOW;
    if (state == HEAP_HOLLOW) { /* the pages around the seam are inside now */
        uint64_t seam = heap_offset(heap, second);
        struct pages whole = inside(heap_offset(heap, first), bytes);
        struct pages front = inside(heap_offset(heap, first), heap_bytes(first));
        struct pages back = inside(seam, heap_bytes(second));
        set_word(first, bytes, state);
        decommit(heap,
                 (struct pages){MT_MAX(front.end, whole.begin), MT_MIN(back.begin, whole.end)});
    } else {
        set_word(first, bytes, state);
    }
    note_length(heap, first);
    return first;
}

static struct heap_block *merge_around(struct heap *heap, struct heap_block *block)
{
    struct heap_block *next = behind(heap, block);
    if (next && is_free(next)) {
        delist(heap, next);
        block = merge(heap, block, next);
    }
    if (block->before) {
        struct heap_block *before = at(heap, heap_offset(heap, block) - block->before);
        if (is_free(before)) {
            delist(heap, before);
            block = merge(heap, before, block);
        }
    }
    return block;
}

/* ---- Growing -------------------------------------------------------------------------------- */

/* Makes the range end with a free block of at least `bytes`. */
static int grow(struct heap *heap, uint64_t bytes)
{
    struct heap_block *last = heap->last ? at(heap, heap->last) : NULL;
    uint64_t have = last && is_free(last) ? heap_bytes(last) : 0;
    uint64_t more = MT_ALIGN_UP(bytes - MT_MIN(have, bytes), HEAP_PAGE);
    uint64_t room = heap->size - heap->top, wish = MT_MIN(MT_MAX(more, GROW_STEP), room);
    if (more == 0) {
        return MANTA_OK;
    }
    if (more > room) {
        return MANTA_E_LIMIT;
    }
    int code = commit(heap, heap->top, heap->top + wish);
    if (code != MANTA_OK && wish > more) {
        wish = more;
        code = commit(heap, heap->top, heap->top + wish);
    }
    if (code != MANTA_OK) {
        return code;
    }
    struct heap_block *block = at(heap, heap->top);
    block->before = last ? heap_bytes(last) : 0;
    set_word(block, wish, HEAP_FREE);
    heap->last = heap->top;
    heap->top += wish;
    atomic_store_explicit(&head_of(heap->base)->top, heap->top, memory_order_release);
    enlist(heap, merge_around(heap, block));
    return MANTA_OK;
}

/* ---- For the store -------------------------------------------------------------------------- */

static void set_up(struct heap *heap, void *base, uint64_t size, const struct heap_pages *pages)
{
    memset(heap, 0, sizeof *heap);
    heap->base = base;
    heap->size = size & ~(HEAP_PAGE - 1);
    heap->pages = *pages;
}

int heap_init(struct heap *heap, void *base, uint64_t size, const struct heap_pages *pages)
{
    set_up(heap, base, size, pages);
    if (heap->size <= FIRST) {
        return MANTA_E_INVALID;
    }
    int code = commit(heap, 0, FIRST);
    if (code == MANTA_OK) {
        heap->top = FIRST;
        atomic_store_explicit(&head_of(base)->top, FIRST, memory_order_relaxed);
        atomic_store_explicit(&head_of(base)->magic, MAGIC, memory_order_release);
    }
    return code;
}

static struct heap_block *take_from(struct heap *heap, struct heap_block *block, uint64_t bytes,
                                    uint64_t payload)
{
    enum heap_state was = heap_state(block);
    delist(heap, block);
    block->payload = payload;
    memset(block->tag, 0, sizeof block->tag);
    set_word(block, heap_bytes(block), HEAP_OPEN);
    cut(heap, block, bytes, was);
    heap->taken += heap_bytes(block);
    heap->blocks++;
    return block;
}

int heap_take(struct heap *heap, uint64_t payload, struct heap_block **ret_block)
{
    if (payload > heap->size - FIRST - HEAP_LINE) {
        return MANTA_E_TOOBIG;
    }
    uint64_t bytes = MT_MAX(MT_ALIGN_UP(payload, HEAP_LINE) + HEAP_LINE, LEAST);
    uint64_t offset = find(heap, place_for(bytes));
    int code = offset ? MANTA_OK : grow(heap, bytes);
    if (code == MANTA_OK && !offset) {
        offset = heap->last; /* large enough now, whatever list it is in */
    } else if (code != MANTA_OK && !(offset = search(heap, bytes))) {
        return code;
    }
    struct heap_block *block = at(heap, offset);
    if (heap_state(block) == HEAP_HOLLOW) {
        code = fill(heap, block, bytes);
        if (code != MANTA_OK) {
            return code;
        }
    }
    *ret_block = take_from(heap, block, bytes, payload);
    return MANTA_OK;
}

void heap_seal(struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_SEALED);
}

void heap_give(struct heap *heap, struct heap_block *block)
{
    heap->taken -= heap_bytes(block);
    heap->blocks--;
    set_word(block, heap_bytes(block), HEAP_FREE);
    enlist(heap, merge_around(heap, block));
}

void heap_shorten(struct heap *heap, struct heap_block *block, uint64_t payload)
{
    uint64_t bytes = MT_MAX(MT_ALIGN_UP(payload, HEAP_LINE) + HEAP_LINE, LEAST);
    uint64_t before = heap_bytes(block);
    block->payload = payload;
    if (before - bytes < LEAST) {
        return;
    }
    struct heap_block *tail = at(heap, heap_offset(heap, block) + bytes);
    tail->before = bytes;
    set_word(tail, before - bytes, HEAP_FREE);
    set_word(block, bytes, HEAP_OPEN);
    note_length(heap, tail);
    heap->taken -= before - bytes;
    enlist(heap, merge_around(heap, tail));
}

/* Empties one block of its whole pages. */
static uint64_t empty(struct heap *heap, struct heap_block *block)
{
    struct pages pages = inside(heap_offset(heap, block), heap_bytes(block));
    set_word(block, heap_bytes(block), HEAP_HOLLOW);
    decommit(heap, pages);
    return pages.end - pages.begin;
}

uint64_t heap_trim(struct heap *heap, uint64_t bytes)
{
    uint64_t returned = 0;
    uint32_t least = place_of(2 * HEAP_PAGE).power;
    for (uint32_t power = HEAP_POWERS; power-- > least;) {
        for (uint32_t class = HEAP_CLASSES; class -- > 0;) {
            for (uint64_t offset = heap->lists[power][class]; offset && returned < bytes;
                 offset = at(heap, offset)->next) {
                struct heap_block *block = at(heap, offset);
                returned += heap_state(block) == HEAP_FREE ? empty(heap, block) : 0;
            }
        }
    }
    return returned;
}

/* ---- Ranges of others ----------------------------------------------------------------------- */

bool heap_is_made(const void *base)
{
    return atomic_load_explicit(&((const struct heap_head *)base)->magic, memory_order_acquire) ==
           MAGIC;
}

const struct heap_block *heap_next(const void *base, uint64_t range, const struct heap_block *block)
{
    const struct heap_head *head = base;
    uint64_t top = MT_MIN(atomic_load_explicit(&head->top, memory_order_acquire), range);
    uint64_t offset =
        block ? (uint64_t)((const uint8_t *)block - (const uint8_t *)base) + heap_bytes(block)
              : FIRST;
    if (!heap_is_made(base) || offset % HEAP_LINE || offset >= top) {
        return NULL;
    }
    const struct heap_block *next = (const void *)((const uint8_t *)base + offset);
    uint64_t bytes = heap_bytes(next);
    return bytes >= LEAST && bytes <= top - offset ? next : NULL;
}

/* The whole range must be blocks, or it is not taken over at all. */
static bool is_whole(const void *base, uint64_t range, uint64_t top)
{
    const struct heap_block *block = NULL, *next;
    uint64_t end = FIRST;
    while ((next = heap_next(base, range, block))) {
        block = next;
        end += heap_bytes(block);
    }
    return end == top;
}

/* Blocks come front to back; a free one is merged with what is before it. */
static struct heap_block *adopt_block(struct heap *heap, struct heap_block *block, bool stays)
{
    struct pages pages = inside(heap_offset(heap, block), heap_bytes(block));
    if (stays) {
        heap->taken += heap_bytes(block);
        heap->blocks++;
        return block;
    }
    if (heap_state(block) == HEAP_HOLLOW) {
        heap->held -= pages.end - pages.begin;
    } else {
        set_word(block, heap_bytes(block), HEAP_FREE);
    }
    struct heap_block *before = block->before ? at(heap, heap->last) : NULL;
    if (before && is_free(before)) {
        delist(heap, before);
        block = merge(heap, before, block);
    }
    enlist(heap, block);
    return block;
}

int heap_adopt(struct heap *heap, void *base, uint64_t size, const struct heap_pages *pages,
               bool (*stays)(void *arg, const struct heap_block *block), void *arg)
{
    set_up(heap, base, size, pages);
    uint64_t top = atomic_load_explicit(&head_of(base)->top, memory_order_acquire);
    if (top > heap->size || !is_whole(base, heap->size, top)) {
        return MANTA_E_INVALID;
    }
    heap->held = heap->top = top;
    for (uint64_t offset = FIRST; offset < top;) {
        struct heap_block *block = at(heap, offset);
        block->before = heap->last ? heap_bytes(at(heap, heap->last)) : 0;
        offset += heap_bytes(block);
        block = adopt_block(heap, block, heap_state(block) == HEAP_SEALED && stays(arg, block));
        heap->last = heap_offset(heap, block);
    }
    return MANTA_OK;
}

/* ---- For tests ------------------------------------------------------------------------------ */

static bool is_listed(const struct heap *heap, const struct heap_block *block)
{
    struct place place = place_of(heap_bytes(block));
    uint64_t offset = heap->lists[place.power][place.class];
    while (offset && at(heap, offset) != block) {
        offset = at(heap, offset)->next;
    }
    return offset != 0;
}

const char *heap_check(const struct heap *heap)
{
    uint64_t held = heap->top, taken = 0, before = 0, end = FIRST;
    bool was_free = false;
    const struct heap_block *block = NULL, *next;
    while ((next = heap_next(heap->base, heap->size, block))) {
        struct pages pages = inside(heap_offset(heap, next), heap_bytes(next));
        block = next;
        if (next->before != before) {
            return "a block has a wrong length before it";
        }
        if (is_free(next) && was_free) {
            return "two free blocks lie side by side";
        }
        if (is_free(next) != is_listed(heap, next)) {
            return "a block is free and in no list, or taken and in one";
        }
        was_free = is_free(next);
        held -= heap_state(next) == HEAP_HOLLOW ? pages.end - pages.begin : 0;
        taken += was_free ? 0 : heap_bytes(next);
        before = heap_bytes(next);
        end += before;
    }
    return end != heap->top                                  ? "the blocks do not cover the range"
           : held != heap->held                              ? "the pages held do not add up"
           : taken != heap->taken                            ? "the bytes taken do not add up"
           : block && heap_offset(heap, block) != heap->last ? "the last block is another one"
                                                             : NULL;
}
