/*
 * The state of a rank, private to core.
 *
 * A task is seen from two sides. Its owner, the rank that runs the parent, keeps a
 * `struct task`: identity, arguments, state, who holds it, its value in the end. The
 * rank that executes it has a `struct run`: the arguments as the body reads them, the
 * worker, the scope of what the body itself submits. When both are the same rank the
 * run points into the task's bytes; otherwise a TASK message carries them over and a
 * RESULT message comes back. The walk is
 *
 *   submit (task.c) -> dispatch (dispatch.c) -> TASK -> run (exec.c) -> RESULT ->
 *   complete (task.c) -> watchers: dependents, waiters, queues, other ranks
 *
 * Everything here is guarded by the rank's baton (baton.h) unless a field says
 * otherwise. Handlers and completions never run user code and never wait, so the baton
 * is held for well under a microsecond at a time, except after a death.
 *
 * A ref that lives on another rank is a `struct borrow` here. task and borrow share
 * `struct object`: watchers, holds, code and value. An object is freed when it is done
 * and its holds are zero; a hold is one of: the scope that made or got it, execution
 * not finished, a task that has it as argument, a value it is inside of, a queue, a
 * remote holder. A task whose children live on another rank keeps its record, but not its
 * value, beyond the last hold (lineage).
 */
#ifndef CORE_RANK_H
#define CORE_RANK_H

#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slab.h"
#include "base/spares.h"
#include "base/timeline.h"
#include "core/baton.h"
#include "core/core.h"
#include "fiber/fiber.h"
#include "sched/policy.h"
#include "wire/wire.h"

#define CORE_SMALL_BYTES 48
#define CORE_BORROWED_BYTES 64 /* of a value that lies in the record of a borrow */
#define CORE_PRIORITIES 16
#define PACK_SPARE_BYTES 192 /* blocks for arguments of up to so many bytes are used again */
#define PACK_SPARE_STEP 64
#define CORE_DELAYS 10

struct copy;
struct fetched;
struct inbox;
struct manta_source;
struct room;
struct spill;
struct start;
struct stream;
struct view;
struct rank;
struct worker;
struct run;
struct task;
struct body;
struct borrow;
struct scope;
struct map;

/* ---- Values --------------------------------------------------------------------------------- */

/* Where the bytes of a large output are: in a block of a rank's share of its node's store. */
struct location {
    uint64_t parent;   /* with the position: what the block says it is */
    uint32_t position; /* of the output */
    uint32_t rank;     /* whose share */
    uint64_t offset, bytes;
};

/* One output, or the value of a ref. */
struct content {
    const void *data; /* NULL: on another node */
    uint64_t bytes;
    bool is_refs, is_typed;       /* typed: see layout.h */
    const struct location *place; /* NULL: the bytes travel with whatever they belong to */
};

/* The outputs of one task, or one output of it at a borrower. Shared by reference; immutable. */
struct value {
    uint32_t sharers;
    uint16_t outputs;
    uint16_t ref_outputs;    /* how many of them are arrays of refs */
    uint16_t stored_outputs; /* how many are in a store */
    uint8_t owns_blocks;     /* these lie in this rank's share, and are freed with it */
    uint8_t is_spare;        /* goes back to rank->spare_values */
    struct output {
        const void *data; /* into what follows, or into a store; NULL: on another node */
        uint64_t bytes;
        bool is_refs, is_stored, is_typed;
        bool is_moved;         /* its block is another value's now, and changed */
        bool is_claimed;       /* with the heir of the share it lies in: see heirs.h */
        struct location place; /* of a stored one */
        struct copy *copy;     /* of one on another node, once it is here; data is the copy's */
    } output[];                /* then the data of those that are not, 16-aligned */
};

/* ---- Objects -------------------------------------------------------------------------------- */

enum watch_kind { WATCH_INPUT, WATCH_WAITER, WATCH_REMOTE, WATCH_QUEUE };

/* One who wants to know when an object is done. */
struct watch {
    struct watch *next;
    enum watch_kind kind;
    uint32_t peer;     /* WATCH_REMOTE: who asked */
    uint32_t position; /* WATCH_REMOTE, of the output; WATCH_WAITER: index in the wait */
    void *target;      /* task, waiter or queue entry */
};

enum object_kind { OBJECT_TASK = 1, OBJECT_BORROW, OBJECT_MAP };

struct object {
    union {
        struct watch *watchers;
        struct object *dying; /* when it is over: the next to be freed */
    };
    struct value *value; /* NULL: not done, failed, or small */
    manta_error *error;  /* of a failed one; NULL: the code says it all */
    int32_t holds;
    int32_t code; /* when done */
    uint8_t kind; /* enum object_kind */
    uint8_t is_done;
    uint8_t small_bytes;  /* the value is in the record's small area */
    uint8_t is_stream;    /* of a task: see stream.h */
    uint32_t scope_holds; /* of its holds, those in lists of scopes */
};

enum task_state { TASK_WAITING, TASK_PENDING, TASK_SENT, TASK_DONE };

enum task_flag {
    TASK_HELD = 1,    /* the scope that made it holds it */
    TASK_LINEAGE = 2, /* done, but living children may need it re-run */
    TASK_RERUN = 4,   /* being re-run for its children only */
    TASK_PINNED = 8,  /* to one rank */
    TASK_RETRY_ERRORS = 16,
    TASK_CANCELLED = 32,
    TASK_IS_MAP = 64,
    TASK_DIVERGED = 128,
    TASK_NO_PINS = 256,   /* its arguments' refs are not (or no more) held by it */
    TASK_ONCE = 512,      /* may not run twice (MANTA_NO_RETRY) */
    TASK_NEAR = 1024,     /* pending: exec_rank is where it would rather run (near.h) */
    TASK_STOPPING = 2048, /* cancelled; its runner, or children of that run, may still be at it */
    TASK_NEEDED = 4096,   /* its record is held for what was made from its value: see lineage.h */
    TASK_BEGUN = 8192,    /* sent, and its runner has said that the body begins: see board.h */
    TASK_MOVED = 16384,   /* the node of exec_rank had no room for its arguments: see near.h */
};

struct remote_holder {
    struct remote_holder *next;
    uint32_t rank, position;
    uint32_t added, dropped; /* highest instances; it holds while added > dropped */
};

/* How a task runs that runs outside of this process; it travels with its options. */
struct outside_terms {
    uint64_t memory_bytes;
    uint16_t cpus;
    uint8_t kind;         /* enum outside_kind; 0: it runs on a worker */
    uint8_t retries_left; /* at its owner, when it was sent */
    uint32_t unused;
};

/* Rare things about a task. */
struct task_extra {
    struct outside_terms outside;
    struct remote_holder *holders;
    uint64_t timeout_ns;
    char name[MANTA_ERROR_NAME_MAX];
    uint32_t diverged_function; /* what the lost run had submitted here */
    uint32_t unacked;           /* refs in the value whose owners have not acknowledged us */
    uint32_t release_rank, release_token; /* who keeps the result until then */
    uint64_t due_ns;                      /* in rank->later: when it is pending again */
    struct lineage *lineage;              /* of a done one: see lineage.h */
    uint32_t lineage_holds;               /* of others, on the record and not on its value */
    struct value *aside;                  /* an earlier value whose copies may be in use */
    struct stream *stream;                /* of a task that yields */
};

/*
 * The owner's record of a task. 256 bytes: test_sizes holds it. What every task's way touches is in
 * the first two cache lines; short arguments and a small value share the last two.
 */
struct task {
    struct object object;
    struct base_list link; /* pending queue, or the peer's list of sent ones */
    uint64_t parent;
    uint32_t position;
    uint32_t index; /* in the slab; the token others send back */
    manta_function *function;
    struct scope *scope; /* the parent's */
    uint8_t state, attempt;
    int8_t retries_left, priority;
    uint16_t flags;        /* enum task_flag */
    uint16_t outputs : 4;  /* positions it takes */
    uint16_t dropped : 12; /* outputs whose refs the scope has dropped; all: then TASK_HELD goes */
    uint32_t args_bytes;
    uint32_t inputs_missing;
    uint32_t exec_rank;
    uint32_t exec_token;      /* the runner's handle; 0: not known */
    uint8_t *args;            /* packed; NULL: in small */
    struct task_extra *extra; /* NULL for most */
    struct run *run;          /* when it runs here */
    struct map *map;          /* TASK_IS_MAP */
    uint32_t lost_on;         /* attempt > 1: the rank whose death ended the last */
    uint8_t MT_ALIGNED(16) small[2 * CORE_SMALL_BYTES]; /* arguments first, then the value */
};

/* A ref whose owner is another rank. */
struct borrow {
    struct object object;
    manta_ref ref;
    uint32_t instance;       /* our number for it at the owner */
    uint8_t is_registered;   /* the owner knows us, or is being told */
    uint8_t is_acknowledged; /* it has said so, to ourselves */
    uint8_t is_requested;    /* the value was asked for, or is to be: enum request_state */
    uint8_t is_redirected;   /* its first owner died */
    uint8_t is_looking;      /* asking the home who owns it now */
    uint32_t acks_missing;   /* of registrations */
    uint32_t held_at;        /* where it is in the list of the scope that took it last */
    struct base_list guards; /* of struct guard, waiting for them */
    struct base_list request;
    uint8_t requests; /* what its owner, in whose list it is, is to be told; see request.h */
    uint8_t MT_ALIGNED(16) small[CORE_BORROWED_BYTES];
};

/* Something that must stay held until the owner has acknowledged a registration. */
struct guard {
    struct base_list link;
    struct object *object;     /* dropped then; or NULL and: */
    uint32_t task_index;       /* its result may be released at the runner */
    uint32_t settles;          /* 1: counts for the settling of a death */
    uint32_t holder, instance; /* not 0: of another rank that holds the object, a borrow; the owner
                                  hears it then */
};

/* ---- Scopes --------------------------------------------------------------------------------- */

#define SCOPE_PAGE 256

struct scope_hold {
    manta_ref ref;
    struct object *object;
};

struct scope_page {
    uint32_t live;
    uint32_t task[SCOPE_PAGE];
};

/* An owner of the run that keeps its record for the children's sake. */
struct scope_owner {
    struct scope_owner *next;
    uint32_t rank, token;
};

/* What one run, or a rank's root, has submitted and holds. */
struct scope {
    uint64_t id;
    struct run *run; /* NULL: root, or ended */
    uint32_t owner;  /* of the run: who hears that the children are gone */
    uint32_t owner_token;
    struct scope_owner *others; /* who were told that children live, and own it no more */
    uint64_t run_parent;
    uint32_t run_position;
    struct base_list roots; /* a root: link in rank->roots */
    uint32_t next_position;
    uint32_t children; /* records alive */
    uint32_t page_count;
    struct scope_page **pages; /* task index by position */
    struct scope_hold *holds;  /* refs of others it holds */
    uint32_t hold_count, hold_capacity;
    uint32_t *blocks; /* manta_scope_begin marks: pairs of position, hold_count */
    uint32_t block_count, block_capacity;
    uint32_t views;      /* open ones */
    struct view *pinned; /* of these, the ones of values in the store: see pin.h */
    struct base_list maps;
    struct base_list offers; /* of runs found after a take-over */
    struct base_list
        refused; /* of them, those whose task runs elsewhere: they stop when it is done */
    struct base_list lookups; /* holders waiting for positions not yet submitted */
    struct inbox *inboxes;    /* of streams it reads */
    uint8_t is_root, is_ended, is_mapped, is_taken_over;
    uint8_t
        may_be_borrowed; /* what it submits here may have been borrowed before from another owner */
    uint32_t lost_on;    /* taken over: whose death made that necessary */
    uint32_t deaths;     /* and how many the owner had heard of */
    uint8_t told_owner;  /* the RESULT said that children live */
    uint8_t has_run;     /* to the end of its body: no further position will come */
    uint8_t is_spoiled;  /* its run was stopped while nobody wanted it, its children with it */
    uint32_t home;       /* where it is registered, when taken over */
    uint32_t number;     /* of that registration */
};

/* ---- Runs ----------------------------------------------------------------------------------- */

enum run_state { RUN_QUEUED, RUN_REGISTERING, RUN_FETCHING, RUN_RUNNING, RUN_PARKED, RUN_FINISHED };

struct run {
    struct base_list link;  /* ready queue, worker's resumable, orphans */
    struct base_list owned; /* in the owner peer's list of runs */
    manta_function *function;
    uint64_t id, parent;
    uint32_t position, index;
    uint32_t owner, token;
    struct task *task; /* when the owner is this rank */
    struct task
        *lender; /* held, because the body reads its arguments after its end; NULL for most */
    struct scope *scope;
    uint8_t *args; /* resolved; NULL: args_small */
    uint32_t args_bytes;
    uint8_t state, attempt;
    int8_t priority;
    uint8_t is_orphan;         /* its owner died; offered at the home */
    _Atomic uint8_t cancelled; /* read by the body without the baton */
    uint8_t args_borrowed;     /* args belong to the task or a map */
    uint8_t parent_is_root;
    uint8_t is_pinned;   /* its owner wants it here and nowhere else */
    uint8_t is_retained; /* finished, kept for the owner's release */
    uint64_t timeout_ns, deadline_ns;
    uint64_t map_begin, map_count, map_index; /* a lease of a map; count 0: a single task */
    struct worker *worker;
    struct fiber *fiber;      /* where it is parked */
    struct context *context;  /* of the body, in its stack */
    uint64_t digest;          /* of what was submitted; 0: by a root */
    uint32_t lost_on, deaths; /* of one that may have run before: see struct message_again */
    uint8_t is_credited;      /* its owner has its place back already */
    uint8_t is_dismissed;     /* an orphan nobody will adopt */
    uint8_t is_spoiled;       /* and asked to stop: what it yields is nobody's result */
    struct value *result;     /* a finished one that is kept */
    manta_error *error;       /* filled by manta_fail */
    int32_t code;
    uint32_t offered_to;     /* home the offer went to */
    uint8_t is_lost;         /* it failed for reasons of the system: its owner may place it again */
    uint8_t is_moved;        /* from a node that had no room for its arguments */
    uint8_t is_again;        /* it, or its parent, may have run before */
    uint8_t is_watched;      /* its owner wants to know when it begins: see board.h */
    uint8_t is_follower;     /* waits for an earlier run of a stream to go */
    uint8_t is_rich;         /* some value among its arguments is in a store, or refs */
    uint8_t has_stored;      /* some is in a store */
    uint8_t has_more;        /* of what follows, or is_follower */
    uint16_t claims;         /* bit by argument: claimed, see heirs.h */
    struct outside *outside; /* in a process of its own; NULL: on a worker */
    uint32_t fetches_missing; /* copies it waits for: see fetch.h */
    struct fetched *fetched;
    struct start *start; /* its arguments in the store, from when it might start: see pin.h */
    struct body *typed;  /* running, with arguments that have layouts; NULL for most */
    struct manta_source *source; /* what it yields */
    char name[MANTA_ERROR_NAME_MAX];
    uint8_t MT_ALIGNED(16) args_small[CORE_SMALL_BYTES];
    uint8_t
        MT_ALIGNED(16) small[CORE_SMALL_BYTES]; /* the result of a function with one small output */
};

/* ---- Peers and workers ---------------------------------------------------------------------- */

/* Those that run on workers and those that run in processes of their own (outside.h) have places
 * apart at a rank, and queues apart at their owner: neither keeps the other waiting. */
enum lane { LANE_WORKERS, LANE_OUTSIDE, LANES };

struct peer {
    struct sched_window window[LANES];
    struct base_list sent;          /* tasks it executes */
    struct base_list lineage;       /* done tasks whose children it owns */
    struct base_list stopping;      /* cancelled tasks that it has not said are over */
    struct base_list runs;          /* runs here that it owns */
    struct base_list pinned[LANES]; /* tasks waiting for a place there and nowhere else */
    struct base_list hungry[LANES]; /* links in rank->hungry while it has room */
    struct base_list link;          /* in rank->peer_list */
    uint32_t number;
    struct base_list batching; /* link in rank->batching while there is something of this: */
    struct base_list requests; /* of struct borrow: see request.h */
    uint32_t request_count;
    uint32_t release_count;
    uint32_t release[14]; /* tokens of results it need not keep any more */
};

/* Where one thread of a rank sleeps: at its park, or, as the rank's sentinel, at comm's bell. */
struct sleeper {
    struct base_park park;
    struct base_list idle; /* link in rank->idle: a worker that may be woken for work */
    uint8_t is_sentinel, is_worker;
    uint8_t is_asleep, is_woken; /* a wake before the sleep is remembered */
    uint64_t sleeps;             /* how often it did */
};

/* What a thread is doing, for API calls: found through a thread-local slot. One per run, kept in
 * its stack. */
struct context {
    struct rank *rank;
    struct worker *worker; /* NULL: driver or foreign thread */
    struct run *run;       /* NULL: driver or foreign thread, whose scope is: */
    struct scope *root;
    struct sleeper *sleeper;
    struct waiter *waiter; /* of the wait it is in, or was last */
    struct run *inner;     /* started on top of this one's stack, while it waits */
    struct context *outer; /* of the body this one was started from, while that one waits for it */
    struct member *leaf;   /* of a recorded task: its graph here; NULL for all others (leaf.c) */
    manta_error last_error;
};

#define WORKER_SPARES 8

/* What a worker is in: see board.h. */
struct board_slot {
    _Atomic uint64_t parent; /* 0: nothing */
    _Atomic uint32_t position, function;
    _Atomic uint64_t index; /* of a map */
    uint64_t unused[5];
};

struct worker {
    struct rank *rank;
    struct base_thread thread;
    struct sleeper sleeper;
    uint32_t number;
    struct fiber *base;                      /* the thread's own stack */
    struct base_list resumable;              /* runs to go on with */
    struct base_list timed;                  /* waiters with a deadline */
    struct fiber *spares[WORKER_SPARES + 1]; /* scheduling loops put aside, base's included */
    uint32_t spare_count;
    struct fiber *dead; /* a stack to give back after a switch */
    struct run *leaf;   /* stands for the recorded tasks that it runs; NULL: none yet */
    uint8_t is_graph_next;
    struct board_slot *slot;
    struct board_slot unread_slot; /* where nobody could read it */
};

/* What runs outside: see outside.h. */
struct outside_room {
    const struct core_processes *processes; /* NULL: none can be started here */
    struct base_list queued;                /* runs, by priority */
    struct base_list running;               /* of struct outside, the oldest first */
    uint32_t cpus, cpus_used;
    uint64_t serial; /* of the latest start */
};

/* See heirs.h. */
struct heirs {
    struct base_map claims;    /* (place, share) -> how many here name it */
    struct base_map heirlooms; /* of shares that this rank serves */
    struct heir_peer *peers;   /* by rank; NULL: nobody has died */
    uint32_t deaths_needed;    /* to be known here before anything is freed */
};

/* See graph.h. */
struct member;
struct graph_room {
    struct base_map members; /* parts of graphs here, by id */
    struct member *last;     /* that a message was about */
    struct base_list ready;  /* members with nodes to run */
    struct base_list owned;  /* graphs of this rank */
    uint64_t serial;         /* of the latest of them */
    uint32_t running;        /* members that are in a launch */
};

struct home;
struct start_hook;

struct rank {
    const struct base_host *host;
    struct comm *comm;
    uint32_t number, size;
    struct core_options options;
    struct baton baton;
    struct base_timeline_track *tracks; /* NULL: no timeline; else a worker's each, and one more */

    struct base_slab tasks, runs;
    struct base_spares spare_borrows, spare_guards, spare_extras, spare_holders, spare_values,
        spare_watches;
    struct base_spares spare_blocks[PACK_SPARE_BYTES / PACK_SPARE_STEP]; /* by size: see pack.h */
    struct base_map scopes;         /* id -> scope, those with children */
    struct base_map borrows;        /* (parent, position) -> borrow */
    struct base_map homes;          /* id -> home record */
    struct base_map copies;         /* of values of other nodes that are read here, by ref */
    struct base_map replicas;       /* those kept here for all ranks of the node, by ref */
    struct base_list gone_replicas; /* with chunks under way that land in them, or are read */
    uint64_t loans;                 /* chunks lent to comm */
    struct base_list idle_replicas; /* read by nobody; the longest unread first */
    uint64_t idle_replica_bytes;
    struct base_list idle_copies; /* kept by values, and not read: the longest unread first */
    uint64_t idle_copy_bytes;
    struct base_list unfetched; /* runs whose copies are not asked for yet: see fetch.h */
    uint64_t ahead_bytes;       /* of copies asked for by runs that have not started */
    struct base_map spreads;    /* who fetches values of this share, by place */
    uint32_t wants;             /* the latest's token */
    uint32_t *node_next;        /* by rank: the next of its node, in a ring; NULL: not asked yet */
    struct base_map inboxes;    /* of streams that are read here, by ref */
    struct base_map pins;       /* what is read here in place: see pin.h */
    uint64_t pinned_bytes;      /* of it */
    struct base_list starting;  /* tasks whose arguments do not fit yet */
    struct spill *spill;        /* NULL, as room: there is no store */
    struct room *room;
    struct base_list tables;        /* being gathered: see table.h */
    uint32_t table_serial;          /* of the latest */
    uint32_t squeezed;              /* bodies that wait for bytes or for room: see room.h */
    uint64_t squeezed_ns;           /* when that last changed */
    struct scope root;              /* of the driver; threads beyond the first have their own: */
    struct base_list roots;         /* all root scopes */
    uint32_t root_serial;           /* of the latest */
    struct peer **peers;            /* by rank, made on first contact */
    uint32_t next_unknown[LANES];   /* ranks below it were considered for work */
    struct base_list hungry[LANES]; /* peers with room for tasks */
    struct base_list pending[LANES][CORE_PRIORITIES]; /* tasks to be dispatched */
    uint32_t pending_mask[LANES];
    uint32_t pending_count, pinned_count;    /* of both lanes */
    struct base_list doomed;                 /* tasks with a failed input */
    struct base_list later[CORE_DELAYS];     /* tasks to be pending again: see later.h */
    uint32_t later_mask;                     /* lists that may hold some */
    struct base_list ready[CORE_PRIORITIES]; /* runs to be started */
    uint32_t ready_mask, ready_count;
    struct outside_room outside;

    struct object *dying; /* to be freed */
    uint8_t is_reaping;

    struct worker *workers;
    uint32_t worker_count;
    struct base_list idle; /* sleepers of workers that wait for work */
    struct fiber_pool *stacks;
    uint32_t parked_count;
    struct base_list parked; /* runs that wait on stacks put aside */

    struct base_thread ticker;
    struct sleeper ticker_sleeper;
    uint8_t is_ticker_asleep, has_sentinel;
    const struct sleeper *spinner; /* who polls; NULL: nobody for long */
    _Atomic uint64_t turns;        /* of progress; read outside too, for signs of life */
    uint64_t spin_ns;              /* how long a waiter polls before it sleeps */

    uint32_t next_instance;
    uint32_t registrations;   /* the number of the latest */
    uint32_t settles_missing; /* registrations on the way because of deaths */
    struct borrow **limbo;    /* scratch of recovery */
    uint32_t limbo_count;
    struct base_list maps;     /* all of ours */
    struct base_list drafts;   /* values under construction, the latest first: see put.h */
    uint64_t draft_serial;     /* of the latest */
    struct base_list queues;   /* completion queues of this rank's threads and bodies */
    struct base_list orphans;  /* runs whose owner died */
    struct base_list given_up; /* ids that this rank has said will not run again */
    struct base_list streams;  /* of our tasks that yield */
    struct base_list sources;  /* of runs here that yield */
    _Atomic uint32_t ticks;    /* of the ticker; read without the baton */
    uint64_t values_live, maps_live, homes_live, scopes_live;
    struct core_stats stats;
    uint64_t unfinished;        /* tasks of ours that are not done */
    struct base_list throttled; /* submitters waiting for room */
    struct base_list batching;  /* peers to which the next flush has requests or releases to send */
    struct base_list released;  /* runs of this rank, for itself */
    struct base_list peer_list; /* all known peers */
    struct base_list graced;    /* tasks kept until all survivors had time to claim them */
    struct base_list settling;  /* deaths not yet acknowledged by all (rank 0), or by us */
    struct heirs heirs;
    struct graph_room graphs;
    struct base_list lineages; /* of done tasks, the oldest first */
    uint64_t lineage_bytes;
    uint8_t has_losses;   /* a value that was done had to be waited for again */
    uint8_t has_failures; /* a ref has failed */
    uint64_t started_ns;

    /* shutdown */
    uint8_t is_finishing, is_stopped;
    _Atomic uint8_t is_aborted; /* core_stop was called; read by bodies without the baton */
    int exit_code;
    struct sleeper *finisher; /* who waits in core_finish */
    struct base_list
        resting; /* sleepers of threads that are no workers, while they sleep at their parks */
    struct quiet {
        uint64_t round, sent, received, retried, adopted, relaunched;
        uint32_t asked, answers, deaths;
        uint8_t busy;
    } quiet;
    uint64_t counted_sent, counted_received; /* messages that the quiet rounds count */
    uint8_t *down;                           /* by rank */
    uint32_t deaths;                         /* how many are */
    uint32_t submits_since_turn;
    uint8_t has_ticker;
    uint8_t has_taken_over; /* a run here was one of those that run again */
    uint8_t has_moved;      /* a rank has died, or a ref has another owner than it had first */
};

/* The lowest rank on its node, which may be dead. */
static inline uint32_t rank_node(const struct rank *rank, uint32_t of)
{
    return rank->options.nodes ? rank->options.nodes[of] : 0;
}

#endif
