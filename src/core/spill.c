#include "core/spill_disk.h"

#include "core/fetch.h"
#include "core/heirs.h"
#include "core/message.h"
#include "core/pin.h"
#include "core/replica.h"

/* After a write that failed, twice as long each time, to a second; trouble is what is beyond. */
#define RETRY_NS UINT64_C(10000000)
enum { RETRIES_FULL = 2, RETRIES = 8 };

static struct base_key key_of(const struct location *of)
{
    return (struct base_key){of->rank, of->offset};
}

static struct block *find(struct rank *rank, const struct location *of)
{
    return base_map_find(&rank->spill->blocks, key_of(of));
}

static struct store *store_of(const struct spill *spill)
{
    return spill->rank->options.store;
}

void spill_show(struct rank *rank)
{
    const struct spill *spill = rank->spill;
    uint64_t spare =
        store_free_bytes(rank->options.store) + rank->idle_replica_bytes + rank->idle_copy_bytes;
    if (store_has_disk(rank->options.store) && spill->trouble == MANTA_OK) {
        spare += spill->here_bytes;
    }
    const struct store_slot slot = {.pinned_bytes = rank->pinned_bytes,
                                    .spare_bytes = spare,
                                    .trouble = spill->trouble,
                                    .has_extra = rank->room->has_extra};
    store_show(rank->options.store, &slot);
}

/* ---- States --------------------------------------------------------------------------------- */

static void set_here(struct spill *spill, struct block *block)
{
    block->state = BLOCK_HERE;
    base_list_push_back(&spill->here, &block->link);
    spill->here_bytes += block->bytes;
}

static void set_asked(struct spill *spill, struct block *block)
{
    block->state = BLOCK_ASKED;
    base_list_remove(&block->link);
    spill->here_bytes -= block->bytes;
    spill->leaving_bytes += block->bytes;
    store_leave(store_of(spill), block->at);
}

/* One that was asked about, or is being written, is not to go after all. */
static void stay(struct spill *spill, struct block *block)
{
    for (uint32_t i = 0; i < spill->batch.count; i++) {
        if (spill->batch.blocks[i] == block) {
            spill->batch.blocks[i] = NULL;
        }
    }
    spill->leaving_bytes -= block->bytes;
    store_stay(store_of(spill), block->at);
    set_here(spill, block);
}

static void set_away(struct spill *spill, struct block *block)
{
    block->state = BLOCK_AWAY;
    spill->leaving_bytes -= block->bytes;
    spill->rank->stats.spilled_bytes += store_spill(store_of(spill), block->at);
}

static void fire(struct spill *spill, struct block *block, int code)
{
    struct base_list wants, *link;
    base_list_init(&wants);
    base_list_splice(&wants, &block->wants);
    while ((link = base_list_pop_front(&wants))) {
        struct spill_want *want = MT_CONTAINER(link, struct spill_want, link);
        want->over(spill->rank, want->arg, code);
    }
}

/* ---- Coming back ---------------------------------------------------------------------------- */

static void give_up(struct spill *spill, struct block *block, int code)
{
    block->state = BLOCK_AWAY;
    fire(spill, block, code);
}

static void try_refill(struct rank *rank, void *arg)
{
    struct block *block = arg;
    if (store_refill(rank->options.store, block->at) != MANTA_OK) {
        return;
    }
    room_end(&block->room);
    if (!spill_begin_read(rank->spill, block)) {
        store_unfill(rank->options.store, block->at);
        give_up(rank->spill, block, MANTA_E_NOMEM);
    }
}

static void refuse_refill(struct rank *rank, void *arg, int code)
{
    give_up(rank->spill, arg, code);
}

static void bring_back(struct spill *spill, struct block *block)
{
    struct rank *rank = spill->rank;
    block->state = BLOCK_COMING;
    block->room = (struct room_wait){
        .bytes = block->bytes, .try = try_refill, .refuse = refuse_refill, .arg = block};
    base_list_init(&block->room.link);
    try_refill(rank, block);
    if (block->state == BLOCK_COMING && !block->is_busy) {
        room_begin(rank, &block->room);
    }
}

/* Of which there is no record: before its share is inherited, or memory was out. */
static int want_unknown(struct spill *spill, const struct location *of, struct spill_want *want)
{
    struct rank *rank = spill->rank;
    struct store_tag tag = {.parent = of->parent, .position = of->position};
    struct store_place at = {comm_node_index(rank->comm, of->rank), of->offset};
    if (heirs_may_inherit(rank, of->rank)) {
        want->of = *of;
        base_list_push_back(&spill->early, &want->link);
        return MANTA_E_AGAIN;
    }
    bool is_here = store_find(store_of(spill), at.index, at.place, &tag, of->bytes) &&
                   store_get_state(store_of(spill), at) == STORE_SEALED;
    return is_here ? MANTA_OK : MANTA_E_LOST;
}

void spill_try_early(struct rank *rank)
{
    struct base_list early, *link;
    base_list_init(&early);
    base_list_splice(&early, &rank->spill->early);
    while ((link = base_list_pop_front(&early))) {
        struct spill_want *want = MT_CONTAINER(link, struct spill_want, link);
        int code = spill_want(rank, &want->of, want);
        if (code != MANTA_E_AGAIN) {
            want->over(rank, want->arg, code);
        }
    }
}

int spill_want(struct rank *rank, const struct location *of, struct spill_want *want)
{
    struct spill *spill = rank->spill;
    struct block *block = find(rank, of);
    if (!block) {
        return want_unknown(spill, of, want);
    }
    if (block->of.parent != of->parent || block->of.position != of->position ||
        store_get_state(store_of(spill), block->at) == STORE_SPOILED) {
        return MANTA_E_LOST;
    }
    if (block->state == BLOCK_ASKED || block->state == BLOCK_WRITTEN) {
        stay(spill, block);
    }
    if (block->state == BLOCK_HERE) {
        return MANTA_OK;
    }
    base_list_push_back(&block->wants, &want->link);
    if (block->state == BLOCK_AWAY) {
        bring_back(spill, block);
    }
    return MANTA_E_AGAIN;
}

static void free_now(struct spill *spill, struct block *block);

void spill_read(struct spill *spill, struct block *block, int code)
{
    block->is_busy = 0;
    if (code == MANTA_OK) {
        store_refilled(store_of(spill), block->at);
        spill->rank->stats.restored_bytes += block->bytes;
    } else {
        store_unfill(store_of(spill), block->at);
        spill->rank->stats.spill_errors++;
    }
    if (code != MANTA_OK && code != MANTA_E_NOMEM) {
        store_spoil(store_of(spill), block->at);
    }
    if (block->is_freed) {
        free_now(spill, block);
    } else if (code == MANTA_OK) {
        set_here(spill, block);
        fire(spill, block, MANTA_OK);
    } else {
        give_up(spill, block, code == MANTA_E_NOMEM ? code : MANTA_E_LOST);
    }
    spill_show(spill->rank);
}

/* ---- Going ---------------------------------------------------------------------------------- */

/* Those that are to go next: the oldest of which this rank itself reads none. */
static void choose(struct spill *spill)
{
    struct batch *batch = &spill->batch;
    uint64_t chosen = 0;
    BASE_LIST_EACH(&spill->here, link)
    {
        struct block *block = MT_CONTAINER(link, struct block, link);
        if (batch->count == BATCH_MAX || chosen >= spill->wanted_bytes) {
            return;
        }
        if (block->is_busy || pin_is_held(spill->rank, &block->of)) {
            continue;
        }
        set_asked(spill, block);
        batch->is_read[batch->count] = 0;
        batch->blocks[batch->count++] = block;
        chosen += block->bytes;
    }
}

/* Writes those that are not on the disk yet; the others go at once. Returns whether any goes. */
static bool write_chosen(struct spill *spill, struct block **blocks, uint32_t count)
{
    uint32_t unwritten = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (store_is_written(store_of(spill), blocks[i]->at)) {
            set_away(spill, blocks[i]);
        } else {
            blocks[i]->state = BLOCK_WRITTEN;
            blocks[unwritten++] = blocks[i];
        }
    }
    if (unwritten && !spill_begin_write(spill, blocks, unwritten)) {
        for (uint32_t i = 0; i < unwritten; i++) {
            stay(spill, blocks[i]);
        }
        spill_write_failed(spill, MANTA_E_NOMEM);
    }
    return count > 0;
}

static bool end_batch(struct spill *spill)
{
    struct batch batch = spill->batch;
    struct block *going[BATCH_MAX];
    uint32_t count = 0;
    uint64_t bytes = 0;
    spill->batch.count = 0;
    for (uint32_t i = 0; i < batch.count; i++) {
        struct block *block = batch.blocks[i];
        if (block && batch.is_read[i]) {
            stay(spill, block);
        } else if (block) {
            going[count++] = block;
            bytes += block->bytes;
        }
    }
    spill->wanted_bytes -= MT_MIN(spill->wanted_bytes, bytes);
    return write_chosen(spill, going, count);
}

static void ask_about(struct spill *spill)
{
    struct rank *rank = spill->rank;
    struct batch *batch = &spill->batch;
    struct message_leave_entry entries[BATCH_MAX] = {0};
    struct wire_header about = {.token = ++batch->serial};
    for (uint32_t i = 0; i < batch->count; i++) {
        entries[i].rank = batch->blocks[i]->of.rank;
        entries[i].offset = batch->blocks[i]->of.offset;
    }
    for (uint32_t i = 0; batch->count && i < rank->room->near_count; i++) {
        uint32_t to = rank->room->near[i];
        if (to != rank->number && !rank->down[to]) {
            spill->asked[to] = 1;
            batch->missing++;
            message_send(rank, to, MESSAGE_LEAVE, about, entries, batch->count * sizeof entries[0]);
        }
    }
}

/* Batch after batch; one at a time is asked about. Ends when one brings nothing: who needs more
 * asks again. */
static void pump(struct spill *spill)
{
    bool goes_on = true;
    while (goes_on && spill->wanted_bytes && !spill->batch.count) {
        choose(spill);
        ask_about(spill);
        goes_on = spill->batch.count && spill->batch.missing == 0 && end_batch(spill);
    }
    if (!spill->batch.count) {
        spill->wanted_bytes = 0;
    }
    spill_show(spill->rank);
}

void spill_on_leave(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    uint8_t is_read[BATCH_MAX];
    uint32_t count = (uint32_t)(wire_left(body) / sizeof(struct message_leave_entry));
    for (uint32_t i = 0; i < count && i < BATCH_MAX; i++) {
        struct message_leave_entry entry;
        const void *bytes = wire_take(body, sizeof entry);
        if (!bytes) {
            return;
        }
        memcpy(&entry, bytes, sizeof entry);
        struct location of = {.rank = entry.rank, .offset = entry.offset};
        is_read[i] = pin_is_held(rank, &of);
    }
    message_send(rank, from, MESSAGE_LEAVE_ANSWER, *header, is_read, MT_MIN(count, BATCH_MAX));
}

static void answered(struct spill *spill, uint32_t from)
{
    spill->asked[from] = 0;
    if (--spill->batch.missing == 0) {
        if (!end_batch(spill)) {
            spill->wanted_bytes = 0;
        }
        pump(spill);
        room_try(spill->rank);
    }
}

void spill_on_leave_answer(struct rank *rank, uint32_t from, const struct wire_header *header,
                           struct wire_reader *body)
{
    struct spill *spill = rank->spill;
    size_t count = wire_left(body);
    const uint8_t *is_read = wire_take(body, count);
    if (!spill || header->token != spill->batch.serial || !spill->asked[from] ||
        count != spill->batch.count) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        spill->batch.is_read[i] |= is_read[i];
    }
    answered(spill, from);
}

void spill_written(struct spill *spill, struct block *block, int code, uint64_t sum)
{
    block->is_busy = 0;
    if (code == MANTA_OK) {
        store_note_written(store_of(spill), block->at, sum);
    }
    if (block->is_freed) {
        free_now(spill, block);
    } else if (block->state == BLOCK_WRITTEN && code == MANTA_OK) {
        set_away(spill, block);
    } else if (block->state == BLOCK_WRITTEN) {
        stay(spill, block);
    }
    if (code == MANTA_OK) {
        spill->failures = 0;
        spill->trouble = MANTA_OK;
    }
    spill_show(spill->rank);
}

void spill_write_failed(struct spill *spill, int code)
{
    struct rank *rank = spill->rank;
    bool is_trouble = spill->failures >= (code == MANTA_E_LIMIT ? RETRIES_FULL : RETRIES);
    if (is_trouble && spill->trouble == MANTA_OK) {
        base_log(&rank->options.log, BASE_LOG_WARN,
                 "rank %u cannot spill values (MANTA_SPILL): %s; they stay in memory", rank->number,
                 code == MANTA_E_LIMIT ? "the disk is full" : "the disk fails");
        spill->trouble = code;
    }
    rank->stats.spill_errors++;
    spill->wanted_bytes = 0;
    spill->retry_ns = base_now_ns(rank->host) + (RETRY_NS << MT_MIN(spill->failures, 7u));
    spill->failures++;
    spill_show(rank);
}

const char *spill_trouble(const struct rank *rank)
{
    return rank->spill->trouble == MANTA_E_LIMIT ? "the disk for spilling is full"
                                                 : "the disk for spilling fails";
}

uint64_t spill_release(struct rank *rank, uint64_t bytes)
{
    struct spill *spill = rank->spill;
    struct store *store = rank->options.store;
    uint64_t done = store_trim(store, bytes);
    if (done < bytes && fetch_evict(rank, bytes - done)) {
        done += store_trim(store, bytes - done);
    }
    done += done < bytes ? fetch_release(rank, bytes - done) : 0;
    bool can_spill = store_has_disk(store) &&
                     (spill->failures == 0 || base_now_ns(rank->host) >= spill->retry_ns);
    if (done < bytes && can_spill) {
        uint64_t rest = bytes - done;
        spill->wanted_bytes = rest > spill->leaving_bytes
                                  ? MT_MAX(spill->wanted_bytes, rest - spill->leaving_bytes)
                                  : spill->wanted_bytes;
        pump(spill);
        done += spill->leaving_bytes;
    }
    spill_show(rank);
    return done;
}

bool spill_is_busy(const struct rank *rank)
{
    return rank->spill && rank->spill->job_count;
}

/* ---- Blocks --------------------------------------------------------------------------------- */

void spill_add(struct rank *rank, const struct location *of)
{
    struct store *store = rank->options.store;
    struct store_place at = {comm_node_index(rank->comm, of->rank), of->offset};
    struct block *block = store_has_disk(store) ? base_alloc(sizeof *block) : NULL;
    if (block && base_map_insert(&rank->spill->blocks, key_of(of), block) != MANTA_OK) {
        base_free(block);
        block = NULL;
    }
    if (block) { /* else it cannot leave */
        block->of = *of;
        block->at = at;
        block->bytes = store_page_bytes(store, at);
        base_list_init(&block->link);
        base_list_init(&block->wants);
        base_list_init(&block->room.link);
        if (store_get_state(store, at) >= STORE_SPILLED) {
            block->state = BLOCK_AWAY;
        } else {
            set_here(rank->spill, block);
        }
    }
    spill_show(rank);
}

void spill_touch(struct rank *rank, const struct location *of)
{
    struct block *block = find(rank, of);
    if (block && block->state == BLOCK_HERE) {
        base_list_remove(&block->link);
        base_list_push_back(&rank->spill->here, &block->link);
    }
}

static void free_in_store(struct rank *rank, struct store_place at)
{
    if (at.index == comm_node_index(rank->comm, rank->number)) {
        store_free(rank->options.store, at.place);
    } else {
        store_free_inherited(rank->options.store, at.index, at.place);
    }
}

/* The disk first: another block may be written there soon, and jobs keep their order. */
static void free_now(struct spill *spill, struct block *block)
{
    if (store_is_written(store_of(spill), block->at)) {
        spill_begin_discard(spill, store_extent(store_of(spill), block->at));
    }
    free_in_store(spill->rank, block->at);
    base_free(block);
}

bool spill_begin_change(struct rank *rank, const struct location *of)
{
    struct spill *spill = rank->spill;
    struct block *block = find(rank, of);
    if (block && (block->is_busy || block->state != BLOCK_HERE)) {
        return false;
    }
    if (block && store_is_written(store_of(spill), block->at)) {
        spill_begin_discard(spill, store_extent(store_of(spill), block->at));
        store_note_unwritten(store_of(spill), block->at);
    }
    return true;
}

void spill_rename(struct rank *rank, const struct location *of, uint32_t function)
{
    struct store *store = rank->options.store;
    struct store_tag tag = {.parent = of->parent, .position = of->position, .function = function};
    struct block *block = find(rank, of);
    store_name(store, store_change(store, of->offset), &tag);
    if (block) {
        block->of = *of;
    }
}

static void take_out(struct spill *spill, struct block *block)
{
    if (block->state == BLOCK_ASKED || block->state == BLOCK_WRITTEN) {
        stay(spill, block);
    }
    if (block->state == BLOCK_HERE) {
        base_list_remove(&block->link);
        spill->here_bytes -= block->bytes;
    }
    room_end(&block->room);
    fire(spill, block, MANTA_E_LOST);
}

void spill_free(struct rank *rank, const struct location *of)
{
    struct block *block = base_map_remove(&rank->spill->blocks, key_of(of));
    if (!block) {
        free_in_store(rank,
                      (struct store_place){comm_node_index(rank->comm, of->rank), of->offset});
    } else {
        take_out(rank->spill, block);
        block->is_freed = block->is_busy;
        if (!block->is_busy) {
            free_now(rank->spill, block);
        }
    }
    spill_show(rank);
}

/* ---- Together ------------------------------------------------------------------------------- */

void spill_peer_down(struct rank *rank, uint32_t dead)
{
    uint32_t index = comm_node_index(rank->comm, dead);
    if (rank->spill && index != COMM_ELSEWHERE) {
        store_forget(rank->options.store, index);
        if (rank->spill->asked[dead]) {
            answered(rank->spill, dead);
        }
    }
}

int spill_create(struct rank *rank)
{
    if (!rank->options.store) {
        return MANTA_OK;
    }
    struct spill *spill = rank->spill = base_alloc(sizeof *spill);
    if (!spill || !(spill->asked = base_alloc(rank->size))) {
        return MANTA_E_NOMEM;
    }
    spill->rank = rank;
    base_list_init(&spill->here);
    base_list_init(&spill->early);
    base_list_init(&spill->jobs);
    return room_open(rank);
}

void spill_destroy(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *block;
    if (rank->spill) {
        while (base_map_next(&rank->spill->blocks, &at, &key, &block)) {
            base_free(block);
        }
        base_map_fini(&rank->spill->blocks);
        base_free(rank->spill->asked);
    }
    base_free(rank->spill);
    room_close(rank);
}
