/*
 * What targets share that send to the core: rank 0 is the shipped core; ranks 1 and 2 take whatever
 * comes, send what the input says, and die.
 */
#ifndef TEST_FUZZ_SENDERS_H
#define TEST_FUZZ_SENDERS_H

#include "comm/sim.h"
#include "core/core.h"

#include "fuzz.h"

enum { RANKS = 3 };

struct senders {
    void (*serve)(void *target); /* is rank 0 */
    void (*send)(void *target, struct comm *comm, const struct base_host *host, uint32_t number);
    void *target;
    uint32_t node_ranks; /* 0: all are on one node */
    uint64_t die_at_ns;
    struct sim *sim; /* by senders_create */
};

static inline void senders_ignore(void *owner, uint32_t from, const struct wire_header *header,
                                  const void *body)
{
}

static inline void senders_ignore_death(void *owner, uint32_t peer)
{
}

static inline void *senders_take_nothing(void *owner, uint32_t from, const struct comm_lent *lent)
{
    return NULL;
}

static inline void senders_ignore_landing(void *owner, uint32_t from, const struct comm_lent *lent,
                                          void *place, bool is_whole)
{
}

static inline void senders_ignore_return(void *owner, struct comm_loan *loan)
{
}

static inline void senders_main(const struct senders *senders, uint32_t number)
{
    struct comm *comm = sim_comm(senders->sim, number);
    const struct base_host *host = sim_host(senders->sim, number);
    struct comm_sink sink = {.message = senders_ignore,
                             .peer_down = senders_ignore_death,
                             .place = senders_take_nothing,
                             .landed = senders_ignore_landing,
                             .returned = senders_ignore_return};
    comm_set_sink(comm, &sink);
    host->work(host->self, 50000);
    senders->send(senders->target, comm, host, number);
}

static inline void senders_first(void *senders)
{
    senders_main(senders, 1);
}

static inline void senders_second(void *senders)
{
    senders_main(senders, 2);
}

static inline void senders_die(void *arg)
{
    const struct senders *senders = arg;
    sim_kill(senders->sim, 1);
    sim_kill(senders->sim, 2);
}

/* To be run by sim_run and destroyed by sim_destroy. */
static inline struct sim *senders_create(struct senders *senders)
{
    struct sim_options options = {.seed = 1,
                                  .ranks = RANKS,
                                  .node_ranks = senders->node_ranks,
                                  .time_limit_ns = UINT64_C(100000000),
                                  .detect_min_ns = 1000,
                                  .detect_max_ns = 20000};
    struct sim *sim = sim_create(&options);
    HOLDS(sim);
    senders->sim = sim;
    sim_set_switch_hook(sim, core_context_slot());
    HOLDS(sim_start(sim, 0, senders->serve, senders->target) == 0);
    HOLDS(sim_start(sim, 1, senders_first, senders) == 0);
    HOLDS(sim_start(sim, 2, senders_second, senders) == 0);
    HOLDS(sim_at(sim, senders->die_at_ns, senders_die, senders) == 0);
    return sim;
}

#endif
