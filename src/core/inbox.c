/*
 * The reader's side of a stream: manta_next.
 *
 * An inbox belongs to the scope that reads and goes with it, or with the stream's ref. Items come
 * in order from one source at a time; any other index is one that is here already, or one behind a
 * gap, which the source is asked to close. Taken items are told back when half of what came has
 * been taken, and when nothing is left: so a reader that is behind sends few messages, and one that
 * waits is not forgotten by a source that sends no more than two messages ahead.
 */
#include "core/context.h"
#include "core/dispatch.h"
#include "core/fetch.h"
#include "core/heirs.h"
#include "core/idle.h"
#include "core/put.h"
#include "core/recover.h"
#include "core/scope.h"
#include "core/stored.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/value.h"
#include "core/wait.h"

#include <stdio.h>

struct inbox {
    struct inbox *next; /* of the scope's */
    struct scope *scope;
    manta_ref ref;
    struct shelf shelf;            /* begin: taken; end: received */
    uint64_t credited;             /* taken, as the source knows */
    uint64_t count;                /* of all items, once the stream has ended */
    int32_t code;                  /* it ended with; MANTA_OK too when the error was given */
    manta_error *error;            /* for the code; may be NULL */
    uint32_t source, source_token; /* STREAM_NOBODY: none is known */
    uint8_t attempt;               /* of the source */
    uint8_t is_ended, is_complete; /* is_complete: the owner was told that all is here */
    struct waiter *waiter;
};

static struct inbox *find(struct rank *rank, uint64_t parent, uint32_t position)
{
    return base_map_find(&rank->inboxes, core_key(parent, position));
}

static void wake(struct rank *rank, struct inbox *inbox)
{
    struct waiter *waiter = inbox->waiter;
    inbox->waiter = NULL;
    if (waiter) {
        waiter_notify(rank, waiter, 0);
    }
}

/* ---- Messages out --------------------------------------------------------------------------- */

static void send_taken(struct rank *rank, struct inbox *inbox, uint32_t is_again)
{
    struct message_taken taken = {
        .taken = inbox->shelf.begin, .received = inbox->shelf.end, .is_again = is_again};
    struct wire_header about = {
        .parent = inbox->ref.parent, .position = inbox->ref.position, .token = inbox->source_token};
    inbox->credited = inbox->shelf.begin;
    if (inbox->source != STREAM_NOBODY && !comm_is_down(rank->comm, inbox->source)) {
        message_tell(rank, inbox->source, MESSAGE_TAKEN, about, &taken, sizeof taken);
    }
}

/* To whom owns the stream now; while nobody does, recovery says when somebody does. */
static void send_read(struct rank *rank, struct inbox *inbox, uint64_t from)
{
    struct target target = target_find(rank, inbox->ref);
    struct message_read message = {.reader = inbox->scope->id, .from = from};
    struct wire_header about = {.parent = inbox->ref.parent, .position = inbox->ref.position};
    uint32_t owner = rank->number;
    if (target.object && target.object->kind == OBJECT_BORROW) {
        const struct borrow *borrow = object_borrow(target.object);
        owner = borrow->is_looking ? STREAM_NOBODY : borrow->ref.owner;
    }
    if (owner != STREAM_NOBODY && !comm_is_down(rank->comm, owner)) {
        message_tell(rank, owner, MESSAGE_READ, about, &message, sizeof message);
    }
}

/* ---- Making and ending ---------------------------------------------------------------------- */

static struct inbox *create(struct rank *rank, struct scope *scope, manta_ref ref)
{
    struct inbox *inbox = base_alloc(sizeof *inbox);
    if (!inbox || base_map_insert(&rank->inboxes, core_key(ref.parent, ref.position), inbox) != 0) {
        base_free(inbox);
        return NULL;
    }
    inbox->scope = scope;
    inbox->ref = ref;
    inbox->source = STREAM_NOBODY;
    inbox->next = scope->inboxes;
    scope->inboxes = inbox;
    send_read(rank, inbox, 0);
    return inbox;
}

static void destroy(struct rank *rank, struct inbox *inbox)
{
    struct inbox **at = &inbox->scope->inboxes;
    while (*at != inbox) {
        at = &(*at)->next;
    }
    *at = inbox->next;
    base_map_remove(&rank->inboxes, core_key(inbox->ref.parent, inbox->ref.position));
    shelf_release(rank, &inbox->shelf, inbox->shelf.begin, inbox->shelf.end);
    base_free(inbox->shelf.items);
    base_free(inbox->error);
    base_free(inbox);
}

void inbox_close_all(struct rank *rank, struct scope *scope)
{
    while (scope->inboxes) {
        destroy(rank, scope->inboxes);
    }
}

void inbox_forget(struct rank *rank, uint64_t parent, uint32_t position)
{
    struct inbox *inbox = find(rank, parent, position);
    if (inbox) {
        destroy(rank, inbox);
    }
}

void inbox_wake_all(struct rank *rank, struct scope *scope)
{
    for (struct inbox *inbox = scope->inboxes; inbox; inbox = inbox->next) {
        wake(rank, inbox);
    }
}

/* ---- Messages in ---------------------------------------------------------------------------- */

static bool has_all(const struct inbox *inbox)
{
    return inbox->is_ended && (inbox->count == STREAM_UNKNOWN || inbox->shelf.end >= inbox->count);
}

static manta_error *copy_error(const manta_error *error)
{
    manta_error *copy = error ? base_alloc(sizeof *copy) : NULL;
    if (copy) {
        *copy = *error;
    }
    return copy;
}

/* Consumes the error. */
static void end(struct rank *rank, struct inbox *inbox, const struct message_ended *message,
                manta_error *error)
{
    base_free(inbox->error);
    inbox->is_ended = 1;
    inbox->count = message->count;
    inbox->code = message->code;
    inbox->error = error;
    wake(rank, inbox);
}

/* What the source holds for it can go. */
static void note_complete(struct rank *rank, struct inbox *inbox)
{
    if (inbox->is_ended && inbox->shelf.end >= inbox->count && !inbox->is_complete) {
        inbox->is_complete = 1;
        send_read(rank, inbox, STREAM_UNKNOWN);
    }
}

/* One item that has come; false: it was not the next, or there is no memory for it. */
static bool add(struct rank *rank, struct inbox *inbox, uint64_t index, struct item item)
{
    bool is_next = inbox && index == inbox->shelf.end && item.value;
    if (is_next && shelf_push(&inbox->shelf, item)) {
        return true;
    }
    value_unshare(rank, item.value);
    if (item.token) {
        task_release_runner(rank, item.rank, item.token);
    }
    if (is_next) {
        struct message_ended no_room = {.count = STREAM_UNKNOWN, .code = MANTA_E_NOMEM};
        end(rank, inbox, &no_room, NULL);
    }
    return false;
}

/* The source of the latest attempt is who hears of what is taken. */
static void follow_source(struct inbox *inbox, uint32_t from, const struct wire_header *header)
{
    if (inbox->source == STREAM_NOBODY || header->attempt >= inbox->attempt) {
        inbox->source = from;
        inbox->source_token = header->token;
        inbox->attempt = header->attempt;
    }
}

/* That all is here is said later, by the reader: the source is in the middle of sending. */
void inbox_hand(struct rank *rank, const struct wire_header *about, uint64_t index,
                struct value *value)
{
    struct inbox *inbox = find(rank, about->parent, about->position);
    bool is_known = inbox && index < inbox->shelf.end;
    bool is_gap = inbox && index > inbox->shelf.end;
    if (inbox) {
        follow_source(inbox, rank->number, about);
    }
    if (add(rank, inbox, index, (struct item){.value = value, .rank = rank->number})) {
        wake(rank, inbox);
    } else if (is_known || is_gap) {
        send_taken(rank, inbox, is_gap);
    }
}

void inbox_on_items(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct inbox *inbox = find(rank, header->parent, header->position);
    uint64_t index = wire_get_u64(body);
    bool is_known = inbox && index < inbox->shelf.end; /* it does not know how far we are */
    while (wire_left(body) && !body->failed) {
        struct item item = {.value = value_wire_read(rank, body, 1), .rank = from};
        bool is_stored = item.value && item.value->stored_outputs;
        body->failed |= item.value && item.value->ref_outputs; /* items have none */
        item.token = is_stored ? (uint32_t)wire_get_u64(body) : 0;
        (void)add(rank, inbox, index++, item);
        if (!item.value) {
            break;
        }
    }
    if (!inbox) {
        return;
    }
    follow_source(inbox, from, header);
    if (inbox->shelf.end < index || is_known) {
        send_taken(rank, inbox, inbox->shelf.end < index);
    }
    note_complete(rank, inbox);
    wake(rank, inbox);
}

void inbox_on_ended(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct inbox *inbox = find(rank, header->parent, header->position);
    struct message_ended message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes || !inbox) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    end(rank, inbox, &message, message.code != MANTA_OK ? wire_error_read(body) : NULL);
    note_complete(rank, inbox);
}

void inbox_ended(struct rank *rank, const struct wire_header *about,
                 const struct message_ended *message, const manta_error *error)
{
    struct inbox *inbox = find(rank, about->parent, about->position);
    if (inbox) {
        end(rank, inbox, message, copy_error(error));
        note_complete(rank, inbox);
    }
}

/* ---- Deaths --------------------------------------------------------------------------------- */

void inbox_owner_found(struct rank *rank, const struct borrow *borrow)
{
    struct inbox *inbox = find(rank, borrow->ref.parent, borrow->ref.position);
    if (inbox) {
        inbox->attempt = 0; /* the new owner counts anew */
        inbox->is_complete = 0;
        send_read(rank, inbox, inbox->shelf.end);
        note_complete(rank, inbox);
    }
}

void inbox_owner_lost(struct rank *rank, const struct borrow *borrow)
{
    struct inbox *inbox = find(rank, borrow->ref.parent, borrow->ref.position);
    if (inbox && !has_all(inbox)) {
        struct message_ended lost = {.count = STREAM_UNKNOWN, .code = borrow->object.code};
        end(rank, inbox, &lost, copy_error(borrow->object.error));
    }
}

/* Items that have not been taken and lie on another node went with its last rank. */
static uint64_t first_lost(struct rank *rank, const struct inbox *inbox)
{
    for (uint64_t i = inbox->shelf.begin; i < inbox->shelf.end; i++) {
        const struct output *output = &shelf_at(&inbox->shelf, i)->value->output[0];
        if (output->is_stored && !output->data &&
            heirs_server(rank, output->place.rank) == UINT32_MAX) {
            return i;
        }
    }
    return inbox->shelf.end;
}

/* They have to be yielded again, and all behind them: items come in order. */
static void lose_from(struct rank *rank, struct inbox *inbox, uint64_t first)
{
    shelf_release(rank, &inbox->shelf, first, inbox->shelf.end);
    inbox->shelf.end = first;
    if (inbox->is_complete) {
        inbox->is_complete = 0;
        send_read(rank, inbox, first);
    } else {
        send_taken(rank, inbox, 1);
    }
}

static void lose_source(struct rank *rank, struct inbox *inbox, uint32_t dead)
{
    uint64_t first = first_lost(rank, inbox);
    inbox->source = inbox->source == dead ? STREAM_NOBODY : inbox->source;
    if (first < inbox->shelf.end) {
        lose_from(rank, inbox, first);
    }
}

void inbox_peer_down(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->inboxes, &at, &key, &value)) {
        lose_source(rank, value, dead);
    }
}

void inbox_claim_all(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->inboxes, &at, &key, &value)) {
        const struct shelf *shelf = &((struct inbox *)value)->shelf;
        for (uint64_t i = shelf->begin; i < shelf->end; i++) {
            struct output *output = &shelf_at(shelf, i)->value->output[0];
            if (output->is_stored) {
                heirs_claim(rank, output);
            }
        }
    }
}

/* ---- manta_next ----------------------------------------------------------------------------- */

static const manta_param item_params[] = {
    {.kind = MANTA_KIND_OUTV, .size = 1, .align = 1, .type = "uint8_t", .name = "item"}};
static manta_function item_function = {.name = "manta_next",
                                       .file = "manta_next",
                                       .param_count = 1,
                                       .params = item_params,
                                       .run = put_nothing_to_run};

__attribute__((constructor)) static void register_item(void)
{
    manta_function_register(&item_function);
}

/* The record's value is the item; what is short goes into the record itself. */
static void fill(struct rank *rank, struct task *task, struct item item)
{
    const struct output *output = &item.value->output[0];
    if (!output->is_stored && output->bytes <= CORE_SMALL_BYTES) {
        memcpy(task->small + CORE_SMALL_BYTES, output->data, output->bytes);
        task->object.small_bytes = (uint8_t)output->bytes;
        value_unshare(rank, item.value);
        item.value = NULL;
    } else {
        task->exec_rank = item.rank;
        task->exec_token = item.token;
    }
    task_complete(rank, task, MANTA_OK, item.value, NULL);
}

/* A new record for what comes next. One that has survived here an earlier run of the reader has its
 * value: ret_task is NULL then. */
static int next_record(struct context *context, manta_ref *ret_ref, struct task **ret_task)
{
    struct rank *rank = context->rank;
    struct scope *scope = context_scope(context);
    struct task *task =
        scope && scope->is_taken_over ? recover_resubmit(rank, scope, &item_function) : NULL;
    *ret_task = NULL;
    if (!task && !(task = *ret_task = put_make_record(context, &item_function))) {
        return context->last_error.code;
    }
    *ret_ref = task_ref(rank, task, 0);
    return MANTA_OK;
}

static void note_taken(struct rank *rank, struct inbox *inbox)
{
    const struct shelf *shelf = &inbox->shelf;
    bool is_half = (shelf->begin - inbox->credited) * 2 >= shelf->end - inbox->credited;
    if (is_half && !has_all(inbox)) {
        send_taken(rank, inbox, 0);
        dispatch_flush(rank);
    }
}

static int take_item(struct context *context, struct inbox *inbox, manta_ref *ret_ref)
{
    struct rank *rank = context->rank;
    struct task *task;
    MANTA_TRY(next_record(context, ret_ref, &task));
    if (task) {
        fill(rank, task, *shelf_at(&inbox->shelf, inbox->shelf.begin));
    } else {
        shelf_release(rank, &inbox->shelf, inbox->shelf.begin, inbox->shelf.begin + 1);
    }
    inbox->shelf.begin++;
    note_taken(rank, inbox);
    return MANTA_OK;
}

static int take_error(struct context *context, struct inbox *inbox, manta_ref *ret_ref)
{
    struct task *task;
    MANTA_TRY(next_record(context, ret_ref, &task));
    manta_error *error = inbox->error;
    int code = inbox->code;
    inbox->code = MANTA_OK;
    inbox->error = NULL;
    if (task) {
        task_complete(context->rank, task, code, NULL, error);
    } else {
        base_free(error);
    }
    return MANTA_OK;
}

static bool is_stopped(const struct context *context)
{
    return context->run && context->run->cancelled;
}

static bool is_empty(const struct inbox *inbox)
{
    return inbox->shelf.begin == inbox->shelf.end;
}

static bool is_front_here(const struct inbox *inbox)
{
    return !is_empty(inbox) && shelf_at(&inbox->shelf, inbox->shelf.begin)->value->output[0].data;
}

static int wait_for_item(struct context *context, struct inbox *inbox, uint64_t deadline_ns)
{
    struct rank *rank = context->rank;
    int code = MANTA_OK;
    (void)rank_turn(rank);
    while (code == MANTA_OK && is_empty(inbox) && !has_all(inbox)) {
        if (is_stopped(context)) {
            return context_fail(context, MANTA_E_CANCELLED,
                                "the task was cancelled while it waited for an item");
        }
        struct waiter waiter = {.missing = 1};
        inbox->waiter = &waiter;
        code = wait_for(context, &waiter, deadline_ns);
        inbox->waiter = NULL;
    }
    return code == MANTA_OK ? MANTA_OK : context_fail(context, code, "waiting for an item");
}

/* The front item's bytes are on this node before it is handed out: until then it can be had again
 * when its source dies. */
static int bring(struct context *context, struct inbox *inbox)
{
    struct rank *rank = context->rank;
    uint64_t index = inbox->shelf.begin;
    struct value *value = shelf_at(&inbox->shelf, index)->value;
    if (value->output[0].data) {
        return MANTA_OK;
    }
    value->sharers++;
    int code = fetch_output(context, &value->output[0]);
    bool is_there = inbox->shelf.end > index && shelf_at(&inbox->shelf, index)->value == value;
    if (code == MANTA_E_LOST) {
        code = MANTA_OK;
        if (is_there) {
            lose_from(rank, inbox, index);
        }
    }
    value_unshare(rank, value);
    return code;
}

static int next(struct context *context, struct inbox *inbox, uint64_t deadline_ns,
                manta_ref *ret_item)
{
    while (!is_front_here(inbox) && !(is_empty(inbox) && has_all(inbox))) {
        MANTA_TRY(is_empty(inbox) ? wait_for_item(context, inbox, deadline_ns)
                                  : bring(context, inbox));
    }
    note_complete(context->rank, inbox);
    if (!is_empty(inbox)) {
        return take_item(context, inbox, ret_item);
    }
    return inbox->code ? take_error(context, inbox, ret_item)
                       : context_fail(context, MANTA_E_END, "the stream has no more items");
}

/* The inbox of a stream that this scope may read; NULL: last_error says why not. */
static struct inbox *open_inbox(struct context *context, const struct target *target, manta_ref ref)
{
    struct rank *rank = context->rank;
    struct scope *scope = context_scope(context);
    struct inbox *inbox = find(rank, ref.parent, ref.position);
    bool is_borrow = target->object->kind == OBJECT_BORROW;
    if (!is_borrow && (target->element >= 0 || !stream_is(object_task(target->object)->function))) {
        context_fail(context, MANTA_E_TYPE,
                     "the ref is not a stream: its task has no parameter stream(T, x)");
        return NULL;
    }
    if (inbox && inbox->scope != scope) {
        context_fail(context, MANTA_E_STATE,
                     "another task or thread reads this stream: a stream has one reader");
        return NULL;
    }
    if (!inbox && scope && !(inbox = create(rank, scope, ref))) {
        context_fail(context, MANTA_E_NOMEM, "no memory to read a stream");
    }
    if (inbox && is_borrow && target->object->is_done && target->object->code != MANTA_OK) {
        inbox_owner_lost(rank, object_borrow(target->object));
    }
    return inbox;
}

static int next_of(struct context *context, manta_ref stream, uint64_t deadline_ns,
                   manta_ref *ret_item)
{
    struct target target = scope_target(context->rank, context_scope(context), stream);
    if (!target.object) {
        return context_not_held(context, stream);
    }
    object_hold(target.object);
    struct inbox *inbox = open_inbox(context, &target, stream);
    int code = inbox ? next(context, inbox, deadline_ns, ret_item) : context->last_error.code;
    object_drop(context->rank, target.object);
    return code;
}

int manta_next(manta_ref stream, uint64_t timeout_ns, manta_ref *ret_item)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_item) {
        return context_fail(context, MANTA_E_INVALID, "ret_item is NULL");
    }
    struct rank *rank = context->rank;
    uint64_t deadline_ns = timeout_ns == MANTA_FOREVER
                               ? BASE_FOREVER
                               : base_deadline_after(base_now_ns(rank->host), timeout_ns);
    manta_ref item;
    baton_take(&rank->baton, rank->host);
    int code = next_of(context, stream, deadline_ns, &item);
    baton_give(&rank->baton);
    if (code == MANTA_OK) {
        *ret_item = item;
    }
    return code;
}
