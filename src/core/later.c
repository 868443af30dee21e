#include "core/later.h"

#include "core/dispatch.h"
#include "core/task.h"

/* The delay after so many failures is that of list `failures` or of the last. */
static uint32_t list_of(uint32_t failures)
{
    return MT_MIN(failures, CORE_DELAYS - 1);
}

void later_add(struct rank *rank, struct task *task, uint32_t failures)
{
    uint64_t delay_ns = sched_retry_delay_ns(list_of(failures));
    /* A pinned one would be launched from inside the end of the very run that failed. */
    bool is_put_off = delay_ns || task->flags & TASK_PINNED;
    struct task_extra *extra = is_put_off ? task_get_extra(rank, task) : NULL;
    if (!extra) {
        dispatch_add(rank, task);
        return;
    }
    extra->due_ns = base_deadline_after(base_now_ns(rank->host), delay_ns);
    task->state = TASK_WAITING;
    base_list_push_back(&rank->later[list_of(failures)], &task->link);
    rank->later_mask |= 1u << list_of(failures);
}

static struct task *first(struct rank *rank, uint32_t list)
{
    if (base_list_is_empty(&rank->later[list])) {
        rank->later_mask &= ~(1u << list);
        return NULL;
    }
    return MT_CONTAINER(rank->later[list].next, struct task, link);
}

static bool release(struct rank *rank, uint32_t list, uint64_t now_ns)
{
    struct task *task;
    bool has_released = false;
    while ((task = first(rank, list)) && task->extra->due_ns <= now_ns) {
        base_list_remove(&task->link);
        dispatch_add(rank, task);
        has_released = true;
    }
    return has_released;
}

void later_tick(struct rank *rank)
{
    bool has_released = false;
    uint64_t now_ns = rank->later_mask ? base_now_ns(rank->host) : 0;
    for (uint32_t mask = rank->later_mask; mask; mask &= mask - 1) {
        has_released |= release(rank, (uint32_t)__builtin_ctz(mask), now_ns);
    }
    if (has_released) {
        dispatch_pump(rank);
        dispatch_flush(rank);
    }
}

uint64_t later_next_ns(struct rank *rank)
{
    uint64_t next_ns = BASE_FOREVER;
    for (uint32_t mask = rank->later_mask; mask; mask &= mask - 1) {
        struct task *task = first(rank, (uint32_t)__builtin_ctz(mask));
        next_ns = task ? MT_MIN(next_ns, task->extra->due_ns) : next_ns;
    }
    return next_ns;
}
