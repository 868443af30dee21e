/* What there is to start ranks on: this machine, or Slurm's allocation. */
#ifndef CLI_ALLOCATION_H
#define CLI_ALLOCATION_H

#include "base/compiler.h"

#include <stdbool.h>

struct allocation {
    bool is_slurm;
    uint32_t nodes;
    uint32_t cores;         /* of all nodes */
    uint32_t node_cores;    /* of the smallest node */
    uint32_t threads;       /* per core */
    uint32_t tasks;         /* that the allocation was asked for with; 0: not said */
    uint32_t cpus_per_task; /* the same */
};

/* cores and pus are those that this process may use. */
struct allocation allocation_find(const char *const *environment, uint32_t cores, uint32_t pus);

/* Slurm's run-length form, "72(x2),36": 180 in total, 36 at least. False: it is none. */
bool allocation_read_cpus(const char *text, uint32_t *ret_total, uint32_t *ret_least);

#endif
