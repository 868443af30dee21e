#include "core/cancel.h"

#include "core/dispatch.h"
#include "core/exec.h"
#include "core/graph.h"
#include "core/map.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/recover.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"

void cancel_run(struct rank *rank, struct run *run)
{
    if (run->cancelled) {
        return;
    }
    atomic_store_explicit(&run->cancelled, 1, memory_order_relaxed);
    if (run->state == RUN_RUNNING || run->state == RUN_PARKED) {
        if (run->scope) {
            cancel_children(rank, run->scope);
        }
        source_wake(rank, run);
        outside_stop(rank, run);
    } else if (run->state == RUN_QUEUED && !run->map_count) {
        exec_unqueue(rank, run);
        exec_deliver(rank, run, MANTA_E_CANCELLED, NULL, NULL);
    }
}

void cancel_children(struct rank *rank, struct scope *scope)
{
    struct task *task;
    for (uint32_t at = 0; (task = scope_next_child(rank, scope, &at));) {
        cancel_task(rank, task);
    }
    BASE_LIST_EACH(&scope->maps, link)
    {
        cancel_task(rank, MT_CONTAINER(link, struct map, link)->task);
    }
}

void cancel_leases_here(struct rank *rank, const struct task *task)
{
    for (uint32_t i = 1; i < rank->runs.fresh; i++) {
        struct run *run = base_slab_at(&rank->runs, i);
        if (run->id && run->index == i && run->task == task) {
            cancel_run(rank, run);
        }
    }
}

static MT_COLD const char *phase_of(struct rank *rank, const struct task *task,
                                    enum task_state state)
{
    if (graph_is_result(task)) {
        return conduct_phase(rank, task);
    }
    return state == TASK_WAITING   ? "it waited for its arguments"
           : state == TASK_PENDING ? "it waited for a place to run"
                                   : "it ran or was about to";
}

static void stop_runner(struct rank *rank, const struct task *task, struct run *run)
{
    if (run) {
        cancel_run(rank, run);
    } else if (!comm_is_down(rank->comm, task->exec_rank)) {
        struct wire_header about = {.parent = task->parent, .position = task->position};
        message_send(rank, task->exec_rank, MESSAGE_CANCEL, about, NULL, 0);
    }
}

/* Until its runner says that all of it is over, we have to know of it: if the runner dies, nobody
 * else can tell its children that they are not wanted. */
static void await_end(struct rank *rank, struct task *task)
{
    struct peer *peer = peer_get(rank, task->exec_rank);
    if (peer && !comm_is_down(rank->comm, task->exec_rank)) {
        task->flags |= TASK_STOPPING;
        object_hold(&task->object);
        base_list_push_back(&peer->stopping, &task->link);
    }
}

void cancel_task_is_over(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    task->flags &= (uint16_t)~TASK_STOPPING;
    if (task_may_have_run(task)) {
        recover_give_up(rank, task);
    }
    object_drop(rank, &task->object);
}

void cancel_task(struct rank *rank, struct task *task)
{
    if (task->object.is_done || task->flags & TASK_CANCELLED) {
        return;
    }
    enum task_state state = task->state;
    task->flags |= TASK_CANCELLED;
    object_hold(&task->object);
    if (task->flags & TASK_IS_MAP) {
        map_cancel(rank, task);
    } else {
        if (state == TASK_PENDING) {
            task->flags &TASK_PINNED ? (void)rank->pinned_count-- : (void)rank->pending_count--;
            base_list_remove(&task->link);
        }
        struct run *run = task->run;
        if (run) {
            exec_outlive_task(run);
        }
        task_fail(rank, task, MANTA_E_CANCELLED, "cancelled while %s", phase_of(rank, task, state));
        if (state == TASK_SENT) {
            stop_runner(rank, task, run);
            if (!run) {
                await_end(rank, task);
            }
        } else if (task_may_have_run(task)) {
            recover_give_up(rank, task);
        }
        if (MT_UNLIKELY(graph_is_result(task))) {
            conduct_cancel(rank, task);
        }
    }
    object_drop(rank, &task->object);
}

void cancel_run_of(struct rank *rank, struct task *task)
{
    struct run *run = task->run;
    if (run) {
        exec_outlive_task(run);
    }
    task->run = NULL;
    stop_runner(rank, task, run);
}

void cancel_target(struct rank *rank, const struct target *target)
{
    if (target->object->kind != OBJECT_BORROW) {
        cancel_task(rank, object_task(target->object));
        return;
    }
    manta_ref ref = object_borrow(target->object)->ref;
    struct wire_header about = {.parent = ref.parent, .position = ref.position};
    if (!comm_is_down(rank->comm, ref.owner)) {
        message_send(rank, ref.owner, MESSAGE_STOP, about, NULL, 0);
    }
}

void cancel_on_stop(struct rank *rank, uint32_t from, const struct wire_header *header,
                    struct wire_reader *body)
{
    struct target target =
        target_find(rank, (manta_ref){header->parent, header->position, rank->number});
    if (target.object && target.object->kind != OBJECT_BORROW) {
        cancel_task(rank, object_task(target.object));
    }
    dispatch_pump(rank);
}

void cancel_on_cancel(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct peer *peer = rank->peers[from];
    for (struct base_list *link = peer ? peer->runs.next : NULL; link && link != &peer->runs;) {
        struct run *run = MT_CONTAINER(link, struct run, owned);
        link = link->next;
        if (run->parent == header->parent && run->position == header->position) {
            cancel_run(rank, run); /* of a map there may be several */
        }
    }
}
