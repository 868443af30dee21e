/* The public calls that hold and let go: drop, scope blocks, cancel; and what the world is. */
#include "core/cancel.h"
#include "core/context.h"
#include "core/dispatch.h"
#include "core/scope.h"

int manta_drop(manta_ref ref)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    context_take(context);
    struct scope *scope = context_scope(context);
    bool is_dropped = scope && scope_drop(context->rank, scope, ref);
    if (!is_dropped && core_is_root_id(ref.parent) && !context->run) {
        scope = scope_find(context->rank, ref.parent); /* made by another thread of this rank */
        is_dropped = scope && scope_drop(context->rank, scope, ref);
    }
    int code = is_dropped ? MANTA_OK : context_not_held(context, ref);
    dispatch_flush(context->rank);
    context_give(context);
    return code;
}

int manta_keep(manta_ref ref)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    return context_fail(context, MANTA_E_STATE,
                        "only an actor's method can keep a ref, in the actor's state");
}

int manta_scope_begin(void)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    context_take(context);
    struct scope *scope = context_scope(context);
    int code = scope ? scope_block_begin(scope) : MANTA_E_NOMEM;
    context_give(context);
    return code == MANTA_OK ? code : context_fail(context, code, "no memory for a scope block");
}

int manta_scope_end(void)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    context_take(context);
    struct scope *scope = context_scope(context);
    int code = scope ? scope_block_end(context->rank, scope) : MANTA_E_NOMEM;
    dispatch_flush(context->rank);
    context_give(context);
    return code == MANTA_OK
               ? code
               : context_fail(context, code, "no scope block is open in this task or thread");
}

int manta_cancel(manta_ref ref)
{
    struct context *context = context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    context_take(context);
    struct target target = scope_target(context->rank, context_scope(context), ref);
    int code = target.object ? MANTA_OK : context_not_held(context, ref);
    if (code == MANTA_OK) {
        cancel_target(context->rank, &target);
        dispatch_pump(context->rank);
        dispatch_flush(context->rank);
    }
    context_give(context);
    return code;
}

int manta_world_get(manta_world *ret_world)
{
    struct context *context = context_get() ? context_get() : context_enter();
    if (!context) {
        return MANTA_E_STATE;
    }
    if (!ret_world) {
        return context_fail(context, MANTA_E_INVALID, "ret_world is NULL");
    }
    const struct rank *rank = context->rank;
    *ret_world = (manta_world){.rank = rank->number,
                               .size = rank->size,
                               .workers = rank->worker_count,
                               .cores = rank->options.cores,
                               .node_ranks = rank->options.node_ranks,
                               .host = rank->options.host_name};
    return MANTA_OK;
}
