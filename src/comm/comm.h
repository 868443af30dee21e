/*
 * comm: ordered messages between ranks.
 *
 * One `struct comm` is one rank's end. A message is written in place: prepare
 * gives room for header and body (in the ring itself when it fits there), commit
 * publishes it, flush makes sure the peer will look. None of them ever blocks:
 * when the way to a peer is full the message goes to an overflow queue in this
 * process and follows later, in order, from progress. That is what makes cycles of
 * full rings harmless; the price is memory, so whoever creates work
 * bounds what is under way (core's windows); comm_is_congested tells how it stands.
 *
 * Everything here except comm_wake and comm_report_death is called under the rank's baton: one
 * thread at a time. Messages from one peer arrive in the order they were committed there, each
 * exactly once, or not at all once that peer is down.
 *
 * A thread about to sleep calls comm_arm (from then on senders will ring), looks
 * once more (comm_arm does that and refuses when something is there), gives up the
 * baton and calls comm_sleep. comm_rouse ends the armed state when somebody polls
 * again, so that senders save the bell.
 *
 * Backends (self, shm, ucx, a router over shm and ucx, sim) fill in `struct comm_ops`.
 * What is common to all, overflow, fragments of long messages, reassembly, counters, is in
 * comm.c.
 */
#ifndef COMM_COMM_H
#define COMM_COMM_H

#include "base/host.h"
#include "base/list.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct comm;

/* Bytes that are sent from where they lie, see comm_lend. In the lender's memory. */
struct comm_loan {
    struct base_list link; /* comm's, until it is returned */
};

#define COMM_HEAD_BYTES 16u

/* A message whose body is a head and then bytes that may be long. */
struct comm_lent {
    struct wire_header header; /* length is of no meaning */
    uint8_t head[COMM_HEAD_BYTES];
    const void *data;
    size_t bytes;
};

/* Who receives. Called from comm_progress, under the baton. */
struct comm_sink {
    /* body is readable until the call returns; header->length bytes. */
    void (*message)(void *owner, uint32_t from, const struct wire_header *header, const void *body);
    /* The peer is dead: nothing of it will come any more. Once per peer. */
    void (*peer_down)(void *owner, uint32_t peer);
    void *owner;
    /* The rest for ends to which bytes are lent; all three or none.
     * Where the bytes of such a message go: it stays writable until `landed` is called with it.
     * NULL: nobody wants them. To be answered at once, without sending. */
    void *(*place)(void *owner, uint32_t from, const struct comm_lent *lent);
    /* They are there; or, is_whole being false, will not be: the peer has died. */
    void (*landed)(void *owner, uint32_t from, const struct comm_lent *lent, void *place,
                   bool is_whole);
    /* Nobody reads the loan any more, arrived or not. */
    void (*returned)(void *owner, struct comm_loan *loan);
};

struct comm_stats {
    uint64_t messages_sent, messages_received;
    uint64_t bytes_sent, bytes_received; /* header and body */
    uint64_t overflowed;                 /* messages that found their way full */
    uint64_t bells_rung, sleeps;
};

uint32_t comm_rank(const struct comm *comm);
uint32_t comm_size(const struct comm *comm);
void comm_set_sink(struct comm *comm, const struct comm_sink *sink);
struct comm_stats comm_get_stats(const struct comm *comm);

/*
 * Room for one message to `peer` with a body of `body_bytes` (at most WIRE_BODY_MAX):
 * the header, to be filled in whole but for `length` (comm sets it), the body right
 * behind it. NULL when memory is out. To a dead peer it gives room that is thrown
 * away. One prepare is open at a time; commit it before the next.
 */
struct wire_header *comm_prepare(struct comm *comm, uint32_t peer, size_t body_bytes);
void comm_commit(struct comm *comm);

/*
 * Sends a message whose bytes are read where they lie and land where the receiver's sink says,
 * without copies between where the network can do that; they stay as they are until the loan comes
 * back. Its order to other messages is not kept. False: not this way, not now (a peer of the same
 * node, a way not yet open, no memory): nothing was sent, an ordinary message will do.
 */
bool comm_lend(struct comm *comm, uint32_t peer, const struct comm_lent *lent,
               struct comm_loan *loan);

static inline void *comm_body(struct wire_header *header)
{
    return header + 1;
}

/* Rings whom committed messages wait for. Call once per turn, before sleep or return to the user.
 */
void comm_flush(struct comm *comm);
/* The same, and what a backend would hold for a moment to send it with more is on its way too. For
 * words that have to be out before something that may end the process. */
void comm_push(struct comm *comm);

/* True while messages to the peer wait in overflow. O(1). */
bool comm_is_congested(const struct comm *comm, uint32_t peer);

/*
 * Delivers what has arrived, at most about `budget` messages, and moves overflow on.
 * Returns how many things happened that somebody may wait for: messages, deaths told,
 * ends of congestion. 0: as far as this turn could see, nothing changed.
 */
unsigned comm_progress(struct comm *comm, unsigned budget);

/*
 * See the essay. comm_arm: false when there is something to do. comm_sleep returns on
 * a bell, a wake or the deadline, now and then for no reason; one thread at a time.
 * comm_progress rouses by itself.
 */
bool comm_arm(struct comm *comm);
void comm_rouse(struct comm *comm);
bool comm_is_armed(const struct comm *comm);
void comm_sleep(struct comm *comm, uint64_t deadline_ns);
/* From any thread: ends a comm_sleep in course, or the next. */
void comm_wake(struct comm *comm);

/* Marks a peer dead (idempotent): drops what waits for it and calls the sink's peer_down from the
 * next progress. */
void comm_mark_down(struct comm *comm, uint32_t peer);
bool comm_is_down(const struct comm *comm, uint32_t peer);
/* From any thread, when the process learns of a death: makes the next progress mark the peer down,
 * and wakes. */
void comm_report_death(struct comm *comm, uint32_t peer);

/* From now on what is committed goes nowhere, but for messages to itself: others are not to hear of
 * this rank's end. */
void comm_mute(struct comm *comm);

/* Which of the ranks of the caller's node it is, in their order; COMM_ELSEWHERE on another node.
 * The same for all ranks of a node. O(1), any thread. */
#define COMM_ELSEWHERE UINT32_MAX
uint32_t comm_node_index(struct comm *comm, uint32_t rank);

/*
 * Memory that `rank` alone writes and all ranks of its node can read, also after its death; zero at
 * first, COMM_BOARD_BYTES, cache-line aligned. NULL: it is on another node. Valid as long as the
 * end. O(1).
 */
#define COMM_BOARD_BYTES 16384u
void *comm_board(struct comm *comm, uint32_t rank);

/* Drops the end; the peers see nothing of it but silence. Accepts NULL. */
void comm_destroy(struct comm *comm);

#endif
