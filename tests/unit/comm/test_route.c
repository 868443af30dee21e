/*
 * The conformance suite over routed ends: nodes of two ranks each, all in one process,
 * ranks dealt round so that an index on the node is never the rank. What only routing
 * can do wrong is tested below.
 */
#include "comm/shm.h"
#include "ucx_members.h"

/* Rank r is on node r % nodes, with index r / nodes. */
static uint32_t node_count(uint32_t ranks)
{
    return (ranks + 1) / 2;
}

static int create_routed(uint32_t rank, uint32_t ranks, int fd, struct comm **ret_comm)
{
    uint32_t nodes = node_count(ranks), node = rank % nodes, size = (ranks - node - 1) / nodes + 1;
    uint32_t node_ranks[UCX_RANKS_MAX];
    struct comm *shm, *ucx;
    for (uint32_t i = 0; i < size; i++) {
        node_ranks[i] = node + i * nodes;
    }
    if (comm_create_shm(&base_host_real, fd, rank / nodes, size, &shm)) {
        return MANTA_E_NOMEM;
    }
    if (exchange_create(rank, ranks, &ucx)) {
        comm_destroy(shm);
        return MANTA_E_NOMEM;
    }
    int rc = comm_create_routed(shm, node_ranks, ucx, ret_comm);
    if (rc == 0) {
        assert_true(exchange_publish(ucx));
        comm_ucx_set_table(ucx, &the_exchange->table);
    }
    return rc;
}

static void create_segments(uint32_t ranks, int *ret_fds)
{
    uint32_t nodes = node_count(ranks);
    for (uint32_t node = 0; node < nodes; node++) {
        uint32_t size = (ranks - node - 1) / nodes + 1;
        assert_int_equal(comm_shm_segment_create(size, 0, &ret_fds[node]), 0);
    }
}

static void run(uint32_t ranks, void (*body)(struct end *), struct shared *shared)
{
    int fds[UCX_RANKS_MAX];
    exchange_reset();
    create_segments(ranks, fds);
    for (uint32_t i = 0; i < ranks; i++) {
        member_init(i, ranks, body, shared);
        assert_int_equal(create_routed(i, ranks, fds[i % node_count(ranks)], &members[i].end.comm),
                         0);
    }
    for (uint32_t node = 0; node < node_count(ranks); node++) {
        close(fds[node]);
    }
    members_run(ranks);
}

/* Everybody asleep; each message, by either way, wakes its receiver. */
static void both_ways_body(struct end *end)
{
    enum { ROUNDS = 300 };
    end->sleepy = true;
    end->echo = end->rank != 0;
    for (uint32_t round = 1; end->rank == 0 && round <= ROUNDS && !failed(end); round++) {
        send_data(end, 1 + round % 3, round % 5000);
        TURN_WHILE(end, end->received < round)
        {
        }
    }
    finish(end);
}

static void test_a_sleeper_hears_its_node_and_the_others(void **state)
{
    assert_true(run_peaceful(4, both_ways_body)->sleeps > 0);
}

/* A death on the node and one beyond it: 3 is beside 1, beyond 0 and 2. */
static void death_body_of_four(struct end *end)
{
    death_body(end);
}

static void test_a_death_is_told_on_the_node_and_beyond(void **state)
{
    run_world(4, death_body_of_four);
    run_world(3, death_body_of_four);
}

static void test_a_wrong_map_of_the_node_is_refused(void **state)
{
    static const uint32_t wrong[][2] = {{0, 0}, {1, 0}, {0, 4}};
    uint64_t live = base_alloc_live();
    exchange_reset();
    for (size_t i = 0; i < MT_COUNT(wrong); i++) {
        int fd;
        struct comm *shm, *ucx, *comm = NULL;
        assert_int_equal(comm_shm_segment_create(2, 0, &fd), 0);
        assert_int_equal(comm_create_shm(&base_host_real, fd, 0, 2, &shm), 0);
        close(fd);
        assert_int_equal(exchange_create(0, 4, &ucx), 0);
        assert_int_equal(comm_create_routed(shm, wrong[i], ucx, &comm), MANTA_E_INVALID);
        assert_null(comm);
    }
    assert_int_equal(base_alloc_live(), live);
}

static void test_making_an_end_without_memory_leaves_nothing(void **state)
{
    struct comm *comm = NULL;
    int fds[1];
    uint64_t live = base_alloc_live();
    for (uint64_t k = 1; !comm; k++) {
        exchange_reset();
        create_segments(2, fds);
        base_alloc_fail_at(k);
        int rc = create_routed(0, 2, fds[0], &comm);
        base_alloc_fail_at(0);
        close(fds[0]);
        assert_true(comm ? rc == 0 : rc == MANTA_E_NOMEM && base_alloc_live() == live);
    }
    comm_destroy(comm);
    assert_int_equal(base_alloc_live(), live);
}

int main(void)
{
    const struct world world = {
        .name = "comm routed", .max_ranks = 64, .crowd = 16, .can_kill = true, .run = run};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sleeper_hears_its_node_and_the_others),
        cmocka_unit_test(test_a_death_is_told_on_the_node_and_beyond),
        cmocka_unit_test(test_a_wrong_map_of_the_node_is_refused),
        cmocka_unit_test(test_making_an_end_without_memory_leaves_nothing),
    };
    int failures = conformance_run(&world);
    return failures + cmocka_run_group_tests_name("comm routed, more", tests, NULL, NULL);
}
