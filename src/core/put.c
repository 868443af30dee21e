/*
 * manta_put: a value without a task to make it.
 *
 * To everybody else it is the result of a task of its own, which its owner has run: a
 * record, positions in the scope, holders. A parent that is executed again puts again, at
 * the same positions.
 */
#include "core/put.h"

#include "core/context.h"
#include "core/idle.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/room.h"
#include "core/scope.h"
#include "core/task.h"

int put_nothing_to_run(const manta_slot *slots)
{
    return MANTA_E_STATE;
}

static const manta_param put_params[] = {
    {.kind = MANTA_KIND_OUTV, .size = 1, .align = 1, .type = "uint8_t", .name = "bytes"}};
static manta_function put_function = {.name = "manta_put",
                                      .file = "manta_put",
                                      .param_count = 1,
                                      .params = put_params,
                                      .run = put_nothing_to_run};

__attribute__((constructor)) static void register_put(void)
{
    manta_function_register(&put_function);
}

bool task_is_put(const struct task *task)
{
    return task->function->run == put_nothing_to_run;
}

struct task *put_make_record(struct context *context, manta_function *function)
{
    struct scope *scope = context_scope(context);
    char text[MANTA_ERROR_TEXT_MAX] = "no memory for another value";
    int code = MANTA_E_NOMEM;
    struct task *task =
        scope ? task_create(context->rank, scope, function, NULL, 1, text, sizeof text, &code)
              : NULL;
    if (!task) {
        context_fail(context, code, "%s", text);
    } else if (scope->may_be_borrowed) {
        recover_note_record(context->rank, scope, task);
        (void)(scope->is_taken_over && recover_adopt(context->rank, scope, task)); /* who asked */
    }
    return task;
}

int put_refuse_without_store(struct context *context, uint64_t bytes)
{
    return context_fail(
        context, MANTA_E_TOOBIG,
        "%llu bytes: this node has no store (MANTA_STORE), and without one a value has "
        "at most %d",
        (unsigned long long)bytes, MANTA_INLINE_MAX);
}

static struct store_tag tag_of(const struct task *task)
{
    return (struct store_tag){task->parent, task->position, function_hash(&put_function)};
}

static int complete(struct context *context, struct task *task, const struct value_part *part)
{
    struct rank *rank = context->rank;
    struct value *value = value_create(rank, part, 1, (manta_ref){task->parent, task->position, 0});
    if (!value) {
        return context_fail(context, MANTA_E_NOMEM, "no memory for another value");
    }
    task_complete(rank, task, MANTA_OK, value, NULL);
    return MANTA_OK;
}

/* Into a block, without the baton where it takes long. */
static int put_stored(struct context *context, struct task *task, const void *data, size_t bytes)
{
    struct rank *rank = context->rank;
    struct store_tag tag = tag_of(task);
    struct store_room room;
    int code = room_create(context, bytes, &tag, &room);
    if (code != MANTA_OK) {
        return code;
    }
    baton_give(&rank->baton);
    memcpy(room.data, data, bytes);
    baton_take(&rank->baton, rank->host);
    struct value_part part = {.data = room.data, .bytes = bytes, .is_stored = true};
    code = complete(context, task, &part);
    if (code != MANTA_OK) {
        room_abandon(rank, &room);
    }
    return code;
}

static int put(struct context *context, struct task *task, const void *data, size_t bytes)
{
    if (stored_is_wanted(context->rank, bytes)) {
        return put_stored(context, task, data, bytes);
    }
    if (bytes > MANTA_INLINE_MAX) {
        return put_refuse_without_store(context, bytes);
    }
    return complete(context, task, &(struct value_part){.data = data, .bytes = bytes});
}

/* The position's record, and true if it is one that has survived on this rank with its value. */
static bool find_or_make(struct context *context, struct task **ret_task)
{
    struct scope *scope = context_scope(context);
    struct task *task = scope && scope->is_taken_over
                            ? recover_resubmit(context->rank, scope, &put_function)
                            : NULL;
    *ret_task = task ? task : put_make_record(context, &put_function);
    return task != NULL;
}

static void fail_as_said(struct context *context, struct task *task)
{
    task_fail(context->rank, task, context->last_error.code, "%s", context->last_error.text);
}

static manta_ref put_held(struct context *context, const void *data, size_t bytes)
{
    struct task *task;
    bool is_there = find_or_make(context, &task);
    if (!task) {
        return (manta_ref){0};
    }
    manta_ref ref = task_ref(context->rank, task, 0);
    if (!is_there && put(context, task, data, bytes) != MANTA_OK) {
        fail_as_said(context, task);
    }
    return ref;
}

manta_ref put_finished(struct context *context, const struct value_part *part, bool *ret_is_taken)
{
    struct rank *rank = context->rank;
    struct task *task;
    bool is_there = find_or_make(context, &task);
    *ret_is_taken = false;
    if (!task) {
        return (manta_ref){0};
    }
    manta_ref ref = task_ref(rank, task, 0);
    if (is_there) {
        return ref;
    }
    if (part->is_stored) {
        struct store_tag tag = tag_of(task);
        store_name(rank->options.store, (void *)(uintptr_t)part->data, &tag);
    }
    *ret_is_taken = complete(context, task, part) == MANTA_OK;
    if (!*ret_is_taken) {
        fail_as_said(context, task);
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
    context_take(context);
    ref = put_held(context, data, bytes);
    context_give(context);
    return ref;
}
