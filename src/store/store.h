/*
 * store: the memory that the ranks of a node share for their objects.
 *
 * It is one memfd, which no file system names and which goes with its last user. Every
 * rank has a share of its address range, with an allocator that it alone uses (heap.h), so
 * no lock is shared with a process that may die. A rank writes to its own share only; the
 * shares of the others it maps read-only, and its own a second time: what a reader is
 * given cannot be written through. Shares are mapped on first use; a program that stores
 * nothing pays nothing.
 *
 *     file:  head | share of rank 0 | share of rank 1 | ...
 *
 * The bound holds for the pages of all shares together. They are counted in the head
 * before they are asked for, and asked for before they are used (MADV_POPULATE_WRITE, or
 * fallocate), so memory that is not there is an error at the allocation and no SIGBUS at
 * the first touch. The thread that asks has its core's memory placed next to it.
 *
 * A sealed block may be spilled: its pages go to a disk (disk.h), at the same offset as they have
 * in the memfd, so nothing but a checksum is to be noted, and come back to where they were. Its
 * address stays what it is, and its state can be seen from every rank of the node. Of one that
 * is LEAVING or SPILLED nobody begins to read; who does already is the caller's to know.
 *
 * The head has a slot for each rank, written by it (or its heir) alone, with what it holds, what it
 * keeps from being spilled, and what it could give back: for whoever needs room.
 *
 * When a rank dies its blocks stay readable. The heir, another rank of the node, takes
 * its share over: open blocks are given back at once, sealed ones when nobody wants them. The dead
 * may be alive for a moment longer: from then on it has no room for anything, and what it frees
 * stays.
 *
 * One thread at a time, the rank's baton holder; store_at and what it gives may be read by
 * any thread.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_disk;

/* What a block is for: in a dump, and for the heir. */
struct store_tag {
    uint64_t parent;   /* of the task that made it */
    uint32_t position; /* of the output */
    uint32_t function; /* hash */
};

struct store_options {
    int fd;                        /* duplicated */
    uint64_t offset;               /* in its file: where the store begins, to its end */
    uint32_t index, ranks;         /* this rank's on the node */
    const struct store_disk *disk; /* borrowed; NULL: nothing is spilled */
};

/* Bytes of a store in which so many ranks may hold so much together. Each share has many times as
 * much of the address range, so that it never is the addresses that are used up, also when most
 * blocks are on disk. */
uint64_t store_bytes(uint32_t ranks, uint64_t bound_bytes);

/* Once, before anybody opens it: the file has store_bytes behind `offset`, all zero. MANTA_OK,
 * MANTA_E_SYSTEM. */
int store_format(int fd, uint64_t offset, uint32_t ranks, uint64_t bound_bytes) MT_CHECKED;

/* Maps one page. MANTA_OK, MANTA_E_INVALID: no store of so many ranks, MANTA_E_NOMEM,
 * MANTA_E_SYSTEM. */
int store_open(const struct store_options *options, struct store **ret_store) MT_CHECKED;
/* What it lent is gone; blocks stay for the others. Accepts NULL. */
void store_close(struct store *store);

/* A block being written. The rank's own, and not yet all there. */
struct store_room {
    void *data; /* 64-aligned */
    uint64_t raw_offset, raw_bytes;
};

/*
 * Room for `bytes` in this rank's share; to be populated, written, then sealed or abandoned.
 * MANTA_OK; MANTA_E_TOOBIG: more than the bound; MANTA_E_LIMIT: the bound is reached, other blocks
 * have to go first; MANTA_E_NOMEM: the machine has no more. O(1).
 */
int store_create(struct store *store, uint64_t bytes, const struct store_tag *tag,
                 struct store_room *ret_room) MT_CHECKED;
/* Before the first write, from any thread: asks for the pages of a large block, which takes as long
 * as it takes to clear them. MANTA_E_NOMEM: it is to be abandoned. */
int store_populate(struct store *store, const struct store_room *room) MT_CHECKED;
/* The same for as much as the first `bytes` need: what is written as it comes in. */
int store_populate_first(struct store *store, struct store_room *room, uint64_t bytes) MT_CHECKED;
/* Gives back what is behind the first `bytes`. */
void store_shorten(struct store *store, void *data, uint64_t bytes);
/* What an open block is for, when that was not known before. */
void store_name(struct store *store, void *data, const struct store_tag *tag);
/* From now on it is read. Returns its place in the share. */
uint64_t store_seal(struct store *store, void *data);
void store_abandon(struct store *store, const struct store_room *room);
void store_free(struct store *store, uint64_t place);

/* A sealed block of the own share that nobody reads, to be changed in place. */
void *store_change(struct store *store, uint64_t place);

/* A sealed block of any rank, read-only; its bytes are 64-aligned. NULL: the share cannot be mapped
 * or there is none of that index. Stays mapped. */
const void *store_at(struct store *store, uint32_t index, uint64_t place);

/* The sealed block at a place of a share, read-only, if it has this parent and position and at
 * least `bytes`; else NULL. It may be spilled. */
const void *store_find(struct store *store, uint32_t index, uint64_t place,
                       const struct store_tag *tag, uint64_t bytes);

/* Returns pages of free blocks to the node, up to `bytes`; returns how many. */
uint64_t store_trim(struct store *store, uint64_t bytes);

/* Takes over a dead rank's share; of each sealed block `stays` is asked. MANTA_OK;
 * MANTA_E_NOTFOUND: it never had one; MANTA_E_INVALID: damaged, and left alone. */
int store_inherit(struct store *store, uint32_t dead,
                  bool (*stays)(void *arg, uint64_t place, const struct store_tag *tag),
                  void *arg) MT_CHECKED;
/* A block of an inherited share. */
void store_free_inherited(struct store *store, uint32_t dead, uint64_t place);

/* ---- Spilling: of blocks of the own share and of inherited ones -------------------------------
 */

struct store_place {
    uint32_t index; /* whose share */
    uint64_t place;
};

bool store_has_disk(const struct store *store);

/* SPOILED: spilled, and what is on the disk is not what was written. */
enum store_state { STORE_NONE, STORE_SEALED, STORE_LEAVING, STORE_SPILLED, STORE_SPOILED };

/* Of any rank's block, from any thread. STORE_NONE: it cannot be mapped, or is not sealed. */
enum store_state store_get_state(struct store *store, struct store_place at);
/* Bytes of pages that it has to itself. */
uint64_t store_page_bytes(struct store *store, struct store_place at);

/* SEALED to LEAVING, and back. */
void store_leave(struct store *store, struct store_place at);
void store_stay(struct store *store, struct store_place at);
/* Writes blocks to the disk, in the order of their places; neighbours go in one piece. Any thread;
 * they are not freed meanwhile. MANTA_OK, MANTA_E_LIMIT: it is full, MANTA_E_SYSTEM. */
int store_write(struct store *store, const struct store_place *blocks, uint32_t count,
                uint64_t *ret_sums) MT_CHECKED;
/* It is on the disk too, with this sum, until it is freed. */
void store_note_written(struct store *store, struct store_place at, uint64_t sum);
/* It is about to change: what is on the disk is not it any more. */
void store_note_unwritten(struct store *store, struct store_place at);
bool store_is_written(struct store *store, struct store_place at);
/* One that is written: LEAVING to SPILLED. Returns the bytes of its pages, which are gone. */
uint64_t store_spill(struct store *store, struct store_place at);
/* SPILLED to SEALED in three steps: counts its pages (MANTA_OK, MANTA_E_LIMIT); reads them back
 * (any thread; MANTA_OK, MANTA_E_NOMEM, MANTA_E_LOST: what was read is not what was written); the
 * end, or, if that failed, the way back. */
int store_refill(struct store *store, struct store_place at) MT_CHECKED;
int store_read(struct store *store, struct store_place at) MT_CHECKED;
void store_refilled(struct store *store, struct store_place at);
void store_unfill(struct store *store, struct store_place at);
/* SPILLED to SPOILED. */
void store_spoil(struct store *store, struct store_place at);

/* Where a block is on the disk, for when it is no more. */
struct store_extent {
    uint64_t offset, bytes;
};
struct store_extent store_extent(struct store *store, struct store_place at);
void store_discard(struct store *store, struct store_extent extent); /* any thread */

/* What ranks of the node say of themselves; any of it may be out of date. */
struct store_slot {
    uint64_t held_bytes;
    uint64_t pinned_bytes; /* it reads, or writes, so they stay */
    uint64_t spare_bytes;  /* it could spill or give back */
    int32_t trouble;       /* why its last spills failed; MANTA_OK: they did not */
    bool has_extra;        /* it uses more than is good for the others */
};
struct store_slot store_get_slot(const struct store *store, uint32_t index);
void store_show(struct store *store, const struct store_slot *slot); /* but held_bytes */
uint64_t store_get_pinned(const struct store *store);                /* of all slots together */
bool store_has_extra(const struct store *store);                     /* any slot */
/*
 * To look at all slots and then change the own one, with nobody in between. False: another rank
 * does; try later. Ended at once; of a rank that dies in between, by store_forget.
 */
bool store_begin_claim(struct store *store);
void store_end_claim(struct store *store);
/* A rank is dead, and uses nothing any more. */
void store_forget(struct store *store, uint32_t index);
/* Grows whenever pages go, anywhere on the node. */
uint64_t store_get_released(const struct store *store);
/* Pages of the own share's free blocks. */
uint64_t store_free_bytes(const struct store *store);

struct store_stats {
    uint64_t bound_bytes; /* of the node */
    uint64_t held_bytes;  /* pages, of the node */
    uint64_t
        used_bytes;  /* in blocks of this rank's share and of those inherited, headers included */
    uint64_t blocks; /* of these shares */
    uint64_t created, freed, trimmed_bytes;
};
struct store_stats store_get_stats(const struct store *store);

/* One block of a dump. */
struct store_entry {
    uint32_t index; /* whose share */
    uint64_t place, bytes;
    bool is_sealed, is_spilled;
    struct store_tag tag;
};
/* Calls each(arg, entry) for every taken block of the node: a snapshot of a moving thing. */
void store_each(struct store *store, void (*each)(void *arg, const struct store_entry *entry),
                void *arg);

#endif
