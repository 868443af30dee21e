#include "core/wait.h"

#include "core/context.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/idle.h"
#include "core/task.h"

/* A body is only started on top of another's stack with this much left below. */
enum { INLINE_STACK_MIN = 48 * 1024 };

void waiter_notify(struct rank *rank, struct waiter *waiter, uint32_t position)
{
    if (waiter->missing == 0 || --waiter->missing) {
        return;
    }
    if (waiter->is_parked) {
        exec_resume(rank, waiter->context->run);
    } else {
        idle_wake(rank, waiter->context->sleeper);
    }
}

static bool is_late(struct rank *rank, uint64_t deadline_ns)
{
    return deadline_ns != BASE_FOREVER && base_now_ns(rank->host) >= deadline_ns;
}

/* Puts the body aside; without a stack for the worker to go on with, polls in place until one is there or the wait is over. */
static void park_or_poll(struct context *context, struct waiter *waiter, uint64_t *spin_until)
{
    struct worker *worker = context->worker;
    waiter->is_parked = 1;
    if (waiter->deadline_ns != BASE_FOREVER) {
        base_list_push_back(&worker->timed, &waiter->timed);
    }
    bool is_parked = exec_park(worker, context->run);
    base_list_remove(&waiter->timed);
    waiter->is_parked = 0;
    if (!is_parked) {
        idle_step(context->rank, context->sleeper, spin_until, waiter->deadline_ns);
    }
}

int wait_for(struct context *context, struct waiter *waiter, uint64_t deadline_ns)
{
    struct rank *rank = context->rank;
    uint64_t spin_until = 0;
    waiter->context = context;
    waiter->deadline_ns = deadline_ns;
    waiter->is_parked = waiter->is_timed_out = 0;
    base_list_init(&waiter->timed);
    dispatch_pump(rank);
    dispatch_flush(rank);
    idle_rouse(rank);
    while (waiter->missing) {
        if (waiter->is_timed_out || is_late(rank, deadline_ns)) {
            return MANTA_E_TIMEOUT;
        }
        if (rank->is_stopped) {
            return MANTA_E_SHUTDOWN;
        }
        if (context->run) {
            park_or_poll(context, waiter, &spin_until);
        } else {
            idle_step(rank, context->sleeper, &spin_until, deadline_ns);
        }
    }
    return waiter->is_timed_out ? MANTA_E_TIMEOUT : MANTA_OK;
}

/* The awaited task's run, taken out of this rank's queues to be run right here; NULL when that cannot be. */
static struct run *take_unstarted(struct context *context, const struct target *target)
{
    struct rank *rank = context->rank;
    if (!context->run || target->object->kind != OBJECT_TASK ||
        fiber_stack_left(fiber_current()) < INLINE_STACK_MIN) {
        return NULL;
    }
    struct task *task = object_task(target->object);
    if (task->run && task->run->state == RUN_QUEUED) {
        exec_unqueue(rank, task->run);
        return task->run;
    }
    return dispatch_take(rank, task);
}

int wait_target(struct context *context, const struct target *target, uint64_t deadline_ns)
{
    struct rank *rank = context->rank;
    struct run *run;
    while (!target_is_done(target) && deadline_ns == BASE_FOREVER && (run = take_unstarted(context, target))) {
        rank->stats.inlined++;
        exec_run(context->worker, run);
    }
    if (target_is_done(target)) {
        return MANTA_OK;
    }
    struct waiter waiter = {.missing = 1};
    struct watch watch = {.kind = WATCH_WAITER, .target = &waiter};
    waiter.context = context;
    if (!target_watch(rank, target, &watch)) {
        return MANTA_E_NOMEM;
    }
    int code = wait_for(context, &waiter, deadline_ns);
    if (code != MANTA_OK) {
        target_unwatch(rank, target, &watch);
    }
    return code;
}
