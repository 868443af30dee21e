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
 *     file:  head page | share of rank 0 | share of rank 1 | ...
 *
 * The bound holds for the pages of all shares together. They are counted in the head page
 * before they are asked for, and asked for before they are used (MADV_POPULATE_WRITE, or
 * fallocate), so memory that is not there is an error at the allocation and no SIGBUS at
 * the first touch. The thread that asks has its core's memory placed next to it.
 *
 * When a rank dies its blocks stay readable. The heir, another rank of the node, takes
 * its share over: open blocks are given back at once, sealed ones when nobody wants them. The dead
 * may be alive for a moment longer: from then on it has no room for anything, and what it frees stays.
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

/* What a block is for: in a dump, and for the heir. */
struct store_tag {
    uint64_t parent;   /* of the task that made it */
    uint32_t position; /* of the output */
    uint32_t function; /* hash */
};

struct store_options {
    int fd;                /* duplicated */
    uint64_t offset;       /* in its file: where the store begins, to its end */
    uint32_t index, ranks; /* this rank's on the node */
};

/* Bytes of a store in which so many ranks may hold so much together. Each share has several times as
 * much of the address range, so that it never is the addresses that are used up. */
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
/* Gives back what is behind the first `bytes`. */
void store_shorten(struct store *store, void *data, uint64_t bytes);
/* From now on it is read. Returns its place in the share. */
uint64_t store_seal(struct store *store, void *data);
void store_abandon(struct store *store, const struct store_room *room);
void store_free(struct store *store, uint64_t place);

/* A sealed block of any rank, read-only; its bytes are 64-aligned. NULL: the share cannot be mapped
 * or there is none of that index. Stays mapped. */
const void *store_at(struct store *store, uint32_t index, uint64_t place);

/* The sealed block at a place of a share, read-only, if it has this parent and position and at least
 * `bytes`; else NULL. */
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
    bool is_sealed;
    struct store_tag tag;
};
/* Calls each(arg, entry) for every taken block of the node: a snapshot of a moving thing. */
void store_each(struct store *store, void (*each)(void *arg, const struct store_entry *entry),
                void *arg);

#endif
