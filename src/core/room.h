/*
 * Waiting for room in the node's store.
 *
 * Who finds the store full waits here, in memory of its own: a body or a driver that makes a value,
 * a block that comes back from the disk, a copy that comes from another node. While somebody waits,
 * the rank looks at every tick how much is missing on the node, makes its own share give that up
 * (spill_release), and asks ranks of the node that show something to spare for the rest. It asks
 * again at the next tick, and each that waits tries again. So nothing depends on a message or on
 * a wake-up that a death could swallow; and it costs nothing while nobody waits.
 *
 * Why nobody waits for ever. What can be in the way is in use: read in place by bodies, views and
 * gets, or being written. A body that computes ends some day, and gives its part back. Values
 * that nobody reads leave for the disk. Arguments are taken into use only when all of a task
 * are, and only while less than half of the bound is in use on the node, or nothing is (pin.h),
 * so results always find room for one task at least. What is left are tasks that hold something and
 * wait for each other, by way of room or of results: then no body of the node runs, and no page
 * is given back. When that has lasted for a while (MANTA_STORE_PATIENCE), the last one
 * that came is refused, and told who uses how much; it lets go, and the others go on. A disk that
 * fails is no reason to wait that long: then a producer is refused as soon as nothing runs.
 *
 * All with the baton held.
 */
#ifndef CORE_ROOM_H
#define CORE_ROOM_H

#include "core/rank.h"
#include "store/store.h"

struct context;

struct room_wait {
    struct base_list link;
    uint64_t bytes;
    bool is_producer;
    /* Unlinks the wait when it has got what it wanted, or failed for another reason; there is not
     * enough yet: leaves it. */
    void (*try)(struct rank *rank, void *arg);
    /* It is refused, and unlinked. */
    void (*refuse)(struct rank *rank, void *arg, int code);
    void *arg;
};

struct room {
    struct base_list waits;
    uint32_t *near; /* ranks of this node */
    uint32_t near_count;
    uint32_t asks, next_donor;
    uint64_t released, released_at_ask, quiet_since_ns;
    uint8_t is_trying, is_waited_for; /* is_waited_for: by tasks whose arguments do not fit */
    uint8_t has_extra;                /* see pin.c */
};

int room_open(struct rank *rank) MT_CHECKED;
void room_close(struct rank *rank); /* accepts one that is not open */

/*
 * A body that waits for bytes or room keeps what it reads, and a task begun meanwhile would read
 * more: together they might have everything in use and nobody all it needs. So while some wait,
 * this rank begins no task, unless nothing has moved for a while: what they wait for may need one.
 */
void room_squeeze_begin(struct rank *rank);
void room_squeeze_end(struct rank *rank);
bool room_squeeze_is_over(struct rank *rank);
static inline bool room_allows_start(struct rank *rank)
{
    return MT_LIKELY(rank->squeezed == 0) || room_squeeze_is_over(rank);
}

void room_begin(struct rank *rank, struct room_wait *wait);
/* Accepts one that has not begun, or is over. */
static inline void room_end(struct room_wait *wait)
{
    base_list_remove(&wait->link);
}

/* Pages went: those that wait try again. */
void room_try(struct rank *rank);
/* Whether room_tick is to be called at every tick. */
static inline bool room_is_wanted(const struct rank *rank)
{
    const struct room *room = rank->room;
    return room && (!base_list_is_empty(&room->waits) || room->is_waited_for);
}
void room_tick(struct rank *rank);

/* For a while nothing has run on the node, and nothing was given back. */
bool room_is_quiet(struct rank *rank);

/* Room for a value that the context makes, waited for if need be, with its pages. The baton is
 * given up meanwhile. What is wrong is in last_error. */
int room_create(struct context *context, uint64_t bytes, const struct store_tag *tag,
                struct store_room *ret_room) MT_CHECKED;
/* Why there is no room, what to do, and who uses how much of it, for a person. */
void room_say_full(struct rank *rank, char *text, size_t size);
/* last_error says the same of so many bytes that "were asked for". Returns MANTA_E_LIMIT. */
int room_refuse(struct context *context, uint64_t bytes, const char *what);
/* Gives it back: no value comes of it. What is free now is shown to the other ranks, which ask
 * nobody who shows nothing. */
void room_abandon(struct rank *rank, const struct store_room *room);

#endif
