/*
 * A job of virtual ranks: the shipped core on simulated hosts, time and messages.
 *
 * world_run starts the ranks, runs `driver` on rank 0, lets the kills happen, and checks
 * at the end what must hold after every run: no hang, every count at zero on every rank
 * that lives. Everything follows from the seed; on a failure the command that replays it
 * is printed.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "comm/sim.h"
#include "core/core.h"
#include "pretend.h"

struct world_options {
    uint64_t seed;
    uint32_t ranks;
    uint32_t workers;        /* per rank; 0: 1 */
    uint32_t kills;          /* ranks other than 0 killed at drawn moments */
    uint64_t kill_within_ns; /* of virtual time */
    uint32_t window_max, parked_max;
    uint64_t delay_max_ns; /* of messages; 0: the simulator's default */
    uint32_t lost_percent; /* of commands and isolated tasks, with the spawner */
    uint64_t press_at_ns;  /* memory runs short on all nodes then; 0: never */
};

struct world_result {
    int sim_code;  /* of sim_run */
    int exit_code; /* of the driver */
    uint64_t trace, events, time_ns;
    uint32_t killed;
    struct core_stats total; /* summed over living ranks */
    struct core_counts left; /* summed over living ranks, at the end */
    struct pretend_counts processes; /* summed over ranks that live at the end; most: the most of one */
};

/* argc, argv for the driver; -1 and a message when the world cannot be made. */
int world_run(const struct world_options *options, manta_driver driver,
              struct world_result *ret_result);

/* 0 when the driver succeeded, nothing hung, and nothing is left, no process either; else prints what and the command that replays it. */
int world_check(const char *test, const struct world_options *options,
                const struct world_result *result);

/* Prints what a rank waits for. */
void world_dump_rank(struct rank *rank);

/* How many seeds a campaign runs, and which first: MANTA_SEEDS, MANTA_SEED in the environment, else the default. */
void world_seeds(uint64_t fallback, uint64_t *ret_first, uint64_t *ret_count);

#endif
