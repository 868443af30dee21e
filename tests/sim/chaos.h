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
    uint64_t work_ns;     /* all its tasks one after the other */
    uint64_t within_ns;   /* when faults come */
    uint64_t store_bytes; /* of each node; 0: no store */
};

/* Fails the running cmocka test when something does not hold for a seed; goes on for a while
 * before. */
void chaos_campaign(const struct chaos *chaos);

/* Prints the table of all campaigns so far; a cmocka group teardown. */
int chaos_report(void **state);

/* Runs and checks it in worlds of one to five ranks on nodes of one to three, with one and two
 * workers. */
void world_on_nodes(const char *test, manta_driver driver, uint64_t store_bytes);

#endif
