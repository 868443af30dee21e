/*
 * Running a body: arguments from bytes to slots, the call, outputs to a value.
 *
 * Fixed outputs live on this stack (or beside it when large), the one of a function with
 * a single small output directly in the run. Variable outputs are what the body
 * allocated with manta_outv_alloc. The baton is given up around the call only.
 */
#include "core/board.h"
#include "core/cancel.h"
#include "core/context.h"
#include "core/exec.h"
#include "core/fetch.h"
#include "core/graph.h"
#include "core/idle.h"
#include "core/layout.h"
#include "core/map.h"
#include "core/outv.h"
#include "core/pack.h"
#include "core/pin.h"
#include "core/registry.h"
#include "core/reuse.h"
#include "core/room.h"
#include "core/scope.h"
#include "core/stored.h"
#include "core/stream.h"
#include "core/task.h"
#include "core/timeline.h"
#include "core/value.h"

#include <stdarg.h>
#include <stdio.h>

enum { FIXED_ON_STACK = 512 };

struct body {
    struct run *run;
    manta_slot slots[MANTA_PARAM_MAX];
    struct manta_outv outv[MANTA_PARAM_MAX]; /* of variable outputs, and of inouts in the store */
    uint8_t *fixed;                          /* NULL: on_stack */
    uint16_t variables;                      /* bit by parameter: outv is set */
    uint16_t typed;                          /* the value that came has a layout */
    uint16_t reused;                         /* an inout that is changed where it lies */
    struct reuse reuse[MANTA_PARAM_MAX];     /* of these */
    bool is_collected;                       /* what they hold is the value's */
    uint8_t MT_ALIGNED(16) on_stack[FIXED_ON_STACK];
};

static bool is_variable(const manta_param *param)
{
    return param->kind == MANTA_KIND_OUTV || param->kind == MANTA_KIND_OUTREFS;
}

/* With the layout, if there is one. */
static uint64_t whole_bytes(uint64_t bytes, bool is_typed)
{
    return is_typed ? layout_whole_bytes(bytes) : bytes;
}

/* ---- Before --------------------------------------------------------------------------------- */

static void set_variable(struct body *body, uint32_t param, uint16_t output)
{
    const struct run *run = body->run;
    const manta_param *of = &run->function->params[param];
    bool is_refs = of->kind == MANTA_KIND_OUTREFS;
    body->outv[param] = (struct manta_outv){
        .element_bytes = is_refs ? (uint32_t)sizeof(manta_ref) : of->size,
        .dtype = of->dtype,
        .is_refs = is_refs,
        .tag = {run->parent, run->position + output, function_hash(run->function)}};
    body->variables |= (uint16_t)(1u << param);
}

int outv_make_room(struct context *context, struct manta_outv *outv, size_t count)
{
    uint64_t bytes = whole_bytes(count * outv->element_bytes, outv->is_typed);
    int code = room_create(context, bytes, &outv->tag, &outv->room);
    if (code == MANTA_OK) {
        outv->is_stored = true;
        outv->data = outv->room.data;
        outv->count = count;
    }
    return code;
}

static uint16_t output_of(const manta_function *function, uint32_t param)
{
    uint16_t output = 0;
    for (uint32_t i = 0; i < param; i++) {
        output += function->params[i].kind >= MANTA_KIND_OUT ||
                  function->params[i].kind == MANTA_KIND_INOUT;
    }
    return output;
}

/* An inout's body writes to it: it gets a block of its own, which is its output too. */
static int copy_stored(struct rank *rank, struct body *body, const struct pack_arg *arg)
{
    struct manta_outv *copy = &body->outv[arg->index];
    const void *data = body->slots[arg->index].data;
    set_variable(body, arg->index, output_of(body->run->function, arg->index));
    copy->is_typed = arg->is_typed;
    int code = outv_make_room(body->run->context, copy, body->slots[arg->index].count);
    if (code == MANTA_OK) {
        baton_give(&rank->baton);
        memcpy(copy->data, data, arg->bytes);
        baton_take(&rank->baton, rank->host);
        body->slots[arg->index] = (manta_slot){copy->data, copy->count};
    }
    return code;
}

/* The record of a body's failure, for its owner. */
static void fail_run(struct run *run, int code, const char *format, va_list args)
{
    manta_error *error = run->error ? run->error : base_alloc(sizeof *error);
    if (error) {
        error->text[0] = '\0';
        if (format) {
            vsnprintf(error->text, sizeof error->text, format, args);
        }
        error->code = code;
    }
    run->error = error;
}

int exec_refuse(struct run *run, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_run(run, code, format, args);
    va_end(args);
    return code;
}

/* A value with a layout: its elements must be what the body reads them as. */
static MT_COLD int admit(struct body *body, uint32_t index, uint64_t whole)
{
    manta_slot *slot = &body->slots[index];
    const manta_param *param = &body->run->function->params[index];
    manta_layout layout;
    char text[LAYOUT_TEXT_MAX];
    uint64_t bytes;
    if (!layout_read(slot->data, whole, &layout, &bytes)) {
        return MANTA_E_TYPE;
    }
    bool is_fit = param->dtype ? layout_is_readable(&layout, param->dtype, param->size)
                               : bytes % param->size == 0;
    if (!is_fit) {
        bool is_struct = param->dtype == MANTA_DTYPE_BYTES;
        return exec_refuse(body->run, MANTA_E_TYPE,
                           "argument %s is read as %s (%s, %u bytes each), but its value is %s",
                           param->name, param->type,
                           is_struct ? "a struct" : manta_dtype_name(param->dtype), param->size,
                           layout_text(&layout, text));
    }
    slot->count = bytes / param->size;
    body->typed |= (uint16_t)(1u << index);
    body->run->typed = body;
    return MANTA_OK;
}

static int place_inout(struct rank *rank, struct body *body, const struct pack_arg *arg,
                       const struct location *place)
{
    void *data = reuse_begin(rank, body->run, arg->index, place,
                             output_of(body->run->function, arg->index), &body->reuse[arg->index]);
    if (!data) {
        return copy_stored(rank, body, arg);
    }
    body->reused |= (uint16_t)(1u << arg->index);
    body->slots[arg->index].data = data;
    return MANTA_OK;
}

static MT_NOINLINE int place_stored(struct rank *rank, struct body *body,
                                    const struct pack_arg *arg)
{
    struct location place;
    if (!body->run->is_rich) { /* nothing has seen to it that the bytes stay */
        return MANTA_E_TYPE;
    }
    memcpy(&place, arg->data, sizeof place);
    const void *data = fetch_data(rank, &place);
    fetch_start_run(rank, body->run);
    if (!data || body->run->code) {
        return body->run->code ? body->run->code : MANTA_E_LOST;
    }
    body->slots[arg->index] = (manta_slot){(void *)(uintptr_t)data, arg->bytes / arg->param->size};
    int code = arg->is_typed ? admit(body, arg->index, arg->bytes) : MANTA_OK;
    return code == MANTA_OK && arg->param->kind == MANTA_KIND_INOUT
               ? place_inout(rank, body, arg, &place)
               : code;
}

static MT_NOINLINE MT_FLATTEN int place_all_inputs(struct rank *rank, struct body *body)
{
    struct run *run = body->run;
    int code = MANTA_OK;
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    while (code == MANTA_OK && pack_next(&walk, &arg)) {
        if (MT_UNLIKELY(arg.is_stored)) {
            const struct pack_arg stored = arg; /* so that most stay in registers */
            code = place_stored(rank, body, &stored);
            continue;
        }
        size_t unit =
            arg.is_refs && arg.param->kind >= MANTA_KIND_REF ? sizeof(manta_ref) : arg.param->size;
        body->slots[arg.index].data = arg.is_null ? NULL : arg.data;
        body->slots[arg.index].count = pack_count(arg.bytes, unit);
        if (MT_UNLIKELY(arg.is_typed)) {
            code = admit(body, arg.index, arg.bytes);
        }
    }
    return walk.is_broken ? MANTA_E_TYPE : code;
}

static inline int place_inputs(struct rank *rank, struct body *body)
{
    return body->run->args_bytes ? place_all_inputs(rank, body) : MANTA_OK;
}

static MT_NOINLINE int place_all_outputs(struct body *body)
{
    const manta_function *function = body->run->function;
    size_t total = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        total += param->kind == MANTA_KIND_OUT ? MT_ALIGN_UP((size_t)param->size, (size_t)16) : 0;
    }
    if (total > sizeof body->on_stack && !(body->fixed = base_alloc_aligned(16, total))) {
        return MANTA_E_NOMEM;
    }
    uint8_t *at = body->fixed ? body->fixed : memset(body->on_stack, 0, total);
    uint16_t output = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        if (param->kind == MANTA_KIND_OUT) {
            body->slots[i] = (manta_slot){at, 1};
            at += MT_ALIGN_UP((size_t)param->size, (size_t)16);
        } else if (is_variable(param)) {
            set_variable(body, i, output);
            body->slots[i] = (manta_slot){&body->outv[i], 0};
        } else if (param->kind == MANTA_KIND_STREAM) {
            body->slots[i] =
                (manta_slot){source_create(body->run->worker->rank, body->run, param), 0};
            if (!body->slots[i].data) {
                return MANTA_E_NOMEM;
            }
        }
        output += param->kind >= MANTA_KIND_OUT || param->kind == MANTA_KIND_INOUT;
    }
    return MANTA_OK;
}

static inline int place_outputs(struct body *body)
{
    const struct function_info *info = function_info(body->run->function);
    if (info->single_bytes) {
        memset(body->run->small, 0, sizeof body->run->small);
    }
    if (info->single_bytes && !info->is_stream) {
        body->slots[info->single_param] = (manta_slot){body->run->small, 1};
        return MANTA_OK;
    }
    return info->value_outputs ? place_all_outputs(body) : MANTA_OK;
}

/* The scope of the run holds every ref that came as an argument. */
static int hold_arguments(struct rank *rank, struct run *run)
{
    struct pack_walk walk = pack_walk_run(run);
    struct pack_arg arg;
    while (pack_next(&walk, &arg)) {
        for (size_t i = 0; arg.is_refs && i < arg.bytes / sizeof(manta_ref); i++) {
            manta_ref ref;
            memcpy(&ref, arg.data + i * sizeof ref, sizeof ref);
            struct scope *scope = scope_of_run(rank, run);
            struct object *object = scope ? object_get_held(rank, ref) : NULL;
            if (object && scope_hold(scope, ref, object) != MANTA_OK) {
                object_drop(rank, object);
                object = NULL;
            }
            if (!object) {
                return MANTA_E_NOMEM;
            }
        }
    }
    return MANTA_OK;
}

/* ---- After ---------------------------------------------------------------------------------- */

static MT_NOINLINE int collect_parts(struct rank *rank, struct body *body, struct value **ret_value)
{
    const struct run *run = body->run;
    const manta_function *function = run->function;
    struct value_part parts[MANTA_PARAM_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        const manta_param *param = &function->params[i];
        const manta_slot *slot = &body->slots[i];
        const struct manta_outv *outv = &body->outv[i];
        if (param->kind == MANTA_KIND_OUT) {
            parts[count++] = (struct value_part){.data = slot->data, .bytes = param->size};
        } else if (param->kind == MANTA_KIND_INOUT) {
            bool is_typed = body->typed >> i & 1;
            parts[count++] =
                (struct value_part){.data = slot->data,
                                    .bytes = whole_bytes(slot->count * param->size, is_typed),
                                    .is_typed = is_typed,
                                    .is_stored = (body->variables | body->reused) >> i & 1,
                                    .place = body->reused >> i & 1 ? &body->reuse[i].place : NULL};
        } else if (is_variable(param)) {
            uint64_t bytes = outv->count * outv->element_bytes;
            parts[count++] = (struct value_part){.data = outv->data,
                                                 .bytes = whole_bytes(bytes, outv->is_typed),
                                                 .is_refs = outv->is_refs,
                                                 .is_typed = outv->is_typed,
                                                 .is_stored = outv->is_stored};
        }
    }
    *ret_value = value_create(rank, parts, count, (manta_ref){run->parent, run->position, 0});
    body->is_collected = *ret_value != NULL;
    for (uint32_t bits = *ret_value ? body->reused : 0; bits; bits &= bits - 1) {
        reuse_keep(rank, run, &body->reuse[__builtin_ctz(bits)]);
    }
    return *ret_value ? MANTA_OK : MANTA_E_NOMEM;
}

static inline int collect(struct rank *rank, struct body *body, struct value **ret_value)
{
    const struct function_info *info = function_info(body->run->function);
    return info->single_bytes || !info->value_outputs ? MANTA_OK
                                                      : collect_parts(rank, body, ret_value);
}

void outv_free(struct rank *rank, struct manta_outv *outv, bool is_collected)
{
    if (!outv->is_stored) {
        base_free(outv->data);
    } else if (!is_collected) {
        room_abandon(rank, &outv->room);
    }
}

static void free_outputs(struct rank *rank, struct body *body)
{
    if (MT_UNLIKELY(body->fixed != NULL)) {
        base_free(body->fixed);
    }
    for (uint32_t bits = body->variables; bits; bits &= bits - 1) {
        outv_free(rank, &body->outv[__builtin_ctz(bits)], body->is_collected);
    }
    for (uint32_t bits = body->reused; bits; bits &= bits - 1) {
        reuse_end(rank, &body->reuse[__builtin_ctz(bits)]);
    }
}

manta_error *exec_failure(struct rank *rank, struct run *run, int code, const char *text)
{
    manta_error *error = run->error ? run->error : base_alloc(sizeof *error);
    run->error = NULL;
    if (!error) {
        return NULL;
    }
    if (error->code != code) {
        error->code = code;
        snprintf(error->text, sizeof error->text, "%s", text);
    }
    error->rank = rank->number;
    error->attempt = run->attempt;
    error->task_id = run->id;
    snprintf(error->host, sizeof error->host, "%s", rank->options.host_name);
    function_describe(run->function, run->name, error);
    return error;
}

/* What a body's code means when it was asked to stop. */
static int judge(struct rank *rank, const struct run *run, int code)
{
    if (code == MANTA_OK) {
        return MANTA_OK;
    }
    if (run->cancelled) {
        return MANTA_E_CANCELLED;
    }
    if (run->deadline_ns && base_now_ns(rank->host) >= run->deadline_ns) {
        return MANTA_E_TIMEOUT;
    }
    return code;
}

const char *exec_reason(int code)
{
    switch (code) {
    case MANTA_E_TIMEOUT:
        return "its time limit passed";
    case MANTA_E_CANCELLED:
        return "it was cancelled";
    case MANTA_E_NOMEM:
        return "no memory for its arguments or results";
    case MANTA_E_LIMIT:
        return "the node's store is full: close views, drop refs, or set MANTA_STORE";
    case MANTA_E_TOOBIG:
        return "its arguments together are larger than the node's store (MANTA_STORE)";
    case MANTA_E_LOST:
        return "an argument's value is gone with the rank that had it, or came back damaged from "
               "the disk";
    case MANTA_E_TYPE:
        return "its arguments arrived damaged";
    default:
        return "it returned this code";
    }
}

/* ---- The call ------------------------------------------------------------------------------- */

int exec_keep_reason(struct run *run, int code)
{
    const manta_error *last = &run->context->last_error;
    if (MT_UNLIKELY(code != MANTA_OK) && !run->error && last->code == code) {
        return exec_refuse(run, code, "%s", last->text);
    }
    return code;
}

static MT_COLD int call_noted(struct rank *rank, struct body *body)
{
    struct run *run = body->run;
    timeline_body(rank, BASE_TIMELINE_BEGIN, run, BASE_TIMELINE_TASK);
    baton_give(&rank->baton);
    int code = exec_keep_reason(run, run->function->run(body->slots));
    timeline_body(rank, BASE_TIMELINE_END, run, code);
    baton_take(&rank->baton, rank->host);
    return code;
}

static int call(struct rank *rank, struct body *body)
{
    struct run *run = body->run;
    if (MT_UNLIKELY(rank->tracks != NULL)) {
        return call_noted(rank, body);
    }
    baton_give(&rank->baton);
    int code = exec_keep_reason(run, run->function->run(body->slots));
    baton_take(&rank->baton, rank->host);
    return code;
}

/* One index of a map, without the baton. True: results are to be sent. */
static bool call_element(struct rank *rank, struct body *body, struct lease_results *results)
{
    struct run *run = body->run;
    int code = run->cancelled ? MANTA_E_CANCELLED : place_outputs(body);
    if (code == MANTA_OK) {
        code = judge(rank, run, exec_keep_reason(run, run->function->run(body->slots)));
    }
    manta_error *error = code == MANTA_OK ? NULL : exec_failure(rank, run, code, exec_reason(code));
    bool is_full = map_results_add(rank, run, results, code, body->slots, error);
    exec_forget_reason(run);
    base_free(error);
    base_free(body->fixed);
    body->fixed = NULL;
    return is_full;
}

/* Indices of a map one after the other; every result goes to the lease as it comes. */
static int call_lease(struct rank *rank, struct body *body)
{
    struct run *run = body->run;
    struct lease_results *results = map_results_begin(rank, run);
    if (!results) {
        return MANTA_E_NOMEM;
    }
    timeline_body(rank, BASE_TIMELINE_BEGIN, run, BASE_TIMELINE_MAP);
    baton_give(&rank->baton);
    for (uint64_t i = 0; i < run->map_count; i++) {
        run->map_index = run->map_begin + i;
        board_show_index(run->worker, run->map_index);
        if (call_element(rank, body, results)) {
            baton_take(&rank->baton, rank->host);
            map_results_send(rank, run, results);
            (void)rank_turn(rank);
            baton_give(&rank->baton);
        }
    }
    timeline_body(rank, BASE_TIMELINE_END, run, MANTA_OK);
    baton_take(&rank->baton, rank->host);
    map_results_end(rank, run, results);
    return MANTA_OK;
}

static int execute(struct rank *rank, struct body *body, struct value **ret_value)
{
    struct run *run = body->run;
    if (run->timeout_ns) {
        run->deadline_ns = base_deadline_after(base_now_ns(rank->host), run->timeout_ns);
    }
    int code = exec_keep_reason(run, place_inputs(rank, body));
    if (code == MANTA_OK && (run->is_rich || function_info(run->function)->has_refs)) {
        code = hold_arguments(rank, run);
    }
    if (code == MANTA_OK && run->map_count) {
        return call_lease(rank, body);
    }
    if (code == MANTA_OK) {
        code = place_outputs(body);
    }
    if (code == MANTA_OK) {
        code = judge(rank, run, call(rank, body));
    }
    if (MT_UNLIKELY(run->has_more) && run->source) {
        source_end(rank, run, code);
    }
    return code == MANTA_OK ? collect(rank, body, ret_value) : code;
}

int exec_call_alone(struct rank *rank, struct run *run, struct value **ret_value)
{
    struct body body = {.run = run};
    int code = place_inputs(rank, &body);
    if (code == MANTA_OK) {
        code = place_outputs(&body);
    }
    if (code == MANTA_OK) {
        code = run->function->run(body.slots);
    }
    if (code == MANTA_OK) {
        code = collect(rank, &body, ret_value);
    }
    free_outputs(rank, &body);
    return code;
}

void exec_run(struct worker *worker, struct run *run)
{
    struct rank *rank = worker->rank;
    struct context context;
    struct context *outer = context_get();
    struct body body;
    struct value *value = NULL;
    struct fiber *fiber = fiber_current();
    context.rank = rank;
    context.worker = worker;
    context.run = run;
    context.sleeper = &worker->sleeper;
    context.outer = outer;
    context.waiter = NULL;
    context.inner = NULL;
    context.leaf = NULL;
    if (outer && outer->run) {
        outer->inner = run;
    }
    context.last_error.code = MANTA_OK;
    body.run = run;
    body.fixed = NULL;
    body.variables = 0;
    body.typed = 0;
    body.reused = 0;
    body.is_collected = false;
    run->worker = worker;
    run->context = &context;
    run->state = RUN_RUNNING;
    idle_rouse(rank);
    context_set(&context);
    fiber_set_name(fiber, run->function->name);
    board_show(worker, run);
    if (MT_UNLIKELY(run->is_watched)) {
        exec_tell_begun(rank, run);
    }
    rank->stats.executed++;
    int code = run->cancelled ? MANTA_E_CANCELLED : execute(rank, &body, &value);
    fiber_set_name(fiber, outer && outer->run ? outer->run->function->name : NULL);
    board_show(worker, outer ? outer->run : NULL);
    context_set(outer);
    if (outer) {
        outer->inner = NULL;
    }
    free_outputs(rank, &body);
    if (MT_UNLIKELY(run->has_more) && run->start) {
        pin_end_run(rank, run);
    }
    if (run->map_count) {
        map_lease_done(rank, run, code);
    } else {
        exec_deliver(rank, run, code, value,
                     code == MANTA_OK ? NULL : exec_failure(rank, run, code, exec_reason(code)));
    }
}

static int alloc_inline(struct manta_outv *out, size_t count, size_t bytes)
{
    if (bytes > MANTA_INLINE_MAX) {
        return MANTA_E_TOOBIG;
    }
    size_t room = MT_ALIGN_UP(MT_MAX(bytes, (size_t)out->element_bytes), (size_t)16);
    out->data = base_alloc_aligned(16, room);
    out->count = out->data ? count : 0;
    return out->data ? MANTA_OK : MANTA_E_NOMEM;
}

static int alloc_stored(struct context *context, struct manta_outv *out, size_t count)
{
    struct rank *rank = context->rank;
    baton_take(&rank->baton, rank->host);
    int code = outv_make_room(context, out, count);
    baton_give(&rank->baton);
    return code;
}

static bool is_open(struct context *context, const manta_outv *out)
{
    if ((!out || out->data) && context) {
        context_fail(context, out ? MANTA_E_STATE : MANTA_E_INVALID,
                     out ? "this result has its room already: a result is allocated once"
                         : "out is NULL; pass the task's outv parameter");
    }
    return out && !out->data;
}

/* An isolated body has no context, and no store. */
void *manta_outv_alloc(manta_outv *out, size_t count)
{
    struct context *context = context_get();
    size_t bytes;
    if (!is_open(context, out)) {
        return NULL;
    }
    if (out->slot) {
        return leaf_outv_alloc(out, count);
    }
    bool is_absurd = __builtin_mul_overflow(count, out->element_bytes, &bytes);
    bytes = whole_bytes(bytes, out->is_typed);
    if (!is_absurd && context && !out->is_refs && stored_is_wanted(context->rank, bytes)) {
        (void)alloc_stored(context, out, count);
        return out->data;
    }
    int code = is_absurd ? MANTA_E_TOOBIG : alloc_inline(out, count, bytes);
    if (code != MANTA_OK && context) {
        context_fail(context, code, "%zu elements of %u bytes were asked for; at most %d bytes fit",
                     count, out->element_bytes, MANTA_INLINE_MAX);
    }
    return out->data;
}

/* Its element type must be what readers of this output will be told. */
static int check_outv(const manta_outv *out, const manta_layout *layout, uint64_t *ret_bytes,
                      char *text, size_t text_size)
{
    char found[LAYOUT_TEXT_MAX];
    if (!layout) {
        snprintf(text, text_size, "layout is NULL");
        return MANTA_E_INVALID;
    }
    int code = layout_check(layout, ret_bytes, text, text_size);
    bool is_fit = code == MANTA_OK && !out->is_refs && layout->dtype != MANTA_DTYPE_NONE &&
                  layout->item_bytes == out->element_bytes &&
                  (!out->dtype || layout_is_readable(layout, out->dtype, out->element_bytes));
    if (code == MANTA_OK && !is_fit) {
        snprintf(text, text_size, "the result has elements of type %s, %u bytes each, not %s",
                 out->is_refs ? "manta_ref" : manta_dtype_name(out->dtype), out->element_bytes,
                 layout_text(layout, found));
        code = MANTA_E_TYPE;
    }
    return code;
}

void *manta_outv_layout(manta_outv *out, const manta_layout *layout)
{
    struct context *context = context_get();
    char text[MANTA_ERROR_TEXT_MAX];
    uint64_t bytes;
    if (!is_open(context, out)) {
        return NULL;
    }
    if (out->slot) {
        context_fail(context, MANTA_E_STATE, "values inside a graph have no layouts");
        return NULL;
    }
    int code = check_outv(out, layout, &bytes, text, sizeof text);
    if (code != MANTA_OK) {
        if (context) {
            context_fail(context, code, "%s", text);
        }
        return NULL;
    }
    out->is_typed = true;
    if (manta_outv_alloc(out, bytes / out->element_bytes)) {
        layout_write(out->data, bytes, layout);
    }
    out->is_typed = out->data != NULL;
    return out->data;
}

int manta_fail(int code, const char *format, ...)
{
    struct context *context = context_of_body();
    va_list args;
    if (context && context->run && code != MANTA_OK) {
        va_start(args, format);
        fail_run(context->run, code, format, args);
        va_end(args);
    }
    return code;
}

int manta_layout_of(const void *argument, manta_layout *ret_layout)
{
    struct context *context = context_of_body();
    const struct body *body = context && context->run ? context->run->typed : NULL;
    for (uint32_t bits = body ? body->typed : 0; bits; bits &= bits - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(bits);
        const manta_slot *slot = &body->slots[i];
        if (argument == slot->data && ret_layout) {
            uint64_t bytes = slot->count * body->run->function->params[i].size;
            memcpy(ret_layout, (const uint8_t *)argument + layout_offset(bytes),
                   sizeof *ret_layout);
            return MANTA_OK;
        }
    }
    if (!context) {
        return MANTA_E_STATE;
    }
    return ret_layout ? context_fail(context, MANTA_E_NOTFOUND,
                                     "no in or inout argument with a layout begins there")
                      : context_fail(context, MANTA_E_INVALID, "ret_layout is NULL");
}

bool manta_cancelled(void)
{
    struct context *context = context_get();
    struct run *run = context ? context->run : NULL;
    if (!run) {
        return false;
    }
    if (context->leaf && leaf_is_stopped(context->leaf)) {
        return true;
    }
    return atomic_load_explicit(&run->cancelled, memory_order_relaxed) ||
           atomic_load_explicit(&context->rank->is_aborted, memory_order_relaxed) ||
           (run->deadline_ns && base_now_ns(context->rank->host) >= run->deadline_ns);
}

uint64_t manta_map_index(void)
{
    struct context *context = context_get();
    return context && context->run ? context->run->map_index : 0;
}
