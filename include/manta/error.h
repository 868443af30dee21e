/* Error codes and the error record. ISO C17 and C++17. Part of <manta/manta.h>. */
#ifndef MANTA_ERROR_H
#define MANTA_ERROR_H

#include <stdint.h>

#if defined(__GNUC__)
#define MANTA_API __attribute__((visibility("default")))
#else
#define MANTA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every code, once: name, value, text. Codes are banded by the largest thing that is
 * lost: -1..-19 the call, -20..-39 the task, -40..-59 the object, -80..-99 a rank,
 * -100 and below the job.
 */
#define MANTA_ERROR_MAP(X)                                                                         \
    X(E_INVALID, -1, "invalid argument")                                                           \
    X(E_NOMEM, -2, "out of memory")                                                                \
    X(E_TIMEOUT, -3, "timed out")                                                                  \
    X(E_CANCELLED, -4, "cancelled")                                                                \
    X(E_STATE, -5, "not possible in this state")                                                   \
    X(E_LIMIT, -6, "a limit was reached")                                                          \
    X(E_TYPE, -7, "wrong type or size")                                                            \
    X(E_NOTFOUND, -8, "not found")                                                                 \
    X(E_AGAIN, -9, "not ready yet")                                                                \
    X(E_SYSTEM, -10, "the operating system refused")                                               \
    X(E_END, -11, "the stream has ended")                                                          \
    X(E_TASK, -20, "the task failed")                                                              \
    X(E_DEPENDENCY, -21, "an argument's task failed")                                              \
    X(E_CRASH, -22, "the task's process died")                                                     \
    X(E_EXCEPTION, -23, "a C++ exception left the task")                                           \
    X(E_STACK, -24, "the stack is exhausted")                                                      \
    X(E_LOST, -40, "the object is lost")                                                           \
    X(E_DIVERGED, -41, "a re-executed task did something else")                                    \
    X(E_TOOBIG, -42, "the value is too big")                                                       \
    X(E_RANK, -80, "a rank died")                                                                  \
    X(E_VERSION, -100, "ranks run different programs or versions")                                 \
    X(E_LAUNCH, -101, "the job was launched the wrong way")                                        \
    X(E_SHUTDOWN, -102, "the runtime is shutting down")                                            \
    X(E_DEADLOCK, -103, "nothing can make progress any more")

enum manta_code {
    MANTA_OK = 0,
#define MANTA_X(name, value, text) MANTA_##name = value,
    MANTA_ERROR_MAP(MANTA_X)
#undef MANTA_X
};

#define MANTA_ERROR_TEXT_MAX 192
#define MANTA_ERROR_NAME_MAX 64
#define MANTA_ERROR_HOST_MAX 64

/* What went wrong with a task, as its ref carries it. A plain value; every string ends in NUL. */
typedef struct manta_error {
    int32_t code;                          /* enum manta_code, or the task's own, positive */
    int32_t cause_code;                    /* E_DEPENDENCY: the code it started with; else 0 */
    uint32_t rank;                         /* where it happened */
    uint32_t attempt;                      /* 1 is the first */
    uint64_t task_id;                      /* of the failed task; 0: no task */
    uint64_t cause_task_id;                /* E_DEPENDENCY: the task it started with; else 0 */
    uint32_t line;                         /* in `file`; 0: unknown */
    char host[MANTA_ERROR_HOST_MAX];       /* host name */
    char task[MANTA_ERROR_NAME_MAX];       /* name of the task */
    char file[MANTA_ERROR_NAME_MAX];       /* source file of the task, or of the failing call */
    char text[MANTA_ERROR_TEXT_MAX];       /* what was asked, what was found, what to do */
    char cause_task[MANTA_ERROR_NAME_MAX]; /* E_DEPENDENCY: name of the task it started with */
} manta_error;

/* The name of a code, "E_TIMEOUT"; positive codes: "user code". Never NULL. Any context. */
MANTA_API const char *manta_error_name(int code);

/* One sentence for a code. Never NULL. Any context. */
MANTA_API const char *manta_error_text(int code);

/*
 * Writes the whole record as one line, "timed out (E_TIMEOUT) in task sweep at run.c:12 on rank 3
 * of n07, attempt 2: ...", cut to `size`. Returns the length it would need, as snprintf does. Any
 * context.
 */
MANTA_API int manta_error_format(const manta_error *error, char *text, unsigned long size);

#ifdef __cplusplus
}
#endif

#endif
