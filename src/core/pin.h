/*
 * What this rank reads in place: in its own memory, under the baton, so a crash leaks nothing.
 *
 * A location is pinned while a view of it is open, a body runs that has it as an argument, or a get
 * copies it. For one that is simply there this is a look at its header, which every rank of the
 * node can read, and a count: no message. For one that is on the disk, or on its way, the rank that
 * answers for it is asked, and the answer finds the pin waiting and counts at once. Blocks
 * of other nodes are read from copies (fetch.h), which have counts of their own: here they are
 * not refused.
 *
 * Tasks take all their arguments into use at once, or wait unstarted. If all are in memory a task
 * starts when less than half of the store's bound is in use on the node, or it is the first of
 * this rank; when some have to come back, when they fit into that half, or nothing is in use. The
 * other half is for results: see room.h. When nothing on the node runs for a while, one more may,
 * because it may be what all the others wait for.
 */
#ifndef CORE_PIN_H
#define CORE_PIN_H

#include "core/spill.h"

/* Who waits for a location, in memory of its own; pin_wait_end takes it out. */
struct pin_wait {
    struct base_list link;
    /* MANTA_OK: it is pinned for the waiter now; MANTA_E_LOST, MANTA_E_LIMIT, MANTA_E_NOMEM. */
    void (*over)(struct rank *rank, void *arg, int code);
    void *arg;
};

/* MANTA_OK: pinned; MANTA_E_AGAIN: wait->over will say; or why not. */
int pin_take(struct rank *rank, const struct location *of, struct pin_wait *wait) MT_CHECKED;
void pin_drop(struct rank *rank, const struct location *of);
/* The same for a context, which waits. What is wrong is in last_error. */
int pin_wait_for(struct context *context, const struct location *of) MT_CHECKED;
/* By share and place alone. */
bool pin_is_held(struct rank *rank, const struct location *of);

struct pin;
/* It is read now, and where that is. */
bool pin_is_counted(const struct pin *pin, struct location *ret_of);

void pin_peer_down(struct rank *rank, uint32_t dead);
/* All counts are zero; whoever still waits is forgotten. */
void pin_fini(struct rank *rank);

/* ---- Views */

/* The scope's, which has pinned the location: until the ref is unviewed or dropped, or it ends. */
int pin_add_view(struct scope *scope, manta_ref ref, const struct location *of) MT_CHECKED;
/* Ends one view of the ref, if there is one. */
void pin_end_view(struct rank *rank, struct scope *scope, manta_ref ref);
/* All of them; NULL: of all refs. */
void pin_end_all_views(struct rank *rank, struct scope *scope, const manta_ref *ref);
static inline void pin_end_views(struct rank *rank, struct scope *scope, const manta_ref *ref)
{
    if (MT_UNLIKELY(scope->pinned != NULL)) {
        pin_end_all_views(rank, scope, ref);
    }
}
/* Of what the scope itself submitted, from a position on. */
void pin_end_views_from(struct rank *rank, struct scope *scope, uint32_t position);

/* ---- Runs */

/* True: it may start; its arguments are in use, or run->code says why they cannot be. False: it
 * waits, and will be queued again. */
bool pin_run(struct rank *rank, struct run *run);
void pin_end_run(struct rank *rank, struct run *run);
void pin_tick(struct rank *rank);
/* The last task that waits fails for want of room. False: none waits. */
bool pin_refuse_last(struct rank *rank);

#endif
