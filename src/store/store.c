#include "store/store.h"

#include "base/alloc.h"
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

enum { SHARE_PER_BOUND = 4 };
#define SHARE_MIN (UINT64_C(1) << 22)
#define SHARE_MAX (UINT64_C(1) << 40)

#define MAGIC UINT64_C(0x6d616e746173746f)

/* The first page. */
struct node_head {
    uint64_t magic, ranks, share_bytes, bound_bytes; /* never change */
    _Atomic uint64_t held;                           /* bytes of pages, all shares together */
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
    uint64_t share_bytes, bound_bytes;
    struct share *shares; /* by index on the node */
    uint64_t created, freed, trimmed;
};

static uint64_t share_bytes(uint64_t bound_bytes)
{
    uint64_t share = MT_MIN(bound_bytes, SHARE_MAX) * SHARE_PER_BOUND;
    return MT_ALIGN_UP(MT_MIN(MT_MAX(share, SHARE_MIN), SHARE_MAX), HEAP_PAGE);
}

uint64_t store_bytes(uint32_t ranks, uint64_t bound_bytes)
{
    return HEAP_PAGE + ranks * share_bytes(bound_bytes);
}

int store_format(int fd, uint64_t offset, uint32_t ranks, uint64_t bound_bytes)
{
    struct node_head head = {.magic = MAGIC,
                             .ranks = ranks,
                             .share_bytes = share_bytes(bound_bytes),
                             .bound_bytes = bound_bytes};
    return pwrite(fd, &head, sizeof head, (off_t)offset) == (ssize_t)sizeof head ? MANTA_OK
                                                                                 : MANTA_E_SYSTEM;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static int reserve(void *arg, uint64_t bytes)
{
    struct store *store = ((struct share *)arg)->store;
    uint64_t before = atomic_fetch_add_explicit(&store->head->held, bytes, memory_order_relaxed);
    if (before + bytes <= store->bound_bytes) {
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
    atomic_fetch_sub_explicit(&share->store->head->held, bytes, memory_order_relaxed);
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
    void *head = mmap(NULL, HEAP_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, options->fd,
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
        store->shares[i].file_offset = options->offset + HEAP_PAGE + i * store->share_bytes;
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
        munmap(store->head, HEAP_PAGE);
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

static struct heap_block *block_at(const struct share *share, uint64_t place)
{
    return heap_block_of(share->writable + place);
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
    block->tag[0] = tag->parent;
    block->tag[1] = tag->position | (uint64_t)tag->function << 32;
    store->created++;
    *ret_room = (struct store_room){heap_data(block), raw.offset, raw.bytes};
    return MANTA_OK;
}

int store_populate(struct store *store, const struct store_room *room)
{
    return room->raw_bytes ? populate(own(store), room->raw_offset, room->raw_bytes) : MANTA_OK;
}

void store_shorten(struct store *store, void *data, uint64_t bytes)
{
    if (!is_taken_over(own(store))) {
        heap_shorten(own(store)->heap, heap_block_of(data), bytes);
    }
}

uint64_t store_seal(struct store *store, void *data)
{
    if (!is_taken_over(own(store))) {
        heap_seal(heap_block_of(data));
    }
    return (uint64_t)((uint8_t *)data - own(store)->writable);
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
    const uint8_t *data = store_at(store, index, place);
    if (!data || place % HEAP_LINE || place < HEAP_PAGE + HEAP_LINE ||
        place >= heap_top(store->shares[index].readable)) {
        return NULL;
    }
    const struct heap_block *block = heap_block_of(data);
    struct store_tag is = tag_of(block);
    bool is_it = heap_state(block) == HEAP_SEALED && is.parent == tag->parent &&
                 is.position == tag->position && block->payload >= bytes;
    return is_it ? data : NULL;
}

uint64_t store_trim(struct store *store, uint64_t bytes)
{
    struct share *share = own(store);
    return share->heap ? heap_trim(share->heap, bytes) : 0;
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
    uint64_t place = (uint64_t)((const uint8_t *)(block + 1) - question->share->writable);
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
    const uint8_t *base = store->shares[index].readable;
    const struct heap_block *block = NULL;
    while ((block = heap_next(base, store->share_bytes, block))) {
        enum heap_state state = heap_state(block);
        struct store_entry entry = {.index = index,
                                    .place = (uint64_t)((const uint8_t *)(block + 1) - base),
                                    .bytes = block->payload,
                                    .is_sealed = state == HEAP_SEALED,
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
