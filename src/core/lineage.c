#include "core/lineage.h"

#include "core/object.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/task.h"

enum hold { HOLD_NONE, HOLD_RECORD, HOLD_FULL };

#define DEFAULT_BYTES (UINT64_C(64) << 20)

struct lineage {
    struct base_list link; /* in rank->lineages, the oldest first */
    struct task *task;
    uint64_t bytes;
    uint32_t count;  /* refs among the arguments */
    uint8_t holds[]; /* enum hold, of each */
};

static uint32_t count_refs(struct task *task)
{
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    uint32_t count = 0;
    while (function_info(task->function)->ref_inputs && pack_next_ref(&refs, &ref)) {
        count++;
    }
    return count;
}

static bool is_stored(const struct target *target)
{
    const struct object *object = target->object;
    return object->value && object->value->output[target->output].is_stored;
}

static enum hold choose_hold(struct rank *rank, const struct target *target)
{
    struct task *task = target->object->kind == OBJECT_TASK ? object_task(target->object) : NULL;
    if (!task || !target->object->is_done || !is_stored(target)) {
        return HOLD_FULL;
    }
    if (lineage_is_kept(task) || (task->flags & TASK_LINEAGE && task_get_extra(rank, task))) {
        return HOLD_RECORD;
    }
    bool is_moved = task->object.value->output[target->output].is_moved;
    return task_is_put(task) || is_moved ? HOLD_NONE : HOLD_FULL;
}

/* A record is held as such, also where the ref is borrowed here by now. */
static struct object *find_held(struct rank *rank, manta_ref ref, enum hold hold)
{
    struct target target = {.element = -1};
    struct scope *scope = hold == HOLD_RECORD ? scope_find(rank, ref.parent) : NULL;
    if (!scope) {
        return target_find(rank, ref).object;
    }
    return scope_resolve(rank, scope, ref.position, &target) ? target.object : NULL;
}

/* From a full hold to what its value needs. Returns the bytes that it keeps in memory. */
static uint64_t loosen(struct rank *rank, const struct target *target, uint8_t *ret_hold)
{
    struct object *object = target->object;
    *ret_hold = (uint8_t)choose_hold(rank, target);
    if (*ret_hold == HOLD_FULL) {
        return object->kind != OBJECT_MAP && object->value
                   ? object->value->output[target->output].bytes
                   : 0;
    }
    if (*ret_hold == HOLD_RECORD) {
        object_task(object)->extra->lineage_holds++;
        object_task(object)->flags |= TASK_NEEDED;
    }
    object_drop(rank, object);
    return 0;
}

static void end_record_hold(struct rank *rank, struct object *object)
{
    struct task *task = object_task(object);
    if (--task->extra->lineage_holds == 0) {
        task->flags &= (uint16_t)~TASK_NEEDED;
        object_check(rank, object);
    }
}

/* ---- Keeping -------------------------------------------------------------------------------- */

static uint64_t bound(const struct rank *rank)
{
    return rank->options.lineage_bytes ? rank->options.lineage_bytes : DEFAULT_BYTES;
}

static bool is_wanted(const struct task *task, const struct value *value)
{
    const uint16_t never = TASK_ONCE | TASK_IS_MAP | TASK_CANCELLED | TASK_NO_PINS;
    bool is_needed = (value && value->stored_outputs) || task->flags & TASK_NEEDED;
    return MT_UNLIKELY(is_needed) && !(task->flags & never) && !task_is_put(task) &&
           !lineage_is_kept(task);
}

static struct lineage *make(struct rank *rank, struct task *task)
{
    uint32_t count = count_refs(task);
    struct lineage *lineage = base_alloc(sizeof *lineage + count);
    if (!lineage) {
        return NULL;
    }
    lineage->task = task;
    lineage->count = count;
    lineage->bytes =
        task->args_bytes + count + sizeof *lineage + sizeof *task + sizeof *task->extra;
    return lineage;
}

static void keep_within_bound(struct rank *rank)
{
    while (rank->lineage_bytes > bound(rank)) {
        lineage_let_go(rank, MT_CONTAINER(rank->lineages.next, struct lineage, link)->task);
    }
}

bool lineage_keep(struct rank *rank, struct task *task, const struct value *value)
{
    if (!is_wanted(task, value) || !task_get_extra(rank, task)) {
        return false;
    }
    struct lineage *lineage = make(rank, task);
    if (!lineage) {
        return false;
    }
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    for (uint32_t i = 0; i < lineage->count && pack_next_ref(&refs, &ref); i++) {
        struct target target = target_find(rank, ref);
        lineage->bytes += target.object ? loosen(rank, &target, &lineage->holds[i]) : 0;
    }
    task->extra->lineage = lineage;
    base_list_push_back(&rank->lineages, &lineage->link);
    rank->lineage_bytes += lineage->bytes;
    keep_within_bound(rank);
    return true;
}

static void forget(struct rank *rank, struct task *task)
{
    struct lineage *lineage = task->extra->lineage;
    task->extra->lineage = NULL;
    rank->lineage_bytes -= lineage->bytes;
    base_list_remove(&lineage->link);
    base_free(lineage);
}

void lineage_let_go(struct rank *rank, struct task *task)
{
    const struct lineage *lineage = task->extra->lineage;
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    task->flags |= TASK_NO_PINS;
    for (uint32_t i = 0; i < lineage->count && pack_next_ref(&refs, &ref); i++) {
        struct object *object = find_held(rank, ref, lineage->holds[i]);
        if (lineage->holds[i] == HOLD_FULL && object) {
            object_drop(rank, object);
        } else if (lineage->holds[i] == HOLD_RECORD && object) {
            end_record_hold(rank, object);
        }
    }
    forget(rank, task);
}

bool lineage_take_back(struct rank *rank, struct task *task)
{
    const struct lineage *lineage = task->extra->lineage;
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    bool are_all_here = true;
    for (uint32_t i = 0; i < lineage->count && pack_next_ref(&refs, &ref); i++) {
        struct object *object = find_held(rank, ref, lineage->holds[i]);
        are_all_here &= object != NULL;
        if (object && lineage->holds[i] != HOLD_FULL) {
            object_hold(object);
        }
        if (object && lineage->holds[i] == HOLD_RECORD) {
            end_record_hold(rank, object);
        }
    }
    forget(rank, task);
    return are_all_here;
}
