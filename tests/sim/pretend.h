/*
 * Processes in the simulator: a pretended struct core_processes, so that what core does with
 * commands and isolated tasks is tested over seeds, with kills of ranks.
 *
 * A command is one of
 *     exit CODE             ends with the code after a drawn time
 *     sleep NANOSECONDS     ends with 0 after that
 *     flaky ATTEMPT         ends with 1 before that attempt, with 0 from it on
 *     crash                 is ended by SIGSEGV
 *     lost ATTEMPT          the spawner dies under it before that attempt
 * and an isolated task's function is called here, when its time is over.
 */
#ifndef TESTS_SIM_PRETEND_H
#define TESTS_SIM_PRETEND_H

#include "comm/sim.h"
#include "core/core.h"

struct pretend;

/* lost_percent: of all that ends, how much is lost instead. */
struct pretend *pretend_create(struct sim *sim, uint32_t rank, uint32_t lost_percent);
void pretend_destroy(struct pretend *pretend); /* accepts NULL */
const struct core_processes *pretend_face(struct pretend *pretend);
/* NULL: it has ended. */
void pretend_set_core(struct pretend *pretend, struct rank *core);
/* Memory runs short on that rank's node at this virtual time. */
void pretend_press_at(struct pretend *pretend, uint64_t time_ns);

struct pretend_counts {
    uint64_t begun, ended, killed, lost;
    uint32_t running, most; /* now; at once, ever */
};
struct pretend_counts pretend_count(const struct pretend *pretend);

#endif
