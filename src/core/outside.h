/*
 * Runs that are no plain calls: commands and isolated tasks, in processes that the spawner starts.
 *
 * Such a task is submitted, sent and retried as every other one; only where a run would enter the
 * ready queue (exec_queue) it enters the rank's outside queue instead. From there the thread of
 * struct core_processes takes it: it alone starts processes and hears of their end, so a worker
 * never waits for one, and starting and ending never nest. What runs occupies CPUs of its own
 * count (as many as workers), apart from the workers: commands run beside tasks, as the program
 * wants it. The first in the queue that does not fit keeps the others waiting, so a large one has
 * its turn.
 *
 * Failures are of two kinds. Those of the program (exit code, signal, limits) are the task's own,
 * retried if options.retry_errors says so. Those of the system (the spawner died, memory of the
 * node ran short) are marked RESULT_LOST: the owner places the task again as after the death of
 * its rank.
 */
#ifndef CORE_OUTSIDE_H
#define CORE_OUTSIDE_H

#include "core/rank.h"

enum outside_kind { OUTSIDE_NONE, OUTSIDE_COMMAND, OUTSIDE_ISOLATED };

/* What a run has that runs outside. */
struct outside {
    struct base_list link; /* in rank->outside.running, while it does */
    struct rank *rank;
    struct run *run;
    struct outside_terms terms;
    uint64_t handle, serial;
    uint64_t grace_ns;   /* of a command */
    uint64_t left_bytes; /* of memory, when it was ended for want of it; 0: it was not */
    bool is_started;
};

/* Whether a task runs outside; for tasks with a task_extra. */
static inline bool outside_is_task(const struct task *task)
{
    return MT_UNLIKELY(task->extra != NULL) && task->extra->outside.kind != OUTSIDE_NONE;
}

/* At submission: checks the options and notes them in task->extra. */
int outside_check_options(const struct task *task, const manta_options *options, char *text,
                          size_t text_size);
void outside_note_options(struct task *task, const manta_options *options);
/* As the task is sent. */
struct outside_terms outside_terms(const struct task *task);

/* Makes a new run one that runs outside, if the terms say so. False: memory is out. */
bool outside_attach(struct rank *rank, struct run *run, const struct outside_terms *terms);
/* The run goes. */
void outside_detach(struct run *run);

/* A run that is ready. */
void outside_queue(struct rank *rank, struct run *run);
/* Ends one soon if it runs outside and has started: it was cancelled, or nobody wants it. */
void outside_stop(struct rank *rank, struct run *run);

/* The rank ends: what never ended is forgotten. */
void outside_fini(struct rank *rank);

/* ---- Commands (command.c) */

/* The descriptor of all commands. */
manta_function *command_function(void);
int command_start(struct outside *outside, const struct spawn_done *done, manta_error *ret_error);
/* The value, or a code with its text. */
int command_result(struct outside *outside, const struct spawn_result *result,
                   struct value **ret_value, char *text, size_t text_size);

/* ---- Isolated tasks (isolated.c) */

/* Those that an isolated task of this function may not have; NULL: none. */
const manta_param *isolated_refused(const manta_function *function);
int isolated_start(struct outside *outside, const struct spawn_done *done, manta_error *ret_error);
int isolated_result(struct outside *outside, const struct spawn_result *result,
                    struct value **ret_value, char *text, size_t text_size);
/* The child's side. */
int isolated_main(const void *bytes, size_t size, int reply_fd);

#endif
