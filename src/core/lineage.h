/*
 * What an owner keeps to make a stored value again.
 *
 * A value in the store can be lost with its node. So the arguments of a task that has made
 * one are kept while its record lives, although the task is done. What these refs
 * name need not keep its own value meanwhile, if it can itself be made again: then it is held
 * for its record only, and its block goes when nobody wants the value any more. So a
 * chain of tasks holds records of some hundred bytes, and one value at a time.
 *
 *     argument's value is              held
 *     made by a task of ours, stored   for its record: lineage_holds
 *     a put of ours, stored            not at all: it can be used while others hold it
 *     small, or owned by another rank  like an argument of a running task
 *
 * The bound is for what all this keeps in memory; beyond it the oldest lineage is let go,
 * and the loss of what it would have made again is an error that says so.
 */
#ifndef CORE_LINEAGE_H
#define CORE_LINEAGE_H

#include "core/rank.h"

/* The task's own hold on its arguments becomes that of its lineage. False: it needs none, or
 * cannot have one, and nothing has changed. `value` is what the task has made. */
bool lineage_keep(struct rank *rank, struct task *task, const struct value *value);
/* Ends it, with its holds on the arguments. */
void lineage_let_go(struct rank *rank, struct task *task);
/* The task runs again: it holds its arguments as at first. False: one of them is gone, the others
 * are held. */
bool lineage_take_back(struct rank *rank, struct task *task);

static inline bool lineage_is_kept(const struct task *task)
{
    return task->extra && task->extra->lineage;
}

#endif
