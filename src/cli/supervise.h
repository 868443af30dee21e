/* The job, from its start to its end. */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include "cli/listener.h"
#include "cli/plan.h"

struct supervise_options {
    const struct options *options;
    const struct plan *plan;
    struct listener *listener;
    const char *value;        /* the variable's */
    uint64_t stop_timeout_ns; /* of the ranks */
    uint32_t node_cores;      /* of the smallest node */
};

/* Starts the plan, waits for its end. Returns the exit code. */
int supervise(const struct supervise_options *options);

#endif
