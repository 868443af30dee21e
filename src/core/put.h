/* Values that no task makes: put.c makes the record and the value, draft.c lets a program fill it
 * first. */
#ifndef CORE_PUT_H
#define CORE_PUT_H

#include "core/value.h"

/* Of functions whose value is not made by running them. */
int put_nothing_to_run(const manta_slot *slots);

/* One in the caller's scope, for a value that the caller completes it with; `function` says what it
 * is called and has one variable output. NULL: last_error says why. Baton held. */
struct task *put_make_record(struct context *context, manta_function *function);

/* MANTA_E_TOOBIG, and last_error. */
int put_refuse_without_store(struct context *context, uint64_t bytes);

/* The value of a part that is all there; the ref carries an error, or is zero. An open block is the
 * value's if *ret_is_taken, else still the caller's. Baton held. */
manta_ref put_finished(struct context *context, const struct value_part *part, bool *ret_is_taken);

/* Gives back what is still open of a scope's drafts; of those that were begun with so many marks of
 * blocks or more. Baton held. */
void put_give_back(struct rank *rank, const struct scope *scope, uint32_t depth);
static inline void put_end_scope(struct rank *rank, const struct scope *scope, uint32_t depth)
{
    if (MT_UNLIKELY(!base_list_is_empty(&rank->drafts))) {
        put_give_back(rank, scope, depth);
    }
}

#endif
