/*
 * The blocks that this rank answers for, in memory and on disk.
 *
 * For each sealed block of its share (and of those it has inherited) that may leave, the rank has a
 * record: here, asked about, written, away, or coming back. When room is needed (room.h)
 * the oldest ones go, in batches:
 *
 *     here -> asked     its header says so from now on, and the ranks of the node are asked
 *                       which of the batch they read: one message each, one answer
 *          -> written   those that nobody reads go to the disk, by a thread that does nothing
 *                       but that and never has the baton meanwhile
 *          -> away      the pages are given back; the disk has them, and a checksum is in the
 *                       header
 *
 * A reader looks at the header before it begins to read (pin.h). If the block is not simply there
 * it asks this rank (RESTORE), whereupon a block that has not gone yet stays, and one that
 * has comes back into its place and is noted as in use by who asked before anything else can
 * happen to it: so it comes back at most once for each time it is wanted. A rank that asks and one
 * that is asked agree because messages of a pair keep their order: who says "I do not read it"
 * looks at the header again before it does.
 *
 * A block that came back stays on the disk too, and goes again without being written. One that is
 * freed leaves the disk. A write that fails leaves everything where it is; a read that fails, or
 * gives other bytes than were written, loses the value for good (MANTA_E_LOST, see lost.h).
 *
 * The blocks of a dead rank of the node are the heir's (heirs.h), those on the disk too. Who asks
 * the heir before it has inherited waits until it has.
 *
 * Before anything is spilled, what can be had again goes: copies of values of other nodes, which
 * nobody reads (fetch_evict), or which values keep for the next reader (fetch_release).
 *
 * All with the baton held, but for the thread's own work.
 */
#ifndef CORE_SPILL_H
#define CORE_SPILL_H

#include "core/rank.h"
#include "store/store.h"

int spill_create(struct rank *rank) MT_CHECKED;
/* Ends the thread: once the rank is stopped, without the baton. */
void spill_stop(struct rank *rank);
void spill_destroy(struct rank *rank); /* accepts one that was not made */

/* A block that has just been sealed, or inherited: it may leave from now on. */
void spill_add(struct rank *rank, const struct location *of);
/* Nobody needs it any more. Of this rank's share or an inherited one. */
void spill_free(struct rank *rank, const struct location *of);
/* A block of this rank's share that is pinned, and that nobody else reads, is to be written again
 * in its place. False: it cannot be just now. */
bool spill_begin_change(struct rank *rank, const struct location *of);
/* That is done: it is this value from now on. */
void spill_rename(struct rank *rank, const struct location *of, uint32_t function);
/* It was read: it goes later than others. */
void spill_touch(struct rank *rank, const struct location *of);

/* Who wants a block to be here, in memory of its own; unlink it to want it no more. */
struct spill_want {
    struct base_list link;
    struct location of; /* while its share is to be inherited */
    void (*over)(struct rank *rank, void *arg, int code);
    void *arg;
};
/* MANTA_OK: it is here, until other messages are looked at; MANTA_E_AGAIN: want->over will say;
 * MANTA_E_LOST: this rank has no such block. */
int spill_want(struct rank *rank, const struct location *of, struct spill_want *want);
/* Shares were inherited: who wanted blocks of them may have them now. */
void spill_try_early(struct rank *rank);

/* Gives back so many bytes of the node's memory, or begins to. Returns how many are or will be. */
uint64_t spill_release(struct rank *rank, uint64_t bytes);
/* Something is on its way to the disk or back. */
bool spill_is_busy(const struct rank *rank);
/* What ails the disk, for a person. */
const char *spill_trouble(const struct rank *rank);
/* Shows the others what this rank uses and could give. */
void spill_show(struct rank *rank);

void spill_peer_down(struct rank *rank, uint32_t dead);

#endif
