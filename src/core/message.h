/*
 * The messages between ranks. header.parent and header.position name the task or ref
 * the message is about; header.token is the addressee's handle for it.
 *
 *   owner -> runner    TASK, CANCEL, ADOPT, RELEASE
 *   runner -> owner    RESULT, CREDIT (parked), GONE (no children live), OFFER (via the home),
 *                      BEGUN (of one that was lost before; u64 first index of a lease)
 *   holder -> owner    REQUEST (for each of many refs: ASK, send me the value; HOLD, I have it;
 *                      LET_GO), HOLD (rank X holds it), STOP (cancel)
 *   owner -> holder    ANSWER (for each of many refs: HELD, acknowledges a HOLD; a small value),
 *                      VALUE, NOT_MINE (look again)
 *   reader -> agent    WANT (a value of another node), UNWANT; back: HERE (of the same node)
 *   agent -> source    FETCH; back: CHUNK; FREED (by the maker: the value is gone)
 *   streams            source -> owner: OPEN, back: TERMS; source -> reader: ITEMS, back: TAKEN;
 *                      owner -> reader: ENDED, back: READ (stream.h)
 *   on a node          RESTORE, RESTORED (a block that was spilled), LEAVE, LEAVE_ANSWER (who reads
 *                      these?), ROOM (make some)
 *   anybody -> all     TABLE; back: TABLE_PART (what the stores hold)
 *   reader -> owner    LOST (the bytes cannot be had from this place)
 *   graphs             owner -> members: GRAPH_PART, GRAPH_LAUNCH, GRAPH_STOP, GRAPH_DROP, back:
 *                      GRAPH_READY, GRAPH_RESULT, GRAPH_FAILED, GRAPH_ENDED; between members:
 *                      GRAPH_VALUE, GRAPH_TOLD (graph.h)
 *   anybody -> heir    CLAIM (a place in a dead rank's share); back: CLAIMED
 *   rank <-> home      REGISTER, REGISTERED, OFFER, LOOKUP, FOUND
 *   rank <-> rank 0    SETTLED, CLEARED (deaths), QUIET, QUIET_ANSWER, STOP_ALL (the end)
 *
 * Bodies start with the fixed struct named after the kind. Fields are in host byte
 * order: ranks of one job have one architecture (checked at wire-up).
 */
#ifndef CORE_MESSAGE_H
#define CORE_MESSAGE_H

#include "core/timeline.h"
#include "wire/error.h"

/* Every kind with the function that takes it, whose name begins with its file's. */
#define MESSAGE_EACH(X)                                                                            \
    X(TASK, exec_on_task)                                                                          \
    X(RESULT, task_on_result)                                                                      \
    X(CREDIT, dispatch_on_credit)                                                                  \
    X(GONE, task_on_gone)                                                                          \
    X(CANCEL, cancel_on_cancel)                                                                    \
    X(RELEASE, exec_on_release)                                                                    \
    X(REQUEST, holders_on_request)                                                                 \
    X(VALUE, object_on_value)                                                                      \
    X(HOLD, holders_on_hold)                                                                       \
    X(ANSWER, object_on_answer)                                                                    \
    X(STOP, cancel_on_stop)                                                                        \
    X(REGISTER, home_on_register)                                                                  \
    X(REGISTERED, recover_on_registered)                                                           \
    X(OFFER, home_on_offer)                                                                        \
    X(ADOPT, recover_on_adopt)                                                                     \
    X(LOOKUP, home_on_lookup)                                                                      \
    X(FOUND, recover_on_found)                                                                     \
    X(WANT, replica_on_want)                                                                       \
    X(HERE, fetch_on_here)                                                                         \
    X(UNWANT, replica_on_unwant)                                                                   \
    X(NOT_MINE, recover_on_not_mine)                                                               \
    X(FETCH, spread_on_fetch)                                                                      \
    X(CHUNK, replica_on_chunk)                                                                     \
    X(FREED, replica_on_freed)                                                                     \
    X(OPEN, stream_on_open)                                                                        \
    X(TERMS, source_on_terms)                                                                      \
    X(READ, stream_on_read)                                                                        \
    X(ITEMS, inbox_on_items)                                                                       \
    X(TAKEN, source_on_taken)                                                                      \
    X(ENDED, inbox_on_ended)                                                                       \
    X(RESTORE, pin_on_restore)                                                                     \
    X(RESTORED, pin_on_restored)                                                                   \
    X(LEAVE, spill_on_leave)                                                                       \
    X(LEAVE_ANSWER, spill_on_leave_answer)                                                         \
    X(ROOM, room_on_room)                                                                          \
    X(LOST, lost_on_lost)                                                                          \
    X(CLAIM, heirs_on_claim)                                                                       \
    X(CLAIMED, heirs_on_claimed)                                                                   \
    X(GRAPH_PART, member_on_part)                                                                  \
    X(GRAPH_READY, conduct_on_ready)                                                               \
    X(GRAPH_LAUNCH, member_on_launch)                                                              \
    X(GRAPH_VALUE, member_on_value)                                                                \
    X(GRAPH_TOLD, member_on_told)                                                                  \
    X(GRAPH_RESULT, conduct_on_result)                                                             \
    X(GRAPH_FAILED, conduct_on_failed)                                                             \
    X(GRAPH_STOP, member_on_stop)                                                                  \
    X(GRAPH_ENDED, conduct_on_ended)                                                               \
    X(GRAPH_DROP, member_on_drop)                                                                  \
    X(TABLE, table_on_table)                                                                       \
    X(TABLE_PART, table_on_table_part)                                                             \
    X(BEGUN, task_on_begun)                                                                        \
    X(SETTLED, recover_on_settled)                                                                 \
    X(CLEARED, recover_on_cleared)                                                                 \
    X(QUIET, finish_on_quiet)                                                                      \
    X(QUIET_ANSWER, finish_on_quiet_answer)                                                        \
    X(STOP_ALL, finish_on_stop_all)

#define MESSAGE_KIND(kind, handler) MESSAGE_##kind,
enum message_kind { MESSAGE_NONE, MESSAGE_EACH(MESSAGE_KIND) MESSAGE_KINDS };
#undef MESSAGE_KIND

enum task_message_flag {
    TASK_MESSAGE_OPTIONS = 1,  /* struct message_options follows */
    TASK_MESSAGE_LEASE = 2,    /* struct message_lease follows */
    TASK_MESSAGE_ROOT = 4,     /* submitted by a root scope */
    TASK_MESSAGE_PINNED = 16,  /* for that rank and no other */
    TASK_MESSAGE_RICH = 32,    /* some value among the arguments is in a store, or refs */
    TASK_MESSAGE_WATCHED = 64, /* say when it begins (BEGUN), and an element's result at once */
    TASK_MESSAGE_MOVED = 128,  /* another node had no room for its arguments */
    /* It, or its parent, may have run before: children may have survived. */
    TASK_MESSAGE_AGAIN = 8,
};

struct message_task {
    uint32_t function;
    uint16_t flags;
    int16_t priority;
};

/* Not submitted by a root: what a re-executed parent is compared with. */
struct message_digest {
    uint64_t digest;
};

struct message_options {
    uint64_t timeout_ns;
    struct outside_terms outside;
    char name[MANTA_ERROR_NAME_MAX];
};

struct message_lease {
    uint64_t begin, count;
};

/* With TASK_MESSAGE_AGAIN: whose death made it necessary, and how many deaths the owner has heard
 * of. */
struct message_again {
    uint32_t lost_on, deaths;
};

enum result_flag {
    RESULT_DRY = 1,       /* nothing of yours is queued here any more */
    RESULT_CHILDREN = 2,  /* children live: keep your record */
    RESULT_KEPT = 4,      /* u32 count, then struct message_kept each */
    RESULT_RETAINED = 8,  /* I keep the result until your RELEASE */
    RESULT_CREDITED = 16, /* a CREDIT came before */
    RESULT_DISPLACED =
        64, /* no result: another owner has taken the run over; place the task again */
    RESULT_UNSTARTED =
        128, /* with DISPLACED: no stack is free here to start it; nothing of it is left */
    RESULT_LEASE = 32,     /* of part of a map: struct message_lease follows */
    RESULT_OUTSIDE = 512,  /* its place was among those that run outside */
    RESULT_LOST = 256,     /* it failed for reasons of the system: see outside.h */
    RESULT_CROWDED = 2048, /* with DISPLACED: this node has no room for its arguments */
    RESULT_STARVED = 1024, /* with DISPLACED: its arguments cannot be had, as LOST has said */
};

struct message_result {
    int32_t code;
    uint16_t flags;
    uint16_t unused;
    uint32_t run_token;
};

struct message_kept {
    manta_ref ref;
    uint32_t instance;
    uint32_t is_looking; /* its owner is dead to the runner, which asks who owns it now */
};

struct message_value {
    int32_t code;
    uint32_t unused;
};

/* header.token is the reader's; HERE and UNWANT say it again. */
struct message_want {
    struct location of;
};

/* The copy is at `offset` of the sender's share. */
struct message_here {
    uint64_t offset;
    int32_t code;
    uint32_t unused;
};

/* Part of the value whose bytes are at `offset` of rank `share`'s share, or of a copy of it. */
struct message_fetch {
    uint64_t offset, value_bytes, from, bytes;
    uint32_t share;
    uint32_t may_point; /* the answer may be who has it too */
};

enum chunk_kind {
    CHUNK_DATA, /* they follow */
    CHUNK_GONE, /* the sender has it not, or cannot: source is the code, negated */
    CHUNK_ASK,  /* rank `source` has it, or is about to */
};

struct message_chunk {
    uint64_t from;
    uint32_t kind, source;
};

/* What was at `offset` of the sender's share is no value any more. */
struct message_freed {
    uint64_t offset;
};

/* The block at `offset` of the share of `rank`; the code in the answer. */
struct message_restore {
    uint64_t offset;
    uint32_t rank;
    int32_t code;
};

/* LEAVE: header.token names the batch; as many as there are. The answer: a byte for each, 1: it is
 * read here. */
struct message_leave_entry {
    uint64_t offset;
    uint32_t rank, unused;
};

struct message_room {
    uint64_t bytes;
};

/* Of a TABLE_PART: what its sender knows of a place in a store; see table.c. */
struct table_entry {
    uint64_t parent, offset, bytes;
    uint32_t position, share, function;
    uint32_t kind, rank, where;
};

/* The third party of a HOLD. */
struct message_hold {
    uint32_t holder, instance;
};

enum request_what {
    REQUEST_HOLD = 1, /* to be acknowledged */
    REQUEST_ASK = 2,
    REQUEST_REDIRECTED = 4, /* the ref had another owner */
    REQUEST_LET_GO = 8,
};

/* REQUEST: one or more. */
struct message_request {
    uint64_t parent;
    uint32_t position, instance;
    uint32_t what, unused;
};

enum answer_what { ANSWER_HELD = 1, ANSWER_VALUE = 2, ANSWER_TYPED = 4 };

/* ANSWER: one or more; the bytes of the value behind each. */
struct message_answer {
    uint64_t parent;
    uint32_t position;
    uint16_t what, bytes;
};

/* Of a home: who has registered there, but not this owner, unless it has again, with a higher
 * number. LOOKUP_DEAD: it is dead. */
#define LOOKUP_DEAD UINT32_MAX
struct message_lookup {
    uint32_t not_owner, not_number;
};

enum open_what { OPEN_BEGUN = 1, OPEN_REWIND, OPEN_FAILED };

struct message_open {
    uint32_t what, run_token;
    uint64_t count; /* OPEN_FAILED: of the items before */
};

struct message_terms {
    uint64_t from; /* no earlier item is wanted; UINT64_MAX: none at all */
    uint64_t ahead_bytes;
    uint32_t ahead, reader;
};

struct message_read {
    uint64_t reader; /* id of its scope */
    uint64_t from;   /* UINT64_MAX: it has everything */
};

/* ITEMS: u64 index of the first; then each as an output travels, and u64 token if it is stored. */

struct message_taken {
    uint64_t taken, received;  /* items below these */
    uint32_t is_again, unused; /* 1: what came after `received` has to be sent again */
};

/* Then the error record, if the code is not 0. */
struct message_ended {
    uint64_t count; /* UINT64_MAX: what has come is all */
    int32_t code;
    uint32_t unused;
};

/* Then bytes of it from there on; header.token: the epoch. */
struct message_graph_part {
    uint64_t total, offset;
};

struct message_offer {
    uint64_t digest;
    uint32_t function;
    uint32_t runner, run_token;
    uint32_t unused;
};

/* header.token 0: nobody adopts it. */
struct message_adopt {
    uint32_t run_token;
    uint32_t is_over; /* and nobody will want it: its parent will not run again */
};

struct message_quiet {
    uint64_t round, sent, received;
    uint64_t retried, adopted, relaunched; /* because of deaths, or of tasks that failed */
    uint32_t busy;
    int32_t code;
};

/* The quiet rounds count everything but themselves. */
static inline bool message_is_counted(unsigned kind)
{
    return kind < MESSAGE_QUIET;
}

/* The body of a new message to `peer`; its header is filled. NULL: memory is out (the peer is then
 * marked down). */
MT_INLINE void *message_begin(struct rank *rank, uint32_t peer, enum message_kind kind,
                              const struct wire_header *about, size_t body_bytes)
{
    timeline_sent(rank, peer, kind, about, body_bytes);
    struct wire_header *header = comm_prepare(rank->comm, peer, body_bytes);
    if (MT_UNLIKELY(!header)) {
        comm_mark_down(rank->comm, peer);
        return NULL;
    }
    header->parent = about->parent;
    header->position = about->position;
    header->token = about->token;
    header->kind = (uint8_t)kind;
    header->attempt = about->attempt;
    header->ref_count = about->ref_count;
    rank->counted_sent += message_is_counted(kind) && !rank->down[peer];
    return comm_body(header);
}
static inline void message_end(struct rank *rank)
{
    comm_commit(rank->comm);
}
/* The header of a message about one ref. */
static inline struct wire_header message_about(manta_ref ref)
{
    return (struct wire_header){.parent = ref.parent, .position = ref.position};
}

/* The whole of a message whose body is one struct. */
void message_send(struct rank *rank, uint32_t peer, enum message_kind kind,
                  struct wire_header about, const void *body, size_t body_bytes);

/* The same; to this rank itself it is handled here and now, and cannot be lost for want of memory.
 */
void message_tell(struct rank *rank, uint32_t peer, enum message_kind kind,
                  struct wire_header about, const void *body, size_t body_bytes);

/* comm's sink. */
void message_receive(void *rank, uint32_t from, const struct wire_header *header, const void *body);
/* The same, of a rank with a timeline. */
void message_receive_noted(void *rank, uint32_t from, const struct wire_header *header,
                           const void *body);

typedef void message_handler(struct rank *rank, uint32_t from, const struct wire_header *header,
                             struct wire_reader *body);
#define MESSAGE_HANDLER(kind, handler) message_handler handler;
MESSAGE_EACH(MESSAGE_HANDLER)
#undef MESSAGE_HANDLER

#endif
