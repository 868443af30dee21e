/*
 * Copies of what lies in the store of another node.
 *
 * Values name their place wherever they go; their bytes come only to a rank that reads
 * them: for a get or a view, or before a task starts that has them as an argument. The
 * rank asks the one in whose share they lie, chunk by chunk, with several on the way,
 * and puts them into a block of its own share. All who want the same bytes on this rank
 * share one copy, which goes with the last of them.
 *
 * A place can be filled anew after a mistake or a death, so the block says whose it is,
 * and is compared. When the source dies before all is here, its heir is asked for the rest; when
 * there is none, everybody who waits is told.
 */
#ifndef CORE_FETCH_H
#define CORE_FETCH_H

#include "core/room.h"
#include "core/stored.h"

struct copy {
    struct location of;
    uint32_t source; /* who is asked */
    uint32_t sharers;
    int code; /* when it is over */
    bool is_over;
    struct room_wait room_wait; /* while there is no room for it */
    struct store_room room;     /* data NULL: not yet */
    const void *data;           /* NULL: not here */
    uint64_t offset;            /* of the block, when it is sealed */
    uint64_t asked, got;
    struct base_list waits; /* of struct fetch_wait */
};

/* Who waits for a copy, in memory of its own. */
struct fetch_wait {
    struct base_list link;
    void (*over)(struct rank *rank, void *arg, struct copy *copy);
    void *arg;
};

/* The copy of a place elsewhere, made and asked for if there is none: one share. If it is not over,
 * wait->over is called when it is. NULL: memory is out, or the store is full: *ret_code. */
struct copy *fetch_begin(struct rank *rank, const struct location *of, struct fetch_wait *wait,
                         int *ret_code);
/* Ends a share; a wait is to be unlinked before. Accepts NULL. */
void fetch_drop(struct rank *rank, struct copy *copy);
/* The bytes of a place, on this node or copied from another; NULL: they are not here. */
const void *fetch_data(struct rank *rank, const struct location *of);

struct context;
/* Waits until the bytes of an output that is on another node are here. Its value is held. Baton held. */
int fetch_output(struct context *context, struct output *output);

/* The copy of just this place; NULL: there is none. */
struct copy *fetch_find(struct rank *rank, const struct location *of);

/* True: the run waits for copies, and goes on when they are here. Else run->code says whether any
 * cannot be had. */
bool fetch_for_run(struct rank *rank, struct run *run);
void fetch_end_run(struct rank *rank, struct run *run);

/* What was on its way from a dead rank will not come. */
void fetch_peer_down(struct rank *rank, uint32_t dead);

#endif
