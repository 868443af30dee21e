/*
 * RESULT, BEGUN and GONE messages, at the owner.
 *
 * A result is accepted once: by the record that is still sent to this runner, in this
 * attempt. With it come the refs that the runner keeps, whose owners hear of it first, and
 * its token, if it keeps the result until our RELEASE.
 */
#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/map.h"
#include "core/message.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/task.h"
#include "core/value.h"

/* A rank without a free stack has sent it back unstarted: this one runs it, at the latest on the
 * stack that waits for it. */
static void take_back(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    if (task->flags & TASK_PINNED) {
        dispatch_add(rank, task);
    } else {
        dispatch_place_here(rank, task);
    }
}

static void start_again(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    task->run = NULL;
    task->attempt += task->attempt < UINT8_MAX;
    task_start_again(rank, task);
}

/* The runner's node had no room for its arguments: another one is tried. */
static void move(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    task->run = NULL;
    task->flags |= TASK_MOVED;
    rank->stats.moved++;
    dispatch_add(rank, task);
}

/* The task a RESULT, BEGUN or GONE is about, if it is ours and the message fits it. */
struct task *task_find_sent(struct rank *rank, uint32_t from, const struct wire_header *header)
{
    if (!base_slab_is_known(&rank->tasks, header->token)) {
        return NULL;
    }
    struct task *task = base_slab_at(&rank->tasks, header->token);
    bool fits = task->index == header->token && task->parent == header->parent &&
                task->position == header->position &&
                (task->exec_rank == from || task->flags & TASK_IS_MAP);
    return fits ? task : NULL;
}

/* Whoever takes over from the dead owner is told when we know who it is. */
static void keep_later(struct rank *rank, struct borrow *borrow, uint32_t runner, uint32_t instance)
{
    struct guard *guard = base_spares_take(&rank->spare_guards);
    if (guard) {
        guard->object = &borrow->object;
        guard->holder = runner;
        guard->instance = instance;
        object_hold(guard->object);
        base_list_push_back(&borrow->guards, &guard->link);
    }
}

/* A runner that has not heard of the owner's death registers with the next one by itself, before
 * the death is settled. It would let go at the dead one, so nobody else may be told. */
void task_keep(struct rank *rank, uint32_t runner, const struct message_kept *kept)
{
    bool is_dead = comm_is_down(rank->comm, kept->ref.owner);
    struct scope *scope = scope_find(rank, kept->ref.parent);
    struct target target = {.element = -1};
    if (is_dead && !kept->is_looking) {
        return;
    }
    if ((is_dead || kept->ref.owner == rank->number) && scope &&
        scope_resolve(rank, scope, kept->ref.position, &target)) {
        holder_add(rank, object_task(target.object), kept->ref.position, runner, kept->instance);
        return;
    }
    target = target_find(rank, kept->ref);
    if (!target.object || target.object->kind != OBJECT_BORROW) {
        return;
    }
    struct borrow *borrow = object_borrow(target.object);
    if (borrow->is_looking || (kept->is_looking && borrow->ref.owner == kept->ref.owner)) {
        keep_later(rank, borrow, runner, kept->instance);
    } else {
        object_tell_holder(rank, is_dead ? borrow->ref.owner : kept->ref.owner, kept->ref, runner,
                           kept->instance);
    }
}

static void take_kept(struct rank *rank, uint32_t from, struct wire_reader *body)
{
    for (uint32_t count = wire_get_u32(body); count && !body->failed; count--) {
        struct message_kept kept;
        const void *bytes = wire_take(body, sizeof kept);
        if (!bytes) {
            return;
        }
        memcpy(&kept, bytes, sizeof kept);
        if (kept.ref.owner >= rank->size) {
            body->failed = true;
            return;
        }
        task_keep(rank, from, &kept);
    }
}

static void take_value(struct rank *rank, struct task *task, uint32_t from,
                       const struct message_result *result, struct wire_reader *body)
{
    uint32_t single = function_info(task->function)->single_bytes;
    struct value *value = NULL;
    if (single && !(task->flags & TASK_IS_MAP)) {
        const void *bytes = wire_take(body, single);
        if (!bytes) {
            return;
        }
        memcpy(task->small + CORE_SMALL_BYTES, bytes, single);
        task->object.small_bytes = (uint8_t)single;
    } else if (function_info(task->function)->value_outputs) {
        value = value_wire_read(rank, body, task->outputs);
        if (!value) {
            task_fail(rank, task, MANTA_E_NOMEM, "no memory for the result");
            return;
        }
    }
    if (value && value->ref_outputs) {
        struct task_extra *extra = task_get_extra(rank, task);
        if (!extra || !extra->unacked) {
            object_hold(&task->object);
        }
        if (extra) {
            extra->unacked++; /* ours: a registration may be settled at once */
            extra->release_rank = from;
            extra->release_token = result->run_token;
        }
        value_hold_refs(rank, value, extra && result->flags & RESULT_RETAINED ? task : NULL);
        if (extra) {
            task_release_settled(rank, task->index);
        } else {
            object_drop(rank, &task->object);
        }
    }
    task_complete(rank, task, MANTA_OK, value, NULL);
}

void task_release_settled(struct rank *rank, uint32_t task_index)
{
    struct task *task = base_slab_at(&rank->tasks, task_index);
    if (task->extra && task->extra->unacked && --task->extra->unacked == 0) {
        object_drop(rank, &task->object);
    }
}

static void take_failure(struct rank *rank, struct task *task, uint32_t from,
                         const struct message_result *result, struct wire_reader *body)
{
    manta_error *error = wire_error_read(body);
    if ((result->flags & RESULT_LOST ? task_retry_lost : task_retry_error)(rank, task)) {
        if (result->flags & RESULT_RETAINED) {
            task->exec_token = 0;
            task_release_runner(rank, from, result->run_token);
        }
        base_free(error);
        return;
    }
    task_complete(rank, task, result->code, NULL, error);
}

void task_on_result(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct message_result result;
    const void *bytes = wire_take(body, sizeof result);
    if (!bytes) {
        return;
    }
    memcpy(&result, bytes, sizeof result);
    if (result.flags & RESULT_KEPT) {
        take_kept(rank, from, body);
    }
    if (!(result.flags & RESULT_CREDITED)) {
        dispatch_credit(rank, from, result.flags & RESULT_OUTSIDE ? LANE_OUTSIDE : LANE_WORKERS,
                        result.flags & RESULT_DRY);
    }
    struct task *task = task_find_sent(rank, from, header);
    if (task && result.flags & RESULT_LEASE) {
        map_on_result(rank, task, from, &result, body);
    } else if (!task || task->object.is_done || task->state != TASK_SENT ||
               task->attempt != header->attempt) {
        if (task && task->flags & TASK_STOPPING && !(result.flags & RESULT_CHILDREN)) {
            cancel_task_is_over(rank, task);
        } else if (task && task->object.is_done && task->state == TASK_SENT &&
                   task->flags & TASK_RERUN) {
            recover_rerun_ended(rank, task, result.flags & RESULT_CHILDREN);
        }
        if (result.flags & RESULT_RETAINED) {
            task_release_runner(rank, from, result.run_token);
        }
    } else {
        task->exec_token = result.flags & RESULT_RETAINED ? result.run_token : 0;
        task->flags |= result.flags & RESULT_CHILDREN ? TASK_LINEAGE : 0;
        if (result.flags & RESULT_STARVED) {
            start_again(rank, task);
        } else if (result.flags & RESULT_CROWDED) {
            move(rank, task);
        } else if (result.flags & RESULT_UNSTARTED) {
            take_back(rank, task);
        } else if (result.flags & RESULT_DISPLACED) {
            task_place_again(rank, task);
        } else if (result.code == MANTA_OK) {
            take_value(rank, task, from, &result, body);
        } else {
            take_failure(rank, task, from, &result, body);
        }
    }
    dispatch_pump(rank);
}

void task_on_begun(struct rank *rank, uint32_t from, const struct wire_header *header,
                   struct wire_reader *body)
{
    struct task *task = task_find_sent(rank, from, header);
    uint64_t begin = wire_get_u64(body);
    if (!task || !task->object.kind) {
        return; /* it is gone */
    }
    if (task->flags & TASK_IS_MAP) {
        map_note_begun(task, from, begin);
    } else if (task->state == TASK_SENT && task->attempt == header->attempt) {
        task->flags |= TASK_BEGUN;
    }
}

void task_on_gone(struct rank *rank, uint32_t from, const struct wire_header *header,
                  struct wire_reader *body)
{
    struct task *task = task_find_sent(rank, from, header);
    if (task && task->flags & TASK_STOPPING) {
        cancel_task_is_over(rank, task);
    } else if (task && task->state == TASK_DONE && task->flags & TASK_LINEAGE) {
        task_end_lineage(rank, task);
    }
}

void task_release_runner(struct rank *rank, uint32_t runner, uint32_t run_token)
{
    struct peer *peer = peer_get(rank, runner);
    if (!peer || comm_is_down(rank->comm, runner)) {
        return;
    }
    if (runner == rank->number) {
        exec_release_later(rank, peer, run_token);
        return;
    }
    peer->release[peer->release_count++] = run_token;
    if (peer->release_count == MT_COUNT(peer->release)) {
        peer_flush_releases(rank, peer);
    } else {
        dispatch_note_batch(rank, peer);
    }
}
