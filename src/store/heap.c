#include "store/heap.h"

#include <manta/error.h>
#include <string.h>

#define MAGIC UINT64_C(0x6d616e7461686561)
#define PIECE (UINT64_C(1) << 20) /* filled with pages at once, for small blocks */
#define LEAST (2 * HEAP_LINE)     /* of a block: a header, and a line */

static struct heap_block *at(const struct heap *heap, uint64_t offset)
{
    return header_at(heap_head(heap), offset);
}

static void set_word(struct heap_block *block, uint64_t bytes, enum heap_state state)
{
    atomic_store_explicit(&block->word, bytes | state, memory_order_release);
}

static bool is_empty(const struct heap_block *block)
{
    return heap_state(block) == HEAP_HOLLOW || heap_state(block) == HEAP_SPILLED;
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

/* ---- Headers that are put away -------------------------------------------------------------- */

static struct heap_block *behind(const struct heap *heap, const struct heap_block *block)
{
    uint64_t offset = heap_offset(heap, block) + heap_bytes(block);
    return offset < heap->top ? at(heap, offset) : NULL;
}

static bool is_away(const struct heap *heap, const struct heap_block *block)
{
    return header_is_away(heap_head(heap), block);
}

/* The page with the header of a block, or that is to have it. */
static struct pages page_of(uint64_t offset)
{
    uint64_t begin = offset & ~(HEAP_PAGE - 1);
    return (struct pages){begin, begin + HEAP_PAGE};
}

/* Its page has nothing else that is needed: no other header, and no data. */
static bool may_go(const struct heap *heap, const struct heap_block *block)
{
    uint64_t offset = heap_offset(heap, block);
    struct pages page = page_of(offset);
    if (is_away(heap, block) || !is_empty(block) || offset + heap_bytes(block) < page.end) {
        return false;
    }
    if (offset == page.begin || !block->before) {
        return true;
    }
    return offset - block->before < page.begin && is_empty(at(heap, offset - block->before));
}

static bool has_table(struct heap *heap, uint64_t slot)
{
    struct heap_head *head = heap_head(heap);
    _Atomic uint16_t *map = &head->map[slot - slot % HEADERS_PER_PAGE];
    uint16_t was = atomic_load_explicit(map, memory_order_relaxed);
    struct pages page = page_of(head->table + slot * HEAP_LINE);
    if (was & HEADER_TABLE) {
        return true;
    }
    if (reserve(heap, HEAP_PAGE) != MANTA_OK) {
        return false;
    }
    if (populate(heap, page) != MANTA_OK) {
        release(heap, page);
        return false;
    }
    atomic_store_explicit(map, was | HEADER_TABLE, memory_order_relaxed);
    return true;
}

/* The header of the block at an offset is in its place again, or there is none any more. */
static void note_back(struct heap *heap, uint64_t offset)
{
    struct heap_head *head = heap_head(heap);
    uint64_t slot = header_slot(head, offset), first = slot - slot % HEADERS_PER_PAGE;
    header_note(head, slot, 0);
    uint64_t end = MT_MIN(first + HEADERS_PER_PAGE, header_slots(head, heap->top));
    for (uint64_t i = first; i < end; i++) {
        if (atomic_load_explicit(&head->map[i], memory_order_relaxed) & HEADER_LINE) {
            return;
        }
    }
    atomic_store_explicit(&head->map[first], 0, memory_order_relaxed);
    release(heap, page_of(head->table + first * HEAP_LINE));
}

static void put_away(struct heap *heap, struct heap_block *block)
{
    struct heap_head *head = heap_head(heap);
    uint64_t offset = heap_offset(heap, block), slot = header_slot(head, offset);
    uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_relaxed);
    if ((map & HEADER_LINE) || !may_go(heap, block) || !has_table(heap, slot)) {
        return;
    }
    memcpy((void *)header_entry(head, slot), (void *)block, sizeof *block);
    header_note(head, slot, header_line(head, offset));
    release(heap, page_of(offset));
}

/* The one behind it whose page has the end of it too. */
static struct heap_block *sharing(const struct heap *heap, const struct heap_block *block)
{
    uint64_t end = heap_offset(heap, block) + heap_bytes(block);
    return end % HEAP_PAGE ? behind(heap, block) : NULL;
}

/* After a block has lost its pages. Pointers to it and to the one behind it are no longer valid. */
static void put_away_around(struct heap *heap, struct heap_block *block)
{
    struct heap_block *next = behind(heap, block);
    if (next) {
        put_away(heap, next);
    }
    put_away(heap, block);
}

/* Bytes to be reserved before it is put back. */
static uint64_t to_put_back(const struct heap *heap, const struct heap_block *block)
{
    return block && is_away(heap, block) ? HEAP_PAGE : 0;
}

/* Its page is reserved; it is not put away again before it is populated. */
static int put_back(struct heap *heap, struct heap_block **block)
{
    if (!to_put_back(heap, *block)) {
        return MANTA_OK;
    }
    uint64_t offset = heap_offset(heap, *block);
    int code = populate(heap, page_of(offset));
    if (code == MANTA_OK) {
        struct heap_block *place = (struct heap_block *)(heap->base + offset);
        memcpy((void *)place, (void *)*block, sizeof *place);
        note_back(heap, offset);
        *block = place;
    } else { /* it was to be there, and counts no more */
        release(heap, page_of(offset));
    }
    return code;
}

/* Both, or neither; what is reserved for those that are not does not count any more. */
static int put_back_both(struct heap *heap, struct heap_block **block, struct heap_block **next)
{
    uint64_t behind = to_put_back(heap, *next);
    int code = put_back(heap, block);
    if (code != MANTA_OK && behind) {
        release(heap, page_of(heap_offset(heap, *next)));
    }
    return code ? code : put_back(heap, next);
}

/* ---- Cutting and merging -------------------------------------------------------------------- */

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
    bool is_hollow = heap_state(first) == HEAP_HOLLOW, is_gone = is_away(heap, second);
    set_word(first, bytes, heap_state(first));
    note_length(heap, first);
    if (is_gone) { /* so is the page around the seam */
        note_back(heap, seam);
    } else if (is_hollow) {
        release(heap,
                (struct pages){MT_MAX(front.end, whole.begin), MT_MIN(back.begin, whole.end)});
    }
    return first;
}

/* Puts a free block into its list, as one with its neighbours of the same kind. Returns what became
 * of it. */
static struct heap_block *settle(struct heap *heap, struct heap_block *block)
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
    return block;
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
    (void)settle(heap, tail);
}

/* ---- Growing and filling -------------------------------------------------------------------- */

/* Pages for the map of a longer range. */
static int grow_map(struct heap *heap, uint64_t top)
{
    struct pages map = {header_map_end(heap_head(heap), heap->top),
                        header_map_end(heap_head(heap), top)};
    int code = reserve(heap, map.end - map.begin);
    if (code == MANTA_OK && (code = populate(heap, map)) != MANTA_OK) {
        release(heap, map);
    }
    return code;
}

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
    code = code ? code : grow_map(heap, heap->top + more);
    if (code != MANTA_OK) {
        release(heap, first);
        return code;
    }
    struct heap_block *block = at(heap, heap->top);
    block->before = last ? heap_bytes(last) : 0;
    set_word(block, more, HEAP_HOLLOW);
    heap->last = heap->top;
    heap->top += more;
    atomic_store_explicit(&heap_head(heap)->top, heap->top, memory_order_release);
    (void)settle(heap, block);
    return MANTA_OK;
}

/* The pages that the first `bytes` of a hollow block need, with that of the header of what is left.
 */
static struct pages pages_to_fill(uint64_t offset, uint64_t whole, uint64_t bytes)
{
    struct pages pages = inside(offset, whole);
    if (whole - bytes >= LEAST) {
        pages.end = MT_MIN(inside(offset + bytes, whole - bytes).begin, pages.end);
    }
    return pages;
}

/*
 * Gives the first `bytes` of a hollow block, which is in no list, their pages, all but those that
 * the taker of a large one populates itself; what is behind them stays hollow.
 */
static int fill(struct heap *heap, uint64_t offset, uint64_t bytes, struct heap_raw *ret_raw)
{
    struct heap_block *block = at(heap, offset), *next = sharing(heap, block);
    uint64_t whole = heap_bytes(block);
    struct pages pages = pages_to_fill(offset, whole, bytes), now;
    if (next && offset + bytes < page_of(offset + whole).begin && whole - bytes >= LEAST) {
        next = NULL; /* nothing of ours lies in its page */
    }
    uint64_t others = to_put_back(heap, block) + to_put_back(heap, next);
    int code = reserve(heap, pages.end - pages.begin + others);
    if (code != MANTA_OK) {
        return code;
    }
    /* The last page has the header of what is left. */
    now = bytes <= PIECE || pages.end - pages.begin < HEAP_PAGE
              ? pages
              : (struct pages){pages.end - HEAP_PAGE, pages.end};
    code = put_back_both(heap, &block, &next);
    code = code ? code : populate(heap, now);
    if (code != MANTA_OK) {
        release(heap, pages);
        put_away_around(heap, block);
        return code;
    }
    *ret_raw = (struct heap_raw){pages.begin, now.begin - pages.begin};
    set_word(block, heap_bytes(block), HEAP_FREE);
    cut(heap, block, bytes, HEAP_HOLLOW);
    return MANTA_OK;
}

/* A free block with pages of at least `bytes` out of a hollow one: a piece, or just that. */
static int fill_for(struct heap *heap, uint64_t offset, uint64_t bytes, struct heap_raw *ret_raw)
{
    uint64_t piece = MT_MIN(MT_MAX(bytes, PIECE), heap_bytes(at(heap, offset)));
    delist(heap, at(heap, offset));
    int code = fill(heap, offset, piece, ret_raw);
    if (code != MANTA_OK && piece > bytes) {
        code = fill(heap, offset, bytes, ret_raw);
    }
    enlist(heap, at(heap, offset));
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
    if (heap->size <= header_first(heap->size)) {
        return MANTA_E_INVALID;
    }
    int code = reserve(heap, HEAP_PAGE);
    if (code == MANTA_OK && (code = populate(heap, page_of(0))) != MANTA_OK) {
        release(heap, page_of(0));
    }
    if (code == MANTA_OK) {
        struct heap_head *head = base;
        header_lay_out(head, heap->size);
        heap->top = head->first;
        atomic_store_explicit(&head->top, head->first, memory_order_relaxed);
        atomic_store_explicit(&head->magic, MAGIC, memory_order_release);
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
    if (payload > heap->size - heap_head(heap)->first - HEAP_LINE) {
        return MANTA_E_TOOBIG;
    }
    uint64_t bytes = MT_MAX(MT_ALIGN_UP(payload, HEAP_LINE) + HEAP_LINE, LEAST);
    int code = find_or_grow(heap, bytes, &offset);
    if (code == MANTA_OK && heap_state(at(heap, offset)) == HEAP_HOLLOW) {
        code = fill_for(heap, offset, bytes, &raw);
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
    (void)settle(heap, block);
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
    put_away_around(heap, block);
}

int heap_refill(struct heap *heap, struct heap_block *block)
{
    struct heap_block *next = sharing(heap, block);
    struct pages pages = pages_of(heap, block);
    uint64_t others = to_put_back(heap, block) + to_put_back(heap, next);
    int code = reserve(heap, pages.end - pages.begin + others);
    if (code == MANTA_OK && (code = put_back_both(heap, &block, &next)) != MANTA_OK) {
        heap_spill(heap, block);
    } else if (code == MANTA_OK) {
        set_word(block, heap_bytes(block), HEAP_COMING);
    }
    return code;
}

void heap_refilled(struct heap_block *block)
{
    set_word(block, heap_bytes(block), HEAP_SEALED);
}

/* ---- Giving back ---------------------------------------------------------------------------- */

/* Of a block in no list; then it is in one. Returns the bytes of pages that went. */
static uint64_t make_hollow(struct heap *heap, struct heap_block *block)
{
    uint64_t before = heap->held;
    set_word(block, heap_bytes(block), HEAP_HOLLOW);
    release(heap, inside(heap_offset(heap, block), heap_bytes(block)));
    put_away_around(heap, settle(heap, block));
    return before - MT_MIN(before, heap->held);
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
    (void)settle(heap, tail);
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
    struct heap_head *head = (void *)(uintptr_t)base;
    uint64_t top = MT_MIN(atomic_load_explicit(&head->top, memory_order_acquire), range);
    if (!heap_is_made(base) || head->first != header_first(range)) {
        return NULL;
    }
    uint64_t offset = block ? header_offset(head, block) + heap_bytes(block) : head->first;
    if (offset % HEAP_LINE || offset >= top) {
        return NULL;
    }
    const struct heap_block *next = header_at(head, offset);
    uint64_t bytes = heap_bytes(next);
    return bytes >= LEAST && bytes <= top - offset ? next : NULL;
}

/* The whole range must be blocks, or it is not taken over at all. */
static bool is_whole(const void *base, uint64_t range, uint64_t top)
{
    const struct heap_block *block = NULL, *next;
    uint64_t end = header_first(range);
    while ((next = heap_next(base, range, block))) {
        block = next;
        end += heap_bytes(block);
    }
    return end == top;
}

/* Pages of the map and the table; those of the table that nobody had begun to use go. */
static void adopt_table(struct heap *heap)
{
    struct heap_head *head = heap_head(heap);
    uint64_t slots = header_slots(head, heap->top);
    heap->held += header_map_end(head, heap->top);
    for (uint64_t slot = 0; slot < slots; slot += HEADERS_PER_PAGE) {
        uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_relaxed);
        heap->held += HEAP_PAGE;
        if (!(map & HEADER_TABLE)) {
            release(heap, page_of(head->table + slot * HEAP_LINE));
        }
    }
}

/* Forgets headers inside a block: of those that were merged last. Then gives back what an empty one
 * is not to have, which the dead may have been about to give back, or to fill. */
static void adopt_pages(struct heap *heap, struct heap_block *block)
{
    struct heap_head *head = heap_head(heap);
    uint64_t begin = heap_offset(heap, block), end = begin + heap_bytes(block);
    for (uint64_t slot = header_slot(head, begin); slot <= header_slot(head, end - 1); slot++) {
        uint16_t map = atomic_load_explicit(&head->map[slot], memory_order_relaxed);
        uint64_t offset =
            head->first + slot * HEADER_SLOT + ((map & HEADER_LINE) - UINT64_C(1)) * HEAP_LINE;
        if ((map & HEADER_LINE) && offset > begin && offset < end) {
            header_note(head, slot, 0);
        }
    }
    if (is_empty(block)) {
        release(heap, pages_of(heap, block));
    }
    if (is_away(heap, block)) {
        release(heap, page_of(begin));
    }
}

/* Blocks come front to back; a free one is merged with what is before it. What was open may lack
 * pages. */
static struct heap_block *adopt_block(struct heap *heap, struct heap_block *block, bool stays)
{
    if (heap_state(block) == HEAP_COMING) {
        set_word(block, heap_bytes(block), HEAP_SPILLED);
    }
    enum heap_state state = heap_state(block);
    adopt_pages(heap, block);
    if (stays) {
        set_word(block, heap_bytes(block), state == HEAP_LEAVING ? HEAP_SEALED : state);
        heap->taken += heap_bytes(block);
        heap->blocks++;
        return block;
    }
    if (state == HEAP_OPEN) {
        set_word(block, heap_bytes(block), HEAP_HOLLOW);
        release(heap, pages_of(heap, block));
    } else {
        set_word(block, heap_bytes(block), is_empty(block) ? HEAP_HOLLOW : HEAP_FREE);
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
    uint64_t first = header_first(heap->size);
    uint64_t top = atomic_load_explicit(&heap_head(heap)->top, memory_order_acquire);
    if (top > heap->size || !is_whole(base, heap->size, top)) {
        return MANTA_E_INVALID;
    }
    heap->top = top;
    heap->held = top - first;
    adopt_table(heap);
    for (uint64_t offset = first; offset < top;) {
        struct heap_block *block = at(heap, offset);
        block->before = heap->last ? heap_bytes(at(heap, heap->last)) : 0;
        offset += heap_bytes(block);
        block = adopt_block(heap, block, heap_state(block) >= HEAP_SEALED && stays(arg, block));
        heap->last = heap_offset(heap, block);
    }
    return MANTA_OK;
}
