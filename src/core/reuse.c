#include "core/reuse.h"

#include "core/registry.h"
#include "core/spill.h"
#include "core/spread.h"
#include "core/task.h"
#include "core/value.h"

static bool get_ref(struct task *task, uint32_t param, manta_ref *ret_ref)
{
    struct pack_refs refs = task_refs(task);
    while (pack_next_ref(&refs, ret_ref)) {
        if (refs.param == &task->function->params[param]) {
            return true;
        }
    }
    return false;
}

static bool is_last_held(const struct task *maker)
{
    const struct object *object = &maker->object;
    return object->holds == 1 && object->is_done && !object->watchers && object->value &&
           object->value->sharers == 1 && object->value->owns_blocks &&
           !(maker->extra && maker->extra->lineage_holds);
}

static struct output *find(struct rank *rank, struct task *task, uint32_t param,
                           struct value **ret_value)
{
    manta_ref ref;
    struct target target = {0};
    if (get_ref(task, param, &ref)) {
        target = target_find(rank, ref);
    }
    struct object *object = target.object;
    if (!object || object->kind != OBJECT_TASK || !is_last_held(object_task(object))) {
        return NULL;
    }
    *ret_value = object->value;
    return &object->value->output[target.output];
}

void *reuse_begin(struct rank *rank, const struct run *run, uint32_t param,
                  const struct location *place, uint32_t output, struct reuse *ret_reuse)
{
    struct task *task = run->task;
    if (!task || task->flags & (TASK_RETRY_ERRORS | TASK_CANCELLED | TASK_NO_PINS) ||
        run->map_count || rank->deaths || place->rank != rank->number || spread_has(rank, place)) {
        return NULL;
    }
    struct reuse reuse = {.place = *place};
    reuse.output = find(rank, task, param, &reuse.value);
    if (!reuse.output || !spill_begin_change(rank, place)) {
        return NULL;
    }
    reuse.value->sharers++;
    reuse.place.parent = run->parent;
    reuse.place.position = run->position + output;
    *ret_reuse = reuse;
    return store_change(rank->options.store, place->offset);
}

void reuse_keep(struct rank *rank, const struct run *run, struct reuse *reuse)
{
    reuse->output->is_moved = true;
    spill_rename(rank, &reuse->place, function_hash(run->function));
    rank->stats.reused_values++;
}

void reuse_end(struct rank *rank, struct reuse *reuse)
{
    value_unshare(rank, reuse->value);
}
