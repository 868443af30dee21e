/*
 * Tasks that are tried again, but not at once.
 *
 * What made the last attempt fail is often still there: a file system that is down, a
 * rank that is being restarted. The first retry is immediate; before the later ones there
 * is a time that doubles (sched_retry_delay_ns). Tasks of one delay are a list in the
 * order of their time, so adding and looking are O(1); the ticker looks.
 */
#ifndef CORE_LATER_H
#define CORE_LATER_H

#include "core/rank.h"

/* Pending again, now or when the delay after so many failures is over. */
void later_add(struct rank *rank, struct task *task, uint32_t failures);

/* Baton held: sends what has waited long enough. */
void later_tick(struct rank *rank);

/* When the first is due; BASE_FOREVER: none waits. */
uint64_t later_next_ns(struct rank *rank);

#endif
