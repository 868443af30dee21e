/*
 * The runner's side of a stream.
 *
 * Items wait on a shelf until the reader has taken them; `sent` says how many it has been sent. A
 * fast body makes batches: at most two messages are on their way that the reader has not begun
 * to take from, what is yielded meanwhile waits for the next, unless it is much. A slow one has
 * nothing on its way, so each item goes at once, and no clock is needed for either.
 *
 * The body is held back by what the reader has not taken. Until the owner has said how far it may
 * be ahead, that is one item.
 *
 * A run that has ended keeps its shelf until the owner releases it, as a result is kept.
 */
#include "core/cancel.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/idle.h"
#include "core/stored.h"
#include "core/stream.h"
#include "core/value.h"
#include "core/wait.h"

#include <string.h>

enum { BATCH_BYTES = 16 * 1024, AHEAD_BYTES = 32 << 20, TURN_ITEMS = 16 };

struct manta_source {
    struct base_list link; /* in rank->sources */
    struct run *run;
    struct run *successor; /* starts when this run has gone */
    struct shelf shelf;
    uint64_t skip_to;       /* items below it are not wanted */
    uint64_t sent;          /* items below it were sent, or are known to the reader */
    uint64_t marks[2];      /* where the last two messages ended, the older first */
    uint64_t bytes, unsent; /* of what is on the shelf; of that, not sent */
    uint64_t ahead_bytes;
    uint32_t ahead;
    uint32_t reader;
    uint8_t is_open;
    struct waiter *waiter; /* of the body, held back */
    struct manta_outv next;
};

/* ---- Items kept for the reader -------------------------------------------------------------- */

static int nothing_to_run(const manta_slot *slots)
{
    return MANTA_E_STATE;
}

static manta_function kept_function = {
    .name = "manta_yield", .file = "manta_yield", .run = nothing_to_run};

__attribute__((constructor)) static void register_kept(void)
{
    manta_function_register(&kept_function);
}

/* The parent of a stream's items, by which their blocks are known. */
static uint64_t items_id(const struct run *run, uint64_t index)
{
    return core_task_id(run->id, UINT32_MAX - (uint32_t)(index >> 32));
}

/* The token of what keeps the block until the reader's RELEASE. 0: memory is out. */
static uint32_t keep_for_reader(struct rank *rank, const struct manta_source *source,
                                struct value *value)
{
    struct peer *peer = peer_get(rank, source->reader);
    struct run *run = peer ? exec_run_alloc(rank, &kept_function) : NULL;
    if (!run) {
        return 0;
    }
    value->sharers++;
    run->parent = items_id(source->run, 0);
    run->owner = source->reader;
    run->result = value;
    run->parent_is_root = 1; /* the reader's death ends it */
    run->is_retained = 1;
    run->state = RUN_FINISHED;
    base_list_push_back(&peer->runs, &run->owned);
    return run->index;
}

/* ---- Sending -------------------------------------------------------------------------------- */

static struct wire_header about_run(const struct run *run, uint32_t token)
{
    return (struct wire_header){
        .parent = run->parent, .position = run->position, .token = token, .attempt = run->attempt};
}

static void tell_owner(struct rank *rank, const struct manta_source *source, enum open_what what)
{
    const struct run *run = source->run;
    struct message_open message = {
        .what = what, .run_token = run->index, .count = source->shelf.end};
    if (!run->is_orphan && !comm_is_down(rank->comm, run->owner)) {
        message_tell(rank, run->owner, MESSAGE_OPEN, about_run(run, run->token), &message,
                     sizeof message);
    }
}

static size_t item_wire_bytes(const struct value *value)
{
    return value_wire_bytes(value) + (value->stored_outputs ? sizeof(uint64_t) : 0);
}

/* What one message takes, from `sent` on. Its stored items are kept for the reader from now on. */
static uint64_t fill_batch(struct rank *rank, struct manta_source *source, size_t *ret_bytes)
{
    uint64_t to = source->sent;
    size_t bytes = 0;
    while (to < source->shelf.end && bytes < BATCH_BYTES) {
        struct item *item = shelf_at(&source->shelf, to);
        if (item->value->stored_outputs &&
            !(item->token = keep_for_reader(rank, source, item->value))) {
            break;
        }
        bytes += item_wire_bytes(item->value);
        to++;
    }
    *ret_bytes = bytes;
    return to;
}

static void write_batch(const struct manta_source *source, uint64_t to, uint8_t *out)
{
    wire_put_u64(&out, source->sent);
    for (uint64_t i = source->sent; i < to; i++) {
        struct item *item = shelf_at(&source->shelf, i);
        struct content content = value_content(item->value, 0);
        content_wire_write(&content, &out);
        if (item->token) {
            wire_put_u64(&out, item->token);
            item->token = 0;
        }
    }
}

static bool send_batch(struct rank *rank, struct manta_source *source)
{
    struct wire_header about = about_run(source->run, source->run->index);
    size_t bytes;
    uint64_t to = fill_batch(rank, source, &bytes);
    uint8_t *out = to > source->sent ? message_begin(rank, source->reader, MESSAGE_ITEMS, &about,
                                                     sizeof(uint64_t) + bytes)
                                     : NULL;
    if (!out) {
        return false;
    }
    write_batch(source, to, out);
    message_end(rank);
    source->unsent -= MT_MIN(bytes, source->unsent);
    source->sent = to;
    source->marks[0] = source->marks[1];
    source->marks[1] = to;
    return true;
}

/* A reader on this rank shares the values. What it is given may make it say what it has taken. */
static void hand_items(struct rank *rank, struct manta_source *source)
{
    struct wire_header about = about_run(source->run, source->run->index);
    while (source->reader == rank->number && source->sent < source->shelf.end) {
        uint64_t index = MT_MAX(source->sent, source->shelf.begin);
        struct value *value = shelf_at(&source->shelf, index)->value;
        value->sharers++;
        source->sent = index + 1;
        inbox_hand(rank, &about, index, value);
    }
}

static void send_items(struct rank *rank, struct manta_source *source)
{
    if (source->reader == rank->number) {
        hand_items(rank, source);
        return;
    }
    while (source->reader != STREAM_NOBODY && source->sent < source->shelf.end &&
           (source->marks[0] <= source->shelf.begin || source->unsent >= BATCH_BYTES) &&
           send_batch(rank, source)) {}
}

/* From `index` on, as if nothing behind it had been sent. */
static void send_again_from(struct manta_source *source, uint64_t index)
{
    source->sent = MT_MAX(index, source->shelf.begin);
    source->marks[0] = source->marks[1] = 0;
    source->unsent = 0;
    for (uint64_t i = source->sent; i < source->shelf.end; i++) {
        source->unsent += item_wire_bytes(shelf_at(&source->shelf, i)->value);
    }
}

/* ---- The window ----------------------------------------------------------------------------- */

static bool is_far_ahead(const struct manta_source *source)
{
    uint64_t items = source->shelf.end - source->shelf.begin;
    return items >= source->ahead || (items && source->bytes >= source->ahead_bytes);
}

static void wake_body(struct rank *rank, struct manta_source *source)
{
    struct waiter *waiter = source->waiter;
    source->waiter = NULL;
    if (waiter) {
        waiter_notify(rank, waiter, 0);
    }
}

void source_wake(struct rank *rank, struct run *run)
{
    if (run->source) {
        wake_body(rank, run->source);
    }
    if (run->scope) {
        inbox_wake_all(rank, run->scope);
    }
}

/* The reader has them, or does not want them. */
static void drop_below(struct rank *rank, struct manta_source *source, uint64_t index)
{
    struct shelf *shelf = &source->shelf;
    uint64_t to = MT_MIN(index, shelf->end);
    for (uint64_t i = shelf->begin; i < to; i++) {
        source->bytes -= shelf_at(shelf, i)->value->output[0].bytes;
    }
    if (to > shelf->begin) {
        shelf_release(rank, shelf, shelf->begin, to);
        shelf->begin = to;
    }
    source->skip_to = MT_MAX(source->skip_to, index);
    source->sent = MT_MAX(source->sent, shelf->begin);
    if (!is_far_ahead(source)) {
        wake_body(rank, source);
    }
}

/* ---- Messages ------------------------------------------------------------------------------- */

static struct manta_source *find_source(struct rank *rank, const struct wire_header *header)
{
    if (!base_slab_is_known(&rank->runs, header->token)) {
        return NULL;
    }
    struct run *run = base_slab_at(&rank->runs, header->token);
    bool fits = run->index == header->token && run->id && run->source &&
                run->parent == header->parent && run->position == header->position;
    return fits ? run->source : NULL;
}

void source_on_terms(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct manta_source *source = find_source(rank, header);
    struct message_terms terms;
    const void *bytes = wire_take(body, sizeof terms);
    if (!bytes || !source || source->run->owner != from) {
        return;
    }
    memcpy(&terms, bytes, sizeof terms);
    if (terms.reader != STREAM_NOBODY && terms.reader >= rank->size) {
        body->failed = true;
        return;
    }
    source->ahead = MT_MAX(terms.ahead, 1u);
    source->ahead_bytes = terms.ahead_bytes ? terms.ahead_bytes : source->ahead_bytes;
    if (terms.from < source->shelf.begin) {
        tell_owner(rank, source, OPEN_REWIND);
        return;
    }
    if (terms.reader != STREAM_NOBODY && !comm_is_down(rank->comm, terms.reader)) {
        source->reader = terms.reader;
        drop_below(rank, source, terms.from);
        send_again_from(source, terms.from);
    } else if (terms.from == STREAM_UNKNOWN) {
        drop_below(rank, source, terms.from);
    }
    if (!is_far_ahead(source)) {
        wake_body(rank, source);
    }
    send_items(rank, source);
}

void source_on_taken(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct manta_source *source = find_source(rank, header);
    struct message_taken taken;
    const void *bytes = wire_take(body, sizeof taken);
    if (!bytes || !source || source->reader != from) {
        return;
    }
    memcpy(&taken, bytes, sizeof taken);
    drop_below(rank, source, taken.taken);
    if (taken.is_again || taken.received > source->sent) {
        send_again_from(source, taken.received);
    }
    send_items(rank, source);
}

void source_peer_down(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->sources, link)
    {
        struct manta_source *source = MT_CONTAINER(link, struct manta_source, link);
        source->reader = source->reader == dead ? STREAM_NOBODY : source->reader;
    }
}

/* ---- A body's stream ------------------------------------------------------------------------ */

static uint64_t own_bound(struct rank *rank)
{
    uint64_t quarter =
        rank->options.store ? store_get_stats(rank->options.store).bound_bytes / 4 : AHEAD_BYTES;
    return MT_MIN(quarter, (uint64_t)AHEAD_BYTES);
}

struct manta_source *source_create(struct rank *rank, struct run *run, const manta_param *param)
{
    struct manta_source *source = base_alloc(sizeof *source);
    if (!source) {
        return NULL;
    }
    source->run = run;
    source->ahead = 1;
    source->ahead_bytes = own_bound(rank);
    source->reader = STREAM_NOBODY;
    source->next.element_bytes = param->size;
    source->next.tag.function = function_hash(run->function);
    base_list_push_back(&rank->sources, &source->link);
    run->source = source;
    run->has_more = 1;
    return source;
}

void source_end(struct rank *rank, struct run *run, int code)
{
    struct manta_source *source = run->source;
    outv_free(rank, &source->next, false);
    source->next.data = NULL;
    source->next.is_stored = false;
    memcpy(run->small, &source->shelf.end, sizeof source->shelf.end);
    if (code != MANTA_OK && source->is_open) {
        tell_owner(rank, source, OPEN_FAILED);
    }
}

bool source_is_wanted(const struct run *run)
{
    return run->source && run->source->shelf.begin < run->source->shelf.end;
}

struct run *source_destroy(struct rank *rank, struct run *run)
{
    struct manta_source *source = run->source;
    struct run *successor = source->successor;
    shelf_release(rank, &source->shelf, source->shelf.begin, source->shelf.end);
    base_free(source->shelf.items);
    base_list_remove(&source->link);
    base_free(source);
    run->source = NULL;
    if (successor) {
        successor->is_follower = 0;
    }
    return successor;
}

void source_unfollow(struct rank *rank, struct run *run)
{
    BASE_LIST_EACH(&rank->sources, link)
    {
        struct manta_source *source = MT_CONTAINER(link, struct manta_source, link);
        source->successor = source->successor == run ? NULL : source->successor;
    }
}

static struct manta_source *find_earlier(struct rank *rank, const struct run *run)
{
    BASE_LIST_EACH(&rank->sources, link)
    {
        struct manta_source *source = MT_CONTAINER(link, struct manta_source, link);
        if (source->run->id == run->id && source->run != run) {
            return source;
        }
    }
    return NULL;
}

bool source_comes_after(struct rank *rank, struct run *run)
{
    struct manta_source *earlier = find_earlier(rank, run);
    if (!earlier) {
        return false;
    }
    struct run *between = earlier->successor;
    earlier->successor = run;
    run->is_follower = run->has_more = 1;
    run->state = RUN_REGISTERING;
    if (between) {
        between->is_follower = 0;
        exec_deliver(rank, between, MANTA_E_CANCELLED, NULL, NULL);
    }
    cancel_run(rank, earlier->run);
    return true;
}

/* ---- Yielding ------------------------------------------------------------------------------- */

static bool is_stopped(struct rank *rank, const struct run *run)
{
    return run->cancelled || atomic_load_explicit(&rank->is_aborted, memory_order_relaxed);
}

static int wait_for_reader(struct context *context, struct manta_source *source)
{
    struct run *run = source->run;
    int code = MANTA_OK;
    while (code == MANTA_OK && is_far_ahead(source) && !is_stopped(context->rank, run)) {
        struct waiter waiter = {.missing = 1};
        source->waiter = &waiter;
        code = wait_for(context, &waiter, run->deadline_ns ? run->deadline_ns : BASE_FOREVER);
        source->waiter = NULL;
    }
    if (code == MANTA_OK && is_stopped(context->rank, run)) {
        code = MANTA_E_CANCELLED;
    }
    return code == MANTA_OK ? MANTA_OK
                            : context_fail(context, code, "a stream waited for its reader");
}

static void close_room(struct rank *rank, struct manta_source *source, bool is_collected)
{
    outv_free(rank, &source->next, is_collected);
    source->next.data = NULL;
    source->next.is_stored = false;
}

/* A long item that its body has elsewhere. */
static int copy_to_room(struct context *context, struct manta_outv *next, const void *items,
                        size_t count)
{
    struct rank *rank = context->rank;
    uint64_t bytes = (uint64_t)count * next->element_bytes;
    int code = outv_make_room(context, next, count);
    if (code != MANTA_OK) {
        return code;
    }
    baton_give(&rank->baton);
    memcpy(next->data, items, bytes);
    baton_take(&rank->baton, rank->host);
    return MANTA_OK;
}

/* The room becomes the item if it is in the store; anything else is copied. */
static int make_value(struct context *context, struct manta_source *source, const void *items,
                      size_t count, struct value **ret_value)
{
    struct rank *rank = context->rank;
    struct manta_outv *next = &source->next;
    uint64_t bytes = (uint64_t)count * next->element_bytes, index = source->shelf.end;
    if (!next->data && stored_is_wanted(rank, bytes)) {
        MANTA_TRY(copy_to_room(context, next, items, count));
    }
    if (next->is_stored && count < next->count) {
        store_shorten(rank->options.store, next->data, bytes);
    }
    struct value_part part = {
        .data = next->is_stored ? next->data : items, .bytes = bytes, .is_stored = next->is_stored};
    manta_ref id = {items_id(source->run, index), (uint32_t)index, rank->number};
    struct value *value = value_create(rank, &part, 1, id);
    close_room(rank, source, value != NULL);
    *ret_value = value;
    return value ? MANTA_OK : context_fail(context, MANTA_E_NOMEM, "no memory for another item");
}

static void name_next(struct manta_source *source)
{
    source->next.tag.parent = items_id(source->run, source->shelf.end);
    source->next.tag.position = (uint32_t)source->shelf.end;
}

static int put(struct context *context, struct manta_source *source, const void *items,
               size_t count)
{
    struct rank *rank = context->rank;
    struct value *value = NULL;
    name_next(source);
    MANTA_TRY(make_value(context, source, items, count, &value));
    if (!shelf_push(&source->shelf, (struct item){.value = value, .rank = rank->number})) {
        value_unshare(rank, value);
        return context_fail(context, MANTA_E_NOMEM, "no memory for another item");
    }
    source->bytes += value->output[0].bytes;
    source->unsent += item_wire_bytes(value);
    if (!source->is_open) {
        source->is_open = 1;
        tell_owner(rank, source, OPEN_BEGUN);
    }
    send_items(rank, source);
    return MANTA_OK;
}

static int yield(struct context *context, struct manta_source *source, const void *items,
                 size_t count)
{
    struct rank *rank = context->rank;
    uint64_t sent = source->sent;
    if (is_stopped(rank, source->run)) {
        return context_fail(context, MANTA_E_CANCELLED, "the stream's task was cancelled");
    }
    MANTA_TRY(wait_for_reader(context, source));
    if (source->shelf.end < source->skip_to) {
        source->shelf.begin = ++source->shelf.end;
        close_room(rank, source, false);
        return MANTA_OK;
    }
    int code = put(context, source, items, count);
    if (source->sent != sent || source->shelf.end % TURN_ITEMS == 1) {
        (void)rank_turn(rank);
    }
    return code;
}

static int check(struct context *context, const manta_source *stream, const void *items,
                 size_t count)
{
    if (!stream) {
        return context_fail(context, MANTA_E_INVALID,
                            "stream is NULL; pass the task's stream parameter");
    }
    if (context->run != stream->run) {
        return context_fail(context, MANTA_E_STATE,
                            "a stream is given items by the body of its own task only");
    }
    size_t bytes;
    if (!items && count) {
        return context_fail(context, MANTA_E_INVALID, "items is NULL, but %zu were to be yielded",
                            count);
    }
    if (stream->next.data && items != stream->next.data) {
        return context_fail(context, MANTA_E_STATE,
                            "the room of the last manta_yield_alloc was not yielded yet");
    }
    if (stream->next.data && count > stream->next.count) {
        return context_fail(context, MANTA_E_INVALID,
                            "%zu elements were yielded, manta_yield_alloc gave room for %zu", count,
                            stream->next.count);
    }
    if (__builtin_mul_overflow(count, stream->next.element_bytes, &bytes) ||
        (bytes > MANTA_INLINE_MAX && !context->rank->options.store)) {
        return context_fail(context, MANTA_E_TOOBIG,
                            "%zu elements of %u bytes: this node has no store (MANTA_STORE), and "
                            "without one an item has at most %d bytes",
                            count, stream->next.element_bytes, MANTA_INLINE_MAX);
    }
    return MANTA_OK;
}

int manta_yield(manta_source *stream, const void *items, size_t count)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    MANTA_TRY(check(context, stream, items, count));
    context_take(context);
    int code = yield(context, stream, items, count);
    context_give(context);
    return code;
}

void *manta_yield_alloc(manta_source *stream, size_t count)
{
    struct context *context = context_enter();
    if (!context || check(context, stream, stream, count) != MANTA_OK) {
        return NULL;
    }
    name_next(stream);
    return manta_outv_alloc(&stream->next, count);
}
