/*
 * What the two files of this room share: the fiber itself, and the three calls by
 * which the pool prepares a stack for its first switch and cleans up after its last.
 * Not for other rooms.
 */
#ifndef FIBER_CONTEXT_H
#define FIBER_CONTEXT_H

#include "base/list.h"
#include "fiber/fiber.h"

#if !defined(FIBER_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define FIBER_UCONTEXT 1
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif

#ifdef FIBER_UCONTEXT
#include <ucontext.h>
#endif

/* Floating-point control of a thread, as new fibers start with it. */
struct fiber_origin {
#ifdef FIBER_UCONTEXT
    ucontext_t context;
#else
    uint64_t fp_words; /* x86-64: mxcsr, then the x87 control word; aarch64: fpcr */
#endif
};

struct fiber {
#ifdef FIBER_UCONTEXT
    ucontext_t context;
#else
    void *sp;          /* where it was left; its registers lie there */
#endif
    int saved_errno;         /* while it does not run */
    char *low, *high;        /* the stack is [low, high) */
    size_t guard_bytes;      /* right below low; 0: unknown */
    struct fiber_pool *pool; /* NULL: adopted */
    struct fiber *outer;     /* adopted: what was current before */
    struct base_list link;   /* in one of the pool's lists; guard: the pool's lock */
    void (*entry)(void *arg);
    void *arg;
    const char *_Atomic name; /* read by signal handlers of the running thread */
#ifdef FIBER_ASAN
    void *fake_stack;
#endif
#ifdef FIBER_TSAN
    void *tsan;
#endif
};

/* Reads the calling thread's floating-point control. */
void fiber_origin_read(struct fiber_origin *ret_origin);
/* The next switch to the fiber calls entry(arg) at the top of its stack. The origin must outlive
 * the fiber. */
void fiber_context_prepare(struct fiber *fiber, const struct fiber_origin *origin);
/* The fiber will not be switched to any more. */
void fiber_context_drop(struct fiber *fiber);
/* The sanitizer forgets the frames that were left on its stack: other memory may come to lie there.
 */
void fiber_context_forget(struct fiber *fiber);

#endif
