/*
 * The arguments of a task with the values of its inputs, when these are all there.
 *
 * Each is looked up once, when the task is placed: what is found is measured, checked, and copied
 * into the message or the run without another look at the refs. It points into the values, so it
 * holds as long as the baton is held.
 */
#ifndef CORE_INPUTS_H
#define CORE_INPUTS_H

#include "core/pack.h"

struct inputs {
    size_t bytes;              /* of all arguments, resolved */
    bool is_rich;              /* some value is in a store, or refs */
    bool is_elsewhere;         /* some is in the store of another node */
    const manta_param *misfit; /* one whose value has no whole number of elements */
    uint64_t misfit_bytes;     /* what it has */
    uint32_t count;            /* of arguments */
    struct pack_piece pieces[MANTA_PARAM_MAX];
};

/* Of a task that has any: all of them are done, without a failure. */
void inputs_find(struct rank *rank, struct task *task, struct inputs *ret_inputs);
/* False: they do not fit the parameters or, together, a message; the task has failed. */
bool inputs_fit(struct rank *rank, struct task *task, const struct inputs *inputs);
/* The arguments, resolved. */
void inputs_write(const struct inputs *inputs, uint8_t *out);

#endif
