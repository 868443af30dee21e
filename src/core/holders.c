/*
 * The owner's side of objects that other ranks hold: who does, what each is answered.
 *
 * Which ranks hold a ref is a set at its owner. A rank registers itself, or is named by whoever
 * gave it the ref (a RESULT's list of kept refs), under an instance number that grows with each new
 * borrow; letting go names the same number. The owner keeps the highest number added and dropped,
 * so messages about one holder may come twice or in any order: it holds while added > dropped.
 */
#include "core/message.h"
#include "core/object.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/request.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/value.h"

#include <stdio.h>

static bool is_holding(const struct remote_holder *holder)
{
    return holder->added > holder->dropped;
}

static struct remote_holder *find_holder(struct task *task, uint32_t position, uint32_t number)
{
    struct remote_holder *holder = task->extra ? task->extra->holders : NULL;
    while (holder && (holder->rank != number || holder->position != position)) {
        holder = holder->next;
    }
    return holder;
}

static struct remote_holder *get_holder(struct rank *rank, struct task *task, uint32_t position,
                                        uint32_t number)
{
    struct remote_holder *holder = find_holder(task, position, number);
    if (holder || !task_get_extra(rank, task) ||
        !(holder = base_spares_take(&rank->spare_holders))) {
        return holder;
    }
    *holder =
        (struct remote_holder){.next = task->extra->holders, .rank = number, .position = position};
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
    if (comm_is_down(rank->comm, number) || !(holder = get_holder(rank, task, position, number))) {
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

/* The run that may have made it has not been here to its end, or that was before our time. */
static bool is_elsewhere(struct rank *rank, const struct wire_header *header)
{
    struct scope *scope = rank->has_moved && !core_is_root_id(header->parent)
                              ? scope_find(rank, header->parent)
                              : NULL;
    return rank->has_moved && !core_is_root_id(header->parent) &&
           !(scope && scope->has_run && header->position >= scope->next_position);
}

void holders_on_hold(struct rank *rank, uint32_t from, const struct wire_header *header,
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
    } else if (task) {
        holder_add(rank, task, header->position, message.holder, message.instance);
        recover_revive(rank, task);
    } else if (!recover_park_request(rank, from, header, &message, sizeof message) &&
               is_elsewhere(rank, header)) {
        recover_refuse_holder(rank, message.holder, header);
    }
}

static void answer_with(struct rank *rank, uint32_t peer, manta_ref ref,
                        const struct content *content)
{
    struct wire_header about = message_about(ref);
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
    struct wire_header about = message_about(ref);
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

static void answer_lost(struct rank *rank, uint32_t peer, manta_ref ref)
{
    manta_error error = {.code = MANTA_E_LOST, .rank = rank->number};
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    snprintf(
        error.text, sizeof error.text,
        "rank %u does not own this value any more, and no run that would make it again is known",
        rank->number);
    answer_error(rank, peer, ref, &error);
}

static void refuse(struct rank *rank, struct answers *answers,
                   const struct message_request *request)
{
    if (request->what & REQUEST_HOLD) {
        answers_add(rank, answers, request, ANSWER_HELD, NULL);
    }
    if (request->what & REQUEST_ASK) {
        answer_lost(rank, answers->to,
                    (manta_ref){request->parent, request->position, rank->number});
    }
}

void object_answer_lost(struct rank *rank, uint32_t peer, const struct message_request *request)
{
    struct answers answers;
    answers.to = peer;
    answers.bytes = 0;
    refuse(rank, &answers, request);
    answers_send(rank, &answers);
}

static bool is_small(const struct content *content)
{
    return !content->is_refs && !content->place && content->bytes <= ANSWER_VALUE_MAX;
}

/* Who comes to hold a ref mostly reads its value next, so a small one that is there comes along. */
static void answer(struct rank *rank, struct answers *answers,
                   const struct message_request *request, struct task *task,
                   const struct target *target)
{
    manta_ref ref = {request->parent, request->position, rank->number};
    bool is_asked = request->what & REQUEST_ASK, is_done = target_is_done(target);
    uint32_t held = request->what & REQUEST_HOLD ? ANSWER_HELD : 0;
    bool is_diverged = recover_is_diverged(task);
    struct content content = {.place = NULL};
    bool brings = is_done && target_code(target) == MANTA_OK &&
                  !(is_diverged && (held || request->what & REQUEST_REDIRECTED));
    if (brings) {
        content = target_content(target);
        brings = is_small(&content);
    }
    if (held || brings) {
        answers_add(rank, answers, request, held, brings ? &content : NULL);
    }
    if (!is_asked || brings) {
        return;
    }
    struct watch *watch;
    if (is_diverged && request->what & REQUEST_REDIRECTED) {
        manta_error error;
        recover_diverged_error(rank, task, &error);
        answer_error(rank, answers->to, ref, &error);
    } else if (is_done) {
        object_answer(rank, target, ref, answers->to);
    } else if ((watch = base_alloc(sizeof *watch))) {
        *watch = (struct watch){
            .kind = WATCH_REMOTE, .peer = answers->to, .position = ref.position, .target = task};
        (void)target_watch(rank, target, watch);
    }
}

static void let_go(struct rank *rank, struct task *task, uint32_t holder,
                   const struct message_request *request)
{
    struct remote_holder *held = get_holder(rank, task, request->position, holder);
    if (held) {
        change_holder(rank, task, held, 0, request->instance);
    }
}

static void take_request(struct rank *rank, struct answers *answers,
                         const struct message_request *request)
{
    struct wire_header about = {
        .parent = request->parent, .position = request->position, .kind = MESSAGE_REQUEST};
    struct target target;
    struct task *task = find_owned(rank, &about, &target);
    if (request->what & REQUEST_LET_GO) {
        if (task) {
            let_go(rank, task, answers->to, request);
        }
    } else if (task) {
        if (request->what & REQUEST_HOLD) {
            holder_add(rank, task, request->position, answers->to, request->instance);
        }
        recover_revive(rank, task);
        answer(rank, answers, request, task, &target);
    } else if (recover_park_request(rank, answers->to, &about, request, sizeof *request)) {
        return;
    } else if (is_elsewhere(rank, &about)) {
        recover_refuse_holder(rank, answers->to, &about);
    } else {
        refuse(rank, answers, request);
    }
}

void holders_on_request(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    struct answers answers;
    answers.to = from;
    answers.bytes = 0;
    do {
        struct message_request request;
        const void *bytes = wire_take(body, sizeof request);
        if (bytes) {
            memcpy(&request, bytes, sizeof request);
            take_request(rank, &answers, &request);
        }
    } while (wire_left(body) && !body->failed);
    answers_send(rank, &answers);
}
