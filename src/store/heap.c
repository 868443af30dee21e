#include "store/heap.h"

#include <manta/error.h>
#include <string.h>

#define MAGIC UINT64_C(0x6d616e7461686561)
#define PIECE (UINT64_C(1) << 20) /* filled with pages at once, for small blocks */
#define LEAST (2 * HEAP_LINE)     /* of a block: a header, and a line */
#define FIRST HEAP_PAGE           /* offset of the first block */

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

static int reserve(struct heap *heap, uint64_t bytes)
{
    int code = bytes ? heap->pages.reserve(heap->pages.arg, bytes) : MANTA_OK;
    heap->held += code == MANTA_OK ? bytes : 0;
    return code;
}

static int populate(struct heap *heap, struct pages pages)
{
    uint64_t bytes = pages.end - pages.begin;
    return bytes ? heap->pages.populate(heap->pages.arg, pages.begin, bytes) : MANTA_OK;
}

static void release(struct heap *heap, struct pages pages)
{
    if (pages.begin < pages.end) {
        heap->pages.release(heap->pages.arg, pages.begin, pages.end - pages.begin);
        heap->held -= pages.end - pages.begin;
    }
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

/* Two neighbours in no list become one. Of hollow ones the pages around the seam are inside now. */
static struct heap_block *merge(struct heap *heap, struct heap_block *first,
                                struct heap_block *second)
{
    uint64_t offset = heap_offset(heap, first), seam = offset + heap_bytes(first);
    uint64_t bytes = heap_bytes(first) + heap_bytes(second);
    struct pages front = inside(offset, seam - offset), whole = inside(offset, bytes);
    struct pages back = inside(seam, heap_bytes(second));
    bool is_hollow = heap_state(first) == HEAP_HOLLOW;
    set_word(first, bytes, heap_state(first));
    note_length(heap, first);
    if (is_hollow) {
        release(heap,
                (struct pages){MT_MAX(front.end, whole.begin), MT_MIN(back.begin, whole.end)});
    }
    return first;
}

/* Puts a free block into its list, as one with its neighbours of the same kind. */
static void settle(struct heap *heap, struct heap_block *block)
{
    struct heap_block *next = behind(heap, block);
    if (next && heap_state(next) == heap_state(block)) {
        delist(heap, next);
        block = merge(heap, block, next);
    }
    struct heap_block *before =
        block->before ? at(heap, heap_offset(heap, block) - block->before) : NULL;
    if (before && heap_state(before) == heap_state(block)) {
        delist(heap, before);
        block = merge(heap, before, block);
    }
    enlist(heap, block);
}

/* Makes a block that is in no list shorter; what is left over is a free one of the given state. */
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
    settle(heap, tail);
}

/* ---- Growing and filling -------------------------------------------------------------------- */

/* Makes the range end with a hollow block of at least `bytes`. */
static int grow(struct heap *heap, uint64_t bytes)
{
    struct heap_block *last = heap->last ? at(heap, heap->last) : NULL;
    bool is_hollow = last && heap_state(last) == HEAP_HOLLOW;
    uint64_t have = is_hollow ? heap_bytes(last) : 0;
    uint64_t more = MT_ALIGN_UP(bytes - MT_MIN(have, bytes), HEAP_PAGE);
    struct pages first = {heap->top, heap->top + HEAP_PAGE};
    if (more == 0) {
        return MANTA_OK;
    }
    if (more > heap->size - heap->top) {
        return MANTA_E_LIMIT;
    }
    more = MT_MIN(MT_MAX(more, PIECE), heap->size - heap->top);
    int code = reserve(heap, HEAP_PAGE);
    if (code != MANTA_OK) {
        return code;
    }
    code = populate(heap, first);
    if (code != MANTA_OK) {
        release(heap, first);
        return code;
    }
    struct heap_block *block = at(heap, heap->top);
    block->before = last ? heap_bytes(last) : 0;
    set_word(block, more, HEAP_HOLLOW);
    heap->last = heap->top;
    heap->top += more;
    atomic_store_explicit(&head_of(heap->base)->top, heap->top, memory_order_release);
    settle(heap, block);
    return MANTA_OK;
}

/*
 * Gives the first `bytes` of a hollow block, which is in no list, their pages, all but those that
 * the taker of a large one populates itself; what is behind them stays hollow.
 */
static int fill(struct heap *heap, struct heap_block *block, uint64_t bytes,
                struct heap_raw *ret_raw)
{
    uint64_t offset = heap_offset(heap, block), left = heap_bytes(block) - bytes;
    struct pages pages = inside(offset, heap_bytes(block)), now;
    if (left >= LEAST) {
        pages.end = MT_MIN(inside(offset + bytes, left).begin, pages.end);
    }
    int code = reserve(heap, pages.end - pages.begin);
    if (code != MANTA_OK) {
        return code;
    }
    /* The last page has the header of what is left. */
    now = bytes <= PIECE || pages.end - pages.begin < HEAP_PAGE
              ? pages
              : (struct pages){pages.end - HEAP_PAGE, pages.end};
    code = populate(heap, now);
    if (code != MANTA_OK) {
        release(heap, pages);
        return code;
    }
    *ret_raw = (struct heap_raw){pages.begin, now.begin - pages.begin};
    set_word(block, heap_bytes(block), HEAP_FREE);
    cut(heap, block, bytes, HEAP_HOLLOW);
    return MANTA_OK;
}

/* A free block with pages of at least `bytes` out of a hollow one: a piece, or just that. */
static int fill_for(struct heap *heap, struct heap_block *block, uint64_t bytes,
                    struct heap_raw *ret_raw)
{
    uint64_t piece = MT_MIN(MT_MAX(bytes, PIECE), heap_bytes(block));
    delist(heap, block);
    int code = fill(heap, block, piece, ret_raw);
    if (code != MANTA_OK && piece > bytes) {
        code = fill(heap, block, bytes, ret_raw);
    }
    enlist(heap, block);
    return code;
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
    int code = reserve(heap, FIRST);
    if (code == MANTA_OK && (code = populate(heap, (struct pages){0, FIRST})) != MANTA_OK) {
        release(heap, (struct pages){0, FIRST});
    }
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
    delist(heap, block);
    block->payload = payload;
    memset(block->tag, 0, sizeof block->tag);
    atomic_store_explicit(&block->written, HEAP_UNWRITTEN, memory_order_relaxed);
    block->sum = 0;
    set_word(block, heap_bytes(block), HEAP_OPEN);
    cut(heap, block, bytes, HEAP_FREE);
    heap->taken += heap_bytes(block);
    heap->blocks++;
    return block;
}

/* A free block of at least `bytes`, from the lists or from where the range grows. */
static int find_or_grow(struct heap *heap, uint64_t bytes, uint64_t *ret_offset)
{
    uint64_t offset = find(heap, place_for(bytes));
    int code = offset ? MANTA_OK : grow(heap, bytes);
    if (code == MANTA_OK && !offset) {
        offset = heap->last; /* large enough now, whatever list it is in */
    } else if (code != MANTA_OK && (offset = search(heap, bytes))) {
        code = MANTA_OK;
    }
    *ret_offset = offset;
    return code;
}

int heap_take(struct heap *heap, uint64_t payload, struct heap_block **ret_block,
              struct heap_raw *ret_raw)
{
    struct heap_raw raw = {0};
    uint64_t offset;
    if (payload > heap->size - FIRST - HEAP_LINE) {
        return MANTA_E_TOOBIG;
    }
    uint64_t bytes = MT_MAX(MT_ALIGN_UP(payload, HEAP_LINE) + HEAP_LINE, LEAST);
    int code = find_or_grow(heap, bytes, &offset);
    if (code == MANTA_OK && heap_state(at(heap, offset)) == HEAP_HOLLOW) {
        code = fill_for(heap, at(heap, offset), bytes, &raw);
    }
    if (code == MANTA_OK) {
        *ret_block = take_from(heap, at(heap, offset), bytes, payload);
        *ret_raw = raw;
    }
    return code;
}

void heap_seal(struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_SEALED);
}

void heap_give(struct heap *heap, struct heap_block *block)
{
    bool is_spilled = heap_state(block) == HEAP_SPILLED;
    heap->taken -= heap_bytes(block);
    heap->blocks--;
    set_word(block, heap_bytes(block), is_spilled ? HEAP_HOLLOW : HEAP_FREE);
    settle(heap, block);
}

/* ---- Spilling ------------------------------------------------------------------------------- */

static struct pages pages_of(const struct heap *heap, const struct heap_block *block)
{
    return inside(heap_offset(heap, block), heap_bytes(block));
}

struct heap_raw heap_inside(const struct heap *heap, const struct heap_block *block)
{
    struct pages pages = pages_of(heap, block);
    return (struct heap_raw){pages.begin, pages.end - pages.begin};
}

void heap_leave(struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_LEAVING);
}

void heap_stay(struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_SEALED);
}

void heap_spill(struct heap *heap, struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_SPILLED);
    release(heap, pages_of(heap, block));
}

int heap_refill(struct heap *heap, struct heap_block *block)
{
    struct pages pages = pages_of(heap, block);
    return reserve(heap, pages.end - pages.begin);
}

void heap_refilled(struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_SEALED);
}

void heap_unfill(struct heap *heap, struct heap_block *block)
{
    release(heap, pages_of(heap, block));
}

/* ---- Giving back ---------------------------------------------------------------------------- */

/* Of a block in no list; then it is in one. Returns the bytes of pages that went. */
static uint64_t make_hollow(struct heap *heap, struct heap_block *block)
{
    uint64_t before = heap->held;
    set_word(block, heap_bytes(block), HEAP_HOLLOW);
    release(heap, inside(heap_offset(heap, block), heap_bytes(block)));
    settle(heap, block);
    return before - heap->held;
}

void heap_give_hollow(struct heap *heap, struct heap_block *block)
{
    heap->taken -= heap_bytes(block);
    heap->blocks--;
    (void)make_hollow(heap, block);
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
    settle(heap, tail);
}

/* The free block with pages that is first in a list; NULL: all in it are hollow. */
static struct heap_block *first_full(const struct heap *heap, uint64_t offset)
{
    while (offset && heap_state(at(heap, offset)) == HEAP_HOLLOW) {
        offset = at(heap, offset)->next;
    }
    return offset ? at(heap, offset) : NULL;
}

uint64_t heap_trim(struct heap *heap, uint64_t bytes)
{
    uint64_t returned = 0; /* small ones too: between two hollow ones they keep a page */
    for (uint32_t power = HEAP_POWERS; power-- > 0;) {
        for (uint32_t class = HEAP_CLASSES; class -- > 0;) {
            struct heap_block *block;
            while (returned < bytes && (block = first_full(heap, heap->lists[power][class]))) {
                delist(heap, block);
                returned += make_hollow(heap, block);
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

/* Blocks come front to back; a free one is merged with what is before it. What was open may lack
 * pages. */
static struct heap_block *adopt_block(struct heap *heap, struct heap_block *block, bool stays)
{
    struct pages pages = pages_of(heap, block);
    enum heap_state state = heap_state(block);
    if (state == HEAP_SPILLED) { /* it may have died while it was filling it */
        release(heap, pages);
    }
    if (stays) {
        set_word(block, heap_bytes(block), state == HEAP_LEAVING ? HEAP_SEALED : state);
        heap->taken += heap_bytes(block);
        heap->blocks++;
        return block;
    }
    if (state == HEAP_HOLLOW) {
        heap->held -= pages.end - pages.begin;
    } else if (state == HEAP_OPEN) {
        set_word(block, heap_bytes(block), HEAP_HOLLOW);
        release(heap, pages);
    } else {
        set_word(block, heap_bytes(block), state == HEAP_SPILLED ? HEAP_HOLLOW : HEAP_FREE);
    }
    struct heap_block *before = block->before ? at(heap, heap->last) : NULL;
    if (before && heap_state(before) == heap_state(block)) {
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
        block = adopt_block(heap, block, heap_state(block) >= HEAP_SEALED && stays(arg, block));
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
    enum heap_state was = HEAP_SEALED;
    const struct heap_block *block = NULL, *next;
    while ((next = heap_next(heap->base, heap->size, block))) {
        struct pages pages = pages_of(heap, next);
        bool is_empty = heap_state(next) == HEAP_HOLLOW || heap_state(next) == HEAP_SPILLED;
        block = next;
        if (next->before != before) {
            return "a block has a wrong length before it";
        }
        if (is_free(next) && heap_state(next) == was) {
            return "two free blocks of one kind lie side by side";
        }
        if (is_free(next) != is_listed(heap, next)) {
            return "a block is free and in no list, or taken and in one";
        }
        was = heap_state(next);
        held -= is_empty ? pages.end - pages.begin : 0;
        taken += is_free(next) ? 0 : heap_bytes(next);
        before = heap_bytes(next);
        end += before;
    }
    return end != heap->top                                  ? "the blocks do not cover the range"
           : held != heap->held                              ? "the pages held do not add up"
           : taken != heap->taken                            ? "the bytes taken do not add up"
           : block && heap_offset(heap, block) != heap->last ? "the last block is another one"
                                                             : NULL;
}
