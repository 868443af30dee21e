/*
 * An inout argument that its task is the last to hold is changed where it lies.
 *
 * Nobody else will ever look at that value, so the body may write into its block, which becomes the
 * block of the output. Only where one rank owns the task, runs it and made the value: it knows
 * without asking that nobody has it: one hold, the task's; nobody waits for it; no copy went to
 * another node; it is not on its way to the disk or back. Everybody else gets a copy (body.c).
 *
 * The block stays sealed and pinned meanwhile, and its old value is shared by the run, so nothing
 * frees or spills it. What the disk has of it is given up before. When the body has ended well the
 * block takes the output's name, and the old value, whatever still holds it, does not own it any
 * more (output.is_moved). When it fails, the value is the task's, which lets it go; so a task that
 * would run again after an error has to have a copy. Made again for its own sake, after a loss, it
 * is from lineage: as when nobody held it.
 */
#ifndef CORE_REUSE_H
#define CORE_REUSE_H

#include "core/object.h"

struct reuse {
    struct value *value;   /* shared */
    struct output *output; /* of it */
    struct location place; /* as the task's output */
};

/* The writable bytes; NULL: it must be copied. `output` is the position of the task's output. */
void *reuse_begin(struct rank *rank, const struct run *run, uint32_t param,
                  const struct location *place, uint32_t output, struct reuse *ret_reuse);
/* The block is the output's. */
void reuse_keep(struct rank *rank, const struct run *run, struct reuse *reuse);
/* After all. */
void reuse_end(struct rank *rank, struct reuse *reuse);

#endif
