#include "core/lost.h"

#include "core/dispatch.h"
#include "core/exec.h"
#include "core/fetch.h"
#include "core/heirs.h"
#include "core/lineage.h"
#include "core/message.h"
#include "core/pack.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/value.h"

#include <stdio.h>

static bool is_same(const struct location *a, const struct location *b)
{
    return a->parent == b->parent && a->position == b->position && a->rank == b->rank &&
           a->offset == b->offset;
}

/* ---- Copies --------------------------------------------------------------------------------- */

bool lost_find_copy(struct rank *rank, struct output *output)
{
    struct copy *copy = output->copy ? output->copy : fetch_find(rank, &output->place);
    if (!copy || !copy->data || copy->of.bytes != output->place.bytes) {
        return false;
    }
    if (!output->copy) {
        copy->sharers++;
        output->copy = copy;
    }
    fetch_stay(rank, copy); /* it is all there is */
    heirs_end_claim(rank, output);
    output->data = copy->data;
    output->place.rank = copy->agent;
    output->place.offset = copy->offset;
    return true;
}

/* Of all outputs that lie in this share. */
static bool find_copies(struct rank *rank, struct value *value, uint32_t share)
{
    bool are_all_found = true;
    for (uint32_t i = 0; i < value->outputs; i++) {
        struct output *output = &value->output[i];
        if (output->is_stored && output->place.rank == share) {
            are_all_found &= lost_find_copy(rank, output);
        }
    }
    return are_all_found;
}

/* ---- What cannot be made again -------------------------------------------------------------- */

static const char *why_never(const struct task *task)
{
    if (task_is_put(task)) {
        return "it was put, or taken from a stream, and only what a task has made can be made "
               "again";
    }
    if (task->flags & TASK_ONCE) {
        return "its task may not run twice (option retries)";
    }
    if (!lineage_is_kept(task) && !(task->flags & TASK_LINEAGE)) {
        return "its task's arguments are not kept any more (MANTA_LINEAGE)";
    }
    return task->retries_left ? NULL : "no attempt is left";
}

static manta_error *make_error(struct rank *rank, const struct task *task, const char *why)
{
    const struct value *value = task->object.value;
    manta_error *error = base_alloc(sizeof *error);
    uint32_t dead = UINT32_MAX;
    for (uint32_t i = 0; value && i < value->outputs; i++) {
        dead = value->output[i].is_stored ? value->output[i].place.rank : dead;
    }
    if (!error) {
        return NULL;
    }
    error->code = MANTA_E_LOST;
    error->rank = rank->number;
    task_describe(task, error);
    snprintf(error->host, sizeof error->host, "%s", rank->options.host_name);
    if (dead < rank->size && rank->down[dead]) {
        error->rank = dead;
        snprintf(error->text, sizeof error->text,
                 "the value was on rank %u, which died %.3f s after the start, and no rank of its "
                 "node is left; %s",
                 dead, (double)heirs_died_ns(rank, dead) / 1e9, why);
    } else if (dead < rank->size) {
        error->rank = dead;
        snprintf(error->text, sizeof error->text,
                 "the value was spilled by rank %u and could not be read back whole; %s", dead,
                 why);
    } else {
        snprintf(error->text, sizeof error->text, "the value is needed again, but is gone; %s",
                 why);
    }
    return error;
}

static void give_up(struct rank *rank, struct task *task, const char *why)
{
    manta_error *error = make_error(rank, task, why);
    if (lineage_is_kept(task)) {
        lineage_let_go(rank, task);
    }
    task_drop_value(rank, task);
    base_free(task->object.error);
    task->object.error = error;
    task->object.code = MANTA_E_LOST;
    rank->has_failures = 1;
}

/* ---- Making again --------------------------------------------------------------------------- */

bool lost_has_no_value(const struct task *task)
{
    const struct object *object = &task->object;
    return object->is_done && object->code == MANTA_OK && !object->value && !object->small_bytes &&
           !(task->flags & TASK_IS_MAP) && function_info(task->function)->value_outputs;
}

static bool is_lost(struct rank *rank, const struct output *output)
{
    return output->is_stored && !output->copy &&
           (heirs_server(rank, output->place.rank) == UINT32_MAX ||
            stored_is_gone(rank, &output->place));
}

/* None, or one that died with its node or on its disk, of which there is no copy. */
static bool needs_making(struct rank *rank, struct task *task)
{
    struct value *value = task->object.value;
    bool needs = lost_has_no_value(task);
    for (uint32_t i = 0; task->object.is_done && value && i < value->outputs; i++) {
        needs |= is_lost(rank, &value->output[i]) && !lost_find_copy(rank, &value->output[i]);
    }
    return needs;
}

/* Somebody may be reading copies of its other outputs. */
static void put_value_aside(struct rank *rank, struct task *task)
{
    struct value *value = task->object.value;
    bool has_copies = false;
    for (uint32_t i = 0; value && i < value->outputs; i++) {
        has_copies |= value->output[i].copy != NULL;
    }
    if (has_copies && task_get_extra(rank, task) && !task->extra->aside) {
        value_drop_refs(rank, value);
        task->extra->aside = value;
        task->object.value = NULL;
    }
    task_drop_value(rank, task);
}

/* As if it had not been done: the execution's hold, and its arguments. False: it ends again. */
static bool begin_again(struct rank *rank, struct task *task)
{
    bool is_running = task->flags & TASK_RERUN;
    const char *never = is_running ? NULL : why_never(task);
    if (never) {
        give_up(rank, task, never);
        return false;
    }
    put_value_aside(rank, task);
    task->object.is_done = task->object.small_bytes = 0;
    task->object.code = MANTA_E_LOST; /* for who is about to look: it waits again */
    task->flags &= (uint16_t) ~(TASK_LINEAGE | TASK_RERUN);
    object_hold(&task->object);
    rank->unfinished++;
    rank->stats.completed--;
    if (is_running) {
        return false;
    }
    base_list_remove(&task->link);
    task->state = TASK_WAITING;
    task->run = NULL;
    task->lost_on = task->exec_rank;
    task->retries_left--;
    task->attempt += task->attempt < UINT8_MAX;
    rank->stats.retried++;
    rank->stats.remade++;
    if (lineage_is_kept(task) && !lineage_take_back(rank, task)) {
        task_fail(rank, task, MANTA_E_LOST,
                  "the value is lost, and what it was made from was dropped meanwhile");
        return false;
    }
    return true;
}

static void forget_borrowed(struct rank *rank, struct borrow *borrow)
{
    const struct location place = borrow->object.value->output[0].place;
    struct wire_header about = {.parent = place.parent, .position = place.position};
    value_unshare(rank, borrow->object.value);
    borrow->object.value = NULL;
    borrow->object.is_done = 0;
    borrow->object.code = MANTA_E_LOST;
    borrow->is_requested = 0;
    if (!borrow->is_looking && !rank->down[borrow->ref.owner]) {
        message_send(rank, borrow->ref.owner, MESSAGE_LOST, about, &place, sizeof place);
    }
}

static void check_input(struct rank *rank, manta_ref ref, struct base_list *todo)
{
    struct target target = target_find(rank, ref);
    struct object *object = target.object;
    if (!object || !object->is_done || object->code != MANTA_OK) {
        return;
    }
    if (object->kind == OBJECT_TASK && needs_making(rank, object_task(object)) &&
        begin_again(rank, object_task(object))) {
        base_list_push_back(todo, &object_task(object)->link);
    } else if (object->kind == OBJECT_BORROW && object->value &&
               is_lost(rank, &object->value->output[0]) &&
               !lost_find_copy(rank, &object->value->output[0])) {
        forget_borrowed(rank, object_borrow(object));
    }
}

static void check_inputs(struct rank *rank, struct task *task, struct base_list *todo)
{
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    while (pack_next_ref(&refs, &ref)) {
        check_input(rank, ref, todo);
    }
}

/* Level by level, because there may be any number of them. */
void lost_make_again(struct rank *rank, struct task *task)
{
    struct base_list todo, *link;
    base_list_init(&todo);
    if (begin_again(rank, task)) {
        base_list_push_back(&todo, &task->link);
    }
    while ((link = base_list_pop_front(&todo))) {
        struct task *next = MT_CONTAINER(link, struct task, link);
        check_inputs(rank, next, &todo);
        dispatch_flush_batches(rank); /* of the value before: else its run is taken for this one */
        task_start_again(rank, next);
    }
    dispatch_pump(rank);
}

/* ---- Being told ----------------------------------------------------------------------------- */

/* What can be read here in its place is not lost. */
static bool had_it_there(struct rank *rank, const struct output *output,
                         const struct location *place)
{
    return output->is_stored && is_same(&output->place, place) &&
           (!output->data || output->copy || stored_is_gone(rank, place));
}

static struct task *find_record(struct rank *rank, const struct location *place)
{
    struct target target = {.element = -1};
    struct scope *scope = scope_find(rank, place->parent);
    if (!scope || !scope_resolve(rank, scope, place->position, &target) ||
        target.object->kind != OBJECT_TASK || !target.object->value ||
        !had_it_there(rank, &target.object->value->output[target.output], place)) {
        return NULL;
    }
    return object_task(target.object);
}

static struct borrow *find_borrow(struct rank *rank, const struct location *place)
{
    struct borrow *borrow = base_map_find(&rank->borrows, core_key(place->parent, place->position));
    bool fits = borrow && borrow->object.value &&
                had_it_there(rank, &borrow->object.value->output[0], place);
    return fits ? borrow : NULL;
}

bool lost_note(struct rank *rank, const struct location *place)
{
    struct task *task = find_record(rank, place);
    struct borrow *borrow = find_borrow(rank, place);
    rank->has_losses |= task || borrow;
    if (task && !find_copies(rank, task->object.value, place->rank)) {
        lost_make_again(rank, task);
    }
    if (borrow && !lost_find_copy(rank, &borrow->object.value->output[0])) {
        forget_borrowed(rank, borrow);
    }
    return task || borrow;
}

void lost_on_lost(struct rank *rank, uint32_t from, const struct wire_header *header,
                  struct wire_reader *body)
{
    struct location place;
    const void *bytes = wire_take(body, sizeof place);
    if (bytes) {
        memcpy(&place, bytes, sizeof place);
        (void)lost_note(rank, &place);
    }
}

/* ---- Runs that cannot start ----------------------------------------------------------------- */

static void tell_owner(struct rank *rank, struct run *run)
{
    struct pack_walk walk = pack_walk_run(run);
    struct wire_header about = {.parent = run->parent, .position = run->position};
    struct pack_arg arg;
    while (pack_next(&walk, &arg)) {
        struct location of;
        if (arg.is_stored) {
            memcpy(&of, arg.data, sizeof of);
            if (!fetch_data(rank, &of) || stored_is_gone(rank, &of)) {
                message_send(rank, run->owner, MESSAGE_LOST, about, &of, sizeof of);
            }
        }
    }
}

void lost_give_back(struct rank *rank, struct run *run)
{
    if (!run->is_orphan && !rank->down[run->owner]) {
        tell_owner(rank, run);
    }
    exec_send_back(rank, run, RESULT_STARVED | (run->map_count ? RESULT_UNSTARTED : 0));
}
