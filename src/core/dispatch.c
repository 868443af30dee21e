/*
 * Which rank executes a pending task.
 *
 * Every rank, this one included, is a peer with a window of tasks in flight (sched/
 * policy.h). Peers with room are in a ring; the next task goes to the next of them, so
 * work spreads evenly; ranks never contacted join the ring one by one when those in it
 * are full. A submitting task prefers its own rank while that has room, because a local
 * run costs no message. Pinned tasks wait at their peer. Everything is O(1) per task.
 */
#include "core/dispatch.h"

#include "core/board.h"
#include "core/exec.h"
#include "core/inputs.h"
#include "core/map.h"
#include "core/message.h"
#include "core/near.h"
#include "core/outside.h"
#include "core/pack.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/request.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/wait.h"

enum { WINDOW_DEFAULT = 1024, UNFINISHED_MAX = 4 << 20 };

/* ---- Peers ---------------------------------------------------------------------------------- */

static enum lane lane_of(const struct task *task)
{
    return outside_is_task(task) ? LANE_OUTSIDE : LANE_WORKERS;
}

static void note_room(struct rank *rank, struct peer *peer, enum lane lane)
{
    if (base_list_is_empty(&peer->hungry[lane]) && sched_window_has_room(&peer->window[lane]) &&
        !comm_is_down(rank->comm, peer->number)) {
        base_list_push_back(&rank->hungry[lane], &peer->hungry[lane]);
    }
}

static void open_lane(struct rank *rank, struct peer *peer, enum lane lane, uint32_t floor)
{
    uint32_t max = rank->options.window_max ? rank->options.window_max : WINDOW_DEFAULT;
    sched_window_init(&peer->window[lane], MT_MIN(floor, max), max);
    base_list_init(&peer->hungry[lane]);
    base_list_init(&peer->pinned[lane]);
    note_room(rank, peer, lane);
}

/* Of what runs outside twice as many as are likely to run at once are sent: the ends of processes
 * are too far apart for ticks to say more. */
static struct peer *make_peer(struct rank *rank, uint32_t number)
{
    struct peer *peer =
        base_alloc_aligned(MT_CACHE_LINE, MT_ALIGN_UP(sizeof *peer, (size_t)MT_CACHE_LINE));
    if (!peer) {
        return NULL;
    }
    peer->number = number;
    base_list_init(&peer->sent);
    base_list_init(&peer->lineage);
    base_list_init(&peer->stopping);
    base_list_init(&peer->runs);
    base_list_init(&peer->batching);
    base_list_init(&peer->requests);
    open_lane(rank, peer, LANE_WORKERS, number == rank->number ? rank->worker_count + 1 : 2);
    open_lane(rank, peer, LANE_OUTSIDE, 2 * rank->outside.cpus);
    base_list_push_back(&rank->peer_list, &peer->link);
    rank->peers[number] = peer;
    return peer;
}

struct peer *peer_get(struct rank *rank, uint32_t number)
{
    struct peer *peer = rank->peers[number];
    return MT_LIKELY(peer != NULL) ? peer : make_peer(rank, number);
}

void peer_flush_releases(struct rank *rank, struct peer *peer)
{
    message_send(rank, peer->number, MESSAGE_RELEASE, (struct wire_header){0}, peer->release,
                 peer->release_count * sizeof peer->release[0]);
    peer->release_count = 0;
}

void dispatch_flush_batches(struct rank *rank)
{
    while (!base_list_is_empty(&rank->batching)) {
        struct peer *peer = MT_CONTAINER(rank->batching.next, struct peer, batching);
        base_list_remove(&peer->batching);
        request_flush(rank, peer);
        if (peer->release_count) {
            peer_flush_releases(rank, peer);
        }
        if (peer->number == rank->number) {
            exec_release_now(rank);
        }
    }
}

void dispatch_tick(struct rank *rank)
{
    BASE_LIST_EACH(&rank->peer_list, link)
    {
        struct peer *peer = MT_CONTAINER(link, struct peer, link);
        sched_window_tick(&peer->window[LANE_WORKERS]);
        sched_window_tick(&peer->window[LANE_OUTSIDE]);
    }
}

/* A ring member with room; ranks never considered before join when it is empty. */
static struct peer *next_hungry(struct rank *rank, enum lane lane)
{
    struct base_list *hungry = &rank->hungry[lane];
    while (base_list_is_empty(hungry) && rank->next_unknown[lane] < rank->size) {
        uint32_t number = (rank->number + rank->next_unknown[lane]++) % rank->size;
        if (!comm_is_down(rank->comm, number)) {
            (void)peer_get(rank, number);
        }
    }
    return base_list_is_empty(hungry) ? NULL
                                      : MT_CONTAINER(hungry->next - lane, struct peer, hungry);
}

static struct peer *choose_peer(struct rank *rank, const struct task *task, enum lane lane)
{
    struct peer *self = rank->peers[rank->number];
    if (!core_is_root_id(task->parent) && sched_window_has_room(&self->window[lane])) {
        return self;
    }
    return next_hungry(rank, lane);
}

static inline void take_place(struct rank *rank, struct peer *peer, enum lane lane)
{
    peer->window[lane].in_flight++;
    base_list_remove(&peer->hungry[lane]);
    if (sched_window_has_room(&peer->window[lane])) {
        base_list_push_back(&rank->hungry[lane], &peer->hungry[lane]);
    }
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void note_sent(struct rank *rank, struct peer *peer, struct task *task)
{
    task->state = TASK_SENT;
    task->exec_rank = peer->number;
    base_list_push_back(&peer->sent, &task->link);
    if (MT_UNLIKELY(outside_is_task(task))) {
        take_place(rank, peer, LANE_OUTSIDE);
    } else {
        take_place(rank, peer, LANE_WORKERS);
    }
}

void dispatch_why_again(struct rank *rank, const struct task *task, uint32_t *ret_lost_on,
                        uint32_t *ret_deaths)
{
    *ret_lost_on = task->attempt > 1 ? task->lost_on : task->scope->lost_on;
    *ret_deaths = rank->deaths;
}

/* Of a task that was lost, or has failed, this rank wants to know whether it had begun, where it
 * could not see that on the runner's board. */
static MT_NOINLINE uint16_t again_flags(struct rank *rank, const struct peer *peer,
                                        struct task *task)
{
    bool is_dark = outside_is_task(task) || !board_is_lit(rank, peer->number);
    bool is_watched = is_dark && task->attempt > 1 && !(task->flags & TASK_IS_MAP);
    task->flags &= (uint16_t)~TASK_BEGUN;
    return TASK_MESSAGE_AGAIN | (is_watched ? TASK_MESSAGE_WATCHED : 0);
}

static uint16_t message_flags(struct rank *rank, const struct peer *peer, struct task *task,
                              const struct message_lease *lease)
{
    uint16_t flags = core_is_root_id(task->parent) ? TASK_MESSAGE_ROOT : 0;
    flags |= task->extra &&
                     (task->extra->timeout_ns || task->extra->name[0] || task->extra->outside.kind)
                 ? TASK_MESSAGE_OPTIONS
                 : 0;
    flags |= lease ? TASK_MESSAGE_LEASE : 0;
    flags |= task->flags & TASK_PINNED ? TASK_MESSAGE_PINNED : 0;
    flags |= task->flags & TASK_MOVED ? TASK_MESSAGE_MOVED : 0;
    if (MT_UNLIKELY(task_may_have_run(task))) {
        flags |= again_flags(rank, peer, task);
    }
    return flags;
}

/* In arguments as they travel. */
static void name_owners(struct rank *rank, const struct task *task, uint8_t *args, size_t bytes)
{
    struct pack_walk walk = pack_walk_init(task->function, args, bytes);
    struct pack_arg arg;
    while (pack_next(&walk, &arg)) {
        if (arg.is_refs) {
            object_name_owners(rank, arg.data, arg.bytes);
        }
    }
}

/* With flags for the message beside those that follow from the task. */
static void send_task(struct rank *rank, struct peer *peer, struct task *task,
                      const struct inputs *inputs, const struct message_lease *lease,
                      uint16_t flags)
{
    struct message_task message = {function_hash(task->function), flags, task->priority};
    size_t args_bytes = inputs ? inputs->bytes : task->args_bytes;
    message.flags |= message_flags(rank, peer, task, lease);
    message.flags |= inputs && inputs->is_rich ? TASK_MESSAGE_RICH : 0;
    struct wire_header about = {.parent = task->parent,
                                .position = task->position,
                                .token = task->index,
                                .attempt = task->attempt};
    size_t size = sizeof message + args_bytes;
    size += message.flags & TASK_MESSAGE_OPTIONS ? sizeof(struct message_options) : 0;
    size += lease ? sizeof *lease : 0;
    size += message.flags & TASK_MESSAGE_AGAIN ? sizeof(struct message_again) : 0;
    size += message.flags & TASK_MESSAGE_ROOT ? 0 : sizeof(struct message_digest);
    uint8_t *out = message_begin(rank, peer->number, MESSAGE_TASK, &about, size);
    if (!out) {
        return;
    }
    wire_put_bytes(&out, &message, sizeof message);
    if (!(message.flags & TASK_MESSAGE_ROOT)) {
        wire_put_u64(&out, task_digest(task));
    }
    if (message.flags & TASK_MESSAGE_AGAIN) {
        struct message_again again;
        dispatch_why_again(rank, task, &again.lost_on, &again.deaths);
        wire_put_bytes(&out, &again, sizeof again);
    }
    if (message.flags & TASK_MESSAGE_OPTIONS) {
        struct message_options options = {.timeout_ns = task->extra->timeout_ns,
                                          .outside = outside_terms(task)};
        memcpy(options.name, task->extra->name, sizeof options.name);
        wire_put_bytes(&out, &options, sizeof options);
    }
    if (lease) {
        wire_put_bytes(&out, lease, sizeof *lease);
    }
    if (inputs) {
        inputs_write(inputs, out);
    } else if (args_bytes) {
        memcpy(out, task_args(task), args_bytes);
    }
    if (MT_UNLIKELY(args_bytes && rank->has_moved)) {
        name_owners(rank, task, out, args_bytes);
    }
    message_end(rank);
}

/* NULL: it has none. */
static const struct inputs *find_inputs(struct rank *rank, struct task *task, struct inputs *inputs)
{
    if (!function_info(task->function)->inputs_awaited) {
        return NULL;
    }
    inputs_find(rank, task, inputs);
    return inputs;
}

/* One that has all it needs. */
static inline void place(struct rank *rank, struct peer *peer, struct task *task,
                         const struct inputs *inputs)
{
    if (MT_LIKELY(peer->number != rank->number)) {
        send_task(rank, peer, task, inputs, NULL, 0);
        note_sent(rank, peer, task);
    } else {
        note_sent(rank, peer, task);
        struct run *run = exec_make_local(rank, task, inputs);
        if (run) {
            run->is_again = task_may_have_run(task) || recover_has_met(rank, task_id(task));
            exec_begin(rank, run);
        }
    }
}

static MT_NOINLINE void launch_with_inputs(struct rank *rank, struct peer *peer, struct task *task)
{
    struct inputs inputs;
    if (MT_UNLIKELY(task_awaits_again(rank, task))) {
        task_start_again(rank, task);
        return;
    }
    inputs_find(rank, task, &inputs);
    if (inputs_fit(rank, task, &inputs)) {
        place(rank, peer, task, &inputs);
    }
}

/* Sends one task or makes its run here, unless it ended instead, or waits for an input again. */
static inline void launch(struct rank *rank, struct peer *peer, struct task *task)
{
    if (function_info(task->function)->inputs_awaited) {
        launch_with_inputs(rank, peer, task);
    } else {
        place(rank, peer, task, NULL);
    }
}

void dispatch_send_lease(struct rank *rank, struct peer *peer, struct task *task,
                         const struct message_lease *lease, uint16_t flags)
{
    struct inputs inputs;
    send_task(rank, peer, task, find_inputs(rank, task, &inputs), lease, flags);
}

void dispatch_stop_lease(struct rank *rank, struct task *task, uint32_t where)
{
    struct wire_header about = {.parent = task->parent, .position = task->position};
    if (!comm_is_down(rank->comm, where)) {
        message_send(rank, where, MESSAGE_CANCEL, about, NULL, 0);
    }
}

bool dispatch_adopted(struct rank *rank, struct task *task, uint32_t runner)
{
    struct peer *peer = peer_get(rank, runner);
    if (peer) {
        task->flags &= (uint16_t)~TASK_BEGUN;
        note_sent(rank, peer, task);
    }
    return peer != NULL;
}

/* ---- The queue ------------------------------------------------------------------------------ */

static uint32_t level_of(const struct task *task)
{
    return (uint32_t)(7 - task->priority); /* 0 first */
}

static inline void add_pinned(struct rank *rank, struct task *task, enum lane lane)
{
    struct peer *peer = peer_get(rank, task->exec_rank);
    if (MT_UNLIKELY(!peer || comm_is_down(rank->comm, task->exec_rank))) {
        task_run_lost(rank, task, task->exec_rank);
    } else if (sched_window_has_room(&peer->window[lane]) &&
               base_list_is_empty(&peer->pinned[lane])) {
        launch(rank, peer, task);
    } else {
        base_list_push_back(&peer->pinned[lane], &task->link);
        rank->pinned_count++;
    }
}

static inline void enqueue(struct rank *rank, struct task *task, enum lane lane)
{
    base_list_push_back(&rank->pending[lane][level_of(task)], &task->link);
    rank->pending_mask[lane] |= 1u << level_of(task);
    rank->pending_count++;
}

/* Those with anything out of the ordinary. */
static MT_NOINLINE void add_special(struct rank *rank, struct task *task)
{
    manta_error error;
    if (task->flags & TASK_IS_MAP) {
        task->map->is_queued = 0;
    }
    if (function_info(task->function)->inputs_awaited && task_failed_input(rank, task, &error)) {
        task->state = TASK_WAITING; /* for a value that will not come: nobody may start it */
        base_list_remove(&task->link);
        base_list_push_back(&rank->doomed, &task->link);
        return;
    }
    if (MT_UNLIKELY(task->inputs_missing)) { /* adopted without them, and lost again */
        task->state = TASK_WAITING;
        base_list_remove(&task->link);
        return;
    }
    task->state = TASK_PENDING;
    if (task->flags & TASK_PINNED) {
        add_pinned(rank, task, lane_of(task));
        return;
    }
    if (task->flags & TASK_IS_MAP) {
        task->map->is_queued = 1;
    } else if (rank->options.nodes && function_info(task->function)->inputs_awaited &&
               !outside_is_task(task)) {
        near_note(rank, task);
    }
    enqueue(rank, task, lane_of(task));
}

void dispatch_add(struct rank *rank, struct task *task)
{
    if (task->flags & TASK_IS_MAP || MT_UNLIKELY(outside_is_task(task)) ||
        function_info(task->function)->inputs_awaited) {
        add_special(rank, task);
        return;
    }
    task->state = TASK_PENDING;
    if (task->flags & TASK_PINNED) {
        add_pinned(rank, task, LANE_WORKERS);
    } else {
        enqueue(rank, task, LANE_WORKERS);
    }
}

static struct task *front(struct rank *rank, enum lane lane)
{
    while (rank->pending_mask[lane]) {
        uint32_t level = (uint32_t)__builtin_ctz(rank->pending_mask[lane]);
        struct base_list *list = &rank->pending[lane][level];
        if (!base_list_is_empty(list)) {
            return MT_CONTAINER(list->next, struct task, link);
        }
        rank->pending_mask[lane] &= ~(1u << level);
    }
    return NULL;
}

static void launch_pinned(struct rank *rank, struct peer *peer, enum lane lane)
{
    struct base_list *pinned = &peer->pinned[lane];
    while (!base_list_is_empty(pinned) && sched_window_has_room(&peer->window[lane])) {
        struct task *task = MT_CONTAINER(base_list_pop_front(pinned), struct task, link);
        rank->pinned_count--;
        launch(rank, peer, task);
    }
}

/* Tasks with a failed input, one after the other: failing one may doom the next, along any length
 * of chain. */
static void fail_doomed(struct rank *rank)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&rank->doomed))) {
        struct task *task = MT_CONTAINER(link, struct task, link);
        manta_error *error = base_alloc(sizeof *error);
        if (error) {
            (void)task_failed_input(rank, task, error);
        }
        task_complete(rank, task, MANTA_E_DEPENDENCY, NULL, error);
    }
}

static inline void pump_lane(struct rank *rank, enum lane lane)
{
    struct task *task;
    struct peer *peer;
    while ((task = front(rank, lane)) && (peer = choose_peer(rank, task, lane))) {
        if (MT_UNLIKELY(task->flags & (TASK_IS_MAP | TASK_NEAR))) {
            if (task->flags & TASK_IS_MAP) {
                map_lease(rank, peer, task);
                continue;
            }
            peer = near_choose(rank, task, peer);
        }
        base_list_remove(&task->link);
        rank->pending_count--;
        launch(rank, peer, task);
    }
}

void dispatch_pump_all(struct rank *rank)
{
    if (MT_UNLIKELY(!base_list_is_empty(&rank->doomed))) {
        fail_doomed(rank);
    }
    pump_lane(rank, LANE_WORKERS);
    if (MT_UNLIKELY(rank->pending_mask[LANE_OUTSIDE])) {
        pump_lane(rank, LANE_OUTSIDE);
    }
}

/* A map has leased all it has: it leaves the queue. Its sent leases bring it back when they are
 * lost. */
void dispatch_remove(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    rank->pending_count--;
}

void dispatch_place(struct rank *rank, struct peer *peer)
{
    take_place(rank, peer, LANE_WORKERS);
}

void dispatch_credit(struct rank *rank, uint32_t number, enum lane lane, bool dry)
{
    struct peer *peer = peer_get(rank, number);
    if (peer) {
        sched_window_result(&peer->window[lane], dry, rank->pending_count + rank->pinned_count > 0);
        note_room(rank, peer, lane);
        if (MT_UNLIKELY(rank->pinned_count)) {
            launch_pinned(rank, peer, lane);
        }
    }
}

void dispatch_on_credit(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    dispatch_credit(rank, from, header->position ? LANE_OUTSIDE : LANE_WORKERS, true);
    dispatch_pump(rank);
}

struct run *dispatch_take(struct rank *rank, struct task *task)
{
    struct inputs inputs;
    if (task->state != TASK_PENDING || task->flags & (TASK_IS_MAP | TASK_PINNED) ||
        task->object.is_stream || task_may_have_run(task) || recover_has_met(rank, task_id(task))) {
        return NULL;
    }
    if (task_awaits_again(rank, task)) {
        return NULL;
    }
    const struct inputs *found = find_inputs(rank, task, &inputs);
    if (found && found->is_elsewhere) {
        return NULL;
    }
    dispatch_remove(rank, task);
    if (found && !inputs_fit(rank, task, found)) {
        return NULL;
    }
    note_sent(rank, rank->peers[rank->number], task);
    return exec_make_local(rank, task, found);
}

void dispatch_place_here(struct rank *rank, struct task *task)
{
    launch(rank, rank->peers[rank->number], task);
}

void dispatch_note_lineage(struct rank *rank, struct task *task)
{
    struct peer *peer = peer_get(rank, task->exec_rank);
    if (peer) {
        base_list_push_back(&peer->lineage, &task->link);
    }
}

bool dispatch_is_full(const struct rank *rank)
{
    return rank->unfinished >= UNFINISHED_MAX;
}

void dispatch_unthrottle(struct rank *rank)
{
    if (MT_LIKELY(base_list_is_empty(&rank->throttled)) ||
        rank->unfinished > UNFINISHED_MAX / 8 * 7) {
        return;
    }
    struct base_list *link;
    while ((link = base_list_pop_front(&rank->throttled))) {
        waiter_notify(rank, MT_CONTAINER(link, struct waiter, link), 0);
    }
}
