/*
 * graph: recorded graphs, without ranks, messages or threads.
 *
 * Two halves. A *plan* is what the program records: nodes, the values that they make and read, what
 * is fed to the next round, what is given out; it is checked as it grows and kept by the rank that
 * made it. Cutting (cut.c) places the nodes and makes a *part* of it for each rank: flat arrays in
 * one block of bytes, which travel as they are. A part (part.h) is also what runs: counters,
 * values and a queue of ready nodes. Core (core/graph.h) brings parts to ranks, carries values
 * between them, calls the bodies and deals with deaths; all decisions about data are here, and are
 * tested without it.
 *
 * A *value* is one output of a node, or an input of the graph. An edge names a value, and since an
 * edge must exist before it is used, a plan has no cycles; only a feed goes back, to the next
 * round.
 */
#ifndef GRAPH_PLAN_H
#define GRAPH_PLAN_H

#include "base/compiler.h"

#include <manta/graph.h>
#include <stdbool.h>

#define PLAN_NONE UINT32_MAX
#define PLAN_TEXT_MAX 256
#define PLAN_NODES_MAX (1u << 26)

enum plan_bind_kind {
    BIND_VAL = 1, /* bytes of the node's arguments */
    BIND_NULL,    /* a text that was NULL */
    BIND_IN,      /* a value of this round */
    BIND_INPUT,   /* an input; if it is fed, in later rounds what it is fed with */
    BIND_OUT,     /* a value of this node, of fixed size */
    BIND_OUTV,    /* of a size that the body says */
    BIND_INOUT,   /* two in a row: this one like BIND_IN, or _INOUT_INPUT like BIND_INPUT, */
    BIND_INOUT_INPUT,
    BIND_COPY, /* then the node's value that is a copy of it */
};

/* One parameter of one node; in a plan `value` is the plan's index, in a part the part's. */
struct plan_bind {
    uint16_t param, kind;
    uint32_t value;   /* BIND_VAL: where its bytes are */
    uint32_t feed;    /* BIND_INPUT: the value that comes later, or PLAN_NONE */
    uint32_t element; /* bytes of one, as the body counts them */
    uint32_t count;   /* BIND_VAL: of elements */
};

/* A value of the same round is waited for. */
static inline bool plan_is_edge(const struct plan_bind *bind)
{
    return bind->kind == BIND_IN || bind->kind == BIND_INOUT;
}

static inline bool plan_is_input(const struct plan_bind *bind)
{
    return bind->kind == BIND_INPUT || bind->kind == BIND_INOUT_INPUT;
}

/* From the second round on the value that it is fed with is waited for. */
static inline bool plan_is_fed(const struct plan_bind *bind)
{
    return plan_is_input(bind) && bind->feed != PLAN_NONE;
}

struct plan_node {
    manta_function *function;
    char *name; /* NULL: the function's */
    uint32_t rank;
    uint32_t first_bind, binds, first_value, values;
    uint32_t first_arg, args; /* bytes */
};

struct plan_value {
    uint32_t node;            /* PLAN_NONE: an input */
    uint32_t bytes;           /* fixed; 0: any */
    const manta_param *param; /* NULL: of an input, or of a node without outputs */
    uint32_t feed;            /* of an input: the value that follows it */
    uint32_t output;          /* its number, or PLAN_NONE */
    bool is_fixed;
};

struct plan {
    uint64_t id; /* of its edges' refs */
    uint32_t owner, ranks;
    manta_pattern pattern;
    struct plan_node *nodes;
    struct plan_value *values;
    struct plan_bind *binds;
    uint8_t *args;
    size_t node_count, value_count, bind_count, args_bytes;
    size_t node_room, value_room, bind_room, args_room;
    uint32_t output_count, input_count;
    int code; /* of the first mistake */
    char text[PLAN_TEXT_MAX];
};

void plan_init(struct plan *plan, uint64_t id, uint32_t owner, uint32_t ranks,
               manta_pattern pattern);
void plan_fini(struct plan *plan);

/* Records a call as manta_submit is given it; ret_refs gets edges, or zeros after a mistake, which
 * the plan keeps. */
void plan_add(struct plan *plan, manta_function *function, const manta_options *options,
              const manta_slot *args, manta_ref *ret_refs);
manta_ref plan_input(struct plan *plan, size_t bytes);
void plan_feed(struct plan *plan, manta_ref from, manta_ref input);
void plan_output(struct plan *plan, manta_ref edge);
/* What only the end can tell. The plan's code. */
int plan_check(struct plan *plan);

/* The value that an edge names; PLAN_NONE: none of this plan. */
uint32_t plan_value_of(const struct plan *plan, manta_ref edge);
/* "node 3 (relax)". Returns text. */
const char *plan_node_text(const struct plan *plan, uint32_t node, char *text, size_t size);

/* Where an input's value is wanted. */
struct plan_use {
    uint32_t value, rank, index;
};

/* All parts of a plan. */
struct plan_cut {
    uint32_t *rank_of; /* by node */
    uint8_t **parts;   /* by rank; NULL: it has nothing to do */
    size_t *part_bytes;
    struct plan_use *inputs;
    size_t input_count;
    uint32_t ranks;
};

/* `down`, by rank: 1 for those that get nothing; `hash` names functions to other ranks. MANTA_OK,
 * MANTA_E_NOMEM. */
int plan_cut(const struct plan *plan, const uint8_t *down,
             uint32_t (*hash)(const manta_function *function), struct plan_cut *ret_cut) MT_CHECKED;
void plan_cut_fini(struct plan_cut *cut);

/* *array has room for `count` elements of `size` bytes afterwards; false: memory is out. */
bool plan_grow(void *array, size_t *room, size_t count, size_t size);

#endif
