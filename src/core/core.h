/*
 * core: one rank of a running program. The room's face for whoever starts ranks: the
 * launcher (launch/process.c) on real processes, tests on simulated ones.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "base/host.h"
#include "base/log.h"
#include "comm/comm.h"
#include "spawn/spawn.h"

#include <manta/manta.h>

struct base_timeline;
struct base_timeline_name;
struct rank;
struct store;

/*
 * What starts processes for this rank (launch/processes.c; a pretended one in the simulator). It
 * has a thread, begun at the first wake. All is called with the baton held and must not call back
 * from inside; `command` and `isolated` from core_outside_turn alone. What they accept ends in one
 * call of done's `ended`, on that thread, without the baton; MANTA_E_AGAIN: not now, the next turn
 * asks again.
 */
struct core_processes {
    /* core_outside_turn is to be called soon, of this rank, ever the same. MANTA_OK, or a code when
     * there is no thread. */
    int (*wake)(void *self, struct rank *rank);
    int (*command)(void *self, const struct spawn_command *command, const struct spawn_done *done,
                   uint64_t *ret_handle, manta_error *ret_error);
    int (*isolated)(void *self, const struct spawn_isolated *isolated,
                    const struct spawn_done *done, uint64_t *ret_handle, manta_error *ret_error);
    void (*kill)(void *self, uint64_t handle, uint64_t grace_ns);
    void *self;
};

struct core_options {
    const struct base_host *host;
    struct comm *comm; /* borrowed; rank and size come from it */
    uint32_t workers;  /* at least 1 */
    uint32_t cores;    /* of this rank's share */
    uint32_t node_ranks;
    const uint32_t
        *nodes;         /* by rank: the lowest rank on its node; NULL: all are on one. Borrowed */
    uint8_t is_crowded; /* more threads than cores on the node: waiters sleep soon */
    const char *host_name;          /* borrowed */
    struct topo *topo;              /* for pinning; NULL: none */
    struct store *store;            /* borrowed; NULL: values are at most MANTA_INLINE_MAX bytes */
    uint64_t store_patience_ns;     /* see room.h; 0: 30 s */
    uint64_t lineage_bytes;         /* kept to make stored values again; 0: 64 MiB */
    size_t stack_bytes;             /* of a parked task; 0: 256 KiB */
    uint32_t parked_max;            /* stacks parked at once; 0: 4096 */
    uint32_t window_max;            /* tasks in flight to one rank; 0: 1024 */
    uint32_t commands_max;          /* CPUs for commands and isolated tasks; 0: as workers */
    struct base_timeline *timeline; /* borrowed, of workers + 1 tracks; NULL: none */
    const struct core_processes *processes; /* borrowed; NULL: no commands, no isolated tasks */
    struct base_log log;
};

/* Makes the rank and starts its workers. On failure the reason is in ret_error. */
int core_rank_create(const struct core_options *options, struct rank **ret_rank,
                     manta_error *ret_error);

/* Makes the calling thread a submitter of this rank until detached; the root scope is its scope. */
int core_attach(struct rank *rank);
void core_detach(struct rank *rank);

/* The rank whose root scope threads of the application get that were not attached. NULL: none. */
void core_set_process_rank(struct rank *rank);

/* Fills manta_last_error of the calling thread, when no rank may be running, and returns the code.
 */
int core_fail_outside(int code, const char *format, ...) MT_PRINTF(2, 3);

/* In the child of an isolated task, where no rank can be. */
bool core_is_isolated(void);

/* Rank 0, attached: drops the root scope, waits until nothing is left anywhere, tells every rank to
 * stop. Other ranks: waits for that. Returns the code that rank 0 gave. */
int core_finish(struct rank *rank, int code);

/*
 * From any thread, at any time before core_rank_destroy: ends this rank without asking the others.
 * Waits return MANTA_E_SHUTDOWN, running bodies see manta_cancelled, core_finish returns `code` at
 * once. The first call counts. Waits at most a second for a core that does not answer; then the
 * rank has to be ended from outside.
 */
void core_stop(struct rank *rank, int code);

/*
 * Whether the rank's core is alive, from any thread: `is_held` twice with the same `turns` means
 * that one thread has had the core to itself all the while, which it otherwise has for
 * microseconds.
 */
struct core_pulse {
    uint64_t turns;
    bool is_held;
};
struct core_pulse core_get_pulse(struct rank *rank);

/* The lowest rank that messages of this one do not reach any more, and for which `told` (a byte per
 * rank) is 0; UINT32_MAX if there is none, or the core is busy. From any thread. */
uint32_t core_find_lost(struct rank *rank, const uint8_t *told);

/* Joins the workers and frees everything. core_finish or core_stop first. Accepts NULL. */
void core_rank_destroy(struct rank *rank);

/* ---- For the thread of struct core_processes; without the baton */

/* Starts what waits and may start now. Returns how many run. */
uint32_t core_outside_turn(struct rank *rank);
/* No process can be started for now: everything that waits for one fails with this. */
void core_outside_broken(struct rank *rank, const manta_error *error);
/* Memory runs short on the node: ends the newest that may run again, so that it does later. True if
 * there was one. */
bool core_outside_relieve(struct rank *rank, uint64_t left_bytes);

/* What a dead rank of the same node was in: " while it ran NAME, ...", or nothing. From any
 * thread. */
void core_describe_last(struct rank *rank, uint32_t dead, char *text, size_t size);

/* What is left; all zero when every count has come to its end. */
struct core_counts {
    uint64_t tasks, runs, borrows, scopes, values, maps, homes;
    uint64_t blocks; /* of its share of the store and of those inherited */
    uint64_t copies; /* of values of other nodes: made here, read here, or known of here */
};
struct core_counts core_count(struct rank *rank);

struct core_stats {
    uint64_t submitted, completed, executed, retried, adopted, parked, inlined;
    uint64_t relaunched; /* of graphs: begun again because a rank had died */
    uint64_t spilled_bytes, restored_bytes, evicted_bytes;
    uint64_t room_waits; /* values and tasks that had to wait for room in the store */
    uint64_t spill_errors;
    uint64_t reused_values;   /* inouts that were changed in place */
    uint64_t copied, evicted; /* values of other nodes: copies made for the node, given up again */
    uint64_t chunks_sent, chunks_passed; /* of own values; of copies */
    uint64_t moved;  /* tasks sent to another node for want of room for their arguments */
    uint64_t remade; /* of those retried: because their values were lost */
};
struct core_stats core_get_stats(struct rank *rank);

/* What a timeline's reader needs to name things: functions known by now, and messages. Owned array
 * of borrowed names. NULL: memory is out. */
struct base_timeline_name *core_timeline_names(uint32_t *ret_count);

/* What deaths have cost the job, summed over the ranks that live; on rank 0, after core_finish. */
struct core_redone {
    uint32_t deaths;
    uint64_t retried;    /* tasks run again, failed ones that may be included */
    uint64_t adopted;    /* runs and results of lost parents that were used on */
    uint64_t relaunched; /* of graphs that were begun again */
};
struct core_redone core_get_redone(struct rank *rank);

/* Inside a task: computes for a modelled time (virtual in the simulator). */
void core_work(uint64_t duration_ns);

/* The slot that holds the calling thread's context; the simulator switches it. */
void **core_context_slot(void);

#endif
