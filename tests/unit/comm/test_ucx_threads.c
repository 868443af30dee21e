/* The conformance suite over UCX with the ranks as threads of one process. */
#include "ucx_members.h"

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    exchange_reset();
    for (uint32_t i = 0; i < ranks; i++) {
        member_init(i, ranks, body, shared);
        assert_int_equal(exchange_create(i, ranks, &members[i].end.comm), 0);
        assert_true(exchange_publish(members[i].end.comm));
        comm_ucx_set_table(members[i].end.comm, &the_exchange->table);
    }
    members_run(ranks);
}

int main(void)
{
    const struct world world = {
        .name = "comm ucx, threads", .max_ranks = 64, .crowd = 16, .can_kill = true, .run = run};
    return conformance_run(&world);
}
