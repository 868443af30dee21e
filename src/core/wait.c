#include "core/wait.h"

#include "core/board.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/idle.h"
#include "core/outside.h"
#include "core/stream.h"
#include "core/task.h"

/* A body is only started on top of another's stack with this part of a whole one left below. */
enum { INLINE_STACK_PART = 4 };

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

/* Puts the body aside until the wait may be over. False: there is no stack for the worker to go on
 * with. */
static bool park(struct context *context, struct waiter *waiter)
{
    struct worker *worker = context->worker;
    waiter->is_parked = 1;
    if (waiter->deadline_ns != BASE_FOREVER) {
        base_list_push_back(&worker->timed, &waiter->timed);
    }
    bool is_parked = exec_park(worker, context->run);
    base_list_remove(&waiter->timed);
    waiter->is_parked = 0;
    return is_parked;
}

/* The run of what is awaited, if it lies unstarted in this rank's queues. */
static struct run *find_unstarted(struct rank *rank, const struct target *target)
{
    struct run *run = NULL;
    if (target->object->kind == OBJECT_TASK) {
        run = object_task(target->object)->run;
    } else if (target->object->kind == OBJECT_BORROW) {
        manta_ref ref = object_borrow(target->object)->ref;
        run = exec_find_run(rank, ref.owner, ref.parent, ref.position);
    }
    return run && run->state == RUN_QUEUED && !run->outside && !stream_is(run->function) ? run
                                                                                         : NULL;
}

static bool is_pending(const struct target *target)
{
    return target->object->kind == OBJECT_TASK &&
           object_task(target->object)->state == TASK_PENDING &&
           !outside_is_task(object_task(target->object));
}

/* The same, taken out of the queues to be run right here; NULL when that cannot be. */
static struct run *take_unstarted(struct context *context, const struct target *target)
{
    struct rank *rank = context->rank;
    if (!context->run ||
        fiber_stack_left(fiber_current()) < rank->options.stack_bytes / INLINE_STACK_PART) {
        return NULL;
    }
    struct run *run = find_unstarted(rank, target);
    if (run) {
        exec_unqueue(rank, run);
    } else if (is_pending(target)) {
        run = dispatch_take(rank, object_task(target->object));
    }
    return run && exec_may_start(rank, run) ? run : NULL;
}

static int help_waiter(struct context *context, const struct waiter *waiter)
{
    int code = MANTA_OK;
    if (waiter->queue) {
        return queue_help(context, waiter->queue);
    }
    uint64_t executed = context->rank->stats.executed;
    for (size_t i = 0; i < waiter->target_count && code == MANTA_OK; i++) {
        code = wait_help(context, &waiter->targets[i]);
        if (context->rank->stats.executed != executed) {
            return code; /* much may have happened meanwhile: the waiter may be gone */
        }
    }
    return code;
}

/* What a run that has started here waits for: on a stack put aside, or for a run on top of its own.
 */
static int help_run(struct context *context, const struct run *run)
{
    const struct run *parked = exec_find_parked(run);
    return parked ? help_waiter(context, parked->context->waiter) : MANTA_OK;
}

int wait_help(struct context *context, const struct target *target)
{
    struct rank *rank = context->rank;
    if (target_is_done(target)) {
        return MANTA_OK;
    }
    struct run *run = take_unstarted(context, target);
    if (run) {
        rank->stats.inlined++;
        exec_run(context->worker, run);
        return MANTA_OK;
    }
    if (find_unstarted(rank, target) || is_pending(target)) {
        return MANTA_E_STACK;
    }
    return target->object->kind == OBJECT_TASK ? help_run(context, object_task(target->object)->run)
                                               : MANTA_OK;
}

/* Own needs first; then those of any task parked here, because somebody far away may wait for it,
 * whom we wait for. */
static int help_anyone(struct context *context, const struct waiter *waiter)
{
    struct rank *rank = context->rank;
    uint64_t executed = rank->stats.executed;
    int code = help_waiter(context, waiter);
    BASE_LIST_EACH(&rank->parked, link)
    {
        if (code != MANTA_OK || rank->stats.executed != executed) {
            return code;
        }
        code = help_run(context, MT_CONTAINER(link, struct run, link));
    }
    return code;
}

/* One step of a wait without a stack: helps, or, when there is nothing to help with, looks and
 * sleeps for at most a tick. */
static int wait_in_place(struct context *context, struct waiter *waiter, uint64_t *spin_until)
{
    struct rank *rank = context->rank;
    uint64_t executed = rank->stats.executed;
    int code = waiter->deadline_ns == BASE_FOREVER ? help_anyone(context, waiter) : MANTA_OK;
    if (code == MANTA_OK && waiter->missing && rank->stats.executed == executed) {
        uint64_t tick_ns = base_now_ns(rank->host) + TICK_NS;
        exec_give_back(rank);
        dispatch_flush(rank);
        board_show(context->worker, NULL);
        idle_step(rank, context->sleeper, spin_until, MT_MIN(waiter->deadline_ns, tick_ns));
        board_show(context->worker, context->run);
    }
    return code;
}

static int wait_loop(struct context *context, struct waiter *waiter)
{
    struct rank *rank = context->rank;
    uint64_t spin_until = 0;
    int code = MANTA_OK;
    while (waiter->missing && code == MANTA_OK) {
        if (waiter->is_timed_out || is_late(rank, waiter->deadline_ns)) {
            code = MANTA_E_TIMEOUT;
        } else if (rank->is_stopped) {
            code = MANTA_E_SHUTDOWN;
        } else if (!context->run) {
            idle_step(rank, context->sleeper, &spin_until, waiter->deadline_ns);
        } else if (!park(context, waiter)) {
            code = wait_in_place(context, waiter, &spin_until);
        }
    }
    return code == MANTA_OK && waiter->is_timed_out ? MANTA_E_TIMEOUT : code;
}

int wait_for(struct context *context, struct waiter *waiter, uint64_t deadline_ns)
{
    struct rank *rank = context->rank;
    waiter->context = context;
    context->waiter = waiter;
    waiter->deadline_ns = deadline_ns;
    waiter->is_parked = waiter->is_timed_out = 0;
    base_list_init(&waiter->timed);
    dispatch_pump(rank);
    dispatch_flush(rank);
    idle_rouse(rank);
    return wait_loop(context, waiter);
}

/* A ref's own task is run on top of the waiter's stack before anything else is considered: no
 * switch, no message. */
static void run_awaited(struct context *context, const struct target *target)
{
    struct run *run;
    while (!target_is_done(target) && (run = take_unstarted(context, target))) {
        context->rank->stats.inlined++;
        exec_run(context->worker, run);
    }
}

int wait_target(struct context *context, const struct target *target, uint64_t deadline_ns)
{
    struct rank *rank = context->rank;
    if (deadline_ns == BASE_FOREVER) {
        run_awaited(context, target);
    }
    if (target_is_done(target)) {
        return MANTA_OK;
    }
    struct waiter waiter = {.missing = 1, .targets = target, .target_count = 1};
    struct watch watch = {.kind = WATCH_WAITER, .target = &waiter};
    int code;
    waiter.context = context;
    if (!target_watch(rank, target, &watch)) {
        return MANTA_E_NOMEM;
    }
    code = wait_for(context, &waiter, deadline_ns);
    if (code != MANTA_OK && !target_is_done(target)) {
        target_unwatch(rank, target, &watch);
    }
    return code;
}
