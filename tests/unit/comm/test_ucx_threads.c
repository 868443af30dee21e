/* The conformance suite over UCX with the ranks as threads of one process. */
#include "ucx_world.h"

#include <pthread.h>

struct member {
    struct end end;
    void (*body)(struct end *);
    pthread_t thread;
};

static struct member members[UCX_RANKS_MAX];

static void die(struct end *end)
{
    for (uint32_t i = 0; i < end->ranks; i++) {
        if (i != end->rank) {
            comm_report_death(members[i].end.comm, end->rank);
        }
    }
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    run_body(&member->end, member->body);
    exchange_leave(member->end.comm, member->end.ranks);
    comm_destroy(member->end.comm);
    return NULL;
}

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    exchange_reset();
    for (uint32_t i = 0; i < ranks; i++) {
        members[i] = (struct member){.body = body};
        members[i].end = (struct end){
            .host = &base_host_real, .shared = shared, .rank = i, .ranks = ranks, .die = die};
        assert_int_equal(exchange_create(i, ranks, &members[i].end.comm), 0);
        assert_true(exchange_publish(members[i].end.comm));
        comm_ucx_set_table(members[i].end.comm, &the_exchange->table);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
    }
    for (uint32_t i = 0; i < ranks; i++) {
        pthread_join(members[i].thread, NULL);
    }
}

int main(void)
{
    const struct world world = {
        .name = "comm ucx, threads", .max_ranks = 64, .crowd = 16, .can_kill = true, .run = run};
    return conformance_run(&world);
}
