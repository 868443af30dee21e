/* The conformance suite over a world of one rank. */
#include "conformance.h"

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    struct end end = {.host = &base_host_real, .shared = shared, .ranks = ranks};
    assert_int_equal(comm_create_alone(end.host, &end.comm), 0);
    assert_int_equal(comm_rank(end.comm), 0);
    assert_int_equal(comm_size(end.comm), 1);
    run_body(&end, body);
    comm_destroy(end.comm);
}

int main(void)
{
    const struct world world = {.name = "comm alone", .max_ranks = 1, .crowd = 1, .run = run};
    comm_destroy(NULL);
    return conformance_run(&world);
}
