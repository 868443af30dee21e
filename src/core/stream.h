/*
 * Streams: a task that yields items as it goes.
 *
 * Three ranks have a part in a stream. The *source* is the rank that runs the task: it keeps the
 * items that have not been taken, and holds the body back while these are too many. The *inbox* is
 * at the rank that reads: a queue of items that have come, in order. The *owner* of the task brings
 * the two together and decides what an end or a death means; items never pass through it, unless
 * it is one of the two. All three are often one rank; what they tell each other is then handled at
 * once, and values are shared.
 *
 *   source -> owner    OPEN   the first item is there; I cannot give what was asked for; I failed
 *   reader -> owner    READ   I read this stream, from this item on; or: I have everything
 *   owner -> source    TERMS  how far you may be ahead, who reads, from which item on
 *   source -> reader   ITEMS
 *   reader -> source   TAKEN  these were taken: forget them; of these I know
 *   owner -> reader    ENDED  with so many items, or this error
 *
 * Items are named by their index alone. A task that runs again yields the same ones, so whoever
 * gets one twice ignores the second: that is all there is to duplicates, to a source that died (the
 * next run yields from the beginning, and what TAKEN has named is dropped as it is made), and to a
 * reader that died (it reads from the beginning again, and if its items are gone the owner runs the
 * task again). Who reads is the id of a task or root scope, which is the same after a re-execution.
 *
 * An item in the store is kept at its source by a run that has no body, whose result it is, until
 * the reader drops what it took (RELEASE): the same that a task's retained result goes through.
 * What the reader takes becomes a record of its own scope, as manta_put makes one.
 */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include "core/message.h"
#include "core/object.h"
#include "core/outv.h"
#include "core/registry.h"

#define STREAM_NOBODY UINT32_MAX
#define STREAM_UNKNOWN UINT64_MAX

struct item {
    struct value *value;
    uint32_t rank, token; /* who keeps it for us, by this token; token 0: nobody has to */
};

/* Items [begin, end) of a stream. */
struct shelf {
    struct item *items;
    uint32_t capacity; /* a power of two, or 0 */
    uint64_t begin, end;
};

static inline struct item *shelf_at(const struct shelf *shelf, uint64_t index)
{
    return &shelf->items[index & (shelf->capacity - 1)];
}

/* False: memory is out. */
bool shelf_push(struct shelf *shelf, struct item item);
/* Gives back what items [from, to) have, the share of the value and the hold at their source. */
void shelf_release(struct rank *rank, const struct shelf *shelf, uint64_t from, uint64_t to);

static inline bool stream_is(const manta_function *function)
{
    return function_info(function)->is_stream;
}

/* ---- The owner's side: stream.c */

struct stream {
    struct base_list link; /* in rank->streams */
    struct task *task;
    uint64_t ahead_bytes; /* 0: the source's own bound */
    uint32_t ahead;
    uint32_t reader_rank; /* STREAM_NOBODY: there is no reader, or its rank died */
    uint64_t reader;      /* id of its scope; 0: none yet */
    uint64_t from;        /* as it asked */
    uint64_t failed_at;   /* how many items there were, of the attempt that failed */
    uint32_t run_token;
    uint8_t open_attempt, failed_attempt; /* that OPEN came from; 0: none */
    uint8_t is_complete;                  /* nothing at the source is wanted any more */
};

/* For a new record. False: memory is out. */
bool stream_create(struct rank *rank, struct task *task, const manta_options *options);
void stream_destroy(struct rank *rank, struct stream *stream);
/* The task is over, well or not. */
void stream_ended(struct rank *rank, struct task *task);
/* Only the execution holds the record: nobody can read what it will yield. */
void stream_unheld(struct rank *rank, struct task *task);
void stream_peer_down(struct rank *rank, uint32_t dead);
/* No task of this name is known, or will ever be: tells who wants to read it. */
void stream_answer_lost(struct rank *rank, uint32_t peer, const struct wire_header *header);

/* ---- The runner's side: source.c */

/* For a body that is about to start; NULL: memory is out. */
struct manta_source *source_create(struct rank *rank, struct run *run, const manta_param *param);
/* The body has returned `code`: the count goes to where the result is. */
void source_end(struct rank *rank, struct run *run, int code);
/* It has items that the reader has not taken. */
bool source_is_wanted(const struct run *run);
/* Its run goes. Returns another run of the task that has waited for that; NULL. */
struct run *source_destroy(struct rank *rank, struct run *run);
/* The run was asked to stop: if it waits for its reader, or for an item, it is to look. */
void source_wake(struct rank *rank, struct run *run);
/* True: an earlier run of this task is still here; it is stopped, and the new one starts when it
 * has gone (is_follower). */
bool source_comes_after(struct rank *rank, struct run *run);
/* One that waits for that goes itself. */
void source_unfollow(struct rank *rank, struct run *run);
void source_peer_down(struct rank *rank, uint32_t dead);

/* ---- The reader's side: inbox.c */

struct inbox;
/* An item of a source on this rank: one share of the value, consumed. `about` is as in ITEMS. */
void inbox_hand(struct rank *rank, const struct wire_header *about, uint64_t index,
                struct value *value);
/* From an owner on this rank. The error may be NULL, and is copied. */
void inbox_ended(struct rank *rank, const struct wire_header *about,
                 const struct message_ended *message, const manta_error *error);
/* The scope has dropped all it holds; the ref is not held on this rank any more. */
void inbox_close_all(struct rank *rank, struct scope *scope);
void inbox_forget(struct rank *rank, uint64_t parent, uint32_t position);
/* Bodies that wait for an item are to look. */
void inbox_wake_all(struct rank *rank, struct scope *scope);
/* The stream has another owner now; or will never have one. */
void inbox_owner_found(struct rank *rank, const struct borrow *borrow);
void inbox_owner_lost(struct rank *rank, const struct borrow *borrow);
void inbox_peer_down(struct rank *rank, uint32_t dead);
/* Items that have not been taken name places as records do: see heirs.h. */
void inbox_claim_all(struct rank *rank);

#endif
