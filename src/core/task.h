/* The owner's side of a task: from submission to the last hold. */
#ifndef CORE_TASK_H
#define CORE_TASK_H

#include "core/object.h"
#include "core/pack.h"

/* A new record in `scope`, packed, its inputs pinned and watched; then waiting or pending. Fills
 * ret_refs in every case. */
void task_submit(struct rank *rank, struct scope *scope, manta_function *function,
                 const manta_options *options, const manta_slot *args, manta_ref *ret_refs);

/* The same for the arguments of a map whose record exists. */
void task_start_map(struct rank *rank, struct scope *scope, struct task *task,
                    const manta_slot *args);

/* An empty record entered in the scope at new positions; NULL with the reason. Used by submit and
 * map. */
struct task *task_create(struct rank *rank, struct scope *scope, manta_function *function,
                         const manta_options *options, uint64_t positions, char *text,
                         size_t text_size, int *ret_code);
struct task_extra *task_get_extra(struct rank *rank, struct task *task);
void task_free(struct rank *rank, struct task *task);
/* Nobody holds the value any more, but living children may need the task again. */
void task_drop_value(struct rank *rank, struct task *task);

static inline uint8_t *task_args(struct task *task)
{
    return task->args ? task->args : task->small;
}

/* Over its arguments, and the refs among them. */
static inline struct pack_own task_own(struct task *task)
{
    return pack_own_init(task->function, task_args(task));
}

static inline struct pack_refs task_refs(struct task *task)
{
    return (struct pack_refs){.own = task_own(task)};
}

static inline uint64_t task_id(const struct task *task)
{
    return core_task_id(task->parent, task->position);
}

static inline manta_ref task_ref(const struct rank *rank, const struct task *task, uint32_t output)
{
    return (manta_ref){task->parent, task->position + output, rank->number};
}

/* An earlier run of it may have left children: a new one has to meet them first. */
static inline bool task_may_have_run(const struct task *task)
{
    return task->attempt > 1 || task->scope->is_taken_over;
}
/* It is neither waiting nor pending, and its arguments are held: pending when they are done. */
void task_start_again(struct rank *rank, struct task *task);
/* An argument that was done is not any more: its value was lost (lost.h). */
bool task_find_missing(struct rank *rank, struct task *task);
static inline bool task_awaits_again(struct rank *rank, struct task *task)
{
    return MT_UNLIKELY(rank->deaths || rank->has_losses) && task_find_missing(rank, task);
}
/* The record of a manta_put, or of an item of a stream. */
bool task_is_put(const struct task *task);

/* One awaited input is done. */
void task_input_done(struct rank *rank, struct task *task);
/* The first failed input's error, as a record for this task; false when none failed. */
bool task_find_failed(struct rank *rank, struct task *task, manta_error *ret_error);
static inline bool task_failed_input(struct rank *rank, struct task *task, manta_error *ret_error)
{
    return MT_UNLIKELY(rank->has_failures) && task_find_failed(rank, task, ret_error);
}

/* The end: a value (consumed), bytes in the small area already, or an error. */
void task_complete(struct rank *rank, struct task *task, int code, struct value *value,
                   manta_error *error);
/* Fails with a record made from the arguments. */
void task_fail(struct rank *rank, struct task *task, int code, const char *format, ...)
    MT_PRINTF(4, 5);
/* A run of it ended badly for reasons of the system (its rank died): again, or give up. */
void task_run_lost(struct rank *rank, struct task *task, uint32_t where);
/* Its run was taken over by another owner of the same task: as if it had not been sent. */
void task_place_again(struct rank *rank, struct task *task);
/* It is done, and is as if it was not: to be placed again by the caller. */
void task_undo(struct rank *rank, struct task *task);
/* Runs again from the beginning, though nothing has failed. */
void task_restart(struct rank *rank, struct task *task);
/* The run of it ended with a failure of its own; true when it will be tried again. */
bool task_retry_error(struct rank *rank, struct task *task);
/* The same for a failure of the system's (RESULT_LOST). */
bool task_retry_lost(struct rank *rank, struct task *task);
/* Name, file, line, id, attempt of a task into a record. */
void task_describe(const struct task *task, manta_error *error);
void function_describe(const manta_function *function, const char *name, manta_error *error);

struct message_kept;
/* Tells the owner of a ref that a runner goes on to hold it; our own pin still protects it. */
void task_keep(struct rank *rank, uint32_t runner, const struct message_kept *kept);
/* References inside the value are registered: the runner may forget its result. */
void task_release_settled(struct rank *rank, uint32_t task_index);
/* The runner's subtree is gone: the task will never be needed again. */
void task_end_lineage(struct rank *rank, struct task *task);
void task_release_runner(struct rank *rank, uint32_t runner, uint32_t run_token);

struct wire_header;
/* The task that a runner's message is about, if it is ours and the message fits it; NULL. */
struct task *task_find_sent(struct rank *rank, uint32_t from, const struct wire_header *header);

/* A fingerprint of function and arguments. */
uint64_t task_digest(struct task *task);

#endif
