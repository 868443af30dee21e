/*
 * A campaign: one driver over many seeds, each with its own ranks and faults, and the report of
 * what was done to them and what came of it. With MANTA_REPORT=FILE each campaign also appends a
 * line of JSON to that file.
 */
#ifndef TESTS_SIM_CHAOS_H
#define TESTS_SIM_CHAOS_H

#include "world.h"

struct chaos {
    const char *name;
    manta_driver driver;
    uint32_t work_us;   /* all its tasks one after the other */
    uint32_t within_us; /* when faults come */
    bool must_adopt;    /* results of lost parents' children: over many seeds some, for certain */
};

#define CHAOS(driver, work_us, within_us)                                                          \
    {                                                                                              \
#driver, driver, work_us, within_us, false                                                 \
    }
#define CHAOS_THAT_ADOPTS(driver, work_us, within_us)                                              \
    {                                                                                              \
#driver, driver, work_us, within_us, true                                                  \
    }

/* The main of a test of campaigns: each a cmocka test, which goes on for a while after a seed for
 * which something does not hold; over many seeds every kind of fault must have come; then the
 * report. With MANTA_CAMPAIGN=NAME only that one; * and ?
 * are wild. store_bytes is each node's; 0: no store. */
int chaos_main(const char *test, uint64_t store_bytes, const struct chaos *campaigns, size_t count);

/* In a driver: each of the drivers in a task of its own, all at once; 0, or the first's code that
 * failed. `parts` is for all ranks. */
int chaos_inside_tasks(const manta_driver *parts, size_t count);

/* Runs and checks it in worlds of one to five ranks on nodes of one to three, with one and two
 * workers; 30 seeds are every combination once. */
void world_on_nodes(const char *test, manta_driver driver, uint64_t store_bytes, uint64_t seeds);

#endif
