/*
 * A parent that runs again, and what survived of its earlier run.
 *
 * Before a run that may have had an earlier one starts, its rank registers at the home of its id
 * and is told of orphaned children (offers). Each submission then looks whether its position was
 * offered: with the same digest the orphan is adopted. If an earlier run is still on this very
 * rank, it goes on for the new owner (twin); if only its scope is left, the new run submits into
 * the same records. Holders that ask for a position not yet reached wait for it.
 *
 * A run that survived and goes on for another owner registers too, without waiting: while it was
 * on its way to its new owner a second run of the same task may have handed out refs and died, and
 * who holds these looks for them at the home. So wherever a task is wanted that may have run more
 * than once, the rank that runs it is known there.
 */
#include "core/cancel.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/lineage.h"
#include "core/lost.h"
#include "core/map.h"
#include "core/message.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/value.h"

#include <stdio.h>

#define NOBODY UINT32_MAX

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
    uint8_t message[sizeof(struct message_request)];
};

/* An owner that lives has its result, and the place of a block of ours in it, which goes on that
 * owner's word: another owner gets a block of its own. */
static bool is_anothers(const struct rank *rank, const struct run *done, const struct run *run)
{
    return done->is_retained && done->result && done->result->stored_outputs &&
           done->owner != run->owner && !rank->down[done->owner];
}

/* An earlier run of the same task that is still on this rank. */
static struct run *find_twin(struct rank *rank, const struct run *run)
{
    for (uint32_t i = 1; i < rank->runs.fresh; i++) {
        struct run *other = base_slab_at(&rank->runs, i);
        if (other != run && other->id == run->id && other->index == i && !other->map_count &&
            !is_anothers(rank, other, run)) {
            return other;
        }
    }
    return NULL;
}

/* Its owner, if that is alive, is to have it run again. */
static void place_again(struct rank *rank, struct run *run)
{
    struct message_result result = {.flags = RESULT_DISPLACED |
                                             (run->is_credited ? RESULT_CREDITED : 0) |
                                             (run->outside ? RESULT_OUTSIDE : 0)};
    struct wire_header about = {.parent = run->parent,
                                .position = run->position,
                                .token = run->token,
                                .attempt = run->attempt};
    if (run->task) {
        if (!run->is_credited) {
            dispatch_credit(rank, rank->number, exec_lane(run), true);
        }
        exec_outlive_task(run);
        task_place_again(rank, run->task);
        run->task = NULL;
    } else if (!rank->down[run->owner]) {
        message_send(rank, run->owner, MESSAGE_RESULT, about, &result, sizeof result);
    }
}

/*
 * Two ranks run the same parent for a while, because one of them has not heard yet that it was
 * given up. Both may want the same child from here: the later one gets the run, the other places
 * its task again and will find the result.
 */
void recover_displace_owner(struct rank *rank, struct run *run)
{
    if (!run->is_orphan && run->state != RUN_FINISHED) {
        place_again(rank, run);
    }
}

/* Tells the home that what this run submits, or has submitted, is here. */
static void register_scope(struct rank *rank, struct scope *scope)
{
    uint32_t home = recover_home(rank, scope->id);
    if (scope->is_taken_over && scope->home != home) {
        recover_send_register(rank, scope->id, scope->home, REGISTER_GONE, scope->number);
    }
    scope->may_be_borrowed = 1;
    scope->is_taken_over = rank->has_taken_over = rank->has_moved = 1;
    scope->home = home;
    scope->number = ++rank->registrations;
    recover_send_register(rank, scope->id, home, REGISTER_OWNER, scope->number);
}

static void note_loss(struct scope *scope, const struct run *run)
{
    scope->lost_on = run->lost_on == NOBODY ? scope->lost_on : run->lost_on;
    scope->deaths = MT_MAX(scope->deaths, run->deaths);
}

/* The owner may have the value already, and release it at once. */
static void keep_children(struct rank *rank, struct scope *scope)
{
    struct task *child;
    for (uint32_t at = 0; (child = scope_next_child(rank, scope, &at));) {
        recover_grace(rank, scope, child);
    }
    BASE_LIST_EACH(&scope->maps, link)
    {
        recover_grace(rank, scope, MT_CONTAINER(link, struct map, link)->task);
    }
}

/* The scope of a run that goes on, for another owner than before. NULL: it has ended and no child
 * of it lives. */
static struct scope *move_scope(struct rank *rank, struct run *run, uint32_t owner, uint32_t token)
{
    struct scope *scope =
        run->state == RUN_FINISHED ? scope_find(rank, run->id) : scope_of_run(rank, run);
    if (scope) {
        note_loss(scope, run);
        keep_children(rank, scope);
        scope_change_owner(rank, scope, owner, token);
        if (scope_make_findable(rank, scope) == MANTA_OK) {
            register_scope(rank, scope);
        }
    }
    return scope;
}

/* The earlier run goes on for the new owner. Of one that has ended, the children may live on. */
static void replace_owner(struct rank *rank, struct run *run, uint32_t owner, uint32_t token,
                          uint8_t attempt)
{
    struct peer *peer = peer_get(rank, owner);
    base_list_remove(&run->owned);
    if (peer && owner != rank->number) {
        base_list_push_back(&peer->runs, &run->owned);
    }
    run->is_orphan = run->is_dismissed = run->is_credited = 0;
    run->is_spoiled |= run->cancelled != 0; /* by the one before */
    run->owner = owner;
    run->token = token;
    run->attempt = attempt;
    struct scope *scope = move_scope(rank, run, owner, token);
    if (run->state == RUN_FINISHED && run->code == MANTA_E_CANCELLED) {
        place_again(rank, run);
        exec_run_free(rank, run);
    } else if (run->state == RUN_FINISHED) {
        exec_send_result(rank, run, scope);
    } else if (exec_find_parked(run)) {
        exec_give_place_back(rank, run);
    }
}

static void hold_ref(struct rank *rank, manta_ref ref, void *arg)
{
    (void)object_get_held(rank, ref);
}

/* It has ended, and its owner may still rely on what is kept here: the other one gets a copy, to be
 * released apart. */
static void copy_result(struct rank *rank, const struct run *twin, struct run *run)
{
    run->state = RUN_FINISHED;
    run->code = twin->code;
    run->result = twin->result;
    memcpy(run->small, twin->small, sizeof run->small);
    if (run->result) {
        run->result->sharers++;
        value_each_ref(rank, run->result, hold_ref, NULL);
    }
    exec_send_result(rank, run, move_scope(rank, run, run->owner, run->token));
}

/* An earlier run that is still here goes on for the new owner. */
static void continue_twin(struct rank *rank, struct run *twin, struct run *run)
{
    recover_displace_owner(rank, twin);
    twin->task = run->task;
    if (run->task) {
        run->task->run = twin;
    }
    uint32_t owner = run->owner, token = run->token;
    uint8_t attempt = run->attempt;
    twin->lost_on = run->lost_on;
    twin->deaths = run->deaths;
    exec_run_free(rank, run);
    replace_owner(rank, twin, owner, token, attempt);
}

/* The scope of an earlier run that has ended, with children alive, becomes the new run's: it
 * submits into the same records. */
static void inherit_scope(struct rank *rank, struct scope *scope, struct run *run)
{
    run->scope = scope;
    scope->run = run;
    scope_change_owner(rank, scope, run->owner, run->token);
    scope->is_ended = scope->told_owner = scope->has_run = 0;
    scope->next_position = 0;
}

bool recover_takes_over(struct rank *rank, struct run *run)
{
    struct run *twin = run->map_count ? NULL : find_twin(rank, run);
    if (run->map_count) {
        return false;
    }
    if (twin && twin->is_retained) {
        copy_result(rank, twin, run);
        return true;
    }
    if (twin) {
        continue_twin(rank, twin, run);
        return true;
    }
    struct scope *scope = scope_find(rank, run->id);
    if (scope && scope->is_spoiled) { /* until its children have stopped */
        recover_displace_owner(rank, run);
        exec_run_free(rank, run);
        return true;
    }
    if (scope) {
        inherit_scope(rank, scope, run);
    } else {
        scope = scope_of_run(rank, run);
    }
    if (!scope || scope_make_findable(rank, scope) != 0) {
        return false;
    }
    note_loss(scope, run);
    run->state = RUN_REGISTERING;
    register_scope(rank, scope);
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

static void answer_offer(struct rank *rank, uint64_t parent, uint32_t position,
                         const struct message_offer *offer, struct task *task, bool is_over)
{
    struct message_adopt adopt = {offer->run_token, is_over};
    struct wire_header about = {.parent = parent,
                                .position = position,
                                .token = task ? task->index : 0,
                                .attempt = task ? task->attempt : 0};
    if (!rank->down[offer->runner]) {
        message_send(rank, offer->runner, MESSAGE_ADOPT, about, &adopt, sizeof adopt);
    }
}

/* The task runs elsewhere by now. */
static void refuse_offer(struct rank *rank, struct scope *scope, uint32_t position,
                         const struct message_offer *message)
{
    struct task *task = scope_child(rank, scope, position);
    struct offer *offer = task && !task->object.is_done ? base_alloc(sizeof *offer) : NULL;
    answer_offer(rank, scope->id, position, message, NULL, offer == NULL);
    if (offer) {
        offer->position = task->position;
        offer->message = *message;
        base_list_push_back(&scope->refused, &offer->link);
    }
}

void recover_take_offer(struct rank *rank, struct scope *scope, uint32_t position,
                        const struct message_offer *message)
{
    struct offer *offer = position >= scope->next_position ? base_alloc(sizeof *offer) : NULL;
    if (!offer) {
        refuse_offer(rank, scope, position, message);
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

void recover_stop_refused(struct rank *rank, struct scope *scope, const struct task *task)
{
    BASE_LIST_EACH(&scope->refused, link)
    {
        struct offer *offer = MT_CONTAINER(link, struct offer, link);
        if (!task || offer->position == task->position) {
            answer_offer(rank, scope->id, offer->position, &offer->message, NULL, true);
            drop_offer(offer);
        }
    }
}

static uint32_t positions_of(const struct task *task)
{
    return task->flags & TASK_IS_MAP ? map_positions(task->map->count) : task->outputs;
}

void recover_answer_lookups(struct rank *rank, struct scope *scope, const struct task *task)
{
    uint32_t positions = positions_of(task);
    BASE_LIST_EACH(&scope->lookups, link)
    {
        struct lookup *lookup = MT_CONTAINER(link, struct lookup, link);
        if (lookup->header.position - task->position >= positions) {
            continue;
        }
        struct wire_reader reader = wire_reader_init(lookup->message, lookup->size);
        base_list_remove(&lookup->link);
        (lookup->header.kind == MESSAGE_HOLD ? holders_on_hold
         : lookup->header.kind == MESSAGE_READ
             ? stream_on_read
             : holders_on_request)(rank, lookup->from, &lookup->header, &reader);
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
            refuse_offer(rank, scope, task->position, &message);
            if (task_get_extra(rank, task)) {
                task->extra->diverged_function = message.function;
                task->flags |= TASK_DIVERGED;
            }
        } else if (!is_adopted && !rank->down[message.runner] &&
                   dispatch_adopted(rank, task, message.runner)) {
            answer_offer(rank, scope->id, task->position, &message, task, false);
            rank->stats.adopted++;
            is_adopted = true;
        } else {
            refuse_offer(rank, scope, task->position, &message);
        }
        offer = find_offer(scope, task->position);
    }
    recover_answer_lookups(rank, scope, task);
    return is_adopted;
}

static void meet_borrow(struct rank *rank, struct task *task, const struct borrow *borrow)
{
    if (borrow) {
        holder_add(rank, task, borrow->ref.position, rank->number, borrow->instance);
    }
}

/* Of a map there are fewer than it has positions, as a rule. */
static void meet_all_borrows(struct rank *rank, struct task *task)
{
    uint32_t at = 0, positions = positions_of(task);
    struct base_key key;
    void *borrow;
    while (base_map_next(&rank->borrows, &at, &key, &borrow)) {
        if (key.high == task->parent && key.low - task->position < positions) {
            meet_borrow(rank, task, borrow);
        }
    }
}

void recover_note_record(struct rank *rank, struct scope *scope, struct task *task)
{
    if (scope->is_taken_over) {
        recover_grace(rank, scope, task);
    }
    if (task->flags & TASK_IS_MAP) {
        meet_all_borrows(rank, task);
        return;
    }
    for (uint32_t i = 0; i < task->outputs; i++) {
        meet_borrow(rank, task,
                    base_map_find(&rank->borrows, core_key(task->parent, task->position + i)));
    }
}

void recover_part_from(struct rank *rank, const struct borrow *borrow)
{
    struct target target = {.element = -1};
    struct scope *scope = scope_find(rank, borrow->ref.parent);
    if (scope && scope_resolve(rank, scope, borrow->ref.position, &target)) {
        holder_end(rank, object_task(target.object), borrow->ref.position, rank->number,
                   borrow->instance);
    }
}

static struct run *find_orphan(struct rank *rank, const struct wire_header *header, uint32_t token)
{
    if (!base_slab_is_known(&rank->runs, token)) {
        return NULL;
    }
    struct run *run = base_slab_at(&rank->runs, token);
    bool fits = run->index == token && run->is_orphan && run->parent == header->parent &&
                run->position == header->position;
    return fits ? run : NULL;
}

/* False: the task has been cancelled since. */
static bool adopt_here(struct rank *rank, struct run *run, uint32_t token)
{
    struct task *task =
        base_slab_is_known(&rank->tasks, token) ? base_slab_at(&rank->tasks, token) : NULL;
    bool fits =
        task && task->object.kind && task->parent == run->parent && task->position == run->position;
    if (fits && !task->object.is_done) {
        run->task = task;
        task->run = run;
        return true;
    }
    dispatch_credit(rank, rank->number, exec_lane(run), true);
    recover_drop_orphan(rank, run, true);
    if (fits && task->flags & TASK_STOPPING) {
        cancel_task_is_over(rank, task);
    }
    return false;
}

void recover_on_adopt(struct rank *rank, uint32_t from, const struct wire_header *header,
                      struct wire_reader *body)
{
    struct message_adopt message;
    const void *bytes = wire_take(body, sizeof message);
    if (!bytes) {
        return;
    }
    memcpy(&message, bytes, sizeof message);
    struct run *run = find_orphan(rank, header, message.run_token);
    run = run && (!run->is_dismissed || message.is_over) ? run : NULL;
    struct peer *peer = peer_get(rank, from);
    if (!run && header->token) {
        struct message_result gone = {.flags = RESULT_DISPLACED};
        message_send(rank, from, MESSAGE_RESULT, *header, &gone, sizeof gone);
    }
    if (!run || !peer) {
        return;
    }
    if (!header->token) {
        recover_drop_orphan(rank, run, message.is_over);
        return;
    }
    if (from == rank->number && !adopt_here(rank, run, header->token)) {
        return;
    }
    replace_owner(rank, run, from, header->token, header->attempt);
}

/* ---- Requests of holders -------------------------------------------------------------------- */

bool recover_park_request(struct rank *rank, uint32_t from, const struct wire_header *header,
                          const void *message, size_t size)
{
    struct scope *scope = scope_find(rank, header->parent);
    struct lookup *lookup;
    if (!scope || !scope->is_taken_over || scope->is_ended ||
        header->position < scope->next_position || size > sizeof lookup->message ||
        !(lookup = base_alloc(sizeof *lookup))) {
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
        if (!scope->has_run) {
            recover_refuse_holder(rank, lookup->from, &lookup->header);
        } else if (lookup->header.kind == MESSAGE_REQUEST) {
            struct message_request request;
            memcpy(&request, lookup->message, sizeof request);
            object_answer_lost(rank, lookup->from, &request);
        } else if (lookup->header.kind == MESSAGE_READ) {
            stream_answer_lost(rank, lookup->from, &lookup->header);
        }
        base_free(lookup);
    }
    while ((link = base_list_pop_front(&scope->offers))) {
        struct offer *offer = MT_CONTAINER(link, struct offer, link);
        answer_offer(rank, scope->id, offer->position, &offer->message, NULL, scope->has_run);
        base_free(offer);
    }
}

void recover_forget_scope(struct rank *rank, struct scope *scope)
{
    recover_fail_lookups(rank, scope);
    recover_stop_refused(rank, scope, NULL);
    if (scope->is_taken_over) {
        recover_send_register(rank, scope->id, scope->home, REGISTER_GONE, scope->number);
    }
}

bool recover_is_diverged(const struct task *task)
{
    return task->flags & TASK_DIVERGED;
}

void recover_diverged_error(struct rank *rank, const struct task *task, manta_error *ret_error)
{
    manta_error before = {.file = "?"};
    const manta_function *function = registry_find(task->extra->diverged_function);
    if (function) {
        function_describe(function, NULL, &before);
    }
    *ret_error = (manta_error){.code = MANTA_E_DIVERGED, .rank = rank->number};
    task_describe(task, ret_error);
    snprintf(ret_error->host, sizeof ret_error->host, "%s", rank->options.host_name);
    int length = snprintf(ret_error->text, sizeof ret_error->text,
                          "the lost run of the parent submitted %.20s (%.20s:%u) here, its "
                          "re-execution ",
                          function ? before.task : "an unknown task", before.file, before.line);
    const char *again = "; it must submit the same again";
    size_t left = sizeof ret_error->text - (size_t)length;
    if (function == task->function) {
        snprintf(ret_error->text + length, left, "the same with other arguments%s", again);
    } else {
        snprintf(ret_error->text + length, left, "%.20s (%.20s:%u)%s", task->function->name,
                 ret_error->file, ret_error->line, again);
    }
}

/* Its value went when nobody held it; the record was kept for the children, or for what is made
 * from its value. */
void recover_revive(struct rank *rank, struct task *task)
{
    if (lineage_is_kept(task) && lost_has_no_value(task)) {
        lost_make_again(rank, task);
        return;
    }
    if (MT_LIKELY(!(task->flags & TASK_LINEAGE)) || !lost_has_no_value(task)) {
        return;
    }
    bool is_rerun = task->flags & TASK_RERUN;
    task_undo(rank, task);
    if (!is_rerun) {
        task_place_again(rank, task);
    }
}

struct task *recover_resubmit(struct rank *rank, struct scope *scope,
                              const manta_function *function)
{
    struct target target = {.element = -1};
    if (!scope_resolve(rank, scope, scope->next_position, &target)) {
        return NULL;
    }
    struct task *task = object_task(target.object);
    if (task->position != scope->next_position || task->function != function ||
        task->flags & TASK_HELD) {
        return NULL;
    }
    task->flags |= TASK_HELD;
    task->dropped = 0;
    object_hold(&task->object);
    recover_revive(rank, task);
    recover_grace(rank, scope, task);
    scope->next_position += positions_of(task);
    return task;
}
