/*
 * Private to the simulator: its state, and what its four files do for each other.
 *
 *   sim.c          events in virtual time, the loop, the trace
 *   sim_threads.c  virtual threads and the host they run on
 *   sim_net.c      ends, ways between them, arrival
 *   sim_faults.c   kills, stops, cuts, and who hears of them
 */
#ifndef COMM_SIM_WORLD_H
#define COMM_SIM_WORLD_H

#include "comm/ops.h"
#include "comm/sim.h"
#include "fiber/fiber.h"

enum sim_kind {
    SIM_TURN = 1, /* a thread goes on: a = thread */
    SIM_DEADLINE, /* a parked thread's: a = thread, b = which sleep */
    SIM_ARRIVAL,  /* the oldest message on a way: way */
    SIM_ROOM,     /* a full way has room again: way */
    SIM_DEATH,    /* rank a hears of rank b's death */
    SIM_JUDGE,    /* rank 0 looks whether rank a has been silent for too long */
    SIM_LINE_END, /* rank 0 sees the end of its line to rank a */
    SIM_FENCED,   /* rank a sees the end of its line to rank 0 */
    SIM_ALONE,    /* rank a looks whether rank 0 has been silent for too long */
    SIM_FORCE,    /* rank a's time to leave is over */
    SIM_HOOK,     /* a = hook */
};

struct sim_event {
    uint64_t time_ns, tie, serial; /* the order */
    enum sim_kind kind;
    uint32_t a, b;
    struct sim_way *way;
};

enum sim_state { SIM_READY, SIM_PARKED, SIM_JOINING, SIM_ENDED };

struct sim_thread {
    struct sim *sim;
    struct fiber *base;   /* its first stack */
    struct fiber *resume; /* where it goes on: base, or a fiber of its own making */
    void (*main)(void *);
    void *arg;
    uint32_t index, rank;
    enum sim_state state;
    bool got_token;
    uint32_t sleep; /* counts its parks, so that an old deadline is known as such */
    struct base_park *park;
    struct sim_thread *joiner;
    void *context; /* *switch_slot while it does not run */
};

struct sim_message {
    struct sim_message *next;
    struct sim_way *way;
    enum comm_frame frame;
    uint32_t bytes;
    struct comm_loan *loan; /* of one whose body is a struct comm_lent and its bytes; else NULL */
    struct wire_header header;
    uint8_t body[];
};

struct sim_queue {
    struct sim_message *first, *last;
};

/* One rank's view of a peer: the way to it. */
struct sim_way {
    struct comm_peer common;
    struct sim_rank *from, *to;
    struct sim_queue held;   /* committed, not flushed */
    struct sim_queue flying; /* flushed, not arrived */
    uint32_t in_flight;      /* committed, not delivered */
    bool dirty, waits;       /* since the last flush; the sender sleeps until there is room */
    uint64_t last_arrival_ns;
    struct sim_way *next_dirty, *next; /* next: of from's ways */
};

struct sim_rank {
    struct comm comm; /* first: the end is the rank */
    struct base_host host;
    struct sim *sim;
    uint32_t index;
    bool alive;   /* its threads run, now or when a stop is over */
    bool judged;  /* rank 0 has said that it is dead */
    bool leaving; /* it knows */
    uint32_t live_threads;
    uint64_t stopped_until_ns;
    uint64_t slow_until_ns, slow_ns; /* up to which time, by how much at most */
    uint32_t side;                   /* until cut_until_ns; 0: rank 0's */
    uint64_t cut_since_ns, cut_until_ns;
    uint64_t silent_since_ns;  /* meaningful while rank 0 hears nothing of it */
    uint64_t sends_until_ns;   /* what it has sent to other nodes has left by then */
    struct base_list returned; /* loans, not told */
    struct sim_queue inbox;    /* arrived, not delivered */
    struct sim_way *ways, *dirty;
    void *board; /* made when it is first asked for */
};

struct sim_hook {
    void (*call)(void *);
    void *arg;
};

struct sim {
    struct sim_options options;
    uint64_t random, now_ns, serial, hash, event_count;
    struct sim_event *heap;
    uint32_t heap_count, heap_capacity;
    struct sim_rank *ranks;
    struct sim_thread **threads;
    uint32_t thread_count, thread_capacity, live_threads; /* live: of living ranks */
    struct sim_hook *hooks;
    uint32_t hook_count, hook_capacity;
    uint32_t cuts; /* so far: each has a side of its own */
    struct fiber_pool *pool;
    struct fiber *outside; /* who called sim_run */
    struct sim_thread *current;
    void **switch_slot;
    bool out_of_memory; /* an event was lost; the run ends with MANTA_E_NOMEM */
};

/* sim.c */
void sim_push(struct sim *sim, uint64_t time_ns, enum sim_kind kind, uint32_t a, uint32_t b,
              struct sim_way *way);
uint64_t sim_between(struct sim *sim, uint64_t min, uint64_t max); /* inclusive */
uint64_t sim_random(struct sim *sim);
void sim_note(struct sim *sim, uint64_t word); /* into the trace's hash */
/* Doubles an array of `size`-byte elements. 0 or MANTA_E_NOMEM. */
int sim_grow(void *array, uint32_t *capacity, size_t size) MT_CHECKED;

/* sim_threads.c */
void sim_host_init(struct sim_rank *rank);
int sim_thread_create(struct sim_rank *rank, void (*main)(void *), void *arg,
                      struct sim_thread **ret_thread) MT_CHECKED;
void sim_thread_turn(struct sim *sim, struct sim_thread *thread);
void sim_thread_deadline(struct sim *sim, struct sim_thread *thread, uint32_t sleep);

/* sim_net.c */
int sim_end_init(struct sim_rank *rank) MT_CHECKED;
void sim_end_fini(struct sim_rank *rank);
void sim_arrive(struct sim *sim, struct sim_way *way);
void sim_room(struct sim *sim, struct sim_way *way);
void sim_rouse_rank(struct sim_rank *rank);
void sim_lose_messages(struct sim *sim, struct sim_rank *rank);

/* sim_faults.c */
uint64_t sim_apart_until(const struct sim *sim, const struct sim_rank *a, const struct sim_rank *b);
uint64_t sim_slowness(struct sim *sim, const struct sim_rank *rank); /* drawn; 0: it is not slow */
void sim_hear_death(struct sim *sim, struct sim_rank *survivor, uint32_t dead);
void sim_judge(struct sim *sim, struct sim_rank *rank);
void sim_see_line_end(struct sim *sim, struct sim_rank *gone);
void sim_hear_fence(struct sim *sim, struct sim_rank *rank);
void sim_miss_first(struct sim *sim, struct sim_rank *rank);

#endif
