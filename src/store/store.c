#include "store/store.h"

#include "base/alloc.h"
#include "store/crc32c.h"
#include "store/disk.h"
#include "store/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <manta/error.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Of addresses, which are 47 bits: a rank maps all shares, and its own twice. */
enum { SHARE_PER_BOUND = 64 };
#define SHARE_MIN (UINT64_C(1) << 22)
#define SHARES_MAX (UINT64_C(1) << 46)

#define MAGIC UINT64_C(0x6d616e746173746f)

/* Of one rank, and written by it or its heir. */
struct slot {
    _Atomic uint64_t held, pinned, spare;
    _Atomic int32_t trouble;
    _Atomic uint32_t has_extra;
};

/* The first pages. */
struct node_head {
    uint64_t magic, ranks, share_bytes, bound_bytes; /* never change */
    _Atomic uint64_t held;                           /* bytes of pages, all shares together */
    _Atomic uint64_t released;                       /* of pages, ever */
    _Atomic uint32_t claimer;                        /* index + 1; 0: nobody */
    uint32_t unused[3];
    struct slot slots[];
};

struct share {
    struct store *store;
    uint8_t *writable;       /* own or inherited; else NULL */
    const uint8_t *readable; /* NULL: not mapped yet */
    struct heap *heap;       /* of a writable one */
    uint64_t heirs;          /* head's, when this rank got it */
    uint64_t file_offset;
};

struct store {
    struct store_options options;
    struct node_head *head;
    uint64_t head_bytes, share_bytes, bound_bytes;
    struct share *shares; /* by index on the node */
    uint64_t created, freed, trimmed;
};

static uint64_t share_bytes(uint32_t ranks, uint64_t bound_bytes)
{
    uint64_t share = MT_MIN(bound_bytes, SHARES_MAX / SHARE_PER_BOUND) * SHARE_PER_BOUND;
    return MT_MIN(MT_MAX(share, SHARE_MIN), SHARES_MAX / ranks) & ~(HEAP_PAGE - 1);
}

static uint64_t head_bytes(uint32_t ranks)
{
    return MT_ALIGN_UP(sizeof(struct node_head) + ranks * sizeof(struct slot), HEAP_PAGE);
}

uint64_t store_bytes(uint32_t ranks, uint64_t bound_bytes)
{
    return head_bytes(ranks) + ranks * share_bytes(ranks, bound_bytes);
}

int store_format(int fd, uint64_t offset, uint32_t ranks, uint64_t bound_bytes)
{
    struct node_head head = {.magic = MAGIC,
                             .ranks = ranks,
                             .share_bytes = share_bytes(ranks, bound_bytes),
                             .bound_bytes = bound_bytes};
    return pwrite(fd, &head, sizeof head, (off_t)offset) == (ssize_t)sizeof head ? MANTA_OK
                                                                                 : MANTA_E_SYSTEM;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static struct slot *slot_of(const struct share *share)
{
    return &share->store->head->slots[share - share->store->shares];
}

static int reserve(void *arg, uint64_t bytes)
{
    struct store *store = ((struct share *)arg)->store;
    uint64_t before = atomic_fetch_add_explicit(&store->head->held, bytes, memory_order_relaxed);
    if (before + bytes <= store->bound_bytes) {
        atomic_fetch_add_explicit(&slot_of(arg)->held, bytes, memory_order_relaxed);
        return MANTA_OK;
    }
    atomic_fetch_sub_explicit(&store->head->held, bytes, memory_order_relaxed);
    return MANTA_E_LIMIT;
}

static int populate(void *arg, uint64_t offset, uint64_t bytes)
{
    const struct share *share = arg;
    while (madvise(share->writable + offset, bytes, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) { /* Linux before 5.14 */
            return fallocate(share->store->options.fd, 0, (off_t)(share->file_offset + offset),
                             (off_t)bytes)
                       ? MANTA_E_NOMEM
                       : MANTA_OK;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return MANTA_E_NOMEM;
        }
    }
    return MANTA_OK;
}

static void release(void *arg, uint64_t offset, uint64_t bytes)
{
    struct share *share = arg;
    (void)madvise(share->writable + offset, bytes, MADV_REMOVE);
    atomic_fetch_sub_explicit(&slot_of(share)->held, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&share->store->head->held, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&share->store->head->released, bytes, memory_order_relaxed);
    share->store->trimmed += bytes;
}

/* ---- Shares --------------------------------------------------------------------------------- */

static void *map(struct share *share, int protection)
{
    void *memory = mmap(NULL, share->store->share_bytes, protection, MAP_SHARED | MAP_NORESERVE,
                        share->store->options.fd, (off_t)share->file_offset);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool is_readable(struct share *share)
{
    if (!share->readable) {
        share->readable = map(share, PROT_READ);
    }
    return share->readable != NULL;
}

static bool is_writable(struct share *share)
{
    if (!share->writable) {
        share->writable = map(share, PROT_READ | PROT_WRITE);
    }
    return share->writable != NULL;
}

static struct share *own(struct store *store)
{
    return &store->shares[store->options.index];
}

static struct heap_head *head_of(const struct share *share)
{
    return (struct heap_head *)share->writable;
}

/* Somebody else has it now, who takes this rank for dead. */
static bool is_taken_over(const struct share *share)
{
    return share->heap && MT_UNLIKELY(atomic_load_explicit(&head_of(share)->heirs,
                                                           memory_order_relaxed) != share->heirs);
}

static int make_heap(struct share *share)
{
    struct heap_pages pages = {reserve, populate, release, share};
    struct heap *heap = base_alloc(sizeof *heap);
    if (!heap || !is_writable(share)) {
        base_free(heap);
        return MANTA_E_NOMEM;
    }
    int code = heap_init(heap, share->writable, share->store->share_bytes, &pages);
    if (code != MANTA_OK) {
        base_free(heap);
        return code;
    }
    share->heap = heap;
    return MANTA_OK;
}

static int open_head(struct store *store)
{
    const struct store_options *options = &store->options;
    store->head_bytes = head_bytes(options->ranks);
    void *head = mmap(NULL, store->head_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, options->fd,
                      (off_t)options->offset);
    if (head == MAP_FAILED) {
        return MANTA_E_SYSTEM;
    }
    store->head = head;
    store->share_bytes = store->head->share_bytes;
    store->bound_bytes = store->head->bound_bytes;
    bool is_ours = store->head->magic == MAGIC && store->head->ranks == options->ranks &&
                   options->index < options->ranks;
    return is_ours ? MANTA_OK : MANTA_E_INVALID;
}

static int make_shares(struct store *store)
{
    const struct store_options *options = &store->options;
    store->shares = base_alloc(options->ranks * sizeof *store->shares);
    for (uint32_t i = 0; store->shares && i < options->ranks; i++) {
        store->shares[i].store = store;
        store->shares[i].file_offset = options->offset + store->head_bytes + i * store->share_bytes;
    }
    return store->shares ? MANTA_OK : MANTA_E_NOMEM;
}

int store_open(const struct store_options *options, struct store **ret_store)
{
    struct store *store = base_alloc(sizeof *store);
    if (!store) {
        return MANTA_E_NOMEM;
    }
    store->options = *options;
    store->options.fd = fcntl(options->fd, F_DUPFD_CLOEXEC, 3);
    int code = store->options.fd < 0 ? MANTA_E_SYSTEM : open_head(store);
    code = code ? code : make_shares(store);
    if (code != MANTA_OK) {
        store_close(store);
        return code;
    }
    *ret_store = store;
    return MANTA_OK;
}

void store_close(struct store *store)
{
    if (!store) {
        return;
    }
    uint64_t bytes = store->share_bytes;
    for (uint32_t i = 0; store->shares && i < store->options.ranks; i++) {
        struct share *share = &store->shares[i];
        if (share->writable) {
            munmap(share->writable, bytes);
        }
        if (share->readable) {
            munmap((void *)(uintptr_t)share->readable, bytes);
        }
        base_free(share->heap);
    }
    if (store->head) {
        munmap(store->head, store->head_bytes);
    }
    if (store->options.fd >= 0) {
        close(store->options.fd);
    }
    base_free(store->shares);
    base_free(store);
}

/* ---- Blocks --------------------------------------------------------------------------------- */

static struct store_tag tag_of(const struct heap_block *block)
{
    return (struct store_tag){block->tag[0], (uint32_t)block->tag[1],
                              (uint32_t)(block->tag[1] >> 32)};
}

static void set_tag(struct heap_block *block, const struct store_tag *tag)
{
    block->tag[0] = tag->parent;
    block->tag[1] = tag->position | (uint64_t)tag->function << 32;
}

static struct heap_block *block_at(const struct share *share, uint64_t place)
{
    return header_at(head_of(share), place - HEAP_LINE);
}

/* A copy of the header of any rank's block. False: there is none. */
static bool peek(struct store *store, uint32_t index, uint64_t place, struct heap_block *ret_block)
{
    return store_at(store, index, place) &&
           header_peek(store->shares[index].readable, store->share_bytes, place - HEAP_LINE,
                       ret_block);
}

/* At the bound what is free here and has pages goes first. */
static int take(struct share *share, uint64_t bytes, struct heap_block **ret_block,
                struct heap_raw *ret_raw)
{
    int code = share->heap ? MANTA_OK : make_heap(share);
    if (is_taken_over(share)) {
        return MANTA_E_NOMEM;
    }
    if (code == MANTA_OK) {
        code = heap_take(share->heap, bytes, ret_block, ret_raw);
    }
    if (code == MANTA_E_LIMIT && share->heap && heap_trim(share->heap, UINT64_MAX)) {
        code = heap_take(share->heap, bytes, ret_block, ret_raw);
    }
    return code;
}

int store_create(struct store *store, uint64_t bytes, const struct store_tag *tag,
                 struct store_room *ret_room)
{
    struct heap_block *block;
    struct heap_raw raw;
    if (bytes > store->bound_bytes) {
        return MANTA_E_TOOBIG;
    }
    int code = take(own(store), bytes, &block, &raw);
    if (code != MANTA_OK) {
        return code;
    }
    set_tag(block, tag);
    store->created++;
    *ret_room = (struct store_room){heap_data(block), raw.offset, raw.bytes};
    return MANTA_OK;
}

int store_populate(struct store *store, const struct store_room *room)
{
    return room->raw_bytes ? populate(own(store), room->raw_offset, room->raw_bytes) : MANTA_OK;
}

int store_populate_first(struct store *store, struct store_room *room, uint64_t bytes)
{
    uint64_t begin = room->raw_offset, end = begin + room->raw_bytes;
    uint64_t needed = (uint64_t)((uint8_t *)room->data - own(store)->writable) + bytes;
    needed = MT_MIN(MT_ALIGN_UP(needed, HEAP_PAGE), end);
    int code = needed > begin ? populate(own(store), begin, needed - begin) : MANTA_OK;
    if (code == MANTA_OK && needed > begin) {
        room->raw_offset = needed;
        room->raw_bytes = end - needed;
    }
    return code;
}

void store_shorten(struct store *store, void *data, uint64_t bytes)
{
    if (!is_taken_over(own(store))) {
        heap_shorten(own(store)->heap, heap_block_of(data), bytes);
    }
}

void store_name(struct store *store, void *data, const struct store_tag *tag)
{
    set_tag(heap_block_of(data), tag);
}

uint64_t store_seal(struct store *store, void *data)
{
    if (!is_taken_over(own(store))) {
        heap_seal(heap_block_of(data));
    }
    return (uint64_t)((uint8_t *)data - own(store)->writable);
}

void *store_change(struct store *store, uint64_t place)
{
    return own(store)->writable + place;
}

void store_free(struct store *store, uint64_t place)
{
    store_free_inherited(store, store->options.index, place);
}

void store_abandon(struct store *store, const struct store_room *room)
{
    struct heap_block *block = heap_block_of(room->data);
    if (is_taken_over(own(store))) {
        return;
    }
    (room->raw_bytes ? heap_give_hollow : heap_give)(own(store)->heap, block);
    store->freed++;
}

void store_free_inherited(struct store *store, uint32_t dead, uint64_t place)
{
    struct share *share = &store->shares[dead];
    if (is_taken_over(share)) {
        return;
    }
    heap_give(share->heap, block_at(share, place));
    store->freed++;
}

const void *store_at(struct store *store, uint32_t index, uint64_t place)
{
    if (index >= store->options.ranks || place >= store->share_bytes ||
        !is_readable(&store->shares[index])) {
        return NULL;
    }
    return store->shares[index].readable + place;
}

const void *store_find(struct store *store, uint32_t index, uint64_t place,
                       const struct store_tag *tag, uint64_t bytes)
{
    struct heap_block block;
    if (!peek(store, index, place, &block)) {
        return NULL;
    }
    struct store_tag is = tag_of(&block);
    bool is_it = heap_state(&block) >= HEAP_SEALED && is.parent == tag->parent &&
                 is.position == tag->position && block.payload >= bytes;
    return is_it ? store_at(store, index, place) : NULL;
}

uint64_t store_trim(struct store *store, uint64_t bytes)
{
    struct share *share = own(store);
    return share->heap ? heap_trim(share->heap, bytes) : 0;
}

/* ---- Spilling ------------------------------------------------------------------------------- */

/* For writers. */
static struct heap_block *block_of(const struct store *store, struct store_place at)
{
    return block_at(&store->shares[at.index], at.place);
}

static struct heap *heap_of(const struct store *store, struct store_place at)
{
    return store->shares[at.index].heap;
}

/* Else another rank has taken it over, and this one keeps its hands off. */
static bool is_ours(const struct store *store, struct store_place at)
{
    return !is_taken_over(&store->shares[at.index]);
}

bool store_has_disk(const struct store *store)
{
    return store->options.disk != NULL;
}

enum store_state store_get_state(struct store *store, struct store_place at)
{
    struct heap_block block;
    if (!peek(store, at.index, at.place, &block)) {
        return STORE_NONE;
    }
    switch (heap_state(&block)) {
    case HEAP_SEALED:
        return STORE_SEALED;
    case HEAP_LEAVING:
        return STORE_LEAVING;
    case HEAP_SPILLED:
    case HEAP_COMING:
        return atomic_load_explicit(&block.written, memory_order_relaxed) == HEAP_SPOILED
                   ? STORE_SPOILED
                   : STORE_SPILLED;
    default:
        return STORE_NONE;
    }
}

uint64_t store_page_bytes(struct store *store, struct store_place at)
{
    return heap_inside(heap_of(store, at), block_of(store, at)).bytes;
}

void store_leave(struct store *store, struct store_place at)
{
    if (is_ours(store, at)) {
        heap_leave(block_of(store, at));
    }
}

void store_stay(struct store *store, struct store_place at)
{
    if (is_ours(store, at)) {
        heap_stay(block_of(store, at));
    }
}

/* All of it: the pages that it shares with neighbours may go too. */
struct store_extent store_extent(struct store *store, struct store_place at)
{
    uint64_t bytes = heap_bytes(block_of(store, at)) - HEAP_LINE;
    return (struct store_extent){store->head_bytes + at.index * store->share_bytes + at.place,
                                 bytes};
}

static uint8_t *data_of(const struct store *store, struct store_place at)
{
    return store->shares[at.index].writable + at.place;
}

/* Writes as many of the blocks as lie side by side, with nothing but zeros for the headers between
 * them, which stay in memory. Returns how many; 0: *ret_code says why. */
static uint32_t write_piece(struct store *store, const struct store_place *blocks, uint32_t count,
                            uint64_t *sums, int *ret_code)
{
    static const uint8_t between[STORE_PIECE_GAP];
    struct iovec parts[STORE_PIECE_PARTS];
    uint64_t begin = store_extent(store, blocks[0]).offset, end = begin;
    uint32_t done = 0;
    int used = 0;
    for (; done < count && used + 2 <= STORE_PIECE_PARTS; done++) {
        struct store_extent extent = store_extent(store, blocks[done]);
        uint8_t *data = data_of(store, blocks[done]);
        if (extent.offset < end || extent.offset - end > sizeof between) {
            break;
        }
        if (extent.offset > end) {
            parts[used++] = (struct iovec){(void *)(uintptr_t)between, extent.offset - end};
        }
        parts[used++] = (struct iovec){data, extent.bytes};
        sums[done] = crc32c(data, extent.bytes);
        end = extent.offset + extent.bytes;
    }
    *ret_code = store->options.disk->write(store->options.disk->self, begin, parts, used);
    return *ret_code == MANTA_OK ? done : 0;
}

int store_write(struct store *store, const struct store_place *blocks, uint32_t count,
                uint64_t *ret_sums)
{
    int code = MANTA_OK;
    for (uint32_t done = 0; code == MANTA_OK && done < count;) {
        done += write_piece(store, blocks + done, count - done, ret_sums + done, &code);
    }
    return code;
}

void store_note_written(struct store *store, struct store_place at, uint64_t sum)
{
    struct heap_block *block = block_of(store, at);
    if (is_ours(store, at)) {
        block->sum = sum;
        atomic_store_explicit(&block->written, HEAP_WRITTEN, memory_order_relaxed);
    }
}

void store_note_unwritten(struct store *store, struct store_place at)
{
    if (is_ours(store, at)) {
        atomic_store_explicit(&block_of(store, at)->written, HEAP_UNWRITTEN, memory_order_relaxed);
    }
}

bool store_is_written(struct store *store, struct store_place at)
{
    return is_ours(store, at) &&
           atomic_load_explicit(&block_of(store, at)->written, memory_order_relaxed);
}

uint64_t store_spill(struct store *store, struct store_place at)
{
    if (!is_ours(store, at)) {
        return 0;
    }
    struct heap *heap = heap_of(store, at);
    uint64_t before = heap->held;
    heap_spill(heap, block_of(store, at));
    return before - MT_MIN(before, heap->held);
}

int store_refill(struct store *store, struct store_place at)
{
    int code =
        is_ours(store, at) ? heap_refill(heap_of(store, at), block_of(store, at)) : MANTA_E_NOMEM;
    if (code == MANTA_E_LIMIT && heap_trim(heap_of(store, at), UINT64_MAX)) {
        code = heap_refill(heap_of(store, at), block_of(store, at));
    }
    return code;
}

int store_read(struct store *store, struct store_place at)
{
    const struct store_disk *disk = store->options.disk;
    const struct heap_block *block = block_of(store, at);
    struct store_extent extent = store_extent(store, at);
    struct heap_raw pages = heap_inside(heap_of(store, at), block);
    uint8_t *data = data_of(store, at);
    int code =
        pages.bytes ? populate(&store->shares[at.index], pages.offset, pages.bytes) : MANTA_OK;
    if (code == MANTA_OK) {
        code = disk->read(disk->self, extent.offset, data, extent.bytes);
        code =
            code == MANTA_OK && crc32c(data, extent.bytes) == block->sum ? MANTA_OK : MANTA_E_LOST;
    }
    return code;
}

void store_refilled(struct store *store, struct store_place at)
{
    if (is_ours(store, at)) {
        heap_refilled(block_of(store, at));
    }
}

void store_unfill(struct store *store, struct store_place at)
{
    if (is_ours(store, at)) {
        heap_spill(heap_of(store, at), block_of(store, at));
    }
}

void store_spoil(struct store *store, struct store_place at)
{
    if (is_ours(store, at)) {
        atomic_store_explicit(&block_of(store, at)->written, HEAP_SPOILED, memory_order_relaxed);
    }
}

void store_discard(struct store *store, struct store_extent extent)
{
    store->options.disk->discard(store->options.disk->self, extent.offset, extent.bytes);
}

struct store_slot store_get_slot(const struct store *store, uint32_t index)
{
    const struct slot *slot = &store->head->slots[index];
    return (struct store_slot){
        .held_bytes = atomic_load_explicit(&slot->held, memory_order_relaxed),
        .pinned_bytes = atomic_load_explicit(&slot->pinned, memory_order_relaxed),
        .spare_bytes = atomic_load_explicit(&slot->spare, memory_order_relaxed),
        .trouble = atomic_load_explicit(&slot->trouble, memory_order_relaxed),
        .has_extra = atomic_load_explicit(&slot->has_extra, memory_order_relaxed)};
}

static void show(struct store *store, uint32_t index, const struct store_slot *as)
{
    struct slot *slot = &store->head->slots[index];
    atomic_store_explicit(&slot->pinned, as->pinned_bytes, memory_order_relaxed);
    atomic_store_explicit(&slot->spare, as->spare_bytes, memory_order_relaxed);
    atomic_store_explicit(&slot->trouble, as->trouble, memory_order_relaxed);
    atomic_store_explicit(&slot->has_extra, as->has_extra, memory_order_relaxed);
}

void store_show(struct store *store, const struct store_slot *slot)
{
    show(store, store->options.index, slot);
}

bool store_begin_claim(struct store *store)
{
    uint32_t nobody = 0; /* acquire and release pair among claimers: each sees what was shown */
    return atomic_compare_exchange_strong_explicit(&store->head->claimer, &nobody,
                                                   store->options.index + 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

void store_end_claim(struct store *store)
{
    atomic_store_explicit(&store->head->claimer, 0, memory_order_release);
}

bool store_has_extra(const struct store *store)
{
    bool has_extra = false;
    for (uint32_t i = 0; i < store->options.ranks && !has_extra; i++) {
        has_extra = atomic_load_explicit(&store->head->slots[i].has_extra, memory_order_relaxed);
    }
    return has_extra;
}

uint64_t store_get_pinned(const struct store *store)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < store->options.ranks; i++) {
        sum += atomic_load_explicit(&store->head->slots[i].pinned, memory_order_relaxed);
    }
    return sum;
}

void store_forget(struct store *store, uint32_t index)
{
    uint32_t claimer = index + 1;
    show(store, index, &(struct store_slot){0});
    (void)atomic_compare_exchange_strong_explicit(&store->head->claimer, &claimer, 0,
                                                  memory_order_release, memory_order_relaxed);
}

uint64_t store_get_released(const struct store *store)
{
    return atomic_load_explicit(&store->head->released, memory_order_relaxed);
}

uint64_t store_free_bytes(const struct store *store)
{
    const struct heap *heap = store->shares[store->options.index].heap;
    return heap && heap->held > heap->taken ? heap->held - heap->taken : 0;
}

/* ---- Inheriting ----------------------------------------------------------------------------- */

struct question {
    bool (*stays)(void *arg, uint64_t place, const struct store_tag *tag);
    void *arg;
    const struct share *share;
};

static bool ask(void *arg, const struct heap_block *block)
{
    const struct question *question = arg;
    struct store_tag tag = tag_of(block);
    uint64_t place = header_offset(head_of(question->share), block) + HEAP_LINE;
    return question->stays(question->arg, place, &tag);
}

int store_inherit(struct store *store, uint32_t dead,
                  bool (*stays)(void *arg, uint64_t place, const struct store_tag *tag), void *arg)
{
    struct share *share = &store->shares[dead];
    struct question question = {stays, arg, share};
    struct heap_pages pages = {reserve, populate, release, share};
    if (share->heap) {
        return MANTA_E_INVALID;
    }
    if (!is_writable(share)) {
        return MANTA_E_NOMEM;
    }
    if (!heap_is_made(share->writable)) {
        return MANTA_E_NOTFOUND;
    }
    struct heap *heap = base_alloc(sizeof *heap);
    share->heirs = atomic_fetch_add_explicit(&head_of(share)->heirs, 1, memory_order_relaxed) + 1;
    int code = heap ? heap_adopt(heap, share->writable, store->share_bytes, &pages, ask, &question)
                    : MANTA_E_NOMEM;
    if (code != MANTA_OK) {
        base_free(heap);
        return code;
    }
    share->heap = heap;
    /* It may have died between counting pages here and there. */
    uint64_t counted = atomic_load_explicit(&slot_of(share)->held, memory_order_relaxed);
    atomic_store_explicit(&slot_of(share)->held, heap->held, memory_order_relaxed);
    atomic_fetch_sub_explicit(&store->head->held, counted - heap->held, memory_order_relaxed);
    return MANTA_OK;
}

/* ---- For people ----------------------------------------------------------------------------- */

struct store_stats store_get_stats(const struct store *store)
{
    struct store_stats stats = {.bound_bytes = store->bound_bytes,
                                .held_bytes =
                                    atomic_load_explicit(&store->head->held, memory_order_relaxed),
                                .created = store->created,
                                .freed = store->freed,
                                .trimmed_bytes = store->trimmed};
    for (uint32_t i = 0; i < store->options.ranks; i++) {
        const struct heap *heap = store->shares[i].heap;
        stats.used_bytes += heap ? heap->taken : 0;
        stats.blocks += heap ? heap->blocks : 0;
    }
    return stats;
}

static void each_of(struct store *store, uint32_t index,
                    void (*each)(void *arg, const struct store_entry *entry), void *arg)
{
    const void *base = store->shares[index].readable;
    const struct heap_head *head = base;
    const struct heap_block *block = NULL;
    while ((block = heap_next(base, store->share_bytes, block))) {
        enum heap_state state = heap_state(block);
        struct store_entry entry = {.index = index,
                                    .place = header_offset(head, block) + HEAP_LINE,
                                    .bytes = block->payload,
                                    .is_sealed = state >= HEAP_SEALED,
                                    .is_spilled = state >= HEAP_SPILLED,
                                    .tag = tag_of(block)};
        if (state >= HEAP_OPEN) {
            each(arg, &entry);
        }
    }
}

void store_each(struct store *store, void (*each)(void *arg, const struct store_entry *entry),
                void *arg)
{
    for (uint32_t i = 0; i < store->options.ranks; i++) {
        if (is_readable(&store->shares[i])) {
            each_of(store, i, each, arg);
        }
    }
}
