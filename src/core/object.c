/*
 * Objects: finding them by ref, holds, watchers, and what a rank tells the owners of what it holds.
 *
 * Which ranks hold a ref is a set at its owner (holders.c). A giver keeps its own share until the
 * owner has acknowledged the receiver's (struct guard), except on the one channel where order
 * already guarantees it.
 *
 * What a holder tells an owner about itself waits for others of its kind (request.h), so it may
 * come after what was told later; that is one more order.
 *
 * Freeing is iterative: a value may hold refs to values that hold refs, to any depth.
 */
#include "core/object.h"

#include "core/map.h"
#include "core/message.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/request.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/value.h"
#include "core/wait.h"

#include <stdio.h>

/* ---- Finding -------------------------------------------------------------------------------- */

static struct borrow *find_borrow(struct rank *rank, manta_ref ref)
{
    return base_map_find(&rank->borrows, core_key(ref.parent, ref.position));
}

/* Of a parent that runs here, refs may have been borrowed before from another owner of it: what was
 * pinned through a borrow goes on through it. While nothing has moved a ref names its owner. */
static MT_NOINLINE struct target find_any(struct rank *rank, struct scope *scope, manta_ref ref)
{
    struct target target = {.element = -1};
    if (scope && !scope->may_be_borrowed && scope_resolve(rank, scope, ref.position, &target)) {
        return target;
    }
    struct borrow *borrow = find_borrow(rank, ref);
    if (borrow) {
        target.object = &borrow->object;
    } else if (scope && scope->may_be_borrowed) {
        (void)scope_resolve(rank, scope, ref.position, &target);
    }
    return target;
}

struct target target_find(struct rank *rank, manta_ref ref)
{
    bool may_be_ours = ref.owner == rank->number || rank->has_moved;
    struct scope *scope = may_be_ours ? scope_find(rank, ref.parent) : NULL;
    struct task *task =
        scope && !scope->may_be_borrowed ? scope_child(rank, scope, ref.position) : NULL;
    return MT_LIKELY(task != NULL)
               ? (struct target){&task->object, ref.position - task->position, -1}
               : find_any(rank, scope, ref);
}

bool target_is_done(const struct target *target)
{
    if (target->element >= 0) {
        return map_element_is_done(object_task(target->object)->map, (uint64_t)target->element);
    }
    return target->object->is_done;
}

int target_code(const struct target *target)
{
    if (target->element >= 0) {
        return map_element_code(object_task(target->object)->map, (uint64_t)target->element);
    }
    return target->object->code;
}

struct content target_content(const struct target *target)
{
    struct object *object = target->object;
    if (object->kind == OBJECT_MAP) {
        return map_element_content(object_task(object)->map, target->element);
    }
    if (object->value) {
        return value_content(object->value, target->output);
    }
    const void *small = object->kind == OBJECT_TASK ? object_task(object)->small + CORE_SMALL_BYTES
                                                    : object_borrow(object)->small;
    return (struct content){.data = small, .bytes = object->small_bytes};
}

void target_error(struct rank *rank, const struct target *target, manta_error *ret_error)
{
    const manta_error *known =
        target->element >= 0
            ? map_element_error(object_task(target->object)->map, (uint64_t)target->element)
            : target->object->error;
    if (known) {
        *ret_error = *known;
        return;
    }
    *ret_error = (manta_error){.code = target_code(target), .rank = rank->number};
    snprintf(ret_error->host, sizeof ret_error->host, "%s", rank->options.host_name);
    if (target->object->kind != OBJECT_BORROW) {
        task_describe(object_task(target->object), ret_error);
    }
}

bool target_watch(struct rank *rank, const struct target *target, struct watch *watch)
{
    if (target->element >= 0) {
        return map_element_watch(rank, object_task(target->object), (uint64_t)target->element,
                                 watch);
    }
    watch->next = target->object->watchers;
    target->object->watchers = watch;
    if (target->object->kind == OBJECT_BORROW) {
        borrow_request(rank, object_borrow(target->object));
    }
    return true;
}

void target_unwatch(struct rank *rank, const struct target *target, struct watch *watch)
{
    struct watch **at = &target->object->watchers;
    if (target->element >= 0) {
        map_element_unwatch(object_task(target->object), (uint64_t)target->element, watch);
        return;
    }
    while (*at && *at != watch) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = watch->next;
    }
}

/* ---- Holds ---------------------------------------------------------------------------------- */

static struct borrow *create_borrow(struct rank *rank, manta_ref ref)
{
    struct borrow *borrow = base_spares_take(&rank->spare_borrows);
    if (!borrow) {
        return NULL;
    }
    borrow->object.kind = OBJECT_BORROW;
    borrow->ref = ref;
    borrow->instance = ++rank->next_instance;
    base_list_init(&borrow->guards);
    base_list_init(&borrow->request);
    if (base_map_insert(&rank->borrows, core_key(ref.parent, ref.position), borrow) != 0) {
        base_spares_give(&rank->spare_borrows, borrow);
        return NULL;
    }
    return borrow;
}

static uint32_t owner_of(const struct rank *rank, const struct target *target, uint32_t hint)
{
    if (!target->object) {
        return hint;
    }
    return target->object->kind == OBJECT_BORROW ? object_borrow(target->object)->ref.owner
                                                 : rank->number;
}

/* It comes from elsewhere, though it may be ours: of a parent that has not reached it again. */
static bool is_borrowed(const struct rank *rank, manta_ref ref)
{
    return ref.parent && ref.owner < rank->size &&
           (ref.owner != rank->number || (rank->has_moved && !core_is_root_id(ref.parent)));
}

struct object *object_get_held(struct rank *rank, manta_ref ref)
{
    return target_hold(rank, ref, target_find(rank, ref));
}

struct object *target_hold(struct rank *rank, manta_ref ref, struct target target)
{
    if (!target.object && is_borrowed(rank, ref)) {
        struct borrow *borrow = create_borrow(rank, ref);
        target.object = borrow ? &borrow->object : NULL;
        if (borrow) {
            object_hold(&borrow->object);
            recover_note_new_borrow(rank, borrow);
        }
    } else if (target.object) {
        rank->has_moved |= owner_of(rank, &target, ref.owner) != ref.owner;
        object_hold(target.object);
        if (target.object->kind == OBJECT_TASK) {
            recover_revive(rank, object_task(target.object));
        }
    }
    return target.object;
}

void object_name_owners(struct rank *rank, void *refs, size_t bytes)
{
    for (size_t at = 0; at + sizeof(manta_ref) <= bytes; at += sizeof(manta_ref)) {
        manta_ref ref;
        memcpy(&ref, (uint8_t *)refs + at, sizeof ref);
        struct target target = target_find(rank, ref);
        ref.owner = owner_of(rank, &target, ref.owner);
        memcpy((uint8_t *)refs + at, &ref, sizeof ref);
    }
}

static MT_NOINLINE void free_borrow(struct rank *rank, struct borrow *borrow)
{
    if (MT_UNLIKELY(rank->has_moved)) {
        recover_part_from(rank, borrow);
    }
    base_map_remove(&rank->borrows, core_key(borrow->ref.parent, borrow->ref.position));
    if (MT_UNLIKELY(rank->inboxes.count)) {
        inbox_forget(rank, borrow->ref.parent, borrow->ref.position);
    }
    borrow_acknowledged(rank, borrow);
    value_unshare(rank, borrow->object.value);
    base_free(borrow->object.error);
    if (borrow->is_registered && !comm_is_down(rank->comm, borrow->ref.owner)) {
        request_let_go(rank, borrow);
    } else {
        request_cancel(rank, borrow);
        base_spares_give(&rank->spare_borrows, borrow);
    }
}

static void free_object(struct rank *rank, struct object *object)
{
    if (object->kind == OBJECT_BORROW) {
        free_borrow(rank, object_borrow(object));
    } else if (object_task(object)->flags & (TASK_LINEAGE | TASK_NEEDED)) {
        object->watchers = NULL;
        task_drop_value(rank, object_task(object));
    } else {
        task_free(rank, object_task(object));
    }
}

static bool is_over(const struct object *object)
{
    return object->holds == 0 && (object->is_done || object->kind == OBJECT_BORROW);
}

static void reap(struct rank *rank, struct object *object)
{
    object->holds = -1; /* its record and its value may be let go of at once: only one counts */
    object->dying = rank->dying;
    rank->dying = object;
    if (rank->is_reaping) {
        return;
    }
    rank->is_reaping = 1;
    while (rank->dying) {
        struct object *next = rank->dying;
        rank->dying = next->dying;
        next->dying = NULL; /* a record that stays for lineage has no watchers */
        next->holds = 0;
        free_object(rank, next);
    }
    rank->is_reaping = 0;
}

void object_check_last(struct rank *rank, struct object *object)
{
    if (is_over(object)) {
        reap(rank, object);
    } else if (MT_UNLIKELY(object->is_stream) && object->holds == 1 && !object->is_done) {
        stream_unheld(rank, object_task(object));
    }
}

/* ---- Completion ----------------------------------------------------------------------------- */

void watchers_fire(struct rank *rank, struct watch *watchers)
{
    while (watchers) {
        struct watch *watch = watchers;
        watchers = watch->next;
        switch (watch->kind) {
        case WATCH_INPUT:
            task_input_done(rank, watch->target);
            base_spares_give(&rank->spare_watches, watch);
            break;
        case WATCH_WAITER:
            waiter_notify(rank, watch->target, watch->position);
            break;
        case WATCH_QUEUE:
            queue_notify(rank, watch->target);
            break;
        case WATCH_REMOTE:
            remote_notify(rank, watch);
            base_free(watch);
            break;
        }
    }
}

void object_finish(struct rank *rank, struct object *object, int code, struct value *value,
                   manta_error *error)
{
    struct watch *watchers = object->watchers;
    object->watchers = NULL;
    rank->has_failures |= code != MANTA_OK;
    object->code = code;
    object->value = value;
    object->error = error;
    object->is_done = 1;
    object_hold(object);
    watchers_fire(rank, watchers);
    object_drop(rank, object);
}

/* ---- A holder's side ----------------------------------------------------------------------------
 */

void borrow_request(struct rank *rank, struct borrow *borrow)
{
    if (borrow->is_requested || borrow->is_looking || borrow->object.is_done) {
        return;
    }
    borrow->is_requested = REQUEST_SENT;
    if (comm_is_down(rank->comm, borrow->ref.owner)) {
        recover_borrow(rank, borrow);
    } else if (borrow->acks_missing && !(borrow->requests & REQUEST_HOLD)) {
        borrow->is_requested = REQUEST_LATER;
    } else {
        request_add(rank, borrow, REQUEST_ASK);
    }
}

void object_on_value(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    struct borrow *borrow =
        base_map_find(&rank->borrows, core_key(header->parent, header->position));
    struct message_value message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes || !borrow || borrow->object.is_done) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (message.code != MANTA_OK) {
        object_finish(rank, &borrow->object, message.code, NULL, wire_error_read(body));
        return;
    }
    struct value *value = value_wire_read(rank, body, 1);
    object_finish(rank, &borrow->object, value ? MANTA_OK : MANTA_E_NOMEM, value, NULL);
}

void object_tell_holder(struct rank *rank, uint32_t owner, manta_ref ref, uint32_t holder,
                        uint32_t instance)
{
    struct message_hold hold = {.holder = holder, .instance = instance};
    if (!comm_is_down(rank->comm, owner)) {
        message_send(rank, owner, MESSAGE_HOLD, message_about(ref), &hold, sizeof hold);
    }
}

void guard_release(struct rank *rank, struct guard *guard)
{
    if (guard->instance) {
        manta_ref ref = object_borrow(guard->object)->ref;
        object_tell_holder(rank, ref.owner, ref, guard->holder, guard->instance);
    }
    if (guard->task_index) {
        task_release_settled(rank, guard->task_index);
    }
    if (guard->settles) {
        recover_settle_one(rank);
    }
    if (guard->object) {
        object_drop(rank, guard->object);
    }
    base_spares_give(&rank->spare_guards, guard);
}

/* Its owner died, or owns it no more, and it is not yet known who is it now. One that is lost for
 * good waits for nobody. */
static bool awaits_new_owner(const struct rank *rank, const struct borrow *borrow)
{
    uint32_t owner = borrow->ref.owner;
    return borrow->is_looking || (comm_is_down(rank->comm, owner) && !rank->down[owner]);
}

void object_register(struct rank *rank, struct borrow *borrow, struct guard *guard)
{
    bool must_tell =
        !borrow->is_registered || (guard && guard->settles && !borrow->is_acknowledged);
    if (guard) {
        base_list_push_back(&borrow->guards, &guard->link);
    }
    borrow->is_registered = 1;
    if (must_tell && !borrow->is_looking && !comm_is_down(rank->comm, borrow->ref.owner)) {
        if (!(borrow->requests & REQUEST_HOLD)) {
            borrow->acks_missing++;
            object_hold(&borrow->object);
        }
        (guard ? request_add : request_add_now)(rank, borrow, REQUEST_HOLD);
    } else if (borrow->acks_missing == 0 && !awaits_new_owner(rank, borrow)) {
        borrow_acknowledged(rank, borrow);
    }
}

void borrow_keep(struct rank *rank, struct borrow *borrow)
{
    struct guard *guard = borrow->is_looking ? base_spares_take(&rank->spare_guards) : NULL;
    if (guard) {
        guard->object = &borrow->object;
        object_hold(&borrow->object);
        base_list_push_back(&borrow->guards, &guard->link);
    }
    borrow->is_registered = 1;
}

void borrow_acknowledged(struct rank *rank, struct borrow *borrow)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&borrow->guards))) {
        guard_release(rank, MT_CONTAINER(link, struct guard, link));
    }
}

/* A small value is in the borrow's record, if it has no layout. */
static void take_small_value(struct rank *rank, struct borrow *borrow, const void *data,
                             const struct message_answer *answer)
{
    struct value_part part = {
        .data = data, .bytes = answer->bytes, .is_typed = answer->what & ANSWER_TYPED};
    if (answer->bytes <= sizeof borrow->small && !part.is_typed) {
        memcpy(borrow->small, data, answer->bytes);
        borrow->object.small_bytes = (uint8_t)answer->bytes;
        object_finish(rank, &borrow->object, MANTA_OK, NULL, NULL);
        return;
    }
    struct value *value = value_create(rank, &part, 1, (manta_ref){0});
    object_finish(rank, &borrow->object, value ? MANTA_OK : MANTA_E_NOMEM, value, NULL);
}

static void take_answer(struct rank *rank, uint32_t from, const struct message_answer *answer,
                        const void *data)
{
    struct borrow *borrow = find_borrow(rank, (manta_ref){answer->parent, answer->position, 0});
    if (!borrow) {
        return;
    }
    bool is_ack = answer->what & ANSWER_HELD && borrow->acks_missing && borrow->ref.owner == from;
    object_hold(&borrow->object);
    if (answer->what & ANSWER_VALUE && !borrow->object.is_done &&
        (is_ack || borrow->is_requested)) {
        take_small_value(rank, borrow, data, answer);
    }
    borrow->is_acknowledged |= is_ack;
    if (is_ack && --borrow->acks_missing == 0) {
        if (borrow->is_requested == REQUEST_LATER && !borrow->object.is_done) {
            borrow->is_requested = REQUEST_SENT;
            request_add(rank, borrow, REQUEST_ASK);
        }
        borrow_acknowledged(rank, borrow);
    }
    borrow->object.holds -= is_ack;
    object_drop(rank, &borrow->object);
}

void object_on_answer(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    do {
        struct message_answer answer;
        const void *bytes = wire_take(body, sizeof answer);
        if (!bytes) {
            return;
        }
        memcpy(&answer, bytes, sizeof answer);
        const void *data = wire_take(body, answer.bytes);
        if (data) {
            take_answer(rank, from, &answer, data);
        }
    } while (wire_left(body));
}

/* ---- Refs inside values --------------------------------------------------------------------- */

static void hold_inner(struct rank *rank, manta_ref ref, void *arg)
{
    struct task *task = arg;
    struct object *object = object_get_held(rank, ref);
    struct guard *guard;
    if (!object || object->kind != OBJECT_BORROW) {
        return;
    }
    guard = task ? base_spares_take(&rank->spare_guards) : NULL;
    if (guard) {
        guard->task_index = task->index;
        task->extra->unacked++;
    }
    object_register(rank, object_borrow(object), guard);
}

void value_hold_refs(struct rank *rank, const struct value *value, struct task *task)
{
    value_each_ref(rank, value, hold_inner, task);
    value_name_owners(rank, value);
}

void value_name_owners(struct rank *rank, const struct value *value)
{
    for (uint32_t i = 0; rank->has_moved && value->ref_outputs && i < value->outputs; i++) {
        if (value->output[i].is_refs) {
            object_name_owners(rank, (void *)(uintptr_t)value->output[i].data,
                               value->output[i].bytes);
        }
    }
}

static void drop_inner(struct rank *rank, manta_ref ref, void *arg)
{
    struct target target = target_find(rank, ref);
    if (target.object) {
        object_drop(rank, target.object);
    }
}

void value_drop_refs(struct rank *rank, const struct value *value)
{
    value_each_ref(rank, value, drop_inner, NULL);
}
