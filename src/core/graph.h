/*
 * Recorded graphs over ranks; what they are is in include/manta/graph.h, plans and parts are room
 * graph's.
 *
 * Three roles. The rank that made a graph *conducts* it (conduct.c): it keeps the plan, sends each
 * rank that has nodes its part, and then, launch by launch, the inputs and the word to begin; it
 * gets the outputs and hears of the end. A *member* (member.c) has a part: it sends values to other
 * members and hears from them. The *leaf* (leaf.c) is what workers do: take a node that is ready,
 * call its body, pass on what it made. A launch is known by its graph's id and a number, the epoch.
 *
 *   conductor                      members
 *     PART ...          ->         a part is made
 *     READY             <-         (all have: only then may anything run, so values never come
 *                                  too early)
 *     VALUE ..., LAUNCH ->         inputs; begin
 *                                  VALUE, TOLD from member to member
 *     RESULT ...        <-         in the last round
 *     ENDED             <-         nothing of it runs here any more, and nothing will; once per
 *                                  epoch
 *
 * What a member gets of an epoch that it has not begun is the beginning: the conductor says LAUNCH
 * to some before others, but to nobody before all have ended the epoch before. What comes of an
 * earlier epoch is dropped.
 *
 * A body that fails: FAILED, then the conductor says STOP, and every member answers with ENDED when
 * its bodies have returned. A member that dies: the same STOP, and when the living have ended, the
 * plan is cut anew without the dead, its nodes going to the next rank; parts are sent, and the
 * launch begins again, with another epoch, from the inputs that the conductor keeps until the end.
 * So a death costs what its launch had done, and nothing of earlier ones. If the conductor dies,
 * its members throw away their parts. A launch survives as many deaths as a task has retries.
 *
 * All with the baton held, but for the bodies and for recording.
 */
#ifndef CORE_GRAPH_H
#define CORE_GRAPH_H

#include "core/rank.h"
#include "graph/part.h"
#include "wire/wire.h"

#include <manta/graph.h>

_Static_assert(MANTA_GRAPH_VALUE_MAX + 2 * sizeof(uint32_t) <= WIRE_BODY_MAX,
               "the largest value and its round are no message");

enum { GRAPH_DEATHS_MAX = 3 };

/* Ids: of a root's kind, since they die with their rank, but none that a root has. */
#define GRAPH_ID_BITS (UINT64_C(3) << 62)

/* The bytes of an input, for all launches that begin with them. */
struct graph_bytes {
    uint32_t sharers, bytes;
    uint8_t data[];
};

/* One call of manta_graph_launch. */
struct launch {
    struct base_list link; /* in the graph's queue, the first being the one that runs */
    uint32_t rounds, deaths;
    bool has_begun;               /* once at least */
    struct graph_bytes **inputs;  /* by value of the plan; NULL: not one */
    struct graph_bytes **results; /* by output */
    struct task **tasks;          /* records of the refs, by output; one if there is none */
    uint32_t task_count;
    manta_error *error;
};

enum graph_state { GRAPH_RECORDING, GRAPH_IDLE, GRAPH_PREPARING, GRAPH_RUNNING, GRAPH_STOPPING };

struct manta_graph {
    struct base_list link; /* in rank->graphs.owned */
    struct rank *rank;
    struct plan plan;
    struct plan_cut cut;
    enum graph_state state;
    bool is_sealed;    /* nothing is recorded any more; once set, read without the baton */
    bool is_stale;     /* parts are to be made anew: there are none, or a member has died */
    bool has_parts;    /* they were made once */
    bool is_destroyed; /* by the program: goes when nothing is launched */
    uint32_t epoch;    /* of the latest launch or preparation */
    uint32_t awaited_count;
    uint8_t *awaited; /* by rank: READY or ENDED of it is missing */
    uint8_t *members; /* by rank: it has been sent a part */
    uint32_t *listed; /* the members, so that a launch asks no other rank */
    uint32_t listed_count;
    struct graph_bytes **inputs; /* by value: what was set */
    struct base_list launches;
    manta_error *error; /* why it cannot be launched: a member could not make its part */
};

/* What this rank has of a graph. */
struct member {
    struct base_list ready; /* in rank->graphs.ready while nodes are ready and may run */
    uint64_t id;
    uint32_t owner;
    struct part *part; /* NULL: it has not come yet */
    uint8_t *coming;   /* of it: bytes that have come; NULL: none, or no memory for them */
    uint64_t coming_bytes, coming_room;
    uint32_t epoch;          /* of the part: it has begun, by LAUNCH or by a value */
    bool has_ended;          /* the epoch: ENDED was sent */
    bool is_doomed;          /* goes when nothing runs */
    _Atomic bool is_stopped; /* bodies are to return; read without the baton */
    uint32_t running;        /* bodies */
};

/* ---- graph.c: what the program calls, beside include/manta/graph.h */
void graph_record(manta_function *function, const manta_options *options, const manta_slot *args,
                  manta_ref *ret_refs);
bool graph_is_result(const struct task *task);
/* Of a graph of this rank, which is no ref of anything else. */
bool graph_is_edge(const struct rank *rank, manta_ref ref);
void graph_peer_down(struct rank *rank, uint32_t dead);
void graph_fini(struct rank *rank);
struct graph_bytes *graph_bytes_create(const void *data, size_t bytes);
void graph_bytes_drop(struct graph_bytes *bytes); /* accepts NULL */

/* ---- conduct.c */
/* Does what can be done next. May free the graph. */
void conduct_advance(struct manta_graph *graph);
/* The record of one of a launch's refs was cancelled: all of the launch is. */
void conduct_cancel(struct rank *rank, struct task *task);
/* What the launch that a record is of does now, for a text. */
const char *conduct_phase(struct rank *rank, const struct task *task);
void conduct_peer_down(struct manta_graph *graph, uint32_t dead);
void conduct_free(struct manta_graph *graph);
void conduct_free_launch(struct manta_graph *graph, struct launch *launch);

/* ---- member.c */
/* An input for this rank itself. */
void member_set_input(struct rank *rank, const struct wire_header *about,
                      const struct graph_bytes *bytes);
/* Nodes have become ready, of which the caller, a worker, goes on with `own` itself. */
void member_show(struct rank *rank, struct member *member, uint32_t own);
/* Values of a node are passed on, the node is over, and what follows from that. */
void member_node_ended(struct rank *rank, struct member *member, struct part_ready of);
/* A body has failed; the error is consumed, NULL: memory is out. */
void member_node_failed(struct rank *rank, struct member *member, manta_error *error);
/* A body has returned, and its launch was stopped meanwhile. */
void member_went_quiet(struct rank *rank, struct member *member);
void member_peer_down(struct rank *rank, uint32_t dead);
void member_fini(struct rank *rank);

/* ---- leaf.c */
/* Runs some of the nodes that are ready. */
void leaf_run(struct worker *worker);
void *leaf_outv_alloc(manta_outv *out, size_t count);
static inline bool leaf_is_stopped(const struct member *member)
{
    return atomic_load_explicit(&member->is_stopped, memory_order_relaxed);
}

#endif
