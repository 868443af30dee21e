/*
 * Tasks go to where their arguments are.
 *
 * A task with stored arguments would rather run on the node where most of their bytes were made:
 * on any rank of it, for all of them read in place. If the rank whose turn it is is on another
 * node, one of that node with room takes its place. There a window counts as twice as long:
 * a task rather waits behind another window of tasks than have its arguments copied, but no longer
 * than that, and never while its whole node is that far behind and others are idle. Where copies
 * are is not known to owners; MANTA_ON is obeyed.
 *
 * A rank that has waited out its patience for room for a task's arguments sends the task back
 * (RESULT_CROWDED), and it goes to another node, where there may be room; once, so that what fits
 * nowhere fails.
 */
#ifndef CORE_NEAR_H
#define CORE_NEAR_H

#include "core/rank.h"

/* Notes with a pending task, whose arguments are all there, where it would rather run. */
void near_note(struct rank *rank, struct task *task);

/* Who gets a task with TASK_NEAR: `peer`, whose turn it is, or one that is nearer. */
struct peer *near_choose(struct rank *rank, const struct task *task, struct peer *peer);

#endif
