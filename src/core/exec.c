/*
 * The executor's side.
 *
 * A worker is a thread with a loop: resume what is ready to go on, else start the next
 * run, else wait. A run's body is a plain call on the current stack. When it waits
 * (exec_park) the worker goes on with its loop on another stack, a spare one or a new
 * one; when what it waited for is there, the loop switches back and its own stack
 * becomes a spare. So a stack holds one loop and the bodies started on top of each other
 * by waiting, of which only the last can be parked; stacks are only made when bodies wait, and a
 * parked body resumes on its thread.
 *
 * The baton is held across switches: it belongs to the thread, and the stack that goes
 * on gives it back.
 */
#include "core/exec.h"

#include "core/board.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/fetch.h"
#include "core/graph.h"
#include "core/heirs.h"
#include "core/idle.h"
#include "core/inputs.h"
#include "core/lost.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/pack.h"
#include "core/pin.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/room.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/timeline.h"
#include "core/value.h"
#include "core/wait.h"

#include <stdio.h>

enum { PARKED_MAX_DEFAULT = 4096 };

/* ---- Runs ----------------------------------------------------------------------------------- */

struct run *exec_run_alloc(struct rank *rank, manta_function *function)
{
    uint32_t index = base_slab_take(&rank->runs);
    if (!index) {
        return NULL;
    }
    struct run *run = base_slab_at(&rank->runs, index);
    memset(run, 0, offsetof(struct run, name));
    run->name[0] = 0;
    run->index = index;
    run->function = function;
    run->lost_on = UINT32_MAX;
    base_list_init(&run->link);
    base_list_init(&run->owned);
    return run;
}

void exec_outlive_task(struct run *run)
{
    if (run->state != RUN_FINISHED && run->args_borrowed && !run->lender) {
        run->lender = run->task;
        object_hold(&run->task->object);
    }
}

/* What most runs do not have. Returns who has waited for its end; NULL: nobody. */
static MT_NOINLINE struct run *end_more(struct rank *rank, struct run *run)
{
    struct run *follower = run->source ? source_destroy(rank, run) : NULL;
    if (run->is_follower) {
        source_unfollow(rank, run);
    }
    fetch_end_run(rank, run);
    heirs_end_run(rank, run);
    if (run->start) {
        pin_end_run(rank, run);
    }
    if (run->outside) {
        outside_detach(run);
    }
    return follower;
}

void exec_run_free(struct rank *rank, struct run *run)
{
    struct task *lender = run->lender;
    if (run->scope) { /* it never started */
        scope_end(rank, run->scope);
    }
    base_list_remove(&run->link);
    base_list_remove(&run->owned);
    struct run *follower = MT_UNLIKELY(run->has_more) ? end_more(rank, run) : NULL;
    if (!run->args_borrowed) {
        pack_block_free(rank, run->args, run->args_bytes);
    }
    value_unshare(rank, run->result);
    base_free(run->error);
    run->is_retained = run->is_orphan = 0; /* late messages must not take it for one */
    run->id = 0;
    run->lender = NULL;
    base_slab_give(&rank->runs, run->index);
    if (MT_UNLIKELY(lender != NULL)) {
        object_drop(rank, &lender->object);
    }
    if (MT_UNLIKELY(follower != NULL)) {
        exec_begin(rank, follower);
    }
}

/* A copy of `size` resolved bytes, small ones inside the run. NULL: memory is out. */
static uint8_t *make_args(struct rank *rank, struct run *run, size_t size)
{
    run->args_bytes = (uint32_t)size;
    if (size <= sizeof run->args_small) {
        return run->args_small;
    }
    run->args = pack_block_create(rank, size);
    return run->args;
}

/* The place that the task has taken is given back. */
static MT_COLD struct run *fail_local(struct rank *rank, struct task *task, struct run *run)
{
    if (run) {
        exec_run_free(rank, run);
    }
    task_fail(rank, task, MANTA_E_NOMEM, "no memory to run the task");
    dispatch_credit(rank, rank->number, outside_is_task(task) ? LANE_OUTSIDE : LANE_WORKERS, false);
    return NULL;
}

struct run *exec_make_local(struct rank *rank, struct task *task, const struct inputs *inputs)
{
    struct run *run = exec_run_alloc(rank, task->function);
    if (!run) {
        return fail_local(rank, task, NULL);
    }
    run->id = task_id(task);
    run->parent = task->parent;
    run->position = task->position;
    run->owner = rank->number;
    run->token = task->index;
    run->task = task;
    run->attempt = task->attempt;
    run->priority = task->priority;
    run->parent_is_root = core_is_root_id(task->parent);
    run->is_moved = task->flags & TASK_MOVED ? 1 : 0;
    if (MT_UNLIKELY(rank->has_moved || task->attempt > 1)) {
        dispatch_why_again(rank, task, &run->lost_on, &run->deaths);
    }
    if (MT_UNLIKELY(task->extra != NULL)) {
        run->timeout_ns = task->extra->timeout_ns;
        memcpy(run->name, task->extra->name, sizeof run->name);
        const struct outside_terms terms = outside_terms(task);
        if (!outside_attach(rank, run, &terms)) {
            return fail_local(rank, task, run);
        }
    }
    task->run = run;
    if (inputs) {
        uint8_t *args = make_args(rank, run, inputs->bytes);
        if (!args) {
            return fail_local(rank, task, run);
        }
        inputs_write(inputs, args);
        run->is_rich = inputs->is_rich;
    } else {
        run->args = task_args(task);
        run->args_bytes = task->args_bytes;
        run->args_borrowed = 1;
    }
    return run;
}

static uint32_t level_of(const struct run *run)
{
    return (uint32_t)(7 - run->priority);
}

static inline void make_ready(struct rank *rank, struct run *run)
{
    run->state = RUN_QUEUED;
    base_list_push_back(&rank->ready[level_of(run)], &run->link);
    rank->ready_mask |= 1u << level_of(run);
    rank->ready_count++;
    idle_wake_worker(rank);
}

/* By message also to the own rank: this may be called from inside the task's start. */
void exec_send_back(struct rank *rank, struct run *run, uint16_t flags)
{
    struct task *held = run->map_count ? run->task : NULL;
    struct message_lease lease = {run->map_begin, run->map_count};
    struct message_result result = {
        .flags = RESULT_DISPLACED | flags | (run->map_count ? RESULT_LEASE : 0) |
                 (run->is_credited ? RESULT_CREDITED : 0) | (run->outside ? RESULT_OUTSIDE : 0)};
    struct wire_header about = {.parent = run->parent,
                                .position = run->position,
                                .token = run->token,
                                .attempt = run->attempt};
    size_t size = sizeof result + (run->map_count ? sizeof lease : 0);
    bool is_wanted = !run->is_orphan && !rank->down[run->owner];
    uint8_t *out = is_wanted ? message_begin(rank, run->owner, MESSAGE_RESULT, &about, size) : NULL;
    if (out) {
        wire_put_bytes(&out, &result, sizeof result);
        wire_put_bytes(&out, &lease, run->map_count ? sizeof lease : 0);
        message_end(rank);
    }
    if (run->task && run->task->run == run) {
        run->task->run = NULL;
    }
    exec_run_free(rank, run);
    if (held) {
        object_drop(rank, &held->object);
    }
}

/* There was no room here for its arguments, and there is another node that may have it. */
static bool may_move(const struct rank *rank, const struct run *run)
{
    bool is_pinned = run->is_pinned || (run->task && run->task->flags & TASK_PINNED);
    return run->code == MANTA_E_LIMIT && !is_pinned && !run->is_moved && !run->map_count &&
           !run->is_orphan && !rank->down[run->owner] && rank->room &&
           rank->room->near_count < rank->size;
}

MT_NOINLINE void exec_queue_fetched(struct rank *rank, struct run *run)
{
    if (MT_UNLIKELY(run->code == MANTA_E_LOST)) {
        lost_give_back(rank, run);
    } else if (MT_UNLIKELY(run->code != MANTA_OK) && may_move(rank, run)) {
        exec_send_back(rank, run, RESULT_CROWDED);
    } else if (!run->outside) {
        make_ready(rank, run);
    } else if (exec_may_start(rank, run)) {
        outside_queue(rank, run);
    }
}

bool exec_admit(struct rank *rank, struct run *run)
{
    bool is_admitted = pin_run(rank, run);
    if (is_admitted && MT_UNLIKELY(run->code == MANTA_E_LOST)) {
        lost_give_back(rank, run);
        return false;
    }
    return is_admitted;
}

static MT_NOINLINE void queue_after_inputs(struct rank *rank, struct run *run)
{
    if (run->is_rich) {
        heirs_claim_run(rank, run);
        if (fetch_for_run(rank, run)) {
            run->state = RUN_FETCHING;
            return;
        }
    }
    exec_queue_fetched(rank, run);
}

void exec_queue(struct rank *rank, struct run *run)
{
    if (MT_UNLIKELY(run->outside != NULL || run->is_rich)) {
        queue_after_inputs(rank, run);
    } else {
        make_ready(rank, run);
    }
}

static MT_NOINLINE void begin_special(struct rank *rank, struct run *run)
{
    if (stream_is(run->function) && source_comes_after(rank, run)) {
        return;
    }
    if (!run->is_again || !recover_takes_over(rank, run)) {
        exec_queue(rank, run);
    }
}

void exec_begin(struct rank *rank, struct run *run)
{
    const struct function_info *info = function_info(run->function);
    if (MT_UNLIKELY(run->is_again || run->outside || run->is_rich || info->is_stream)) {
        begin_special(rank, run);
    } else {
        make_ready(rank, run);
    }
}

void exec_unqueue(struct rank *rank, struct run *run)
{
    base_list_remove(&run->link);
    rank->ready_count -= !run->outside;
}

static struct run *next_ready(struct rank *rank)
{
    while (rank->ready_mask) {
        uint32_t level = (uint32_t)__builtin_ctz(rank->ready_mask);
        struct base_list *link = base_list_pop_front(&rank->ready[level]);
        if (link) {
            rank->ready_count--;
            return MT_CONTAINER(link, struct run, link);
        }
        rank->ready_mask &= ~(1u << level);
    }
    return NULL;
}

struct run *exec_find_run(struct rank *rank, uint32_t owner, uint64_t parent, uint32_t position)
{
    struct peer *peer = rank->peers[owner];
    for (struct base_list *link = peer ? peer->runs.next : NULL; link && link != &peer->runs;
         link = link->next) {
        struct run *run = MT_CONTAINER(link, struct run, owned);
        if (run->parent == parent && run->position == position) {
            return run;
        }
    }
    return NULL;
}

/* ---- TASK messages -------------------------------------------------------------------------- */

static void refuse_task(struct rank *rank, uint32_t from, const struct wire_header *header,
                        int code, const char *text)
{
    manta_error error = {.code = code, .rank = rank->number, .attempt = header->attempt};
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    snprintf(error.text, sizeof error.text, "%s", text);
    struct message_result result = {.code = code};
    size_t size = sizeof result + wire_error_bytes(&error);
    uint8_t *out = message_begin(rank, from, MESSAGE_RESULT, header, size);
    if (out) {
        wire_put_bytes(&out, &result, sizeof result);
        wire_error_write(&error, out);
        message_end(rank);
    }
}

static void read_options(struct rank *rank, struct run *run, uint16_t flags,
                         struct wire_reader *body)
{
    const void *bytes;
    if (!(flags & TASK_MESSAGE_ROOT)) {
        run->digest = wire_get_u64(body);
    }
    if (flags & TASK_MESSAGE_AGAIN) {
        run->lost_on = wire_get_u32(body);
        run->deaths = wire_get_u32(body);
    }
    if (flags & TASK_MESSAGE_OPTIONS && (bytes = wire_take(body, sizeof(struct message_options)))) {
        struct message_options options;
        memcpy(&options, bytes, sizeof options);
        run->timeout_ns = options.timeout_ns;
        memcpy(run->name, options.name, sizeof run->name);
        run->name[sizeof run->name - 1] = 0;
        body->failed |= !outside_attach(rank, run, &options.outside);
    }
    if (flags & TASK_MESSAGE_LEASE && (bytes = wire_take(body, sizeof(struct message_lease)))) {
        struct message_lease lease;
        memcpy(&lease, bytes, sizeof lease);
        run->map_begin = lease.begin;
        run->map_count = lease.count;
    }
}

static struct run *make_remote(struct rank *rank, uint32_t from, const struct wire_header *header,
                               const struct message_task *message, manta_function *function)
{
    struct run *run = exec_run_alloc(rank, function);
    if (run) {
        run->id = core_task_id(header->parent, header->position);
        run->parent = header->parent;
        run->position = header->position;
        run->owner = from;
        run->token = header->token;
        run->attempt = header->attempt;
        run->priority = (int8_t)MT_MIN(MT_MAX(message->priority, -8), 7);
        run->parent_is_root = message->flags & TASK_MESSAGE_ROOT ? 1 : 0;
        run->is_pinned = message->flags & TASK_MESSAGE_PINNED ? 1 : 0;
        run->is_rich = message->flags & TASK_MESSAGE_RICH ? 1 : 0;
        run->is_watched = message->flags & TASK_MESSAGE_WATCHED ? 1 : 0;
        run->is_moved = message->flags & TASK_MESSAGE_MOVED ? 1 : 0;
    }
    return run;
}

void exec_on_task(struct rank *rank, uint32_t from, const struct wire_header *header,
                  struct wire_reader *body)
{
    struct message_task message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    manta_function *function = registry_find(message.function);
    struct run *run = function ? make_remote(rank, from, header, &message, function) : NULL;
    struct peer *peer = peer_get(rank, from);
    if (MT_UNLIKELY(!run || !peer)) {
        refuse_task(
            rank, from, header, function ? MANTA_E_NOMEM : MANTA_E_VERSION,
            function ? "no memory for another task on this rank"
                     : "this rank's program has no such task: run the same program on all ranks");
        return;
    }
    base_list_push_back(&peer->runs, &run->owned);
    read_options(rank, run, message.flags, body);
    size_t size = wire_left(body);
    uint8_t *args = make_args(rank, run, size);
    const void *packed = wire_take(body, size);
    if (!args || body->failed) {
        exec_run_free(rank, run);
        refuse_task(rank, from, header, MANTA_E_NOMEM,
                    "no memory for the task's arguments on this rank");
        return;
    }
    memcpy(args, packed, size);
    run->is_again = message.flags & TASK_MESSAGE_AGAIN || recover_has_met(rank, run->id);
    exec_begin(rank, run);
}

/* ---- Stacks --------------------------------------------------------------------------------- */

static void release_dead(struct worker *worker)
{
    if (MT_UNLIKELY(worker->dead != NULL)) {
        fiber_release(worker->dead);
        worker->dead = NULL;
    }
}

static void switch_to(struct worker *worker, struct fiber *from, struct fiber *to)
{
    fiber_switch(from, to);
    release_dead(worker);
}

static void loop(struct worker *worker);

static void loop_entry(void *arg)
{
    struct worker *worker = arg;
    release_dead(worker);
    loop(worker);
}

/* Switches to a run that is ready to go on; the loop's own stack becomes a spare, or goes when
 * there are enough. */
static void go_on_with(struct worker *worker, struct run *run)
{
    struct fiber *self = fiber_current();
    if (worker->spare_count < WORKER_SPARES || self == worker->base) {
        worker->spares[worker->spare_count++] = self;
        switch_to(worker, self, run->fiber);
    } else {
        worker->dead = self;
        fiber_exit_to(self, run->fiber);
    }
}

static struct fiber *take_stack(struct worker *worker)
{
    struct rank *rank = worker->rank;
    uint32_t max = rank->options.parked_max ? rank->options.parked_max : PARKED_MAX_DEFAULT;
    if (!base_list_is_empty(&worker->resumable)) {
        return MT_CONTAINER(base_list_pop_front(&worker->resumable), struct run, link)->fiber;
    }
    if (worker->spare_count) {
        return worker->spares[--worker->spare_count];
    }
    return rank->parked_count < max ? fiber_create(rank->stacks, loop_entry, worker) : NULL;
}

void exec_give_place_back(struct rank *rank, struct run *run)
{
    if (run->is_credited) {
        return;
    }
    run->is_credited = 1;
    if (run->task) {
        dispatch_credit(rank, rank->number, exec_lane(run), true);
    } else if (!comm_is_down(rank->comm, run->owner)) {
        struct wire_header about = {.position = exec_lane(run)};
        message_send(rank, run->owner, MESSAGE_CREDIT, about, NULL, 0);
    }
}

/* Tasks that wait take no place at their owners: neither the one that parks nor those below it on
 * its stack. */
static void give_places_back(struct rank *rank, const struct context *context)
{
    for (; context && context->run; context = context->outer) {
        exec_give_place_back(rank, context->run);
    }
    dispatch_pump(rank);
    dispatch_flush(rank);
}

void exec_push(struct rank *rank)
{
    dispatch_flush(rank);
    comm_push(rank->comm);
}

void exec_tell_begun(struct rank *rank, const struct run *run)
{
    struct wire_header about = {.parent = run->parent,
                                .position = run->position,
                                .token = run->token,
                                .attempt = run->attempt};
    if (!run->is_orphan && !comm_is_down(rank->comm, run->owner)) {
        message_send(rank, run->owner, MESSAGE_BEGUN, about, &run->map_begin,
                     sizeof run->map_begin);
        exec_push(rank);
    }
}

bool exec_park(struct worker *worker, struct run *run)
{
    struct rank *rank = worker->rank;
    struct fiber *next = take_stack(worker);
    if (!next) {
        return false;
    }
    run->fiber = fiber_current();
    run->state = RUN_PARKED;
    rank->parked_count++;
    base_list_push_back(&rank->parked, &run->link);
    rank->stats.parked++;
    give_places_back(rank, run->context);
    context_set(NULL);
    board_show(worker, NULL);
    timeline_body(rank, BASE_TIMELINE_PARK, run, 0);
    switch_to(worker, run->fiber, next);
    timeline_body(rank, BASE_TIMELINE_RESUME, run, 0);
    board_show(worker, run);
    rank->parked_count--;
    run->state = RUN_RUNNING;
    context_set(run->context);
    return true;
}

void exec_resume(struct rank *rank, struct run *run)
{
    struct worker *worker = run->worker;
    base_list_remove(&run->link);
    base_list_push_back(&worker->resumable, &run->link);
    if (!base_list_is_empty(&worker->sleeper.idle)) {
        base_list_remove(&worker->sleeper.idle);
    }
    idle_wake(rank, &worker->sleeper);
}

const struct run *exec_find_parked(const struct run *run)
{
    while (run && run->state == RUN_RUNNING && !run->outside) {
        run = run->context->inner;
    }
    return run && run->state == RUN_PARKED ? run : NULL;
}

/* ---- The loop ------------------------------------------------------------------------------- */

/* One thing that can be done now; false when there is none. */
static bool do_one(struct worker *worker)
{
    struct rank *rank = worker->rank;
    struct base_list *link = base_list_pop_front(&worker->resumable);
    if (link) {
        go_on_with(worker, MT_CONTAINER(link, struct run, link));
        return true;
    }
    if (MT_UNLIKELY(!base_list_is_empty(&rank->graphs.ready)) &&
        (!rank->ready_mask || (worker->is_graph_next ^= 1))) {
        leaf_run(worker);
        return true;
    }
    struct run *run = room_allows_start(rank) ? next_ready(rank) : NULL;
    if (run && exec_may_start(rank, run)) {
        exec_run(worker, run);
        (void)rank_catch_up(rank);
    }
    return run != NULL;
}

static uint64_t next_deadline(struct worker *worker)
{
    uint64_t deadline_ns = BASE_FOREVER;
    BASE_LIST_EACH(&worker->timed, link)
    {
        struct waiter *waiter = MT_CONTAINER(link, struct waiter, timed);
        deadline_ns = MT_MIN(deadline_ns, waiter->deadline_ns);
    }
    return deadline_ns;
}

static void expire(struct worker *worker)
{
    uint64_t now_ns = base_now_ns(worker->rank->host);
    BASE_LIST_EACH(&worker->timed, link)
    {
        struct waiter *waiter = MT_CONTAINER(link, struct waiter, timed);
        if (waiter->deadline_ns <= now_ns) {
            base_list_remove(&waiter->timed);
            waiter->is_timed_out = 1;
            waiter->missing = 1;
            waiter_notify(worker->rank, waiter, 0);
        }
    }
}

static void wait_for_work(struct worker *worker, uint64_t *spin_until)
{
    struct rank *rank = worker->rank;
    if (base_list_is_empty(&worker->sleeper.idle)) {
        base_list_push_front(&rank->idle, &worker->sleeper.idle);
    }
    idle_step(rank, &worker->sleeper, spin_until, next_deadline(worker));
    base_list_remove(&worker->sleeper.idle);
}

/* Runs until the rank stops; only the thread's own stack returns then. Baton held. */
static void loop(struct worker *worker)
{
    struct rank *rank = worker->rank;
    uint64_t spin_until = 0;
    while (!rank->is_stopped) {
        if (!base_list_is_empty(&worker->timed)) {
            expire(worker);
        }
        if (do_one(worker)) {
            spin_until = 0;
        } else {
            wait_for_work(worker, &spin_until);
        }
    }
    struct fiber *self = fiber_current();
    if (self != worker->base) {
        worker->dead = self;
        fiber_exit_to(self, worker->base);
    }
}

void exec_worker_main(void *arg)
{
    struct worker *worker = arg;
    struct rank *rank = worker->rank;
    bool is_ours = fiber_current() == NULL;
    worker->base = is_ours ? fiber_adopt_thread() : fiber_current();
    baton_take(&rank->baton, rank->host);
    if (worker->base) {
        loop(worker);
        release_dead(worker);
        while (worker->spare_count) {
            struct fiber *spare = worker->spares[--worker->spare_count];
            if (spare != worker->base) {
                fiber_release(spare);
            }
        }
    }
    baton_give(&rank->baton);
    if (is_ours) {
        fiber_release_thread(worker->base);
    }
}

/* ---- Without stacks ------------------------------------------------------------------------- */

void exec_give_back(struct rank *rank)
{
    fetch_all_waiting(rank);
    for (uint32_t level = 0; rank->ready_count && level < CORE_PRIORITIES; level++) {
        BASE_LIST_EACH(&rank->ready[level], link)
        {
            struct run *run = MT_CONTAINER(link, struct run, link);
            if (!run->task && !run->is_orphan && !run->is_pinned) {
                exec_unqueue(rank, run);
                exec_send_back(rank, run, RESULT_UNSTARTED);
            }
        }
    }
}
