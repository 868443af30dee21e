/*
 * Worlds whose ranks are threads of one process, with ends over UCX below: whatever makes an end,
 * its members talk, die and leave in the same way.
 */
#ifndef TEST_COMM_UCX_MEMBERS_H
#define TEST_COMM_UCX_MEMBERS_H

#include "ucx_world.h"

#include <pthread.h>

struct member {
    struct end end;
    void (*body)(struct end *);
    pthread_t thread;
};

static struct member members[UCX_RANKS_MAX];

static void members_die(struct end *end)
{
    for (uint32_t i = 0; i < end->ranks; i++) {
        if (i != end->rank) {
            comm_report_death(members[i].end.comm, end->rank);
        }
    }
}

/* Its comm is to be made. */
static void member_init(uint32_t rank, uint32_t ranks, void (*body)(struct end *),
                        struct shared *shared)
{
    members[rank] = (struct member){.body = body,
                                    .end = {.host = &base_host_real,
                                            .shared = shared,
                                            .rank = rank,
                                            .ranks = ranks,
                                            .die = members_die}};
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    run_body(&member->end, member->body);
    exchange_leave(member->end.comm, member->end.ranks);
    comm_destroy(member->end.comm);
    return NULL;
}

static void members_run(uint32_t ranks)
{
    for (uint32_t i = 0; i < ranks; i++) {
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        pthread_join(members[i].thread, NULL);
    }
}

#endif
