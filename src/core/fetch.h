/*
 * Reading what lies in the store of another node.
 *
 * Values name their place wherever they go; their bytes come only to a node that reads them:
 * for a get or a view, or before a task starts that has them as an argument. One rank of the node,
 * the agent, keeps the copy for all (replica.h). This is the side of those who read: all who want
 * the same bytes on this rank share one `struct copy`, which asks the agent once, and tells it when
 * the last of them has gone. A task's arguments are asked for as soon as it is here, while others
 * run, but only so much ahead (AHEAD_PART of what the node may hold): what is asked for and not
 * read yet lies in the way of others. Runs beyond that wait in their order, until those
 * before them start; one at least is always on. When the agent dies before the bytes are here the
 * next one is asked; what is here stays readable in the share of the dead, and is claimed
 * (heirs.h).
 *
 * What a get or a view has brought here stays with the value's record, for the next one. When room
 * is needed on the node, those go that nobody reads just now, the longest unread first
 * (fetch_release): a record without its copy is one whose value is elsewhere.
 */
#ifndef CORE_FETCH_H
#define CORE_FETCH_H

#include "core/stored.h"

struct copy {
    struct location of;
    uint32_t sharers;
    uint32_t readers;      /* gets and views: then it is not given back */
    struct output *keeper; /* has a share that it can do without; NULL: none has */
    struct base_list idle; /* in rank->idle_copies: it has a keeper, and no readers */
    int code;              /* when it is over */
    bool is_over;
    bool is_claimed;
    const void *data;       /* in the agent's share; NULL: not here */
    uint64_t offset;        /* there */
    uint32_t agent, token;  /* what it was asked for with */
    struct base_list waits; /* of struct fetch_wait */
};

/* Who waits for a copy, in memory of its own. */
struct fetch_wait {
    struct base_list link;
    void (*over)(struct rank *rank, void *arg, struct copy *copy);
    void *arg;
};

/* The copy of a place elsewhere, made and asked for if there is none: one share. If it is not over,
 * wait->over is called when it is. NULL: memory is out, or nobody has it any more: *ret_code. */
struct copy *fetch_begin(struct rank *rank, const struct location *of, struct fetch_wait *wait,
                         int *ret_code);
/* Ends a share; a wait is to be unlinked before. Accepts NULL. */
void fetch_drop(struct rank *rank, struct copy *copy);
/* The output shares the copy, which is here, for as long as nobody needs the room; or, with
 * fetch_stay, for as long as it is. */
void fetch_keep(struct rank *rank, struct copy *copy, struct output *output);
void fetch_stay(struct rank *rank, struct copy *copy);
/* Ends the output's share, if it has one. */
void fetch_let_go(struct rank *rank, struct output *output);
/* A get or view of a place elsewhere begins to read, and ends. */
void fetch_begin_read(struct rank *rank, const struct location *of);
void fetch_end_read(struct rank *rank, const struct location *of);
/* Gives back so many bytes of copies that are only kept; returns how many. They are free when all
 * other readers of the node have done so, and the agent has let go (fetch_evict). */
uint64_t fetch_release(struct rank *rank, uint64_t bytes);

/* The bytes of a place, on this node or copied from another; NULL: they are not here. */
const void *fetch_data(struct rank *rank, const struct location *of);

struct context;
/* Waits until the bytes of an output that is on another node are here. Its value is held. Baton
 * held. */
int fetch_output(struct context *context, struct output *output);

/* The copy of just this place; NULL: there is none. */
struct copy *fetch_find(struct rank *rank, const struct location *of);

/* True: the run waits for copies, and goes on when they are here. Else run->code says whether any
 * cannot be had. */
bool fetch_for_run(struct rank *rank, struct run *run);
/* It reads them from now on: others may ask for theirs. */
void fetch_start_run(struct rank *rank, struct run *run);
void fetch_end_run(struct rank *rank, struct run *run);
/* Whatever lies ahead: nothing that does may be able to start. */
void fetch_all_waiting(struct rank *rank);

/* What the dead agent was asked for is asked of the next. */
void fetch_peer_down(struct rank *rank, uint32_t dead);
/* What is read here in a dead agent's share. */
void fetch_claim_all(struct rank *rank);

#endif
