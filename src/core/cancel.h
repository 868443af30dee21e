/* Cancelling: the owner decides, the runner is asked. */
#ifndef CORE_CANCEL_H
#define CORE_CANCEL_H

#include "core/object.h"

/* Fails a task of ours with E_CANCELLED now and stops its run; done ones are left alone. */
void cancel_task(struct rank *rank, struct task *task);
/* Its runner has said, or it is known otherwise, that nothing of the cancelled task runs any more
 * there. */
void cancel_task_is_over(struct rank *rank, struct task *task);
/* From a holder: cancels whatever the target is. */
void cancel_target(struct rank *rank, const struct target *target);
/* The unfinished children of a cancelled run. */
void cancel_children(struct rank *rank, struct scope *scope);
/* Stops the run of a task that will run again: what it gives is for nobody. */
void cancel_run_of(struct rank *rank, struct task *task);
/* The parts of a map that this rank runs itself. */
void cancel_leases_here(struct rank *rank, const struct task *task);
/* Asks a run on this rank to stop; one that has not started never will. */
void cancel_run(struct rank *rank, struct run *run);

#endif
