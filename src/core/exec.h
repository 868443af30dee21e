/* The executor's side: runs, workers, stacks. */
#ifndef CORE_EXEC_H
#define CORE_EXEC_H

#include "core/object.h"
#include "core/pin.h"

struct inputs;

/* A run on this rank of a task this rank owns; inputs NULL: it has none. NULL: memory is out, and
 * the task has failed. */
struct run *exec_make_local(struct rank *rank, struct task *task, const struct inputs *inputs);
struct run *exec_run_alloc(struct rank *rank, manta_function *function);
void exec_run_free(struct rank *rank, struct run *run);

/* The task ends before the run of it here does: its record stays until the body reads its arguments
 * no more. */
void exec_outlive_task(struct run *run);

/* Puts a run into the ready queue and sees that a worker looks. */
void exec_queue(struct rank *rank, struct run *run);
/* What has come, or was made here, is queued when nothing has to be waited for before: what its
 * earlier run has left, and its earlier run itself. */
void exec_begin(struct rank *rank, struct run *run);
/* The same when what it reads is on this node. */
void exec_queue_fetched(struct rank *rank, struct run *run);
bool exec_admit(struct rank *rank, struct run *run);
/* What it reads can be read in place from now on; false: it waits for that and is queued again, or
 * has gone back to its owner because it is lost. */
static inline bool exec_may_start(struct rank *rank, struct run *run)
{
    return MT_LIKELY(!run->has_stored) || exec_admit(rank, run);
}
/* Where it has its place at its owner; and whether nothing more for that waits here. */
static inline enum lane exec_lane(const struct run *run)
{
    return run->outside ? LANE_OUTSIDE : LANE_WORKERS;
}
static inline bool exec_is_dry(const struct rank *rank, const struct run *run)
{
    return MT_UNLIKELY(run->outside != NULL) ? base_list_is_empty(&rank->outside.queued)
                                             : rank->ready_count == 0;
}
/* Takes a queued run out again. */
void exec_unqueue(struct rank *rank, struct run *run);

/* The record of a failure: what the body has said (manta_fail) if it is about this code, else the
 * text. NULL: memory is out. */
manta_error *exec_failure(struct rank *rank, struct run *run, int code, const char *text);
/* In an isolated task's child: the call between arguments and outputs, without a rank around it. A
 * value, or bytes in run->small; on failure run->error may say more. */
int exec_call_alone(struct rank *rank, struct run *run, struct value **ret_value);
/* What a code means whose text nobody gave. */
const char *exec_reason(int code);
/* The record of a body's failure, for its owner; returns the code. */
MT_PRINTF(3, 4) int exec_refuse(struct run *run, int code, const char *format, ...);
/* The same with what a call of the library has just said, where its code alone is handed on. */
int exec_keep_reason(struct run *run, int code);

/* The worker goes on with another body under the same record: what this one said is not the
 * other's. */
static inline void exec_forget_reason(struct run *run)
{
    run->context->last_error.code = MANTA_OK;
    if (MT_UNLIKELY(run->error != NULL)) {
        base_free(run->error);
        run->error = NULL;
    }
}

/* Executes a run on the calling worker's current stack, from start to RESULT. */
void exec_run(struct worker *worker, struct run *run);

/* Puts the running task aside until exec_resume; other work goes on. False: no stack for that. */
bool exec_park(struct worker *worker, struct run *run);
void exec_resume(struct rank *rank, struct run *run);
/* Who waits while this one's stack is put aside: it itself, or one that was started on top of it.
 * NULL: its stack is in use, or it has none. */
const struct run *exec_find_parked(const struct run *run);
/* A run that waits takes no place at its owner. Once per owner. */
void exec_give_place_back(struct rank *rank, struct run *run);
/* What was said is out, in case that the process dies of what comes next. */
void exec_push(struct rank *rank);
/* The body of a run that is watched is about to begin: its owner is told at once. */
void exec_tell_begun(struct rank *rank, const struct run *run);
/* No stack is left to start anything on: what other ranks have sent goes back to them. */
void exec_give_back(struct rank *rank);
/* To its owner, which places it again: enum result_flag says why. An orphan just ends. Frees it. */
void exec_send_back(struct rank *rank, struct run *run, uint16_t flags);

/* Sends, or keeps for later, what a run that has ended yields. Consumes value and error. */
void exec_deliver(struct rank *rank, struct run *run, int code, struct value *value,
                  manta_error *error);
/* The same for a finished orphan that has found its new owner. `scope` is what its children are in,
 * NULL: none live. May free the run. */
void exec_send_result(struct rank *rank, struct run *run, struct scope *scope);

/* A result of this rank that its owner, this rank, does not need any more goes at the next flush:
 * not while its end is being told. */
void exec_release_later(struct rank *rank, struct peer *self, uint32_t index);
void exec_release_now(struct rank *rank);

/* The body of each worker thread. */
void exec_worker_main(void *worker);

/* The run of a task of another rank, found by its identity; NULL. */
struct run *exec_find_run(struct rank *rank, uint32_t owner, uint64_t parent, uint32_t position);

#endif
