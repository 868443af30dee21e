/*
 * fiber: stacks and switching between them.
 *
 * A fiber is a stack with a saved place to go on at. Switching saves callee-saved
 * registers, the floating-point control words and errno, and nothing else; it costs
 * about ten nanoseconds. All switching of the program, and every note to the
 * address and thread sanitizers about it, is in fiber/switch.c.
 *
 * Stacks come from a pool: all of one size, a guard page below each, reused last in
 * first out. An overflow hits the guard; fiber_guard_hit tells from the fault's address
 * whose it was, safely inside the signal handler of the thread that overflowed.
 */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fiber;
struct fiber_pool;

/* Makes the stack that the calling thread runs on a fiber, so that others can switch back to it.
 * On a thread that already runs a fiber, a second name for it. Every thread adopts itself before
 * its first switch. Owned. NULL: no memory. */
struct fiber *fiber_adopt_thread(void);
void fiber_release_thread(struct fiber *fiber);

/* The fiber this thread is running: an adopted thread's, or the one last switched to. NULL:
 * neither yet. */
struct fiber *fiber_current(void);

/* stack_bytes is rounded up to pages, 16 KiB at least; at most `limit` stacks live at once (0: no
 * limit). Thread-safe. NULL: no memory. */
struct fiber_pool *fiber_pool_create(size_t stack_bytes, uint32_t limit);
/* All fibers must have been released. Accepts NULL. */
void fiber_pool_destroy(struct fiber_pool *pool);
uint32_t fiber_pool_in_use(const struct fiber_pool *pool);

/* A fiber that will run entry(arg) when first switched to. entry must never return: it ends by
 * fiber_exit_to. NULL: at the limit, or no memory. */
struct fiber *fiber_create(struct fiber_pool *pool, void (*entry)(void *arg), void *arg);

/* Goes on in `to`; returns when somebody switches back to `from`, the fiber that is running. */
void fiber_switch(struct fiber *from, struct fiber *to);

/* Goes on in `to` for good: `from` may be released or reset by whoever runs next. */
MT_NORETURN void fiber_exit_to(struct fiber *from, struct fiber *to);

/* Gives the stack back to its pool. Never the running one. Accepts NULL. */
void fiber_release(struct fiber *fiber);

/* A name for overflow reports, e.g. the running task's; borrowed, NULL to clear. */
void fiber_set_name(struct fiber *fiber, const char *name);

/* Bytes between the current stack pointer and the end of the fiber's stack. 0 on a thread's own
 * stack of unknown size. */
size_t fiber_stack_left(const struct fiber *fiber);

/* If `address` lies in the guard of the pooled stack that the calling thread runs: true, and its
 * fiber's name (or "(no task)"). Async-signal-safe. */
bool fiber_guard_hit(const void *address, const char **ret_name);

#endif
