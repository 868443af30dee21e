/*
 * A job of virtual ranks: the shipped core on simulated hosts, time and messages.
 *
 * world_run starts the ranks, runs `driver` on rank 0 and lets the faults happen;
 * world_check looks at what must hold after every run:
 *  - no hang, and the end within a bound of virtual time;
 *  - every count at zero on every rank that lives, and as many tasks completed as were
 *    submitted there: nothing is lost, nothing is left;
 *  - nothing that a dead rank sent was taken after the death was told;
 *  - what the job reports as redone is the sum over the living, and without a death nothing is.
 * Everything follows from the seed; on a failure the command that replays it is printed.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "core/core.h"
#include "faults.h"
#include "pretend.h"
#include "pretend_disk.h"

struct world_options {
    uint64_t seed;
    uint32_t ranks;
    uint32_t workers;        /* per rank; 0: 1 */
    uint32_t kills;          /* ranks other than 0 killed at drawn moments */
    uint32_t faults;         /* of any kind, instead */
    uint64_t kill_within_ns; /* of virtual time: when kills or faults happen */
    uint64_t work_ns; /* all of the driver's tasks one after the other; 0: no bound on time */
    uint32_t window_max, parked_max;
    uint32_t node_ranks;   /* without faults: ranks of a node; 0: all */
    uint64_t store_bytes;  /* of each node; 0: no store */
    uint64_t bytes_per_us; /* that a rank can send to other nodes; 0: any */
    struct pretend_disk_options disk;
    uint64_t delay_max_ns;  /* of messages; 0: the simulator's default */
    uint32_t lost_percent;  /* of commands and isolated tasks, with the spawner */
    uint64_t press_at_ns;   /* memory runs short on all nodes then; 0: never */
    bool will_kill;         /* the driver calls world_kill, and there are no other faults */
    uint64_t lineage_bytes; /* as in struct core_options */
};

struct world_result {
    int sim_code;  /* of sim_run */
    int exit_code; /* of the driver */
    uint64_t trace, events, time_ns, bound_ns;
    uint64_t driver_ns;       /* when the driver returned */
    uint64_t driver_messages; /* that all ranks had sent by then */
    uint64_t all_messages;    /* and in the end */
    uint32_t injected[FAULT_KINDS][FAULT_PHASES];
    uint32_t killed, fenced;   /* ranks: dead at the end; of those, alive when taken for dead */
    uint32_t deaths;           /* as rank 0 counts them */
    uint64_t recovery_ns;      /* the longest time from a death to when all had settled it */
    uint32_t from_dead;        /* messages of ranks taken for dead that reached a core */
    uint64_t messages;         /* sent by living ranks, those that end the job not counted */
    uint64_t most_messages;    /* sent and received by one of these, rank 0 not counted */
    uint32_t unequal;          /* living ranks that submitted more or less than was completed */
    struct core_redone redone; /* as rank 0 reports it */
    struct core_stats total;   /* summed over living ranks */
    struct core_counts left;   /* summed over living ranks, at the end */
    struct pretend_counts processes; /* summed over ranks that live at the end; most: of one */
};

/* argc, argv for the driver; -1 and a message when the world cannot be made. */
int world_run(const struct world_options *options, manta_driver driver,
              struct world_result *ret_result);

/* 0 when the driver succeeded, nothing hung, and nothing is left, no process either; else prints
 * what and the command that replays it. */
int world_check(const char *test, const struct world_options *options,
                const struct world_result *result);

/* In a driver or a body: virtual time. */
uint64_t world_now_ns(void);

/* In a driver or a body: the rank dies now, and when this returns, which it does not on that rank,
 * the survivors know. */
void world_kill(uint32_t rank);
void world_kill_all(const uint32_t *ranks, uint32_t count);

/* Prints what a rank waits for. */
void world_dump_rank(struct rank *rank);

/* With MANTA_TRACE in the environment: lines about what a rank takes and hears, in worlds with
 * faults. */
struct wire_header;
void world_trace_message(uint64_t now_ns, uint32_t to, uint32_t from,
                         const struct wire_header *header, const void *body);
void world_trace_death(uint64_t now_ns, uint32_t to, uint32_t dead);

/* How many seeds a campaign runs, and which first: MANTA_SEEDS, MANTA_SEED in the environment, else
 * the default. */
void world_seeds(uint64_t fallback, uint64_t *ret_first, uint64_t *ret_count);

#endif
