/*
 * The owner's side of a task.
 *
 * A submission takes positions in the scope, a record from the slab, packs the arguments
 * into it (or beside it when they are long), pins every ref among them and watches those
 * that the body wants as values. With nothing to wait for the task is pending at once.
 * Every way to the end goes through task_complete: it drops the pins, unless living
 * children may need the task again (lineage), tells the watchers and ends the hold that
 * execution had.
 */
#include "core/task.h"

#include "core/board.h"
#include "core/dispatch.h"
#include "core/graph.h"
#include "core/later.h"
#include "core/lineage.h"
#include "core/map.h"
#include "core/message.h"
#include "core/outside.h"
#include "core/pack.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/scope.h"
#include "core/stream.h"
#include "core/value.h"

#include <stdarg.h>
#include <stdio.h>

#define NOBODY UINT32_MAX

enum { DEFAULT_RETRIES = 3, PRIORITY_MIN = -8, PRIORITY_MAX = 7 };

/* ---- Records ----------------------------------------------------------------------------------
 */

struct task_extra *task_get_extra(struct rank *rank, struct task *task)
{
    if (!task->extra) {
        task->extra = base_spares_take(&rank->spare_extras);
    }
    return task->extra;
}

void function_describe(const manta_function *function, const char *name, manta_error *error)
{
    const char *file = strrchr(function->file, '/');
    snprintf(error->task, sizeof error->task, "%s", name && *name ? name : function->name);
    snprintf(error->file, sizeof error->file, "%s", file ? file + 1 : function->file);
    error->line = function->line;
}

void task_describe(const struct task *task, manta_error *error)
{
    function_describe(task->function, task->extra ? task->extra->name : NULL, error);
    error->task_id = task_id(task);
    error->attempt = task->attempt;
}

static int check_options(struct rank *rank, const manta_options *options, char *text,
                         size_t text_size)
{
    if (options->priority < PRIORITY_MIN || options->priority > PRIORITY_MAX) {
        snprintf(text, text_size, "option priority is %d; it must lie in %d ... %d",
                 options->priority, PRIORITY_MIN, PRIORITY_MAX);
        return MANTA_E_INVALID;
    }
    if (options->rank > rank->size) {
        snprintf(text, text_size, "option rank is MANTA_ON(%u), but there are %u ranks (0 ... %u)",
                 options->rank - 1, rank->size, rank->size - 1);
        return MANTA_E_INVALID;
    }
    if (options->retries < MANTA_NO_RETRY || options->retries > INT8_MAX) {
        snprintf(text, text_size,
                 "option retries is %d; it must be MANTA_NO_RETRY or 0 (the default) ... %d",
                 options->retries, INT8_MAX);
        return MANTA_E_INVALID;
    }
    if (options->retry_errors != 0 && options->retry_errors != 1) {
        snprintf(text, text_size, "option retry_errors is %d; it must be 0 or 1",
                 options->retry_errors);
        return MANTA_E_INVALID;
    }
    for (size_t i = 0; i < MT_COUNT(options->reserved); i++) {
        if (options->reserved[i]) {
            snprintf(text, text_size,
                     "option reserved[%zu] is not 0: make options with MANTA_OPTIONS, or zeroed",
                     i);
            return MANTA_E_INVALID;
        }
    }
    if (options->name && strlen(options->name) >= MANTA_ERROR_NAME_MAX) {
        snprintf(text, text_size, "option name has %zu bytes; at most %d fit",
                 strlen(options->name), MANTA_ERROR_NAME_MAX - 1);
        return MANTA_E_INVALID;
    }
    return MANTA_OK;
}

static int apply_options(struct rank *rank, struct task *task, const manta_options *options,
                         char *text, size_t text_size)
{
    task->retries_left = DEFAULT_RETRIES;
    if (!options) {
        return MANTA_OK;
    }
    int code = check_options(rank, options, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    task->priority = (int8_t)options->priority;
    if (options->retries) {
        task->retries_left = (int8_t)MT_MAX(options->retries, 0);
        task->flags |= options->retries == MANTA_NO_RETRY ? TASK_ONCE : 0;
    }
    task->flags |= options->retry_errors ? TASK_RETRY_ERRORS : 0;
    if (options->rank) {
        task->flags |= TASK_PINNED;
        task->exec_rank = options->rank - 1;
    }
    if ((options->ahead || options->ahead_kib) && !stream_is(task->function)) {
        snprintf(text, text_size, "option ahead%s is for streams; %s has no parameter stream(T, x)",
                 options->ahead ? "" : "_kib", task->function->name);
        return MANTA_E_INVALID;
    }
    if (options->isolated || options->cpus || options->memory_bytes) {
        code = outside_check_options(task, options, text, text_size);
        if (code != MANTA_OK) {
            return code;
        }
    }
    if (options->timeout_ns || options->name || options->isolated) {
        if (!task_get_extra(rank, task)) {
            return MANTA_E_NOMEM;
        }
        outside_note_options(task, options);
        task->extra->timeout_ns = options->timeout_ns;
        snprintf(task->extra->name, sizeof task->extra->name, "%s",
                 options->name ? options->name : "");
    }
    return MANTA_OK;
}

struct task *task_create(struct rank *rank, struct scope *scope, manta_function *function,
                         const manta_options *options, uint64_t positions, char *text,
                         size_t text_size, int *ret_code)
{
    bool is_map = positions > MANTA_PARAM_MAX;
    uint32_t position;
    int code = is_map ? scope_reserve_range(rank, scope, positions, &position)
                      : scope_reserve(rank, scope, (uint32_t)positions, &position);
    uint32_t index = code == MANTA_OK ? base_slab_take(&rank->tasks) : 0;
    if (!index) {
        *ret_code = code != MANTA_OK ? code : MANTA_E_NOMEM;
        snprintf(text, text_size, "no room for another task: %s", manta_error_text(*ret_code));
        return NULL;
    }
    struct task *task = base_slab_at(&rank->tasks, index);
    scope->may_be_borrowed |= rank->has_moved & !scope->is_root;
    memset(task, 0, offsetof(struct task, small));
    base_list_init(&task->link);
    task->object.kind = OBJECT_TASK;
    task->object.holds = 2; /* the scope's and the execution's */
    task->flags = TASK_HELD;
    task->parent = scope->id;
    task->position = position;
    task->index = index;
    task->function = function;
    task->scope = scope;
    task->attempt = 1;
    task->lost_on = NOBODY;
    task->outputs = function_info(function)->outputs;
    rank->unfinished++;
    rank->stats.submitted++;
    if (!is_map) {
        scope_enter(scope, position, task->outputs, index);
    } else {
        scope->children++;
    }
    *ret_code = apply_options(rank, task, options, text, text_size);
    if (MT_UNLIKELY(stream_is(function)) && !stream_create(rank, task, options)) {
        *ret_code = MANTA_E_NOMEM;
    }
    return task;
}

static MT_NOINLINE void free_extra(struct rank *rank, struct task *task)
{
    struct task_extra *extra = task->extra;
    stream_destroy(rank, extra->stream);
    value_unshare(rank, extra->aside);
    if (extra->lineage) {
        lineage_let_go(rank, task);
    }
    while (extra->holders) {
        struct remote_holder *next = extra->holders->next;
        base_spares_give(&rank->spare_holders, extra->holders);
        extra->holders = next;
    }
    base_spares_give(&rank->spare_extras, extra);
}

void task_drop_value(struct rank *rank, struct task *task)
{
    struct value *value = task->object.value;
    task->object.value = NULL;
    if (task->exec_token) {
        task_release_runner(rank, task->exec_rank, task->exec_token);
        task->exec_token = 0;
    }
    value_drop_refs(rank, value);
    value_unshare(rank, value);
}

static void drop_pins(struct rank *rank, struct task *task);

void task_free(struct rank *rank, struct task *task)
{
    struct scope *scope = task->scope;
    uint32_t position = task->position, outputs = task->outputs;
    base_list_remove(&task->link);
    task->object.kind = 0;
    task_drop_value(rank, task);
    base_free(task->object.error);
    if (MT_UNLIKELY(task->object.is_stream)) {
        drop_pins(rank, task);
    }
    if (MT_UNLIKELY(rank->inboxes.count)) {
        inbox_forget(rank, task->parent, position);
    }
    if (MT_UNLIKELY(task->extra != NULL)) {
        free_extra(rank, task);
    }
    if (task->flags & TASK_IS_MAP) {
        map_free(rank, task);
        base_slab_give(&rank->tasks, task->index);
        return;
    }
    pack_block_free(rank, task->args, task->args_bytes);
    base_slab_give(&rank->tasks, task->index);
    scope_leave(rank, scope, position, outputs);
}

/* ---- Inputs ------------------------------------------------------------------------------------
 */

static bool is_awaited(const manta_param *param)
{
    return pack_is_value(param) || pack_is_after(param);
}

static int await_input(struct rank *rank, struct task *task, const struct target *target)
{
    if (target_is_done(target)) {
        return MANTA_OK;
    }
    struct watch *watch = base_spares_take_raw(&rank->spare_watches);
    if (!watch) {
        return MANTA_E_NOMEM;
    }
    *watch = (struct watch){.kind = WATCH_INPUT, .target = task};
    if (!target_watch(rank, target, watch)) {
        base_spares_give(&rank->spare_watches, watch);
        return MANTA_E_NOMEM;
    }
    task->inputs_missing++;
    object_hold(&task->object);
    return MANTA_OK;
}

/* Pins one ref among the arguments. On failure nothing is pinned for it. */
static int pin_input(struct rank *rank, struct scope *scope, struct task *task,
                     const manta_param *param, manta_ref ref, char *text, size_t text_size)
{
    struct target target = scope_target(rank, scope, ref);
    if (!target.object) {
        snprintf(text, text_size,
                 graph_is_edge(rank, ref)
                     ? "argument %s is an edge of a graph, which means something in that graph only"
                 : ref.parent
                     ? "argument %s is a ref that nobody here holds: it was dropped, its "
                       "scope has ended, or it was never one"
                     : "argument %s is a ref that is all zero: its submission was refused, "
                       "or it was never set",
                 param->name);
        return MANTA_E_NOTFOUND;
    }
    object_hold(target.object);
    int code = is_awaited(param) ? await_input(rank, task, &target) : MANTA_OK;
    if (code != MANTA_OK) {
        object_drop(rank, target.object);
    } else if (param->kind == MANTA_KIND_INOUT) {
        scope_drop(rank, scope, ref);
    }
    return code;
}

static MT_NOINLINE void unpin_inputs(struct rank *rank, struct task *task, uint32_t count)
{
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    while (count-- && pack_next_ref(&refs, &ref)) {
        struct target target = target_find(rank, ref);
        if (target.object) {
            object_drop(rank, target.object);
        }
    }
}

/* All, or none. */
static int pin_inputs(struct rank *rank, struct scope *scope, struct task *task,
                      const manta_slot *args, char *text, size_t text_size)
{
    uint32_t pinned = 0;
    for (uint32_t i = 0; i < task->function->param_count; i++) {
        const manta_param *param = &task->function->params[i];
        size_t count = param->kind == MANTA_KIND_REFS ? args[i].count : pack_is_refs(param);
        for (size_t k = 0; k < count; k++, pinned++) {
            manta_ref ref;
            memcpy(&ref, (const manta_ref *)args[i].data + k, sizeof ref);
            int code = pin_input(rank, scope, task, param, ref, text, text_size);
            if (MT_UNLIKELY(code != MANTA_OK)) {
                unpin_inputs(rank, task, pinned);
                return code;
            }
        }
    }
    return MANTA_OK;
}

void task_input_done(struct rank *rank, struct task *task)
{
    task->inputs_missing--;
    if (task->state == TASK_WAITING && task->inputs_missing == 0) {
        dispatch_add(rank, task);
    } else if (task->state == TASK_WAITING) {
        manta_error error;
        if (task_failed_input(rank, task, &error)) {
            dispatch_add(rank, task);
        }
    }
    object_drop(rank, &task->object);
}

static void derive_error(struct rank *rank, struct task *task, const manta_error *from,
                         const char *what, manta_error *ret_error)
{
    manta_error error = {.code = MANTA_E_DEPENDENCY, .rank = rank->number};
    task_describe(task, &error);
    snprintf(error.host, sizeof error.host, "%s", rank->options.host_name);
    bool is_derived = from->code == MANTA_E_DEPENDENCY;
    error.cause_code = is_derived ? from->cause_code : from->code;
    error.cause_task_id = is_derived ? from->cause_task_id : from->task_id;
    snprintf(error.cause_task, sizeof error.cause_task, "%s",
             is_derived ? from->cause_task : from->task);
    snprintf(error.text, sizeof error.text, "%s%.180s", is_derived ? "" : what, from->text);
    *ret_error = error;
}

bool task_find_failed(struct rank *rank, struct task *task, manta_error *ret_error)
{
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    while (pack_next_ref(&refs, &ref)) {
        struct target target = target_find(rank, ref);
        if (is_awaited(refs.param) && target.object && target_is_done(&target) &&
            target_code(&target) != MANTA_OK) {
            manta_error error;
            target_error(rank, &target, &error);
            derive_error(rank, task, &error, "", ret_error);
            return true;
        }
    }
    return false;
}

/* ---- Submitting ----------------------------------------------------------------------------- */

static int pack_args(struct rank *rank, struct task *task, const manta_slot *args, char *text,
                     size_t text_size)
{
    size_t bytes;
    int code = pack_measure(task->function, args, &bytes, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    if (bytes > CORE_SMALL_BYTES && !(task->args = pack_block_create(rank, bytes))) {
        snprintf(text, text_size, "no memory for %zu bytes of arguments", bytes);
        return MANTA_E_NOMEM;
    }
    task->args_bytes = (uint32_t)bytes;
    pack_write(task->function, args, task_args(task));
    return MANTA_OK;
}

static void write_refs(const struct rank *rank, const struct task *task, manta_ref *ret_refs)
{
    for (uint32_t i = 0; i < task->outputs; i++) {
        ret_refs[i] = task_ref(rank, task, i);
    }
}

/* The way of a submission that cannot be: the refs carry the reason. */
static MT_COLD void refuse(struct rank *rank, struct task *task, int code, const char *text)
{
    task->flags |= TASK_NO_PINS;
    task_fail(rank, task, code, "%s", text);
}

void task_submit(struct rank *rank, struct scope *scope, manta_function *function,
                 const manta_options *options, const manta_slot *args, manta_ref *ret_refs)
{
    char text[MANTA_ERROR_TEXT_MAX];
    int code;
    text[0] = 0;
    struct task *task = scope->is_taken_over ? recover_resubmit(rank, scope, function) : NULL;
    if (MT_UNLIKELY(task != NULL)) {
        write_refs(rank, task, ret_refs);
        return;
    }
    task = task_create(rank, scope, function, options, function_info(function)->outputs, text,
                       sizeof text, &code);
    if (MT_UNLIKELY(!task)) {
        memset(ret_refs, 0, function_info(function)->outputs * sizeof *ret_refs);
        return;
    }
    write_refs(rank, task, ret_refs);
    if (MT_UNLIKELY(scope->may_be_borrowed)) {
        recover_note_record(rank, scope, task);
    }
    if (code == MANTA_OK) {
        code = pack_args(rank, task, args, text, sizeof text);
    }
    if (code == MANTA_OK && function_info(function)->ref_inputs) {
        code = pin_inputs(rank, scope, task, args, text, sizeof text);
    }
    if (MT_UNLIKELY(code != MANTA_OK)) {
        refuse(rank, task, code, text);
    } else if (scope->is_taken_over && recover_adopt(rank, scope, task)) {
        return;
    } else if (task->inputs_missing == 0) {
        dispatch_add(rank, task);
    } else {
        manta_error error;
        if (task_failed_input(rank, task, &error)) {
            dispatch_add(rank, task);
        }
    }
}

void task_start_again(struct rank *rank, struct task *task)
{
    struct pack_refs refs = task_refs(task);
    int code = MANTA_OK;
    manta_ref ref;
    manta_error error;
    task->state = TASK_WAITING;
    while (code == MANTA_OK && pack_next_ref(&refs, &ref)) {
        struct target target = target_find(rank, ref);
        code = is_awaited(refs.param) ? await_input(rank, task, &target) : MANTA_OK;
    }
    if (code != MANTA_OK) {
        task_fail(rank, task, code, "no memory to wait for the arguments again");
    } else if (task->inputs_missing == 0 || task_failed_input(rank, task, &error)) {
        dispatch_add(rank, task);
    }
}

bool task_find_missing(struct rank *rank, struct task *task)
{
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    while (pack_next_ref(&refs, &ref)) {
        struct target target = target_find(rank, ref);
        if (is_awaited(refs.param) &&
            (!target.object || !target_is_done(&target) || target_code(&target) != MANTA_OK)) {
            return true;
        }
    }
    return false;
}

void task_start_map(struct rank *rank, struct scope *scope, struct task *task,
                    const manta_slot *args)
{
    char text[MANTA_ERROR_TEXT_MAX] = "";
    int code = pack_args(rank, task, args, text, sizeof text);
    if (code == MANTA_OK) {
        code = pin_inputs(rank, scope, task, args, text, sizeof text);
    }
    if (code != MANTA_OK) {
        refuse(rank, task, code, text);
    } else if (task->map->count == 0) {
        task_complete(rank, task, MANTA_OK, NULL, NULL);
    } else if (task->inputs_missing == 0) {
        dispatch_add(rank, task);
    }
}

/* ---- The end -------------------------------------------------------------------------------- */

static void drop_pins(struct rank *rank, struct task *task)
{
    if (!(task->flags & TASK_NO_PINS) && function_info(task->function)->ref_inputs) {
        task->flags |= TASK_NO_PINS;
        unpin_inputs(rank, task, UINT32_MAX);
    }
}

void task_complete(struct rank *rank, struct task *task, int code, struct value *value,
                   manta_error *error)
{
    if (MT_UNLIKELY(task->object.is_done)) {
        value_unshare(rank, value);
        base_free(error);
        return;
    }
    base_list_remove(&task->link);
    task->state = TASK_DONE;
    task->run = NULL;
    if (MT_UNLIKELY(task->flags & TASK_IS_MAP) && code != MANTA_OK && task->map) {
        map_close(rank, task, code, error);
    }
    rank->unfinished--;
    rank->stats.completed++;
    if (MT_UNLIKELY(task->scope->is_taken_over)) {
        recover_stop_refused(rank, task->scope, task);
    }
    if (MT_UNLIKELY(task->flags & TASK_LINEAGE)) {
        dispatch_note_lineage(rank, task);
    } else if (!task->object.is_stream && /* else its reader may make it run again */
               (MT_LIKELY(!value) || !value->stored_outputs || !lineage_keep(rank, task, value))) {
        drop_pins(rank, task);
    }
    object_finish(rank, &task->object, code, value, error);
    if (MT_UNLIKELY(task->object.is_stream)) {
        stream_ended(rank, task);
    }
    object_drop(rank, &task->object);
    dispatch_unthrottle(rank);
}

static manta_error *make_error(struct rank *rank, struct task *task, int code)
{
    manta_error *error = base_alloc(sizeof *error);
    if (error) {
        error->code = code;
        error->rank = rank->number;
        snprintf(error->host, sizeof error->host, "%s", rank->options.host_name);
        task_describe(task, error);
    }
    return error;
}

void task_fail(struct rank *rank, struct task *task, int code, const char *format, ...)
{
    manta_error *error = make_error(rank, task, code);
    if (error) {
        va_list args;
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    task_complete(rank, task, code, NULL, error);
}

static void try_again(struct rank *rank, struct task *task, bool has_failed)
{
    uint32_t failures = has_failed ? task->attempt : 0;
    base_list_remove(&task->link);
    task->run = NULL;
    task->attempt += task->attempt < UINT8_MAX;
    rank->stats.retried++;
    later_add(rank, task, failures);
}

void task_undo(struct rank *rank, struct task *task)
{
    task->flags &= (uint16_t) ~(TASK_LINEAGE | TASK_RERUN);
    task->object.is_done = 0;
    object_hold(&task->object);
    rank->unfinished++;
    rank->stats.completed--;
}

void task_restart(struct rank *rank, struct task *task)
{
    try_again(rank, task, false);
}

bool task_retry_error(struct rank *rank, struct task *task)
{
    if (!(task->flags & TASK_RETRY_ERRORS) || task->retries_left == 0 ||
        task->flags & TASK_CANCELLED) {
        return false;
    }
    task->retries_left--;
    try_again(rank, task, true);
    return true;
}

bool task_retry_lost(struct rank *rank, struct task *task)
{
    if (task->retries_left == 0 || task->flags & TASK_CANCELLED) {
        return false;
    }
    task->retries_left--;
    try_again(rank, task, true);
    return true;
}

void task_place_again(struct rank *rank, struct task *task)
{
    base_list_remove(&task->link);
    task->run = NULL;
    task->exec_token = 0;
    later_add(rank, task, task->attempt);
    task->attempt += task->attempt < UINT8_MAX;
}

static void fail_lost(struct rank *rank, struct task *task, uint32_t where)
{
    if (task->flags & TASK_PINNED) {
        task_fail(rank, task, MANTA_E_RANK,
                  "rank %u died, and the task may run nowhere else (option rank)", where);
    } else if (task->flags & TASK_ONCE) {
        task_fail(rank, task, MANTA_E_CRASH,
                  "rank %u died, where the task was, and it may not run twice (option retries)",
                  where);
    } else {
        task_fail(rank, task, MANTA_E_CRASH,
                  "rank %u died while it ran the task; attempt %u was the last allowed", where,
                  task->attempt);
    }
}

/* Whether the rank died in it, as far as is known. What runs outside is on no board. */
static bool is_to_blame(struct rank *rank, const struct task *task, uint32_t where)
{
    if (task->state != TASK_SENT) {
        return false;
    }
    if (board_is_lit(rank, where) && !outside_is_task(task)) {
        return board_blames(rank, where, task);
    }
    return task->flags & TASK_BEGUN || task->attempt >= BOARD_DARK_MAX;
}

void task_run_lost(struct rank *rank, struct task *task, uint32_t where)
{
    bool is_done = task->object.is_done;
    bool is_blamed = is_to_blame(rank, task, where);
    bool may_run = !(task->flags & TASK_ONCE) && (!is_blamed || task->retries_left) &&
                   (is_done || !(task->flags & TASK_PINNED));
    base_list_remove(&task->link);
    task->lost_on = where;
    task->exec_token = 0;
    if (may_run) {
        task->flags &= is_done ? (uint16_t)~TASK_PINNED : UINT16_MAX; /* only its children matter */
        task->retries_left -= is_blamed;
        try_again(rank, task, is_blamed);
        return;
    }
    recover_give_up(rank, task);
    if (is_done) {
        task->state = TASK_DONE;
        task_end_lineage(rank, task);
    } else {
        fail_lost(rank, task, where);
    }
}

void task_end_lineage(struct rank *rank, struct task *task)
{
    task->flags &= (uint16_t) ~(TASK_LINEAGE | TASK_RERUN);
    base_list_remove(&task->link);
    bool is_made = task->object.is_done && task->object.code == MANTA_OK;
    if (!is_made || !lineage_keep(rank, task, task->object.value)) {
        drop_pins(rank, task);
    }
    object_check(rank, &task->object);
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size--) {
        hash = (hash ^ *at++) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t task_digest(struct task *task)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ function_hash(task->function);
    struct pack_own own = task_own(task);
    const manta_param *param;
    const uint8_t *data;
    uint64_t bytes;
    while ((param = pack_next_own(&own, &data, &bytes))) {
        for (size_t at = 0; pack_is_refs(param) && at < bytes; at += sizeof(manta_ref)) {
            manta_ref ref;
            memcpy(&ref, data + at, sizeof ref);
            ref.owner = 0; /* a hint, and another one after a re-execution */
            hash = hash_bytes(hash, &ref, sizeof ref);
        }
        bool is_hashed = pack_is_refs(param) || bytes == PACK_NULL_TEXT;
        hash = is_hashed ? hash : hash_bytes(hash, data, bytes);
    }
    return base_mix64(hash);
}
