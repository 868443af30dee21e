/*
 * Recording. Every call is checked against what was recorded before, so that the text of the first
 * mistake can say where it was made; later ones follow from it and are not looked at.
 */
#include "graph/plan.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool plan_grow(void *array, size_t *room, size_t count, size_t size)
{
    void **at = array;
    if (count <= *room) {
        return true;
    }
    size_t more = MT_MAX(count, *room ? 2 * *room : 16);
    void *grown = base_realloc(*at, *room * size, more * size);
    if (grown) {
        *at = grown;
        *room = more;
    }
    return grown != NULL;
}

void plan_init(struct plan *plan, uint64_t id, uint32_t owner, uint32_t ranks,
               manta_pattern pattern)
{
    *plan = (struct plan){.id = id, .owner = owner, .ranks = ranks, .pattern = pattern};
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->node_count; i++) {
        base_free(plan->nodes[i].name);
    }
    base_free(plan->nodes);
    base_free(plan->values);
    base_free(plan->binds);
    base_free(plan->args);
}

static MT_PRINTF(3, 4) int refuse(struct plan *plan, int code, const char *format, ...)
{
    va_list args;
    if (plan->code == MANTA_OK) {
        plan->code = code;
        va_start(args, format);
        vsnprintf(plan->text, sizeof plan->text, format, args);
        va_end(args);
    }
    return code;
}

static int no_memory(struct plan *plan)
{
    return refuse(plan, MANTA_E_NOMEM, "no memory for node %zu of the graph", plan->node_count);
}

const char *plan_node_text(const struct plan *plan, uint32_t node, char *text, size_t size)
{
    const struct plan_node *of = &plan->nodes[node];
    snprintf(text, size, "node %u (%s)", node, of->name ? of->name : of->function->name);
    return text;
}

uint32_t plan_value_of(const struct plan *plan, manta_ref edge)
{
    bool is_ours = edge.parent == plan->id && edge.position < plan->value_count;
    return is_ours ? edge.position : PLAN_NONE;
}

static manta_ref edge_of(const struct plan *plan, uint32_t value)
{
    return (manta_ref){plan->id, value, plan->owner};
}

/* PLAN_NONE: memory is out. */
static uint32_t add_value(struct plan *plan, struct plan_value value)
{
    if (!plan_grow(&plan->values, &plan->value_room, plan->value_count + 1, sizeof *plan->values)) {
        no_memory(plan);
        return PLAN_NONE;
    }
    value.feed = value.output = PLAN_NONE;
    plan->values[plan->value_count] = value;
    return (uint32_t)plan->value_count++;
}

manta_ref plan_input(struct plan *plan, size_t bytes)
{
    if (plan->code != MANTA_OK) {
        return (manta_ref){0};
    }
    if (bytes > MANTA_GRAPH_VALUE_MAX) {
        refuse(
            plan, MANTA_E_TOOBIG,
            "input %u of %zu bytes; a value in a graph has at most %u: share it out over several "
            "inputs, or use plain tasks",
            plan->input_count, bytes, MANTA_GRAPH_VALUE_MAX);
        return (manta_ref){0};
    }
    uint32_t value = add_value(
        plan,
        (struct plan_value){.node = PLAN_NONE, .bytes = (uint32_t)bytes, .is_fixed = bytes != 0});
    plan->input_count += value != PLAN_NONE;
    return value == PLAN_NONE ? (manta_ref){0} : edge_of(plan, value);
}

/* ---- Nodes ---------------------------------------------------------------------------------- */

/* A node while it is recorded. */
struct call {
    struct plan *plan;
    struct plan_node node;
    uint32_t number;
    const manta_function *function;
};

static const char *call_text(const struct call *call, char *text, size_t size)
{
    const char *name = call->node.name ? call->node.name : call->function->name;
    snprintf(text, size, "node %u (%s)", call->number, name);
    return text;
}

static MT_PRINTF(3, 4) int refuse_call(const struct call *call, int code, const char *format, ...)
{
    char text[128], why[PLAN_TEXT_MAX - 64];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return refuse(call->plan, code, "%s: %s", call_text(call, text, sizeof text), why);
}

static int add_bind(struct call *call, struct plan_bind bind)
{
    struct plan *plan = call->plan;
    if (!plan_grow(&plan->binds, &plan->bind_room, plan->bind_count + 1, sizeof *plan->binds)) {
        return no_memory(plan);
    }
    plan->binds[plan->bind_count++] = bind;
    call->node.binds++;
    return MANTA_OK;
}

/* Bytes of a parameter that is copied, 16-aligned. A text takes its end along. */
static int add_argument(struct call *call, uint32_t index, const manta_slot *slot)
{
    struct plan *plan = call->plan;
    const manta_param *param = &call->function->params[index];
    bool is_text = param->kind == MANTA_KIND_TEXT;
    size_t element = is_text ? 1 : param->size,
           count = param->kind == MANTA_KIND_VAL ? 1 : slot->count;
    size_t bytes = 0, at = MT_ALIGN_UP(plan->args_bytes, (size_t)16);
    if (is_text && !slot->data) {
        return add_bind(call, (struct plan_bind){.param = (uint16_t)index, .kind = BIND_NULL});
    }
    if (__builtin_mul_overflow(count, element, &bytes) || bytes > MANTA_INLINE_MAX) {
        return refuse_call(call, MANTA_E_TOOBIG, "argument %s has more than %d bytes", param->name,
                           MANTA_INLINE_MAX);
    }
    if (bytes && !slot->data) {
        return refuse_call(call, MANTA_E_INVALID, "argument %s is NULL", param->name);
    }
    if (!plan_grow(&plan->args, &plan->args_room, at + bytes + is_text, 1)) {
        return no_memory(plan);
    }
    if (bytes) {
        memcpy(plan->args + at, slot->data, bytes);
    }
    plan->args_bytes = at + bytes + is_text;
    return add_bind(call, (struct plan_bind){.param = (uint16_t)index,
                                             .kind = BIND_VAL,
                                             .value = (uint32_t)(at - call->node.first_arg),
                                             .element = (uint32_t)element,
                                             .count = (uint32_t)count});
}

static int check_reading(const struct call *call, const manta_param *param,
                         const struct plan_value *value)
{
    if (value->is_fixed && value->bytes % param->size != 0) {
        return refuse_call(call, MANTA_E_TYPE,
                           "argument %s is read as %s, %u bytes each, but its value has %u bytes",
                           param->name, param->type, param->size, value->bytes);
    }
    const manta_param *made = value->param;
    if (made && made->dtype && param->dtype && made->dtype != param->dtype) {
        return refuse_call(call, MANTA_E_TYPE, "argument %s is read as %s, but its value is of %s",
                           param->name, param->type, made->type);
    }
    return MANTA_OK;
}

static int add_edge(struct call *call, uint32_t index, const manta_slot *slot)
{
    struct plan *plan = call->plan;
    const manta_param *param = &call->function->params[index];
    bool is_inout = param->kind == MANTA_KIND_INOUT;
    manta_ref edge;
    memcpy(&edge, slot->data, sizeof edge);
    uint32_t value = plan_value_of(plan, edge);
    if (value == PLAN_NONE) {
        return refuse_call(call, MANTA_E_INVALID,
                           "argument %s is no edge of this graph: values from outside come in by "
                           "manta_graph_input and manta_graph_set",
                           param->name);
    }
    bool is_input = plan->values[value].node == PLAN_NONE;
    int code = check_reading(call, param, &plan->values[value]);
    return code ? code
                : add_bind(call, (struct plan_bind){
                                     .param = (uint16_t)index,
                                     .kind = is_inout ? (is_input ? BIND_INOUT_INPUT : BIND_INOUT)
                                                      : (is_input ? BIND_INPUT : BIND_IN),
                                     .value = value,
                                     .feed = PLAN_NONE,
                                     .element = param->size});
}

static int add_result(struct call *call, uint32_t index, enum plan_bind_kind kind)
{
    const manta_param *param = &call->function->params[index];
    struct plan_value value = {.node = call->number,
                               .param = param,
                               .is_fixed = kind == BIND_OUT,
                               .bytes = kind == BIND_OUT ? param->size : 0};
    uint32_t made = add_value(call->plan, value);
    call->node.values += made != PLAN_NONE;
    return made == PLAN_NONE ? MANTA_E_NOMEM
                             : add_bind(call, (struct plan_bind){.param = (uint16_t)index,
                                                                 .kind = (uint16_t)kind,
                                                                 .value = made,
                                                                 .element = param->size});
}

/* A changed copy has the size of what it was. */
static int add_copy(struct call *call, uint32_t index, const manta_slot *slot)
{
    struct plan *plan = call->plan;
    int code = add_edge(call, index, slot);
    if (code == MANTA_OK) {
        code = add_result(call, index, BIND_COPY);
    }
    if (code == MANTA_OK) {
        const struct plan_value *was = &plan->values[plan->binds[plan->bind_count - 2].value];
        struct plan_value *is = &plan->values[plan->value_count - 1];
        is->bytes = was->bytes;
        is->is_fixed = was->is_fixed;
    }
    return code;
}

static int add_param(struct call *call, uint32_t index, const manta_slot *slot)
{
    const manta_param *param = &call->function->params[index];
    switch (param->kind) {
    case MANTA_KIND_VAL:
    case MANTA_KIND_TEXT:
    case MANTA_KIND_SPAN:
        return add_argument(call, index, slot);
    case MANTA_KIND_IN:
        return add_edge(call, index, slot);
    case MANTA_KIND_INOUT:
        return add_copy(call, index, slot);
    case MANTA_KIND_OUT:
        return add_result(call, index, BIND_OUT);
    case MANTA_KIND_OUTV:
        return add_result(call, index, BIND_OUTV);
    default:
        return refuse_call(call, MANTA_E_INVALID,
                           "parameter %s: a recorded task has val, text, span, in, inout, out and "
                           "outv, no refs and no streams",
                           param->name);
    }
}

static int check_options(struct call *call, const manta_options *options)
{
    manta_options rest = *options;
    rest.graph = NULL;
    rest.rank = 0;
    rest.name = NULL;
    const manta_options none = {0};
    if (memcmp(&rest, &none, sizeof rest) != 0) {
        return refuse_call(call, MANTA_E_INVALID,
                           "of the options only .rank and .name can be recorded");
    }
    if (options->rank > call->plan->ranks) {
        return refuse_call(call, MANTA_E_INVALID, "rank %u was asked for, of %u", options->rank - 1,
                           call->plan->ranks);
    }
    return MANTA_OK;
}

static int set_options(struct call *call, const manta_options *options)
{
    call->node.rank = options->rank ? options->rank - 1 : PLAN_NONE;
    if (options->name) {
        size_t length = strnlen(options->name, MANTA_ERROR_NAME_MAX - 1);
        call->node.name = base_alloc(length + 1);
        if (!call->node.name) {
            return no_memory(call->plan);
        }
        memcpy(call->node.name, options->name, length);
    }
    return check_options(call, options);
}

static int add_params(struct call *call, const manta_slot *args)
{
    int code = MANTA_OK;
    for (uint32_t i = 0; i < call->function->param_count && code == MANTA_OK; i++) {
        code = add_param(call, i, &args[i]);
    }
    if (code == MANTA_OK && !call->node.values) { /* its end is a value of no bytes */
        uint32_t end = add_value(call->plan, (struct plan_value){.node = call->number});
        call->node.values = 1;
        code = end == PLAN_NONE ? MANTA_E_NOMEM : MANTA_OK;
    }
    if (call->plan->args_bytes > call->node.first_arg) {
        call->node.args = (uint32_t)(call->plan->args_bytes - call->node.first_arg);
    }
    return code;
}

static uint32_t outputs_of(const manta_function *function)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < function->param_count; i++) {
        uint32_t kind = function->params[i].kind;
        count += kind == MANTA_KIND_INOUT || kind >= MANTA_KIND_OUT;
    }
    return MT_MAX(count, 1);
}

void plan_add(struct plan *plan, manta_function *function, const manta_options *options,
              const manta_slot *args, manta_ref *ret_refs)
{
    memset(ret_refs, 0, outputs_of(function) * sizeof *ret_refs);
    if (plan->code != MANTA_OK) {
        return;
    }
    size_t first_arg = MT_ALIGN_UP(plan->args_bytes, (size_t)16);
    struct call call = {.plan = plan,
                        .function = function,
                        .number = (uint32_t)plan->node_count,
                        .node = {.function = function,
                                 .first_bind = (uint32_t)plan->bind_count,
                                 .first_value = (uint32_t)plan->value_count,
                                 .first_arg = (uint32_t)first_arg}};
    int code = first_arg > UINT32_MAX / 2 || plan->node_count >= PLAN_NODES_MAX
                   ? refuse(plan, MANTA_E_TOOBIG, "the graph has too many nodes")
                   : set_options(&call, options);
    if (code == MANTA_OK) {
        code = add_params(&call, args);
    }
    if (code != MANTA_OK ||
        !plan_grow(&plan->nodes, &plan->node_room, plan->node_count + 1, sizeof *plan->nodes)) {
        base_free(call.node.name);
        no_memory(plan);
        return;
    }
    plan->nodes[plan->node_count++] = call.node;
    for (uint32_t i = 0; i < call.node.values; i++) {
        ret_refs[i] = edge_of(plan, call.node.first_value + i);
    }
}

/* ---- Feeds and outputs ---------------------------------------------------------------------- */

/* The value of a task's edge; PLAN_NONE, refused. */
static uint32_t value_of_task(struct plan *plan, manta_ref edge, const char *call)
{
    uint32_t value = plan_value_of(plan, edge);
    if (value == PLAN_NONE || plan->values[value].node == PLAN_NONE) {
        refuse(plan, MANTA_E_INVALID, "%s: %s", call,
               value == PLAN_NONE ? "the edge is none of this graph"
                                  : "the edge is an input, not the result of a task");
        return PLAN_NONE;
    }
    return value;
}

void plan_feed(struct plan *plan, manta_ref from, manta_ref input)
{
    uint32_t to = plan_value_of(plan, input);
    uint32_t value = plan->code ? PLAN_NONE : value_of_task(plan, from, "manta_graph_feed");
    if (value == PLAN_NONE) {
        return;
    }
    char text[128];
    const struct plan_value *fed = &plan->values[value];
    if (to == PLAN_NONE || plan->values[to].node != PLAN_NONE) {
        refuse(plan, MANTA_E_INVALID, "manta_graph_feed: what is fed is no input of this graph");
    } else if (plan->values[to].feed != PLAN_NONE) {
        refuse(plan, MANTA_E_INVALID, "manta_graph_feed: the input is fed already, by %s",
               plan_node_text(plan, plan->values[plan->values[to].feed].node, text, sizeof text));
    } else if (fed->is_fixed && plan->values[to].is_fixed && fed->bytes != plan->values[to].bytes) {
        refuse(plan, MANTA_E_TYPE, "manta_graph_feed: %s gives %u bytes, the input has %u",
               plan_node_text(plan, fed->node, text, sizeof text), fed->bytes,
               plan->values[to].bytes);
    } else {
        plan->values[to].feed = value;
    }
}

void plan_output(struct plan *plan, manta_ref edge)
{
    uint32_t value = plan->code ? PLAN_NONE : value_of_task(plan, edge, "manta_graph_output");
    if (value == PLAN_NONE) {
        return;
    }
    if (plan->values[value].output != PLAN_NONE) {
        refuse(plan, MANTA_E_INVALID, "manta_graph_output: the edge is output %u already",
               plan->values[value].output);
    } else {
        plan->values[value].output = plan->output_count++;
    }
}

/* Readers of a fed input read both values; feeds may come after them. */
static void check_fed(struct plan *plan, const struct plan_node *node)
{
    const struct call call = {.plan = plan,
                              .node = *node,
                              .number = (uint32_t)(node - plan->nodes),
                              .function = node->function};
    for (uint32_t i = 0; i < node->binds && plan->code == MANTA_OK; i++) {
        struct plan_bind *bind = &plan->binds[node->first_bind + i];
        if (!plan_is_input(bind)) {
            continue;
        }
        bind->feed = plan->values[bind->value].feed;
        if (bind->feed != PLAN_NONE) {
            (void)check_reading(&call, &node->function->params[bind->param],
                                &plan->values[bind->feed]);
        }
    }
}

int plan_check(struct plan *plan)
{
    if (plan->code == MANTA_OK && !plan->node_count) {
        refuse(plan, MANTA_E_INVALID,
               "the graph has no nodes: call tasks with MANTA_OPTIONS(.graph = graph)");
    }
    for (size_t i = 0; i < plan->node_count && plan->code == MANTA_OK; i++) {
        check_fed(plan, &plan->nodes[i]);
    }
    return plan->code;
}
