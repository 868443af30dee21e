/*
 * Completion queues: entries move to `ready` when their object is done; whoever waits is woken.
 *
 * An entry holds its object, so a queue that the program forgot would hold up the end of
 * the job. The rank therefore knows its queues and empties them when it finishes; from
 * then on a queue belongs to no rank, and all that is left to do is to destroy it.
 */
#include "core/context.h"
#include "core/dispatch.h"
#include "core/idle.h"
#include "core/scope.h"
#include "core/wait.h"

struct entry {
    struct base_list link; /* in pending or ready */
    struct watch watch;
    manta_queue *queue;
    struct target target;
    manta_ref ref;
    void *label;
};

struct manta_queue {
    struct rank *rank;     /* NULL: its run has ended */
    struct base_list link; /* in rank->queues */
    struct base_list pending, ready, waiters;
};

int manta_queue_create(manta_queue **ret_queue)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_queue) {
        return context_fail(context, MANTA_E_INVALID,
                            "ret_queue is NULL; pass where the queue is to go");
    }
    manta_queue *queue = base_alloc(sizeof *queue);
    if (!queue) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for a queue");
    }
    queue->rank = context->rank;
    base_list_init(&queue->pending);
    base_list_init(&queue->ready);
    base_list_init(&queue->waiters);
    baton_take(&queue->rank->baton, queue->rank->host);
    base_list_push_back(&queue->rank->queues, &queue->link);
    baton_give(&queue->rank->baton);
    *ret_queue = queue;
    return MANTA_OK;
}

static void make_ready(struct rank *rank, struct entry *entry)
{
    manta_queue *queue = entry->queue;
    base_list_remove(&entry->link);
    base_list_push_back(&queue->ready, &entry->link);
    struct base_list *link = base_list_pop_front(&queue->waiters);
    if (link) {
        waiter_notify(rank, MT_CONTAINER(link, struct waiter, link), 0);
    }
}

void queue_notify(struct rank *rank, void *entry)
{
    make_ready(rank, entry);
}

static int check_rank(struct context *context, const manta_queue *queue)
{
    return queue->rank == context->rank
               ? MANTA_OK
               : context_fail(context, MANTA_E_STATE,
                              "the queue belongs to a run that has ended; destroy it");
}

static int add(struct context *context, manta_queue *queue, manta_ref ref, void *label)
{
    struct rank *rank = context->rank;
    MANTA_TRY(check_rank(context, queue));
    struct target target = scope_target(rank, context_scope(context), ref);
    if (!target.object) {
        return context_not_held(context, ref);
    }
    struct entry *entry = base_alloc(sizeof *entry);
    if (!entry) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for a queue entry");
    }
    *entry = (struct entry){.queue = queue, .target = target, .ref = ref, .label = label};
    entry->watch = (struct watch){.kind = WATCH_QUEUE, .target = entry};
    base_list_push_back(&queue->pending, &entry->link);
    object_hold(target.object);
    if (target_is_done(&target)) {
        make_ready(rank, entry);
    } else if (!target_watch(rank, &target, &entry->watch)) {
        base_list_remove(&entry->link);
        object_drop(rank, target.object);
        base_free(entry);
        return context_fail(context, MANTA_E_NOMEM, "no memory to watch the ref");
    }
    return MANTA_OK;
}

int manta_queue_add(manta_queue *queue, manta_ref ref, void *label)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!queue) {
        return context_fail(context, MANTA_E_INVALID,
                            "queue is NULL; make one with manta_queue_create");
    }
    context_take(context);
    int code = add(context, queue, ref, label);
    dispatch_flush(context->rank);
    context_give(context);
    return code;
}

int queue_help(struct context *context, manta_queue *queue)
{
    uint64_t executed = context->rank->stats.executed;
    BASE_LIST_EACH(&queue->pending, link)
    {
        int code = wait_help(context, &MT_CONTAINER(link, struct entry, link)->target);
        if (code != MANTA_OK || context->rank->stats.executed != executed) {
            return code; /* much may have happened meanwhile: the list is another one */
        }
    }
    return MANTA_OK;
}

static int take_next(struct context *context, manta_queue *queue, uint64_t deadline_ns,
                     struct entry **ret_entry)
{
    while (base_list_is_empty(&queue->ready)) {
        if (base_list_is_empty(&queue->pending)) {
            return context_fail(context, MANTA_E_NOTFOUND,
                                "the queue is empty: nothing is left to wait for");
        }
        struct waiter waiter = {.missing = 1, .queue = queue};
        base_list_push_back(&queue->waiters, &waiter.link);
        int code = wait_for(context, &waiter, deadline_ns);
        base_list_remove(&waiter.link);
        if (code != MANTA_OK) {
            return context_fail(context, code, "waiting for the next ready ref of a queue");
        }
    }
    *ret_entry = MT_CONTAINER(base_list_pop_front(&queue->ready), struct entry, link);
    return MANTA_OK;
}

int manta_queue_next(manta_queue *queue, uint64_t timeout_ns, manta_ref *ret_ref, void **ret_label)
{
    struct context *context = context_enter();
    struct entry *entry = NULL;
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!queue || !ret_ref) {
        return context_fail(context, MANTA_E_INVALID, "%s is NULL", queue ? "ret_ref" : "queue");
    }
    struct rank *rank = context->rank;
    uint64_t deadline_ns = timeout_ns == MANTA_FOREVER
                               ? BASE_FOREVER
                               : base_deadline_after(base_now_ns(rank->host), timeout_ns);
    baton_take(&rank->baton, rank->host);
    int code = check_rank(context, queue);
    code = code == MANTA_OK ? take_next(context, queue, deadline_ns, &entry) : code;
    if (code == MANTA_OK) {
        *ret_ref = entry->ref;
        if (ret_label) {
            *ret_label = entry->label;
        }
        object_drop(rank, entry->target.object);
        base_free(entry);
    }
    baton_give(&rank->baton);
    return code;
}

static void free_entries(struct rank *rank, struct base_list *list)
{
    struct base_list *link;
    while ((link = base_list_pop_front(list))) {
        struct entry *entry = MT_CONTAINER(link, struct entry, link);
        if (!target_is_done(&entry->target)) {
            target_unwatch(rank, &entry->target, &entry->watch);
        }
        object_drop(rank, entry->target.object);
        base_free(entry);
    }
}

static void detach(struct rank *rank, manta_queue *queue)
{
    struct base_list *link;
    base_list_remove(&queue->link);
    queue->rank = NULL;
    free_entries(rank, &queue->pending);
    free_entries(rank, &queue->ready);
    while ((link = base_list_pop_front(&queue->waiters))) {
        waiter_notify(rank, MT_CONTAINER(link, struct waiter, link), 0);
    }
}

void queue_detach_all(struct rank *rank)
{
    while (!base_list_is_empty(&rank->queues)) {
        detach(rank, MT_CONTAINER(rank->queues.next, manta_queue, link));
    }
}

void manta_queue_destroy(manta_queue *queue)
{
    struct rank *rank = queue ? queue->rank : NULL;
    if (rank) {
        baton_take(&rank->baton, rank->host);
        if (queue->rank) {
            detach(rank, queue);
        }
        baton_give(&rank->baton);
    }
    base_free(queue);
}
