/*
 * processes: the rank's spawner, begun when the first command or isolated task is to run here.
 *
 * A rank that never runs one has no thread, no process and no file for it. The first wake starts a
 * thread, which makes the spawner (spawn/spawn.h), and from then on starts what core has waiting,
 * hears of what has ended, and while something runs looks at the node's memory. Where no spawner
 * can be made, or none works, what waits goes on waiting for some tries, in all less than a second;
 * then it fails, and what comes later begins anew. It is bound to the cores that the process was
 * given at its start, as what it starts is: not to those of the worker that happened to wake it.
 */
#ifndef LAUNCH_PROCESSES_H
#define LAUNCH_PROCESSES_H

#include "core/core.h"

struct processes;

struct processes_options {
    const struct base_host *host;
    struct base_log log;
    uint32_t rank;
    const char *host_name;    /* borrowed */
    const char *log_path;     /* MANTA_COMMAND_LOG, borrowed; NULL: none */
    uint32_t reserve_percent; /* of memory, below which the newest is ended; 0: never */
};

int processes_create(const struct processes_options *options, struct processes **ret_processes);
/* What core is given; borrowed. */
const struct core_processes *processes_of(const struct processes *processes);
/* Ends everything that runs and joins the thread: after core has stopped, before it is destroyed.
 * Accepts NULL. */
void processes_destroy(struct processes *processes);

#endif
