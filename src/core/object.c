/*
 * Objects: finding them by ref, holds, watchers, and the owner's count of other ranks.
 *
 * Which ranks hold a ref is a set at its owner. A rank registers itself, or is named by
 * whoever gave it the ref (a RESULT's list of kept refs), under an instance number that
 * grows with each new borrow; letting go names the same number. The owner keeps the
 * highest number added and dropped, so messages about one holder may come twice or in
 * any order: it holds while added > dropped. A giver keeps its own share until the
 * owner has acknowledged the receiver's (struct guard), except on the one channel where
 * order already guarantees it.
 *
 * Freeing is iterative: a value may hold refs to values that hold refs, to any depth.
 */
#include "core/object.h"

#include "core/map.h"
#include "core/message.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/value.h"
#include "core/wait.h"

#include <stdio.h>

enum { HELD_VALUE_MAX = 256 }; /* bytes that a HELD takes along */

/* ---- Finding -------------------------------------------------------------------------------- */

static struct borrow *find_borrow(struct rank *rank, manta_ref ref)
{
    return base_map_find(&rank->borrows, core_key(ref.parent, ref.position));
}

/* Of a parent that runs here, refs may have been borrowed before from another owner of it: what was
 * pinned through a borrow goes on through it. */
struct target target_find(struct rank *rank, manta_ref ref)
{
    struct target target = {.element = -1};
    struct scope *scope = scope_find(rank, ref.parent);
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
    struct borrow *borrow = base_alloc_aligned(16, sizeof *borrow);
    if (!borrow) {
        return NULL;
    }
    borrow->object.kind = OBJECT_BORROW;
    borrow->ref = ref;
    borrow->instance = ++rank->next_instance;
    base_list_init(&borrow->guards);
    if (base_map_insert(&rank->borrows, core_key(ref.parent, ref.position), borrow) != 0) {
        base_free(borrow);
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
    struct target target = target_find(rank, ref);
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

static void free_borrow(struct rank *rank, struct borrow *borrow)
{
    if (MT_UNLIKELY(rank->has_moved)) {
        recover_part_from(rank, borrow);
    }
    if (borrow->is_registered && !comm_is_down(rank->comm, borrow->ref.owner)) {
        struct message_hold gone = {.holder = rank->number, .instance = borrow->instance};
        message_send(
            rank, borrow->ref.owner, MESSAGE_LET_GO,
            (struct wire_header){.parent = borrow->ref.parent, .position = borrow->ref.position},
            &gone, sizeof gone);
    }
    base_map_remove(&rank->borrows, core_key(borrow->ref.parent, borrow->ref.position));
    if (MT_UNLIKELY(rank->inboxes.count)) {
        inbox_forget(rank, borrow->ref.parent, borrow->ref.position);
    }
    borrow_acknowledged(rank, borrow);
    value_unshare(rank, borrow->object.value);
    base_free(borrow->object.error);
    base_free(borrow);
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
            base_free(watch);
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

static struct wire_header about_ref(manta_ref ref)
{
    return (struct wire_header){.parent = ref.parent, .position = ref.position};
}

void borrow_request(struct rank *rank, struct borrow *borrow)
{
    struct message_ask ask = {.is_redirected = borrow->is_redirected};
    if (borrow->is_requested || borrow->is_looking || borrow->object.is_done) {
        return;
    }
    borrow->is_requested = 1;
    if (comm_is_down(rank->comm, borrow->ref.owner)) {
        recover_borrow(rank, borrow);
        return;
    }
    message_send(rank, borrow->ref.owner, MESSAGE_ASK, about_ref(borrow->ref), &ask, sizeof ask);
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
        message_send(rank, owner, MESSAGE_HOLD, about_ref(ref), &hold, sizeof hold);
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
    base_free(guard);
}

/* Its owner died, or owns it no more, and it is not yet known who is it now. One that is lost for good waits for
 * nobody. */
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
        struct message_hold hold = {rank->number, borrow->instance, 1, 0};
        borrow->acks_missing++;
        object_hold(&borrow->object);
        message_send(rank, borrow->ref.owner, MESSAGE_HOLD, about_ref(borrow->ref), &hold,
                     sizeof hold);
    } else if (borrow->acks_missing == 0 && !awaits_new_owner(rank, borrow)) {
        borrow_acknowledged(rank, borrow);
    }
}

void borrow_keep(struct borrow *borrow)
{
    struct guard *guard = borrow->is_looking ? base_alloc(sizeof *guard) : NULL;
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

void object_on_held(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct borrow *borrow =
        base_map_find(&rank->borrows, core_key(header->parent, header->position));
    if (!borrow || borrow->acks_missing == 0 || borrow->ref.owner != from) {
        return;
    }
    if (wire_left(body) && !borrow->object.is_done) {
        struct value *value = value_wire_read(rank, body, 1);
        if (value) {
            object_finish(rank, &borrow->object, MANTA_OK, value, NULL);
        }
    }
    borrow->is_acknowledged = 1;
    if (--borrow->acks_missing == 0) {
        borrow_acknowledged(rank, borrow);
    }
    object_drop(rank, &borrow->object);
}

/* ---- The owner's side ----------------------------------------------------------------------- */

static bool is_holding(const struct remote_holder *holder)
{
    return holder->added > holder->dropped;
}

static struct remote_holder *find_holder(struct task *task, uint32_t position, uint32_t rank)
{
    struct remote_holder *holder = task->extra ? task->extra->holders : NULL;
    while (holder && (holder->rank != rank || holder->position != position)) {
        holder = holder->next;
    }
    return holder;
}

static struct remote_holder *get_holder(struct task *task, uint32_t position, uint32_t rank)
{
    struct remote_holder *holder = find_holder(task, position, rank);
    if (holder || !task_get_extra(task) || !(holder = base_alloc(sizeof *holder))) {
        return holder;
    }
    *holder =
        (struct remote_holder){.next = task->extra->holders, .rank = rank, .position = position};
    task->extra->holders = holder;
    return holder;
}

/* Applies a change to one holder and keeps its hold on the object in step. */
static void change_holder(struct rank *rank, struct task *task, struct remote_holder *holder,
                          uint32_t added, uint32_t dropped)
{
    bool was_holding = is_holding(holder);
    holder->added = MT_MAX(holder->added, added);
    holder->dropped = MT_MAX(holder->dropped, dropped);
    if (is_holding(holder) && !was_holding) {
        object_hold(&task->object);
    } else if (!is_holding(holder) && was_holding) {
        object_drop(rank, &task->object);
    }
}

void holder_add(struct rank *rank, struct task *task, uint32_t position, uint32_t number,
                uint32_t instance)
{
    struct remote_holder *holder;
    if (comm_is_down(rank->comm, number) || !(holder = get_holder(task, position, number))) {
        return;
    }
    change_holder(rank, task, holder, instance, 0);
}

void holder_end(struct rank *rank, struct task *task, uint32_t position, uint32_t number,
                uint32_t instance)
{
    struct remote_holder *holder = find_holder(task, position, number);
    if (holder) {
        change_holder(rank, task, holder, 0, instance);
    }
}

void holders_forget(struct rank *rank, struct task *task, uint32_t number)
{
    struct remote_holder *holder = task->extra ? task->extra->holders : NULL;
    object_hold(&task->object);
    for (; holder; holder = holder->next) {
        if (holder->rank == number) {
            change_holder(rank, task, holder, 0, UINT32_MAX);
        }
    }
    object_drop(rank, &task->object);
}

/* The object of ours that a message is about; parks requests for positions a re-executed parent has
 * not reached again. */
static struct task *find_owned(struct rank *rank, const struct wire_header *header,
                               struct target *target)
{
    struct scope *scope = scope_find(rank, header->parent);
    *target = (struct target){.element = -1};
    if (!scope || !scope_resolve(rank, scope, header->position, target)) {
        return NULL;
    }
    return object_task(target->object);
}

/* Who comes to hold a ref mostly reads its value next: a small one that is there comes along. */
static bool brings_value(const struct target *target, struct content *ret_content)
{
    if (!target_is_done(target) || target_code(target) != MANTA_OK ||
        recover_is_diverged(object_task(target->object))) {
        return false;
    }
    *ret_content = target_content(target);
    return !ret_content->is_refs && !ret_content->place && ret_content->bytes <= HELD_VALUE_MAX;
}

static void acknowledge(struct rank *rank, uint32_t from, const struct wire_header *header,
                        const struct target *target)
{
    struct content content;
    bool brings = target->object && brings_value(target, &content);
    uint8_t *out =
        message_begin(rank, from, MESSAGE_HELD, header, brings ? content_wire_bytes(&content) : 0);
    if (out && brings) {
        content_wire_write(&content, &out);
    }
    if (out) {
        message_end(rank);
    }
}

/* The run that may have made it has not been here to its end, or that was before our time. */
static bool is_elsewhere(struct rank *rank, const struct wire_header *header)
{
    struct scope *scope = rank->has_moved && !core_is_root_id(header->parent)
                              ? scope_find(rank, header->parent)
                              : NULL;
    return rank->has_moved && !core_is_root_id(header->parent) &&
           !(scope && scope->has_run && header->position >= scope->next_position);
}

void object_on_hold(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct target target;
    struct task *task = find_owned(rank, header, &target);
    struct message_hold message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (message.holder >= rank->size) {
        body->failed = true;
        return;
    }
    if (!task && recover_park_request(rank, from, header, &message, sizeof message)) {
        return;
    }
    if (!task && is_elsewhere(rank, header)) {
        recover_refuse_holder(rank, message.holder, header);
        return;
    }
    if (task) {
        holder_add(rank, task, header->position, message.holder, message.instance);
        recover_revive(rank, task);
    }
    if (message.want_ack) {
        acknowledge(rank, from, header, &target);
    }
}

void object_on_let_go(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct target target;
    struct task *task = find_owned(rank, header, &target);
    struct message_hold message;
    const void *bytes = wire_take(body, sizeof message);
    struct remote_holder *holder;
    if (!bytes || !task) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    holder = get_holder(task, header->position, message.holder);
    if (holder) {
        change_holder(rank, task, holder, 0, message.instance);
    }
}

static void answer_with(struct rank *rank, uint32_t peer, manta_ref ref,
                        const struct content *content)
{
    struct wire_header about = about_ref(ref);
    struct message_value message = {.code = MANTA_OK};
    uint8_t *out = message_begin(rank, peer, MESSAGE_VALUE, &about,
                                 sizeof message + content_wire_bytes(content));
    if (out) {
        wire_put_bytes(&out, &message, sizeof message);
        content_wire_write(content, &out);
        if (MT_UNLIKELY(content->is_refs && rank->has_moved)) {
            object_name_owners(rank, out - content->bytes, content->bytes);
        }
        message_end(rank);
    }
}

static void answer_error(struct rank *rank, uint32_t peer, manta_ref ref, const manta_error *error)
{
    struct wire_header about = about_ref(ref);
    struct message_value message = {.code = error->code};
    size_t size = sizeof message + wire_error_bytes(error);
    uint8_t *out = message_begin(rank, peer, MESSAGE_VALUE, &about, size);
    if (out) {
        wire_put_bytes(&out, &message, sizeof message);
        wire_error_write(error, out);
        message_end(rank);
    }
}

void object_answer(struct rank *rank, const struct target *target, manta_ref ref, uint32_t peer)
{
    if (target_code(target) == MANTA_OK) {
        struct content content = target_content(target);
        answer_with(rank, peer, ref, &content);
    } else {
        manta_error error;
        target_error(rank, target, &error);
        answer_error(rank, peer, ref, &error);
    }
}

void remote_notify(struct rank *rank, const struct watch *watch)
{
    struct task *task = watch->target;
    manta_ref ref = {task->parent, watch->position, rank->number};
    struct target target = {.element = -1};
    if (scope_resolve(rank, task->scope, watch->position, &target)) {
        object_answer(rank, &target, ref, watch->peer);
    }
}

void answer_lost(struct rank *rank, uint32_t peer, manta_ref ref)
{
    manta_error error = {.code = MANTA_E_LOST, .rank = rank->number};
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    snprintf(
        error.text, sizeof error.text,
        "rank %u does not own this value any more, and no run that would make it again is known",
        rank->number);
    answer_error(rank, peer, ref, &error);
}

void object_on_ask(struct rank *rank, uint32_t from, const struct wire_header *header,
                   struct wire_reader *body)
{
    manta_ref ref = {header->parent, header->position, rank->number};
    struct target target;
    struct task *task = find_owned(rank, header, &target);
    struct message_ask message;
    const void *bytes = wire_take(body, sizeof message);
    struct watch *watch;
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    if (task) {
        recover_revive(rank, task);
    }
    if (!task) {
        if (recover_park_request(rank, from, header, &message, sizeof message)) {
            return;
        }
        if (is_elsewhere(rank, header)) {
            recover_refuse_holder(rank, from, header);
        } else {
            answer_lost(rank, from, ref);
        }
    } else if (message.is_redirected && recover_is_diverged(task)) {
        manta_error error;
        recover_diverged_error(rank, task, &error);
        answer_error(rank, from, ref, &error);
    } else if (target_is_done(&target)) {
        object_answer(rank, &target, ref, from);
    } else if ((watch = base_alloc(sizeof *watch))) {
        *watch = (struct watch){
            .kind = WATCH_REMOTE, .peer = from, .position = ref.position, .target = task};
        (void)target_watch(rank, &target, watch);
    }
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
    guard = task ? base_alloc(sizeof *guard) : NULL;
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
