/*
 * Values whose bytes died with their node.
 *
 * Nobody looks for them at the death. Who needs the bytes and cannot have them says so, of this
 * place of this ref (LOST): a reader to the owner of the ref, a runner to the owner of its
 * task, who has the ref as an argument and passes it on if it is not the owner. Who
 * learns it puts the value back to where it was before it was done: a borrower has none any
 * more and asks again when somebody needs it; the owner looks for another copy, then runs the
 * task again, with its lineage (lineage.h), which may mean to run again what made its arguments.
 * Meanwhile everybody waits as for a task that has not been run. A second LOST of the same
 * place finds another one there, or none, and changes nothing.
 *
 * Each time costs one of the task's retries. What cannot be made again is an error, which names the
 * rank, when it died, and why not.
 */
#ifndef CORE_LOST_H
#define CORE_LOST_H

#include "core/object.h"

/* The bytes cannot be had from this place. True if the value that had them here waits to be made
 * again, is an error, or lies elsewhere now. */
bool lost_note(struct rank *rank, const struct location *place);

/* Another copy of an output that is lost: its place is that copy's now. False: none is known. */
bool lost_find_copy(struct rank *rank, struct output *output);

/* The record of a done task has no value any more, though it had one. */
bool lost_has_no_value(const struct task *task);
/* Runs it again, and what its arguments need. */
void lost_make_again(struct rank *rank, struct task *task);

/* A run whose arguments cannot be had goes back to its owner, who makes them again. Frees it. */
void lost_give_back(struct rank *rank, struct run *run);

#endif
