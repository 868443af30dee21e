/*
 * A rank's part of a graph, and how it runs.
 *
 * All that is fixed is in flat arrays, laid out by plan_cut and read as they come (part_create).
 * Beside them is what a launch changes, allocated once: per node a counter of what it waits for and
 * per value its bytes, both PART_DEPTH times, for as many rounds may overlap; a ring of nodes that
 * are ready. A launch allocates nothing, but where a value of variable size outgrows its room.
 *
 * Rounds. Value v of round k lies in slot k % PART_DEPTH and is read by nodes of round k, or, fed,
 * of round k + 1. So that no slot is written while somebody may read it, a rank starts no node of
 * round k before it, and every rank that it sends values to, has finished all rounds below k -
 * PART_DEPTH + 2. How far the others are they say with each value that comes back from them, or,
 * when none does, in a message of its own (part_must_tell). Who is a round or two ahead never waits
 * for that; and whoever is last may always go on, so there is no deadlock: what a rank knows of
 * another is at most one round old, and PART_DEPTH is more than three.
 *
 * A value that another rank makes has slots here too, its mirror: it comes over once, however many
 * nodes read it. Inputs lie in their slot 0 for a whole launch.
 *
 * Nothing of a part is believed that memory depends on: rows lie one behind the other, each node
 * makes the next values, and who waits for what is worked out here, from what the nodes read. So of
 * any bytes that part_create accepts no body runs beside one that writes what it reads.
 *
 * Nothing here is thread-safe, sends, or calls user code.
 */
#ifndef GRAPH_PART_H
#define GRAPH_PART_H

#include "graph/plan.h"

#define PART_DEPTH 4u

/* ---- What is fixed, as it travels: a part_head, then the arrays in this order */

struct part_head {
    uint32_t nodes, values, binds, dests, downs, ups, args;
};

struct part_node {
    uint32_t function;         /* its hash */
    uint32_t number;           /* in the graph */
    uint32_t need, need_first; /* made here: what it waits for; in the first round */
    uint32_t first_bind, binds, first_value, values, first_arg;
    char name[28]; /* may be cut off; empty: the function's */
};

struct part_value {
    uint32_t bytes; /* that it has at least; its room at first */
    uint32_t output;
    uint32_t first_next, nexts;   /* made here: nodes that read it in its round */
    uint32_t first_later, laters; /* made here: in the next one */
    uint32_t first_dest, dests;
};

/* A value's mirror on another rank. `down` says which of part.downs that is. */
struct part_dest {
    uint32_t down, index;
};

/* ---- What runs */

struct part_slot {
    void *data; /* 16-aligned; room bytes */
    uint32_t bytes, room;
    uint32_t came; /* of one that is made elsewhere: the round it last came for, plus 1; 0: none */
    bool is_own;   /* allocated apart, because it had outgrown its place in the arena */
    bool is_input;
};

struct part_ready {
    uint32_t node, round;
};

struct part {
    struct part_head head;
    struct part_node *nodes;
    struct part_value *values; /* first those that are made here */
    const struct plan_bind *binds;
    const struct part_dest *dests;
    const uint32_t *downs, *ups; /* ranks it sends values to, and gets some from, rising */
    const uint8_t *args;
    manta_function **functions; /* by node */
    uint32_t *nexts;            /* nodes, by value that they wait for */
    uint32_t made;              /* values */

    uint32_t rounds;                        /* of the launch; 0: it has not begun here yet */
    uint32_t done;                          /* rounds below are finished here */
    uint32_t open;                          /* rounds below may run */
    bool has_sources;                       /* nodes that wait for nothing in any round */
    uint32_t left[PART_DEPTH];              /* nodes by round that have not ended */
    uint32_t *missing;                      /* by node and round */
    struct part_slot *slots;                /* by value and round */
    uint32_t *down_done;                    /* by down: the rounds below which it has finished */
    uint32_t *up_told;                      /* by up: what it was told of ours */
    uint32_t *up_of_down;                   /* the same rank's; PLAN_NONE: nothing comes from it */
    uint32_t *held, held_first[PART_DEPTH]; /* ready, but in rounds that are not open: lists */
    struct part_ready *ready;
    uint32_t ready_mask, ready_head, ready_tail;
    void *block, *arena;
};

/* `find` gives the function of a hash, NULL: none. MANTA_OK, MANTA_E_NOMEM, MANTA_E_TYPE (the
 * bytes are no part), MANTA_E_VERSION (a function is not known here). */
int part_create(const void *bytes, size_t size, manta_function *(*find)(uint32_t hash),
                struct part **ret_part) MT_CHECKED;
void part_destroy(struct part *part); /* accepts NULL */

/* Another launch: forgets the one before, of which nothing runs any more. */
void part_begin(struct part *part);
/* Its inputs are here: from now on nodes get ready. */
void part_start(struct part *part, uint32_t rounds);

static inline bool part_is_ready(const struct part *part)
{
    return part->ready_head != part->ready_tail;
}
/* The next node that is ready; there must be one. */
struct part_ready part_take(struct part *part);

static inline struct part_slot *part_slot(const struct part *part, uint32_t value, uint32_t round)
{
    return &part->slots[(size_t)value * PART_DEPTH + round % PART_DEPTH];
}
/* Room for `bytes` in a slot; what was in it is lost. False: memory is out. */
bool part_slot_reserve(struct part_slot *slot, uint32_t bytes);

/* The slot that a bound parameter reads: of another round or another value, if it is an input. */
const struct part_slot *part_source(const struct part *part, const struct plan_bind *bind,
                                    uint32_t round);

/* Whether another rank may put a value of this round into its slot: it is made elsewhere, may be of
 * use now, and has not come yet; from now on it has. So nobody reads a slot that is written,
 * whatever other ranks say. */
static inline bool part_admit(struct part *part, uint32_t value, uint32_t round)
{
    if (value < part->made || value >= part->head.values || round + 1 - part->done >= PART_DEPTH) {
        return false;
    }
    struct part_slot *slot = part_slot(part, value, round);
    if (slot->came == round + 1 || (slot->is_input && round)) {
        return false;
    }
    slot->came = round + 1;
    return true;
}

/* A value of this round is in its slot: who reads it here has one thing less to wait for. */
void part_arrived(struct part *part, uint32_t value, uint32_t round);
/* All of a node's values are: those who read them, and rounds that are finished by that. True: some
 * are. */
bool part_ended(struct part *part, struct part_ready of);
/* The rank `from`, to which values may go, has finished the rounds below `done`. */
void part_down_done(struct part *part, uint32_t from, uint32_t done);
/* A value goes to this down, with part->done. */
static inline void part_tells(struct part *part, uint32_t down)
{
    if (part->up_of_down[down] != PLAN_NONE) {
        part->up_told[part->up_of_down[down]] = part->done;
    }
}
/* Whether the rank of ups[up] has to be told of part->done in a message of its own. */
bool part_must_tell(const struct part *part, uint32_t up);

static inline bool part_is_over(const struct part *part)
{
    return part->rounds && part->done == part->rounds;
}

#endif
