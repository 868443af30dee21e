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

#include "core/dispatch.h"
#include "core/exec.h"
#include "core/map.h"
#include "core/message.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/value.h"

#include <stdio.h>

/* An orphan that waits for the parent to submit its position again. */
struct offer {
    struct base_list link;
    uint32_t position;
    struct message_offer message;
};

/* A holder's request for a position not yet submitted again. */
struct lookup {
    struct base_list link;
    struct wire_header header;
    uint32_t from, size;
    uint8_t message[sizeof(struct message_hold)];
};

uint32_t recover_home(const struct rank *rank, uint64_t id)
{
    return sched_home(id, rank->size, rank->down);
}

static void send_register(struct rank *rank, uint64_t id, uint32_t home, enum register_what what)
{
    struct message_register message = {.what = what};
    message_send(rank, home, MESSAGE_REGISTER, (struct wire_header){.parent = id}, &message, sizeof message);
}

/* ---- Holders ---------------------------------------------------------------------------------------------- */

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
        snprintf(error->text, sizeof error->text, "its owner, rank %u, died%s", borrow->ref.owner, why);
    }
    object_finish(rank, &borrow->object, MANTA_E_LOST, NULL, error);
}

/* The death is not settled before the new owner knows that we hold this. */
static void settle_with(struct rank *rank, struct borrow *borrow)
{
    struct guard *guard = base_alloc(sizeof *guard);
    if (guard) {
        guard->settles = 1;
        rank->settles_missing++;
        base_list_push_back(&borrow->guards, &guard->link);
    }
}

void recover_borrow(struct rank *rank, struct borrow *borrow)
{
    if (core_is_root_id(borrow->ref.parent)) {
        lose_borrow(rank, borrow, ", and what its driver submitted went with it");
        return;
    }
    struct wire_header about = {.parent = borrow->ref.parent, .position = borrow->ref.position};
    borrow->is_redirected = 1;
    borrow->is_looking = 1;
    settle_with(rank, borrow);
    message_send(rank, recover_home(rank, borrow->ref.parent), MESSAGE_LOOKUP, about, NULL, 0);
}

void recover_note_new_borrow(struct rank *rank, struct borrow *borrow)
{
    if (MT_UNLIKELY(comm_is_down(rank->comm, borrow->ref.owner))) {
        recover_borrow(rank, borrow);
    }
}

void recover_on_found(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct borrow *borrow = base_map_find(&rank->borrows, core_key(header->parent, header->position));
    uint32_t owner = wire_get_u32(body);
    if (!borrow || !borrow->is_looking || body->failed) {
        return;
    }
    object_hold(&borrow->object);
    borrow->is_looking = 0;
    if (owner >= rank->size) {
        lose_borrow(rank, borrow, ", and nobody may run its task again");
        borrow_acknowledged(rank, borrow);
    } else if (rank->down[owner]) {
        recover_borrow(rank, borrow);
    } else {
        bool wants_value = borrow->object.watchers != NULL;
        borrow->ref.owner = owner;
        borrow->is_registered = 0;
        borrow->is_requested = 0;
        object_register(rank, borrow, NULL);
        if (wants_value) {
            borrow_request(rank, borrow);
        }
    }
    object_drop(rank, &borrow->object);
}

/* ---- Settling ------------------------------------------------------------------------------------------------ */

/* A death this rank has heard of; at rank 0: and who has settled it. */
struct settling {
    struct base_list link;
    uint32_t dead;
    uint32_t missing;          /* our own registrations, not acknowledged */
    uint8_t *settled;          /* by rank: it has; rank 0 only */
    uint8_t is_told, is_cleared;
    uint8_t is_heard;          /* we know of the death ourselves */
};

static void free_settling(struct settling *settling)
{
    base_free(settling->settled);
    base_free(settling);
}

static struct settling *get_settling(struct rank *rank, uint32_t dead)
{
    BASE_LIST_EACH(&rank->settling, link)
    {
        struct settling *settling = MT_CONTAINER(link, struct settling, link);
        if (settling->dead == dead) {
            return settling;
        }
    }
    struct settling *settling = base_alloc(sizeof *settling);
    if (settling && rank->number == 0 && !(settling->settled = base_alloc(rank->size))) {
        base_free(settling);
        return NULL;
    }
    if (settling) {
        settling->dead = dead;
        base_list_push_back(&rank->settling, &settling->link);
    }
    return settling;
}

static void tell_settled(struct rank *rank)
{
    BASE_LIST_EACH(&rank->settling, link)
    {
        struct settling *settling = MT_CONTAINER(link, struct settling, link);
        if (settling->is_heard && !settling->is_told) {
            settling->is_told = 1;
            message_send(rank, 0, MESSAGE_SETTLED, (struct wire_header){.position = settling->dead}, NULL, 0);
        }
    }
}

void recover_settle_one(struct rank *rank)
{
    if (--rank->settles_missing == 0) {
        tell_settled(rank);
    }
}

static void clear_if_settled(struct rank *rank, struct settling *settling)
{
    for (uint32_t i = 0; i < rank->size; i++) {
        if (rank->number || (!rank->down[i] && !settling->settled[i])) {
            return;
        }
    }
    settling->is_cleared = 1;
    for (uint32_t i = 0; i < rank->size; i++) {
        if (!rank->down[i]) {
            message_send(rank, i, MESSAGE_CLEARED, (struct wire_header){.position = settling->dead}, NULL, 0);
        }
    }
}

void recover_on_settled(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    struct settling *settling = rank->number ? NULL : get_settling(rank, header->position);
    if (settling) {
        settling->settled[from] = 1;
        clear_if_settled(rank, settling);
    }
}

/* A child of a re-executed parent. */
struct grace {
    struct base_list link;
    struct task *task;
    uint32_t lost_on, deaths;
};

static bool is_settled(const struct rank *rank, uint32_t lost_on, uint32_t deaths)
{
    return base_list_is_empty(&rank->settling) && rank->deaths >= deaths && (lost_on >= rank->size || rank->down[lost_on]);
}

void recover_grace(struct rank *rank, struct scope *scope, struct task *task)
{
    struct grace *grace;
    if (is_settled(rank, scope->lost_on, scope->deaths) || !(grace = base_alloc(sizeof *grace))) {
        return;
    }
    *grace = (struct grace){.task = task, .lost_on = scope->lost_on, .deaths = scope->deaths};
    base_list_push_back(&rank->graced, &grace->link);
    object_hold(&task->object);
}

static void end_grace(struct rank *rank)
{
    struct base_list over;
    base_list_init(&over);
    BASE_LIST_EACH(&rank->graced, link)
    {
        struct grace *grace = MT_CONTAINER(link, struct grace, link);
        if (is_settled(rank, grace->lost_on, grace->deaths)) {
            base_list_remove(link);
            base_list_push_back(&over, link);
        }
    }
    struct base_list *link;
    while ((link = base_list_pop_front(&over))) {
        struct grace *grace = MT_CONTAINER(link, struct grace, link);
        object_drop(rank, &grace->task->object);
        base_free(grace);
    }
}

static void forget_holder(struct rank *rank, uint32_t dead)
{
    for (uint32_t i = 1; i < rank->tasks.fresh; i++) {
        struct task *task = base_slab_at(&rank->tasks, i);
        if (task->object.kind && task->extra && task->extra->holders) {
            holders_forget(rank, task, dead);
        }
    }
}

void recover_on_cleared(struct rank *rank, uint32_t from, const struct wire_header *header,
                        struct wire_reader *body)
{
    struct settling *settling = get_settling(rank, header->position);
    forget_holder(rank, header->position);
    if (settling) {
        base_list_remove(&settling->link);
        free_settling(settling);
    }
    end_grace(rank);
}

/* Our unregistered borrows might be protected by the dead rank alone: their owners hear of us now. */
static void register_all(struct rank *rank)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->borrows, &at, &key, &value)) {
        struct borrow *borrow = value;
        struct guard *guard;
        if (rank->down[borrow->ref.owner] || borrow->is_looking || !(guard = base_alloc(sizeof *guard))) {
            continue;
        }
        guard->settles = 1;
        rank->settles_missing++;
        object_register(rank, borrow, guard);
    }
}

/* ---- A death, step by step -------------------------------------------------------------------------------------- */

static void rerun(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    if (task->retries_left == 0) {
        recover_give_up(rank, task);
        return;
    }
    task->flags |= TASK_RERUN;
    task_run_lost(rank, task, task->exec_rank);
}

static void retake_tasks(struct rank *rank, struct peer *peer)
{
    struct base_list sent;
    base_list_init(&sent);
    base_list_splice(&sent, &peer->sent);
    base_list_splice(&sent, &peer->pinned);
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
    BASE_LIST_EACH(&rank->maps, link)
    {
        struct map *map = MT_CONTAINER(link, struct map, all);
        map_rank_lost(rank, map->task, peer->number);
    }
}

static void offer_run(struct rank *rank, struct run *run)
{
    struct message_offer offer = {.digest = run->digest, .function = function_hash(run->function),
                                  .runner = rank->number, .run_token = run->index};
    struct wire_header about = {.parent = run->parent, .position = run->position};
    run->is_orphan = 1;
    run->is_retained = 0;
    run->offered_to = recover_home(rank, run->parent);
    message_send(rank, run->offered_to, MESSAGE_OFFER, about, &offer, sizeof offer);
}

/* An orphan nobody will adopt. */
static void drop_orphan(struct rank *rank, struct run *run)
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
    } else if (run->state == RUN_REGISTERING) {
        exec_run_free(rank, run);
    } else if (run->parent_is_root || run->map_count) {
        atomic_store_explicit(&run->cancelled, 1, memory_order_relaxed);
    } /* else it may still be wanted: see find_twin */
}

static void orphan_runs(struct rank *rank, struct peer *peer)
{
    struct base_list runs;
    base_list_init(&runs);
    base_list_splice(&runs, &peer->runs);
    while (!base_list_is_empty(&runs)) {
        struct run *run = MT_CONTAINER(base_list_pop_front(&runs), struct run, owned);
        base_list_push_back(&rank->orphans, &run->owned);
        if (run->parent_is_root || run->map_count || run->state == RUN_REGISTERING) {
            drop_orphan(rank, run);
        } else {
            offer_run(rank, run);
        }
    }
}

static void redirect_borrows(struct rank *rank, uint32_t dead)
{
    uint32_t at = 0;
    struct base_key key;
    void *value;
    while (base_map_next(&rank->borrows, &at, &key, &value)) {
        struct borrow *borrow = value;
        if (borrow->is_looking && !core_is_root_id(borrow->ref.parent)) {
            recover_borrow(rank, borrow); /* its home may have been the dead one */
        } else if (borrow->ref.owner == dead) {
            borrow->is_registered = 0;
            borrow->object.holds -= (int32_t)borrow->acks_missing;
            borrow->acks_missing = 0;
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
            send_register(rank, scope->id, scope->home, REGISTER_OWNER);
        }
    }
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
    rank->deaths++;
    if (peer) {
        base_list_remove(&peer->hungry);
        base_list_remove(&peer->releasing);
        peer->release_count = 0;
        retake_tasks(rank, peer);
        orphan_runs(rank, peer);
    }
    home_forget_owner(rank, dead);
    (void)redirect_all(rank, dead);
    move_to_new_homes(rank, dead);
    struct settling *settling = get_settling(rank, dead);
    if (settling) {
        settling->is_heard = 1;
        register_all(rank);
        if (rank->settles_missing == 0) {
            tell_settled(rank);
        }
    }
    BASE_LIST_EACH(&rank->settling, link)
    {
        struct settling *other = MT_CONTAINER(link, struct settling, link);
        if (!other->is_cleared) {
            clear_if_settled(rank, other);
        }
    }
    dispatch_pump(rank);
    dispatch_flush(rank);
}

/* ---- The parent again --------------------------------------------------------------------------------------------- */

/* An earlier run of the same task that is still on this rank. */
static struct run *find_twin(struct rank *rank, const struct run *run)
{
    for (uint32_t i = 1; i < rank->runs.fresh; i++) {
        struct run *other = base_slab_at(&rank->runs, i);
        if (other != run && other->id == run->id && other->index == i && !other->map_count) {
            return other;
        }
    }
    return NULL;
}

/* The earlier run goes on for the new owner. */
static void replace_owner(struct rank *rank, struct run *run, uint32_t owner, uint32_t token, uint8_t attempt)
{
    struct peer *peer = peer_get(rank, owner);
    base_list_remove(&run->owned);
    if (peer && owner != rank->number) {
        base_list_push_back(&peer->runs, &run->owned);
    }
    run->is_orphan = run->is_dismissed = run->is_credited = 0;
    run->owner = owner;
    run->token = token;
    run->attempt = attempt;
    if (run->scope) {
        run->scope->owner = owner;
        run->scope->owner_token = token;
    }
    if (run->state == RUN_FINISHED) {
        exec_send_result(rank, run);
    }
}

/*
 * Two ranks run the same parent for a while, because one of them has not heard yet that it was given up. Both may want
 * the same child from here: the later one gets the run, the other places its task again and will find the result.
 */
static void displace_owner(struct rank *rank, struct run *run)
{
    struct message_result result = {.flags = RESULT_DISPLACED | (run->is_credited ? RESULT_CREDITED : 0)};
    struct wire_header about = {.parent = run->parent, .position = run->position, .token = run->token,
                                .attempt = run->attempt};
    if (run->is_orphan || run->state == RUN_FINISHED) {
        return;
    }
    if (run->task) {
        if (!run->is_credited) {
            dispatch_credit(rank, rank->number, true);
        }
        task_place_again(rank, run->task);
        run->task = NULL;
    } else if (!rank->down[run->owner]) {
        message_send(rank, run->owner, MESSAGE_RESULT, about, &result, sizeof result);
    }
}

/* The scope of an earlier run that has ended, with children alive, becomes the new run's: it submits into the same records. */
static void inherit_scope(struct scope *scope, struct run *run)
{
    run->scope = scope;
    scope->run = run;
    scope->owner = run->owner;
    scope->owner_token = run->token;
    scope->is_ended = scope->told_owner = 0;
    scope->next_position = 0;
}

bool recover_takes_over(struct rank *rank, struct run *run)
{
    struct run *twin = run->map_count ? NULL : find_twin(rank, run);
    if (run->map_count) {
        return false;
    }
    if (twin) {
        displace_owner(rank, twin);
        twin->task = run->task;
        if (run->task) {
            run->task->run = twin;
        }
        uint32_t owner = run->owner, token = run->token;
        uint8_t attempt = run->attempt;
        exec_run_free(rank, run);
        replace_owner(rank, twin, owner, token, attempt);
        return true;
    }
    struct scope *scope = scope_find(rank, run->id);
    if (scope) {
        inherit_scope(scope, run);
    } else {
        scope = scope_of_run(rank, run);
    }
    if (!scope || scope_make_findable(rank, scope) != 0) {
        return false;
    }
    if (scope->is_taken_over && scope->home != recover_home(rank, run->id)) {
        send_register(rank, scope->id, scope->home, REGISTER_GONE);
    }
    scope->is_taken_over = 1;
    scope->lost_on = run->lost_on;
    scope->deaths = run->deaths;
    scope->home = recover_home(rank, run->id);
    run->state = RUN_REGISTERING;
    send_register(rank, run->id, scope->home, REGISTER_OWNER);
    return true;
}

void recover_on_registered(struct rank *rank, uint32_t from, const struct wire_header *header,
                           struct wire_reader *body)
{
    struct scope *scope = scope_find(rank, header->parent);
    if (scope && scope->run && scope->run->state == RUN_REGISTERING) {
        exec_queue(rank, scope->run);
    }
}

static void answer_offer(struct rank *rank, uint64_t parent, uint32_t position, const struct message_offer *offer,
                         struct task *task)
{
    struct wire_header about = {.parent = parent, .position = position, .token = task ? task->index : 0,
                                .attempt = task ? task->attempt : 0};
    if (!rank->down[offer->runner]) {
        message_send(rank, offer->runner, MESSAGE_ADOPT, about, &offer->run_token, sizeof offer->run_token);
    }
}

void recover_take_offer(struct rank *rank, struct scope *scope, uint32_t position,
                        const struct message_offer *message)
{
    struct offer *offer = position >= scope->next_position ? base_alloc(sizeof *offer) : NULL;
    if (!offer) {
        answer_offer(rank, scope->id, position, message, NULL);
    } else {
        offer->position = position;
        offer->message = *message;
        base_list_push_back(&scope->offers, &offer->link);
    }
}

static struct offer *find_offer(struct scope *scope, uint32_t position)
{
    BASE_LIST_EACH(&scope->offers, link)
    {
        struct offer *offer = MT_CONTAINER(link, struct offer, link);
        if (offer->position == position) {
            return offer;
        }
    }
    return NULL;
}

static void drop_offer(struct offer *offer)
{
    base_list_remove(&offer->link);
    base_free(offer);
}

static void replay_lookups(struct rank *rank, struct scope *scope, const struct task *task)
{
    BASE_LIST_EACH(&scope->lookups, link)
    {
        struct lookup *lookup = MT_CONTAINER(link, struct lookup, link);
        if (lookup->header.position - task->position >= task->outputs) {
            continue;
        }
        struct wire_reader reader = wire_reader_init(lookup->message, lookup->size);
        base_list_remove(&lookup->link);
        (lookup->header.kind == MESSAGE_HOLD ? object_on_hold : object_on_ask)(rank, lookup->from, &lookup->header,
                                                                              &reader);
        base_free(lookup);
    }
}

bool recover_adopt(struct rank *rank, struct scope *scope, struct task *task)
{
    struct offer *offer = find_offer(scope, task->position);
    bool is_adopted = false;
    while (offer) {
        const struct message_offer message = offer->message;
        drop_offer(offer);
        if (message.digest != task_digest(task)) {
            answer_offer(rank, scope->id, task->position, &message, NULL);
            if (task_get_extra(task)) {
                task->extra->diverged_function = message.function;
                task->flags |= TASK_DIVERGED;
            }
        } else if (!is_adopted && !rank->down[message.runner] && dispatch_adopted(rank, task, message.runner)) {
            answer_offer(rank, scope->id, task->position, &message, task);
            rank->stats.adopted++;
            is_adopted = true;
        } else {
            answer_offer(rank, scope->id, task->position, &message, NULL);
        }
        offer = find_offer(scope, task->position);
    }
    replay_lookups(rank, scope, task);
    return is_adopted;
}

static struct run *find_orphan(struct rank *rank, const struct wire_header *header, uint32_t token)
{
    if (!base_slab_is_known(&rank->runs, token)) {
        return NULL;
    }
    struct run *run = base_slab_at(&rank->runs, token);
    bool fits = run->index == token && run->is_orphan && run->parent == header->parent &&
                run->position == header->position && !run->is_dismissed;
    return fits ? run : NULL;
}

void recover_on_adopt(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct run *run = find_orphan(rank, header, wire_get_u32(body));
    struct peer *peer = peer_get(rank, from);
    if (!run && header->token) {
        struct message_result gone = {.flags = RESULT_DISPLACED};
        message_send(rank, from, MESSAGE_RESULT, *header, &gone, sizeof gone);
    }
    if (!run || !peer) {
        return;
    }
    if (!header->token) {
        drop_orphan(rank, run);
        return;
    }
    if (from == rank->number) {
        run->task = base_slab_at(&rank->tasks, header->token);
        run->task->run = run;
    }
    replace_owner(rank, run, from, header->token, header->attempt);
}

/* ---- Requests of holders ---------------------------------------------------------------------------------------------- */

bool recover_park_request(struct rank *rank, uint32_t from, const struct wire_header *header,
                          const void *message, size_t size)
{
    struct scope *scope = scope_find(rank, header->parent);
    struct lookup *lookup;
    if (!scope || !scope->is_taken_over || scope->is_ended || header->position < scope->next_position ||
        size > sizeof lookup->message || !(lookup = base_alloc(sizeof *lookup))) {
        return false;
    }
    lookup->header = *header;
    lookup->from = from;
    lookup->size = (uint32_t)size;
    memcpy(lookup->message, message, size);
    base_list_push_back(&scope->lookups, &lookup->link);
    return true;
}

void recover_fail_lookups(struct rank *rank, struct scope *scope)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&scope->lookups))) {
        struct lookup *lookup = MT_CONTAINER(link, struct lookup, link);
        manta_ref ref = {lookup->header.parent, lookup->header.position, rank->number};
        struct message_hold hold;
        memcpy(&hold, lookup->message, sizeof hold);
        if (lookup->header.kind == MESSAGE_ASK) {
            answer_lost(rank, lookup->from, ref);
        } else if (hold.want_ack) {
            message_send(rank, lookup->from, MESSAGE_HELD, lookup->header, NULL, 0);
        }
        base_free(lookup);
    }
    while ((link = base_list_pop_front(&scope->offers))) {
        struct offer *offer = MT_CONTAINER(link, struct offer, link);
        answer_offer(rank, scope->id, offer->position, &offer->message, NULL);
        base_free(offer);
    }
}

void recover_forget_scope(struct rank *rank, struct scope *scope)
{
    recover_fail_lookups(rank, scope);
    if (scope->is_taken_over) {
        send_register(rank, scope->id, scope->home, REGISTER_GONE);
    }
}

bool recover_is_diverged(const struct task *task)
{
    return task->flags & TASK_DIVERGED;
}

void recover_diverged_error(struct rank *rank, const struct task *task, manta_error *ret_error)
{
    const manta_function *before = registry_find(task->extra->diverged_function);
    *ret_error = (manta_error){.code = MANTA_E_DIVERGED, .rank = rank->number};
    task_describe(task, ret_error);
    snprintf(ret_error->host, sizeof ret_error->host, "%s", rank->options.host_name);
    snprintf(ret_error->text, sizeof ret_error->text,
             "the lost run of the parent submitted %.30s (%.30s:%u) here, its re-execution %.30s; it must submit "
             "the same again",
             before ? before->name : "an unknown task", before ? before->file : "?", before ? before->line : 0,
             task->function->name);
}

/* ---- Re-runs for the sake of children -------------------------------------------------------------------------------------- */

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
    uint64_t id = task_id(task);
    send_register(rank, id, recover_home(rank, id), REGISTER_GIVEN_UP);
    if (task->object.is_done) {
        task->state = TASK_DONE;
        task_end_lineage(rank, task);
    }
}

void recover_fini(struct rank *rank)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&rank->settling))) {
        free_settling(MT_CONTAINER(link, struct settling, link));
    }
}

struct task *recover_resubmit(struct rank *rank, struct scope *scope, const manta_function *function)
{
    struct target target = {.element = -1};
    if (!scope_resolve(rank, scope, scope->next_position, &target)) {
        return NULL;
    }
    struct task *task = object_task(target.object);
    if (task->position != scope->next_position || task->function != function || task->flags & TASK_HELD) {
        return NULL;
    }
    task->flags |= TASK_HELD;
    task->dropped = 0;
    object_hold(&task->object);
    recover_grace(rank, scope, task);
    scope->next_position += task->flags & TASK_IS_MAP ? (uint32_t)task->map->count + 1 : task->outputs;
    return task;
}
