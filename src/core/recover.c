/*
 * Recovery.
 *
 * When a rank dies, every survivor does the following about it, each for itself:
 *
 *  - tasks it owns and the dead rank ran are pending again, with one attempt less; so
 *    are done tasks whose children the dead rank owned (lineage), as re-runs whose own
 *    result nobody needs any more;
 *  - runs it executes for the dead owner go on as orphans. The one who will own them is
 *    the rank that runs their parent again, and it is met at the *home* of the parent's
 *    id, a rank that everybody computes the same way: the runner offers the orphan there,
 *    the new owner registers there before it starts the parent;
 *  - when the parent submits again at an offered position, with the same function and
 *    arguments (digest), it adopts the orphan in place of running anew;
 *  - refs it holds whose owner is dead are looked up at the home; the new owner is asked
 *    and told who holds them. A position that the parent does not reach again is lost;
 *  - refs that are only protected by what the dead rank held are registered with their
 *    owners at once. When all survivors have done so (settled, counted by rank 0), the
 *    owners forget the dead rank's shares.
 *
 * Homes move when their rank dies; whoever waits at one or is registered there goes to
 * the next. What hangs from a root scope dies with its rank.
 */
#include "core/recover.h"

#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/fetch.h"
#include "core/graph.h"
#include "core/heirs.h"
#include "core/map.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/replica.h"
#include "core/request.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/table.h"
#include "core/task.h"
#include "core/timeline.h"
#include "core/value.h"

#include <stdio.h>

uint32_t recover_home(const struct rank *rank, uint64_t id)
{
    return sched_home(id, rank->size, rank->down);
}

void recover_send_register(struct rank *rank, uint64_t id, uint32_t home, enum register_what what,
                           uint32_t number)
{
    struct message_register message = {.what = what, .number = number};
    message_send(rank, home, MESSAGE_REGISTER, (struct wire_header){.parent = id}, &message,
                 sizeof message);
}

/* ---- Holders -------------------------------------------------------------------------------- */

static void lose_borrow(struct rank *rank, struct borrow *borrow, const char *why)
{
    manta_error *error = base_alloc(sizeof *error);
    if (borrow->object.is_done) {
        base_free(error);
        return;
    }
    if (error) {
        error->code = MANTA_E_LOST;
        error->rank = borrow->ref.owner;
        snprintf(error->host, sizeof error->host, "%s", rank->options.host_name);
        snprintf(error->text, sizeof error->text, "its owner, rank %u, died%s", borrow->ref.owner,
                 why);
    }
    object_hold(&borrow->object);
    object_finish(rank, &borrow->object, MANTA_E_LOST, NULL, error);
    inbox_owner_lost(rank, borrow);
    object_drop(rank, &borrow->object);
}

/* Who owns it now? Not `without`, which has said so. */
static void look_up(struct rank *rank, struct borrow *borrow, struct message_lookup without)
{
    if (core_is_root_id(borrow->ref.parent)) {
        lose_borrow(rank, borrow, ", and what its driver submitted went with it");
        return;
    }
    struct wire_header about = {.parent = borrow->ref.parent, .position = borrow->ref.position};
    rank->has_moved = 1;
    request_cancel(rank, borrow);
    borrow->is_redirected = 1;
    borrow->is_looking = 1;
    recover_settle_with(rank, borrow);
    message_send(rank, recover_home(rank, borrow->ref.parent), MESSAGE_LOOKUP, about, &without,
                 sizeof without);
}

void recover_borrow(struct rank *rank, struct borrow *borrow)
{
    look_up(rank, borrow, (struct message_lookup){.not_owner = UINT32_MAX});
}

void recover_note_new_borrow(struct rank *rank, struct borrow *borrow)
{
    if (MT_UNLIKELY(comm_is_down(rank->comm, borrow->ref.owner) ||
                    borrow->ref.owner == rank->number)) {
        recover_borrow(rank, borrow);
    }
}

void recover_on_found(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct borrow *borrow =
        base_map_find(&rank->borrows, core_key(header->parent, header->position));
    uint32_t owner = wire_get_u32(body);
    if (!borrow || !borrow->is_looking || body->failed) {
        return;
    }
    object_hold(&borrow->object);
    borrow->is_looking = 0;
    if (owner >= rank->size) {
        lose_borrow(rank, borrow, ", and nobody may run its task again");
        borrow_acknowledged(rank, borrow);
    } else if (rank->down[owner]) { /* the home has not heard */
        look_up(rank, borrow, (struct message_lookup){owner, LOOKUP_DEAD});
    } else {
        bool wants_value = borrow->object.watchers != NULL;
        borrow->ref.owner = owner;
        borrow->is_registered = borrow->is_acknowledged = 0;
        borrow->is_requested = 0;
        object_register(rank, borrow, NULL);
        if (wants_value) {
            borrow_request(rank, borrow);
        }
        inbox_owner_found(rank, borrow);
    }
    object_drop(rank, &borrow->object);
}

/* What the owner has not acknowledged it never will. The caller holds the object. */
static void forget_registration(struct rank *rank, struct borrow *borrow)
{
    request_cancel(rank, borrow);
    borrow->is_registered = borrow->is_acknowledged = 0;
    borrow->object.holds -= (int32_t)borrow->acks_missing;
    borrow->acks_missing = 0;
}

void recover_refuse_holder(struct rank *rank, uint32_t holder, const struct wire_header *header)
{
    struct scope *scope = scope_find(rank, header->parent);
    uint32_t number = scope ? scope->number : rank->registrations;
    struct wire_header about = {.parent = header->parent, .position = header->position};
    if (!comm_is_down(rank->comm, holder)) {
        message_send(rank, holder, MESSAGE_NOT_MINE, about, &number, sizeof number);
    }
}

void recover_on_not_mine(struct rank *rank, uint32_t from, const struct wire_header *header,
                         struct wire_reader *body)
{
    struct borrow *borrow =
        base_map_find(&rank->borrows, core_key(header->parent, header->position));
    struct message_lookup without = {.not_owner = from, .not_number = wire_get_u32(body)};
    if (borrow && borrow->ref.owner == from && !borrow->is_looking) {
        object_hold(&borrow->object);
        forget_registration(rank, borrow);
        look_up(rank, borrow, without);
        object_drop(rank, &borrow->object);
    }
}

/* ---- A death, step by step ------------------------------------------------------------------ */

static void rerun(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    task->flags |= TASK_RERUN;
    task_run_lost(rank, task, task->exec_rank);
}

static void retake_tasks(struct rank *rank, struct peer *peer)
{
    struct base_list sent;
    base_list_init(&sent);
    base_list_splice(&sent, &peer->sent);
    base_list_splice(&sent, &peer->pinned[LANE_WORKERS]);
    base_list_splice(&sent, &peer->pinned[LANE_OUTSIDE]);
    while (!base_list_is_empty(&sent)) {
        struct task *task = MT_CONTAINER(base_list_pop_front(&sent), struct task, link);
        if (task->state == TASK_PENDING) {
            rank->pinned_count--;
        }
        task_run_lost(rank, task, peer->number);
    }
    base_list_splice(&sent, &peer->lineage);
    while (!base_list_is_empty(&sent)) {
        rerun(rank, MT_CONTAINER(base_list_pop_front(&sent), struct task, link));
    }
    base_list_splice(&sent, &peer->stopping);
    while (!base_list_is_empty(&sent)) {
        struct task *task = MT_CONTAINER(base_list_pop_front(&sent), struct task, link);
        task->attempt +=
            task->attempt < UINT8_MAX; /* as if it had run again: it might have left children */
        cancel_task_is_over(rank, task);
    }
    BASE_LIST_EACH(&rank->maps, link)
    {
        struct map *map = MT_CONTAINER(link, struct map, all);
        map_rank_lost(rank, map->task, peer->number);
    }
}

static void offer_run(struct rank *rank, struct run *run)
{
    struct message_offer offer = {.digest = run->digest,
                                  .function = function_hash(run->function),
                                  .runner = rank->number,
                                  .run_token = run->index};
    struct wire_header about = {.parent = run->parent, .position = run->position};
    run->is_orphan = 1;
    run->is_retained = 0;
    run->offered_to = recover_home(rank, run->parent);
    message_send(rank, run->offered_to, MESSAGE_OFFER, about, &offer, sizeof offer);
}

/* Nobody but the owner that died could take what it yields. */
static bool is_for_owner_only(const struct run *run)
{
    return run->parent_is_root || run->map_count || stream_is(run->function);
}

void recover_drop_orphan(struct rank *rank, struct run *run, bool is_over)
{
    run->is_orphan = 1;
    run->is_retained = 0;
    run->is_dismissed = 1;
    if (run->state == RUN_FINISHED) {
        value_drop_refs(rank, run->result);
        exec_run_free(rank, run);
    } else if (run->state == RUN_QUEUED) {
        exec_unqueue(rank, run);
        exec_run_free(rank, run);
    } else if (run->state == RUN_REGISTERING || run->state == RUN_FETCHING) {
        exec_run_free(rank, run);
    } else if (is_for_owner_only(run)) {
        atomic_store_explicit(&run->cancelled, 1, memory_order_relaxed);
        outside_stop(rank, run);
        source_wake(rank, run);
    } else if (is_over && !run->cancelled) {
        run->is_spoiled = 1;
        cancel_run(rank, run);
    } /* else it may still be wanted: see find_twin */
}

/* What has not begun can begin elsewhere. Of its arguments' refs nothing is known here yet, so
 * nobody would protect them. */
static bool is_adoptable(const struct run *run)
{
    bool has_begun = run->state != RUN_QUEUED && run->state != RUN_FETCHING;
    return run->state != RUN_REGISTERING &&
           (has_begun || !function_info(run->function)->ref_inputs);
}

static void orphan_runs(struct rank *rank, struct peer *peer)
{
    struct base_list runs;
    base_list_init(&runs);
    base_list_splice(&runs, &peer->runs);
    while (!base_list_is_empty(&runs)) {
        struct run *run = MT_CONTAINER(base_list_pop_front(&runs), struct run, owned);
        base_list_push_back(&rank->orphans, &run->owned);
        if (is_for_owner_only(run) || !is_adoptable(run)) {
            recover_drop_orphan(rank, run, true);
        } else {
            offer_run(rank, run);
        }
    }
}

/* Also one that is looked for already: the home that was asked may have been the dead rank. What
 * the dead one has not acknowledged it never will. */
static bool must_look(const struct borrow *borrow, uint32_t dead)
{
    return borrow->ref.owner == dead ||
           (borrow->is_looking && !core_is_root_id(borrow->ref.parent));
}

static void redirect_borrows(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->borrows, &at, &key, &value)) {
        struct borrow *borrow = value;
        if (must_look(borrow, dead)) {
            forget_registration(rank, borrow);
            object_hold(&borrow->object);
            rank->limbo[rank->limbo_count++] = borrow;
        }
    }
}

/* Borrows are looked up only after the walk, because losing one can free others. */
static int redirect_all(struct rank *rank, uint32_t dead)
{
    rank->limbo = base_alloc((rank->borrows.count + 1) * sizeof *rank->limbo);
    rank->limbo_count = 0;
    if (!rank->limbo) {
        return MANTA_E_NOMEM;
    }
    redirect_borrows(rank, dead);
    for (uint32_t i = 0; i < rank->limbo_count; i++) {
        recover_borrow(rank, rank->limbo[i]);
        if (core_is_root_id(rank->limbo[i]->ref.parent)) {
            borrow_acknowledged(rank, rank->limbo[i]);
        }
        object_drop(rank, &rank->limbo[i]->object);
    }
    base_free(rank->limbo);
    rank->limbo = NULL;
    return MANTA_OK;
}

/* Homes that were on the dead rank are elsewhere now. */
static void move_to_new_homes(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->scopes, &at, &key, &value)) {
        struct scope *scope = value;
        if (scope->is_taken_over && scope->home == dead) {
            scope->home = recover_home(rank, scope->id);
            recover_send_register(rank, scope->id, scope->home, REGISTER_OWNER, scope->number);
        }
    }
    home_repeat_given_up(rank, dead);
    BASE_LIST_EACH(&rank->orphans, link)
    {
        struct run *run = MT_CONTAINER(link, struct run, owned);
        if (run->offered_to == dead && !run->is_dismissed) {
            offer_run(rank, run);
        }
    }
}

void recover_peer_down(void *owner, uint32_t dead)
{
    struct rank *rank = owner;
    struct peer *peer = rank->peers[dead];
    rank->down[dead] = 1;
    rank->has_moved = 1;
    rank->deaths++;
    timeline_death(rank, dead);
    stream_peer_down(rank, dead);
    source_peer_down(rank, dead);
    inbox_peer_down(rank, dead);
    if (peer) {
        base_list_remove(&peer->hungry[LANE_WORKERS]);
        base_list_remove(&peer->hungry[LANE_OUTSIDE]);
        base_list_remove(&peer->batching);
        request_drop_all(rank, peer);
        peer->release_count = 0;
        retake_tasks(rank, peer);
        orphan_runs(rank, peer);
    }
    graph_peer_down(rank, dead);
    heirs_peer_down(rank, dead);
    replica_peer_down(rank, dead);
    fetch_peer_down(rank, dead);
    spill_peer_down(rank, dead);
    pin_peer_down(rank, dead);
    table_peer_down(rank, dead);
    home_forget_owner(rank, dead);
    (void)redirect_all(rank, dead);
    move_to_new_homes(rank, dead);
    recover_settle(rank, dead);
    dispatch_pump(rank);
    dispatch_flush(rank);
}

/* ---- Re-runs for the sake of children ------------------------------------------------------- */

void recover_rerun_ended(struct rank *rank, struct task *task, bool has_children)
{
    base_list_remove(&task->link);
    task->state = TASK_DONE;
    task->run = NULL;
    task->flags &= (uint16_t)~TASK_RERUN;
    if (has_children) {
        struct peer *peer = peer_get(rank, task->exec_rank);
        base_list_push_back(&peer->lineage, &task->link);
    } else {
        task_end_lineage(rank, task);
    }
}

void recover_give_up(struct rank *rank, struct task *task)
{
    home_give_up(rank, task_id(task));
}
