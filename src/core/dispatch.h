/* From the owner's pending queue to a rank that has room. */
#ifndef CORE_DISPATCH_H
#define CORE_DISPATCH_H

#include "core/wait.h"

struct message_lease;

/* The peer's entry, made on first contact. NULL: memory is out. */
struct peer *peer_get(struct rank *rank, uint32_t number);
void peer_flush_releases(struct rank *rank, struct peer *peer);

/* A task is ready to be executed somewhere. */
void dispatch_add(struct rank *rank, struct task *task);
/* Sends what can be sent. */
void dispatch_pump_all(struct rank *rank);
static inline void dispatch_pump(struct rank *rank)
{
    if (rank->pending_count || MT_UNLIKELY(!base_list_is_empty(&rank->doomed))) {
        dispatch_pump_all(rank);
    }
}
/* A place at a rank got free. */
void dispatch_credit(struct rank *rank, uint32_t number, enum lane lane, bool dry);
/* Takes a pending task out of its queue to run it here and now; NULL when it cannot be. */
struct run *dispatch_take(struct rank *rank, struct task *task);
/* For maps: leave the queue; occupy one place at a peer. */
void dispatch_remove(struct rank *rank, struct task *task);
void dispatch_place(struct rank *rank, struct peer *peer);
/* flags: of the message, beside what follows from the task. */
void dispatch_send_lease(struct rank *rank, struct peer *peer, struct task *task,
                         const struct message_lease *lease, uint16_t flags);
void dispatch_stop_lease(struct rank *rank, struct task *task, uint32_t where);
/* A run that another rank has already is taken for this task. */
bool dispatch_adopted(struct rank *rank, struct task *task, uint32_t runner);
/* It has come back: it goes to this rank's own queue. */
void dispatch_place_here(struct rank *rank, struct task *task);
void dispatch_note_lineage(struct rank *rank, struct task *task);
/* Submitters wait while too much is unfinished; wakes them when it is less. */
bool dispatch_is_full(const struct rank *rank);
void dispatch_unthrottle(struct rank *rank);
/* What is sent many in a message, before anything waits: the peer has something of it. */
static inline void dispatch_note_batch(struct rank *rank, struct peer *peer)
{
    if (base_list_is_empty(&peer->batching)) {
        base_list_push_back(&rank->batching, &peer->batching);
    }
}
void dispatch_flush_batches(struct rank *rank);
static inline void dispatch_flush(struct rank *rank)
{
    if (MT_UNLIKELY(!base_list_is_empty(&rank->batching))) {
        dispatch_flush_batches(rank);
    }
    comm_flush(rank->comm);
}
/* Once per tick: windows shrink to what is consumed. */
void dispatch_tick(struct rank *rank);

/* Why a task that may have run before is run again. */
void dispatch_why_again(struct rank *rank, const struct task *task, uint32_t *ret_lost_on,
                        uint32_t *ret_deaths);

#endif
