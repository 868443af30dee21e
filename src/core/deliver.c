/*
 * What a run that has ended yields, on its way to the owner.
 *
 * The owner on this rank gets value or error at once; another one gets a RESULT, with the
 * refs that this rank keeps beyond the run. A result that somebody may adopt, or that must
 * protect refs or a block of the store until the owner has it, is retained until the
 * owner's RELEASE; that of an orphan waits for its new owner.
 */
#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/message.h"
#include "core/pack.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/value.h"

static struct message_kept keep(struct rank *rank, struct borrow *borrow)
{
    borrow_keep(rank, borrow);
    return (struct message_kept){
        .ref = borrow->ref, .instance = borrow->instance, .is_looking = borrow->is_looking};
}

static void change_holds(struct scope *scope, int32_t by)
{
    for (uint32_t i = 0; i < scope->hold_count; i++) {
        if (scope->holds[i].object) {
            scope->holds[i].object->holds += by;
        }
    }
}

/* Borrows that this run's owner protects for us and that will outlive it: the owner must hear of
 * them. */
static uint32_t collect_kept(struct rank *rank, struct scope *scope, struct message_kept *kept)
{
    uint32_t count = 0;
    change_holds(scope, -1); /* what is left is not the scope's */
    for (uint32_t i = 0; i < scope->hold_count; i++) {
        struct object *object = scope->holds[i].object;
        if (object && object->kind == OBJECT_BORROW && object->holds > 0 &&
            !object_borrow(object)->is_registered) {
            kept[count++] = keep(rank, object_borrow(object));
        }
    }
    change_holds(scope, 1);
    return count;
}

static size_t result_value_bytes(const struct run *run, uint32_t single)
{
    if (run->code != MANTA_OK) {
        return wire_error_bytes(run->error);
    }
    return single ? single : run->result ? value_wire_bytes(run->result) : 0;
}

/* Bytes of a value as they travel. */
static void name_owners(struct rank *rank, const struct value *value, uint8_t *out)
{
    for (uint32_t i = 0; i < value->outputs; i++) {
        struct content content = value_content(value, i);
        size_t bytes = content_wire_bytes(&content);
        if (content.is_refs) {
            object_name_owners(rank, out + bytes - content.bytes, content.bytes);
        }
        out += bytes;
    }
}

static void write_result_value(struct rank *rank, const struct run *run, uint32_t single,
                               uint8_t *out)
{
    if (run->code != MANTA_OK) {
        wire_error_write(run->error, out);
    } else if (single) {
        wire_put_bytes(&out, run->small, single);
    } else if (run->result) {
        value_wire_write(run->result, out);
        if (MT_UNLIKELY(run->result->ref_outputs && rank->has_moved)) {
            name_owners(rank, run->result, out);
        }
    }
}

static void send_result(struct rank *rank, struct run *run, struct scope *scope,
                        const struct message_kept *kept, uint32_t kept_count)
{
    struct message_result result = {.code = run->code, .run_token = run->index};
    uint32_t single = function_info(run->function)->single_bytes;
    struct wire_header about = {.parent = run->parent,
                                .position = run->position,
                                .token = run->token,
                                .attempt = run->attempt};
    result.flags |= exec_is_dry(rank, run) ? RESULT_DRY : 0;
    result.flags |= run->outside ? RESULT_OUTSIDE : 0;
    result.flags |= run->is_credited ? RESULT_CREDITED : 0;
    result.flags |= run->is_retained ? RESULT_RETAINED : 0;
    result.flags |= run->is_lost ? RESULT_LOST : 0;
    result.flags |= kept_count ? RESULT_KEPT : 0;
    about.ref_count = (uint16_t)MT_MIN(kept_count, UINT16_MAX);
    if (scope && scope->children) {
        result.flags |= RESULT_CHILDREN;
        scope->told_owner = 1;
    }
    size_t size = sizeof result + (kept_count ? 4 + kept_count * sizeof *kept : 0) +
                  result_value_bytes(run, single);
    uint8_t *out = message_begin(rank, run->owner, MESSAGE_RESULT, &about, size);
    if (!out) {
        return;
    }
    wire_put_bytes(&out, &result, sizeof result);
    if (kept_count) {
        wire_put_u32(&out, kept_count);
        wire_put_bytes(&out, kept, kept_count * sizeof *kept);
    }
    write_result_value(rank, run, single, out);
    message_end(rank);
}

static void deliver_local(struct rank *rank, struct run *run, int code, struct value *value,
                          manta_error *error)
{
    struct task *task = run->task;
    bool is_current = task && task->run == run && task->state == TASK_SENT;
    if (!run->is_credited) {
        dispatch_credit(rank, rank->number, exec_lane(run), exec_is_dry(rank, run));
    }
    if (is_current && task->object.is_done) {
        recover_rerun_ended(rank, task, false);
        is_current = false;
    }
    if (!is_current) {
        value_drop_refs(rank, value);
        value_unshare(rank, value);
        base_free(error);
    } else if (code != MANTA_OK &&
               (run->is_lost ? task_retry_lost : task_retry_error)(rank, task)) {
        base_free(error);
    } else {
        uint32_t single = code == MANTA_OK ? function_info(task->function)->single_bytes : 0;
        if (single) {
            memcpy(task->small + CORE_SMALL_BYTES, run->small, sizeof run->small);
        }
        task->object.small_bytes = (uint8_t)single;
        if (MT_UNLIKELY(run->has_more) && source_is_wanted(run)) {
            run->is_retained = 1;
            task->exec_token = run->index;
        }
        task_complete(rank, task, code, value, error);
    }
}

/* The same for a run that ended while it had no owner: what is still borrowed of its arguments. */
static uint32_t collect_kept_later(struct rank *rank, struct run *run, struct message_kept *kept)
{
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    uint32_t count = 0;
    while (pack_next(&walk, &arg)) {
        for (size_t i = 0; arg.is_refs && i < arg.bytes / sizeof(manta_ref); i++) {
            manta_ref ref;
            memcpy(&ref, arg.data + i * sizeof ref, sizeof ref);
            struct borrow *borrow =
                base_map_find(&rank->borrows, core_key(ref.parent, ref.position));
            if (borrow && kept) {
                kept[count] = keep(rank, borrow);
            }
            count += borrow != NULL;
        }
    }
    return count;
}

static void send_later(struct rank *rank, struct run *run, struct scope *scope)
{
    uint32_t count =
        function_info(run->function)->ref_inputs ? collect_kept_later(rank, run, NULL) : 0;
    struct message_kept *kept = count ? base_alloc(count * sizeof *kept) : NULL;
    count = kept ? collect_kept_later(rank, run, kept) : 0;
    for (uint32_t i = 0; run->task && i < count; i++) {
        task_keep(rank, rank->number, &kept[i]);
    }
    if (!run->task) {
        send_result(rank, run, scope, kept, count);
    }
    base_free(kept);
}

void exec_send_result(struct rank *rank, struct run *run, struct scope *scope)
{
    run->is_retained = !run->task && run->code == MANTA_OK;
    send_later(rank, run, scope);
    if (run->task) {
        struct value *value = run->result;
        manta_error *error = run->error;
        run->result = NULL;
        run->error = NULL;
        deliver_local(rank, run, run->code, value, error);
    }
    if (!run->is_retained) {
        exec_run_free(rank, run);
    }
}

static void hold_for_result(struct rank *rank, manta_ref ref, void *arg)
{
    (void)object_get_held(rank, ref);
}

static void deliver_remote(struct rank *rank, struct run *run, int code, struct value *value,
                           manta_error *error)
{
    uint32_t count = run->scope ? run->scope->hold_count : 0;
    struct message_kept *kept = count ? base_alloc(count * sizeof *kept) : NULL;
    run->code = code;
    run->result = value;
    run->error = error;
    run->is_retained =
        !run->is_orphan &&
        (source_is_wanted(run) ||
         (code == MANTA_OK &&
          (!run->parent_is_root || (value && (value->ref_outputs || value->stored_outputs)))));
    if (kept) {
        count = collect_kept(rank, run->scope, kept);
    }
    if (run->is_orphan) {
        run->state = RUN_FINISHED;
    } else {
        send_result(rank, run, run->scope, kept, kept ? count : 0);
    }
    base_free(kept);
}

/* It was asked to stop while nobody wanted it. Whoever does by now has it run again. */
static void disown(struct rank *rank, struct run *run)
{
    recover_displace_owner(rank, run);
    run->is_orphan = run->is_dismissed = 1;
    if (run->scope) {
        run->scope->is_spoiled = 1;
    }
}

/* Children that only the scope held go before the result is sent; those in the value are held by
 * it. */
void exec_deliver(struct rank *rank, struct run *run, int code, struct value *value,
                  manta_error *error)
{
    struct scope *scope = run->scope;
    if (MT_UNLIKELY(run->is_spoiled)) {
        disown(rank, run);
    }
    if (value) {
        value_each_ref(rank, value, hold_for_result, NULL);
        value_name_owners(rank, value);
    }
    if (run->cancelled && scope) {
        cancel_children(rank, scope);
    }
    if (scope) {
        scope_drop_children(rank, scope);
    }
    if (run->task) {
        deliver_local(rank, run, code, value, error);
    } else {
        deliver_remote(rank, run, code, value, error);
    }
    run->scope = NULL;
    if (scope) {
        scope_drop_all(rank, scope);
        scope_end(rank, scope);
    }
    run->state = RUN_FINISHED;
    if (run->is_dismissed) {
        value_drop_refs(rank, run->result);
    }
    if (run->is_dismissed || (!run->is_retained && !run->is_orphan)) {
        exec_run_free(rank, run);
    }
}

static struct run *find_retained(struct rank *rank, uint32_t index, uint32_t owner)
{
    struct run *run =
        base_slab_is_known(&rank->runs, index) ? base_slab_at(&rank->runs, index) : NULL;
    bool fits = run && run->index == index && run->is_retained && run->owner == owner;
    return fits ? run : NULL;
}

void exec_release_later(struct rank *rank, struct peer *self, uint32_t index)
{
    struct run *run = find_retained(rank, index, rank->number);
    if (run && base_list_is_empty(&run->link)) {
        base_list_push_back(&rank->released, &run->link);
        dispatch_note_batch(rank, self);
    }
}

static void release(struct rank *rank, struct run *run)
{
    value_drop_refs(rank, run->result);
    exec_run_free(rank, run);
}

void exec_release_now(struct rank *rank)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&rank->released))) {
        release(rank, MT_CONTAINER(link, struct run, link));
    }
}

void exec_on_release(struct rank *rank, uint32_t from, const struct wire_header *header,
                     struct wire_reader *body)
{
    while (wire_left(body) >= sizeof(uint32_t)) {
        struct run *run = find_retained(rank, wire_get_u32(body), from);
        if (run) {
            release(rank, run);
        }
    }
}
