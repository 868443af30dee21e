/* The calling thread's context: set while a thread is attached or a body runs, NULL elsewhere. */
#ifndef CORE_CONTEXT_H
#define CORE_CONTEXT_H

#include "core/rank.h"

#define CONTEXT_ISOLATED_TEXT                                                                      \
    "an isolated task runs in a process of its own and can neither submit nor wait: give it what " \
    "it needs as arguments, and let its parent submit the rest"

struct context *context_get(void);
void context_set(struct context *context);

#define CONTEXT_LEAF_TEXT                                                                          \
    "a recorded task (a node of a graph) computes and does nothing else: give it what it needs "   \
    "as "                                                                                          \
    "edges of the graph"

/* In an isolated task's child, where no rank is: its body's, for manta_fail; all other calls are
 * refused and say why. NULL: no child any more (the simulator's go on). */
void context_set_isolated(struct context *context);
/* True when such a call was refused. */
bool context_was_refused(void);
/* The body's context, on a worker or in such a child. */
struct context *context_of_body(void);

/* The context to work with: the thread's own, or, for a thread the library has never seen, one made
 * for it in the running rank. NULL: none runs. */
struct context *context_enter(void);

/* The baton of its rank. */
static inline void context_take(struct context *context)
{
    baton_take(&context->rank->baton, context->rank->host);
}

static inline void context_give(struct context *context)
{
    baton_give(&context->rank->baton);
}

/* The scope that the context submits into. NULL: memory is out. */
struct scope *context_scope(struct context *context);

/* Fills last_error and returns the code. */
int context_fail(struct context *context, int code, const char *format, ...) MT_PRINTF(3, 4);
/* The same for a ref that means nothing to the caller. */
int context_not_held(struct context *context, manta_ref ref);

#endif
