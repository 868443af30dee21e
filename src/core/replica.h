/*
 * Copies of values of other nodes, kept for all ranks of this one.
 *
 * A node has one copy of a value, however many of its ranks and tasks read it. The rank
 * that keeps it, the agent, follows from the ref and from who lives (node.h). Ranks that
 * want to read ask it (WANT), it fetches the value chunk by chunk into a block of its share,
 * and says where that is (HERE); they read it there and say when they do not any more
 * (UNWANT). Who reads is a list of ranks with a token each and no count: what a dead rank
 * read ends with it, and an UNWANT that crosses a HERE is known for what it is.
 *
 * Chunks are asked for in order, several at a time, at one source; which are here is a bitmap.
 * The source is the maker of the value, or another node's agent that the maker names because it
 * began earlier (spread.h). That one may have part of it only: who asks for a chunk that is not
 * here yet waits at the replica, and gets it when it comes, so that many nodes fetch as in a
 * pipeline. When a source dies or has dropped its copy, what is missing is asked of the maker.
 * When that is dead too, everybody who waits is told.
 *
 * A replica that nobody reads stays for the next reader. It goes when room is needed, the longest
 * unread one first; when the maker says that the value is gone (FREED); and at the job's end. It is
 * never the only place of anything while its maker lives. FREED is a kindness: without it, after
 * the maker's death, a replica lasts until room is needed or the job ends.
 *
 * Two ranks may keep one for a while, when one of them has not heard yet of a death. Blocks say
 * by their tag's function that they are replicas: what is in a dead agent's share is worth nothing
 * to those who do not read it already.
 */
#ifndef CORE_REPLICA_H
#define CORE_REPLICA_H

#include "core/stored.h"

#define REPLICA_CHUNK_BYTES (256u * 1024)
/* Tag of their blocks, in place of the hash of the function that made it. */
#define REPLICA_TAG 0xc0b1edu

/* Gives up copies that nobody reads, until `bytes` have become free; returns how many have. */
uint64_t fetch_evict(struct rank *rank, uint64_t bytes);

/* The job ends: all that nobody reads. */
void replica_drop_idle(struct rank *rank);

/* comm's sink: where a chunk goes that is lent, and that it is there. */
void *replica_place(void *rank, uint32_t from, const struct comm_lent *lent);
void replica_landed(void *rank, uint32_t from, const struct comm_lent *lent, void *place,
                    bool is_whole);

/* A chunk that another node's agent asks for: it gets it, or waits for it. False: there is none. */
struct message_fetch;
bool replica_serve(struct rank *rank, uint32_t to, const struct wire_header *header,
                   const struct message_fetch *asked);

/* What was on its way from a dead rank will not come; what it read it does not read any more. */
void replica_peer_down(struct rank *rank, uint32_t dead);

#endif
