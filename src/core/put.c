/*
 * manta_put: a value without a task to make it.
 *
 * To everybody else it is the result of a task of its own, which its owner has run: a
 * record, positions in the scope, holders. A parent that is executed again puts again, at
 * the same positions.
 */
#include "core/context.h"
#include "core/idle.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/task.h"
#include "core/value.h"

#include <string.h>

static int nothing_to_run(const manta_slot *slots)
{
    return MANTA_E_STATE;
}

static const manta_param put_params[] = {
    {.kind = MANTA_KIND_OUTV, .size = 1, .align = 1, .type = "uint8_t", .name = "bytes"}};
static manta_function put_function = {.name = "manta_put",
                                      .file = "manta_put",
                                      .param_count = 1,
                                      .params = put_params,
                                      .run = nothing_to_run};

__attribute__((constructor)) static void register_put(void)
{
    manta_function_register(&put_function);
}

bool task_is_put(const struct task *task)
{
    return task->function == &put_function;
}

/* The record, waiting for its value. NULL: last_error says why. */
static struct task *make_record(struct context *context)
{
    struct scope *scope = context_scope(context);
    char text[MANTA_ERROR_TEXT_MAX] = "no memory for another value";
    int code = MANTA_E_NOMEM;
    struct task *task =
        scope ? task_create(context->rank, scope, &put_function, NULL, 1, text, sizeof text, &code)
              : NULL;
    if (!task) {
        context_fail(context, code, "%s", text);
    } else if (scope->is_taken_over) {
        recover_grace(context->rank, scope, task);
        recover_meet_borrows(context->rank, task);
        (void)recover_adopt(context->rank, scope, task); /* those who asked for it already */
    }
    return task;
}

/* Into a block, without the baton where it takes long. */
static int copy_in(struct context *context, const struct task *task, const void *data, size_t bytes,
                   struct store_room *ret_room)
{
    struct rank *rank = context->rank;
    struct store_tag tag = {task->parent, task->position, function_hash(&put_function)};
    int code = store_create(rank->options.store, bytes, &tag, ret_room);
    if (code != MANTA_OK) {
        return code;
    }
    baton_give(&rank->baton);
    code = store_populate(rank->options.store, ret_room);
    if (code == MANTA_OK) {
        memcpy(ret_room->data, data, bytes);
    }
    baton_take(&rank->baton, rank->host);
    if (code != MANTA_OK) {
        store_abandon(rank->options.store, ret_room);
    }
    return code;
}

static int put(struct context *context, struct task *task, const void *data, size_t bytes)
{
    struct rank *rank = context->rank;
    struct value_part part = {.data = data, .bytes = bytes};
    struct store_room room;
    if (stored_is_wanted(rank, bytes)) {
        int code = copy_in(context, task, data, bytes, &room);
        if (code != MANTA_OK) {
            return stored_refuse(context, code, bytes);
        }
        part.data = room.data;
        part.is_stored = true;
    } else if (bytes > MANTA_INLINE_MAX) {
        return context_fail(context, MANTA_E_TOOBIG,
                            "%zu bytes: without a store (MANTA_STORE=0) a value has at most %d",
                            bytes, MANTA_INLINE_MAX);
    }
    struct value *value =
        value_create(rank, &part, 1, (manta_ref){task->parent, task->position, 0});
    if (!value) {
        if (part.is_stored) {
            store_abandon(rank->options.store, &room);
        }
        return context_fail(context, MANTA_E_NOMEM, "no memory for another value");
    }
    task_complete(rank, task, MANTA_OK, value, NULL);
    return MANTA_OK;
}

/* Where the position's record has survived on this rank its value has too. */
static manta_ref put_held(struct context *context, const void *data, size_t bytes)
{
    struct rank *rank = context->rank;
    struct scope *scope = context_scope(context);
    struct task *task =
        scope && scope->is_taken_over ? recover_resubmit(rank, scope, &put_function) : NULL;
    if (task) {
        return task_ref(rank, task, 0);
    }
    task = make_record(context);
    if (!task) {
        return (manta_ref){0};
    }
    manta_ref ref = task_ref(rank, task, 0);
    if (put(context, task, data, bytes) != MANTA_OK) {
        task_fail(rank, task, context->last_error.code, "%s", context->last_error.text);
    }
    return ref;
}

manta_ref manta_put(const void *data, size_t bytes)
{
    struct context *context = context_enter();
    manta_ref ref = {0};
    if (!context) {
        return ref;
    }
    if (!data && bytes) {
        context_fail(context, MANTA_E_INVALID, "data is NULL, but %zu bytes were to be put", bytes);
        return ref;
    }
    baton_take(&context->rank->baton, context->rank->host);
    ref = put_held(context, data, bytes);
    baton_give(&context->rank->baton);
    return ref;
}
