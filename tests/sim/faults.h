/*
 * What is done to a simulated job, drawn from its seed before it starts.
 *
 * A plan is a list of faults with their times, and how the job is laid out and watched:
 * how many ranks share a node, how long silence may last, how late a death is heard.
 * A third of the faults follow the one before within moments, so that deaths fall into the
 * recovery from others; some wait for the job's end.
 */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "comm/sim.h"

enum fault_kind {
    FAULT_KILL, /* a rank dies */
    FAULT_NODE, /* all ranks of a node die at one instant, rank 0 excepted */
    FAULT_STOP, /* a rank stands still, for less or more than the time of silence */
    FAULT_SLOW, /* a rank's steps and messages take longer for a while */
    FAULT_CUT,  /* some ranks are apart from the others, for less or more than that time */
    FAULT_KINDS
};

enum fault_phase { PHASE_START, PHASE_WORK, PHASE_RECOVERY, PHASE_FINISH, FAULT_PHASES };

enum { FAULTS_MAX = 8 };

struct fault {
    enum fault_kind kind;
    bool is_late; /* at_ns counts from the moment when the driver has returned */
    uint64_t at_ns, duration_ns, extra_ns;
    uint64_t draw; /* says who */
};

struct fault_plan {
    uint32_t count, ranks, node_ranks;
    uint64_t silence_ns, detect_max_ns;
    uint64_t allowance_ns; /* how much later than undisturbed the job may end because of waiting */
    struct fault faults[FAULTS_MAX];
};

struct fault_options {
    uint64_t seed, within_ns;
    uint32_t ranks, count; /* at most FAULTS_MAX */
    bool only_kills;
};

void fault_plan_draw(const struct fault_options *options, struct fault_plan *ret_plan);

/* Does it, from a sim_at hook. */
void fault_inject(const struct fault_plan *plan, const struct fault *fault, struct sim *sim);

extern const char *const fault_kind_names[FAULT_KINDS], *const fault_phase_names[FAULT_PHASES];

#endif
