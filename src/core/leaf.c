/*
 * The bodies of recorded tasks.
 *
 * A node is a plain call: its parameters are pointers into the part's slots, put together on the
 * stack; nothing is packed, looked up or allocated. What a body may call is little, so instead of a
 * run of its own it has the worker's one stand-in, for manta_fail, manta_cancelled and the board.
 *
 * A worker that has begun stays for a few nodes before it looks for messages and at other work. It
 * asks for the first ready member each time: what a node's end brings about may free the member.
 */
#include "core/board.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/exec.h"
#include "core/graph.h"
#include "core/idle.h"
#include "core/outv.h"
#include "core/registry.h"
#include "core/timeline.h"

#include <stdio.h>

enum { NODES_AT_ONCE = 16 };

/* One call. */
struct leaf {
    struct member *member;
    const struct part_node *node;
    struct part_ready of;
    manta_slot slots[MANTA_PARAM_MAX];
    struct manta_outv outv[MANTA_PARAM_MAX]; /* of parameters of a variable size */
};

/* ---- Before --------------------------------------------------------------------------------- */

static int place_value(struct run *run, struct leaf *leaf, const struct plan_bind *bind,
                       const struct part_slot *slot)
{
    if (MT_UNLIKELY(slot->bytes % bind->element != 0)) {
        const manta_param *param = &run->function->params[bind->param];
        return exec_refuse(run, MANTA_E_TYPE,
                           "argument %s is read as %s, %u bytes each, but its value has %u bytes",
                           param->name, param->type, bind->element, slot->bytes);
    }
    leaf->slots[bind->param] = (manta_slot){slot->data, slot->bytes / bind->element};
    return MANTA_OK;
}

/* An inout's body writes to a copy, which is its output too. */
static int place_copy(struct run *run, struct leaf *leaf, const struct plan_bind *bind,
                      const struct part_slot *from)
{
    struct part_slot *slot = part_slot(leaf->member->part, bind->value, leaf->of.round);
    if (!part_slot_reserve(slot, from->bytes)) {
        return MANTA_E_NOMEM;
    }
    slot->bytes = from->bytes;
    if (from->bytes) {
        memcpy(slot->data, from->data, from->bytes);
    }
    return place_value(run, leaf, bind, slot);
}

static void place_variable(struct leaf *leaf, const struct plan_bind *bind)
{
    struct manta_outv *outv = &leaf->outv[bind->param];
    outv->element_bytes = bind->element;
    outv->is_refs = outv->is_typed = outv->is_stored = false;
    outv->data = NULL;
    outv->count = 0;
    outv->slot = part_slot(leaf->member->part, bind->value, leaf->of.round);
    outv->slot->bytes = 0;
    leaf->slots[bind->param] = (manta_slot){outv, 1};
}

static int place(struct run *run, struct leaf *leaf, const struct plan_bind *bind)
{
    const struct part *part = leaf->member->part;
    manta_slot *slot = &leaf->slots[bind->param];
    switch (bind->kind) {
    case BIND_VAL:
        *slot = (manta_slot){(void *)(uintptr_t)(part->args + leaf->node->first_arg + bind->value),
                             bind->count};
        return MANTA_OK;
    case BIND_NULL:
        *slot = (manta_slot){NULL, 0};
        return MANTA_OK;
    case BIND_OUT:
        *slot = (manta_slot){part_slot(part, bind->value, leaf->of.round)->data, 1};
        return MANTA_OK;
    case BIND_OUTV:
        place_variable(leaf, bind);
        return MANTA_OK;
    case BIND_COPY:
        return place_copy(run, leaf, bind, part_source(part, bind - 1, leaf->of.round));
    default:
        return place_value(run, leaf, bind, part_source(part, bind, leaf->of.round));
    }
}

static int place_all(struct run *run, struct leaf *leaf)
{
    const struct plan_bind *binds = &leaf->member->part->binds[leaf->node->first_bind];
    int code = MANTA_OK;
    for (uint32_t i = 0; i < leaf->node->binds && MT_LIKELY(code == MANTA_OK); i++) {
        code = place(run, leaf, &binds[i]);
    }
    return code;
}

void *leaf_outv_alloc(manta_outv *out, size_t count)
{
    size_t bytes;
    struct context *context = context_get();
    bool is_absurd =
        __builtin_mul_overflow(count, out->element_bytes, &bytes) || bytes > MANTA_GRAPH_VALUE_MAX;
    if (is_absurd || !part_slot_reserve(out->slot, (uint32_t)bytes)) {
        context_fail(context, is_absurd ? MANTA_E_TOOBIG : MANTA_E_NOMEM,
                     "%zu elements of %u bytes were asked for; a value in a graph has at most %u "
                     "bytes: give several outputs, or use plain tasks",
                     count, out->element_bytes, MANTA_GRAPH_VALUE_MAX);
        return NULL;
    }
    out->slot->bytes = (uint32_t)bytes;
    if (!out->slot->data && !part_slot_reserve(out->slot, 1)) {
        return NULL;
    }
    out->data = out->slot->data;
    out->count = count;
    memset(out->data, 0, bytes <= MANTA_INLINE_MAX ? bytes : 0);
    return out->data;
}

/* ---- After ---------------------------------------------------------------------------------- */

/* What the body has said, or what its code means, with the node in front. */
static MT_COLD manta_error *explain(struct rank *rank, struct run *run, const struct leaf *leaf,
                                    int code)
{
    manta_error *error = exec_failure(rank, run, code, exec_reason(code));
    char text[2 * MANTA_ERROR_TEXT_MAX];
    run->error = NULL;
    if (error) {
        snprintf(text, sizeof text, "node %u (%s), round %u: %s", leaf->node->number, error->task,
                 leaf->of.round, error->text);
        text[MANTA_ERROR_TEXT_MAX - 1] = 0;
        memcpy(error->text, text, MANTA_ERROR_TEXT_MAX);
    }
    return error;
}

static void set_up(struct run *run, const struct leaf *leaf)
{
    const struct member *member = leaf->member;
    run->function = member->part->functions[leaf->of.node];
    run->parent = member->id;
    run->position = leaf->node->number;
    run->map_index = leaf->of.round;
    memcpy(run->name, leaf->node->name, sizeof leaf->node->name);
}

static int call(struct rank *rank, struct worker *worker, struct leaf *leaf)
{
    struct run *run = worker->leaf;
    set_up(run, leaf);
    int code = place_all(run, leaf);
    if (MT_UNLIKELY(code != MANTA_OK)) {
        return code;
    }
    board_show(worker, run);
    leaf->member->running++;
    timeline_leaf(rank, BASE_TIMELINE_BEGIN, run, BASE_TIMELINE_GRAPH);
    baton_give(&rank->baton);
    code = exec_keep_reason(run, run->function->run(leaf->slots));
    baton_take(&rank->baton, rank->host);
    timeline_leaf(rank, BASE_TIMELINE_END, run, code);
    leaf->member->running--;
    return code;
}

static void run_one(struct rank *rank, struct context *context, struct member *member)
{
    struct part *part = member->part;
    struct run *run = context->run;
    struct leaf leaf; /* filled in as far as it is read */
    leaf.member = member;
    leaf.of = part_take(part);
    leaf.node = &part->nodes[leaf.of.node];
    if (!part_is_ready(part)) {
        base_list_remove(&member->ready);
    }
    rank->stats.executed++;
    context->leaf = member;
    int code = call(rank, context->worker, &leaf);
    if (MT_UNLIKELY(leaf_is_stopped(member))) {
        member_went_quiet(rank, member);
    } else if (MT_UNLIKELY(code != MANTA_OK)) {
        member_node_failed(rank, member, explain(rank, run, &leaf, code));
    } else {
        member_node_ended(rank, member, leaf.of);
    }
    exec_forget_reason(run);
}

static struct member *first_ready(const struct rank *rank)
{
    const struct base_list *ready = &rank->graphs.ready;
    return base_list_is_empty(ready) ? NULL : MT_CONTAINER(ready->next, struct member, ready);
}

static bool make_stand_in(struct worker *worker)
{
    if (!worker->leaf) {
        worker->leaf = base_alloc_aligned(16, sizeof *worker->leaf);
    }
    return worker->leaf != NULL;
}

/* Its error record is left as it is, but for the code: it is long. */
static void set_up_context(struct context *context, struct worker *worker)
{
    context->rank = worker->rank;
    context->worker = worker;
    context->run = worker->leaf;
    context->root = NULL;
    context->sleeper = &worker->sleeper;
    context->waiter = NULL;
    context->inner = NULL;
    context->outer = NULL;
    context->leaf = NULL;
    context->last_error.code = MANTA_OK;
    worker->leaf->context = context;
    worker->leaf->worker = worker;
}

void leaf_run(struct worker *worker)
{
    struct rank *rank = worker->rank;
    struct context context;
    struct member *member;
    if (!make_stand_in(worker)) {
        member_node_failed(rank, first_ready(rank), NULL);
        return;
    }
    set_up_context(&context, worker);
    context_set(&context);
    idle_rouse(rank);
    for (uint32_t i = 0; i < NODES_AT_ONCE && (member = first_ready(rank)); i++) {
        run_one(rank, &context, member);
    }
    context_set(NULL);
    board_show(worker, NULL);
    (void)rank_turn(rank);
}
