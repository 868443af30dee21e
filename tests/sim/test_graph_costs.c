/*
 * What a round of a recorded graph costs, counted on virtual ranks: no allocation, one message for
 * each edge between two ranks, and nothing else. A launch of ten rounds and one of a thousand
 * differ by that alone.
 */
#define TEST_NAME "graph_costs"
#include "behaviours.h"

#include <manta/graph.h>

#include "base/alloc.h"

enum { FEW = 10, MANY = 1000, RANKS_MAX = 6 };

MANTA_TASK(c_cell, in(uint64_t, left), in(uint64_t, own), in(uint64_t, right), out(uint64_t, next))
{
    *next = *left + *own + *right;
    return MANTA_OK;
}

/* A periodic 1-D stencil, a column on each rank. */
static void record(manta_graph *graph, manta_ref *inputs)
{
    uint32_t columns = world_size();
    for (uint32_t i = 0; i < columns; i++) {
        inputs[i] = manta_graph_input(graph, sizeof(uint64_t));
    }
    for (uint32_t i = 0; i < columns; i++) {
        manta_ref next =
            c_cell_async(MANTA_OPTIONS(.graph = graph, .rank = MANTA_ON(i)),
                         inputs[(i + columns - 1) % columns], inputs[i], inputs[(i + 1) % columns]);
        manta_graph_feed(graph, next, inputs[i]);
        manta_graph_output(graph, next);
    }
}

/* Each column holds 1 at first, and so 3^rounds, in 64 bits, after that. */
static int launch(manta_graph *graph, uint64_t rounds, uint64_t *ret_allocations)
{
    manta_ref refs[RANKS_MAX];
    uint64_t value, expected = 1;
    for (uint64_t i = 0; i < rounds; i++) {
        expected *= 3;
    }
    base_alloc_fail_at(0);
    CHECK(manta_graph_launch(graph, rounds, refs) == MANTA_OK);
    CHECK(manta_wait(refs, world_size(), world_size(), MANTA_FOREVER, NULL) == MANTA_OK);
    *ret_allocations = base_alloc_asked();
    for (uint32_t i = 0; i < world_size(); i++) {
        CHECK(manta_get(refs[i], &value, sizeof value) == MANTA_OK && value == expected);
        CHECK(manta_drop(refs[i]) == MANTA_OK);
    }
    return 0;
}

static uint64_t rounds, allocations; /* of the world that runs, and what its launch asked for */

static int stencil(int argc, char **argv)
{
    manta_graph *graph;
    manta_ref inputs[RANKS_MAX];
    uint64_t one = 1, warm;
    CHECK(manta_graph_create(MANTA_BLOCKS, &graph) == MANTA_OK);
    record(graph, inputs);
    CHECK(manta_graph_seal(graph) == MANTA_OK);
    for (uint32_t i = 0; i < world_size(); i++) {
        CHECK(manta_graph_set(graph, inputs[i], &one, sizeof one) == MANTA_OK);
    }
    CHECK(launch(graph, FEW, &warm) == 0);
    CHECK(launch(graph, rounds, &allocations) == 0);
    manta_graph_destroy(graph);
    return 0;
}

static void run(uint32_t ranks, uint64_t count, uint64_t *ret_allocations, uint64_t *ret_messages)
{
    struct world_options options = {.seed = 1, .ranks = ranks};
    struct world_result result;
    rounds = count;
    assert_int_equal(world_run(&options, stencil, &result), 0);
    assert_int_equal(world_check(TEST_NAME, &options, &result), 0);
    *ret_allocations = allocations;
    *ret_messages = result.driver_messages;
}

static void test_a_round_on_one_rank_allocates_and_sends_nothing(void **state)
{
    uint64_t few, many, few_messages, many_messages;
    run(1, FEW, &few, &few_messages);
    run(1, MANY, &many, &many_messages);
    assert_int_equal(few, many);
    assert_int_equal(few_messages, many_messages);
}

/* Each message is an allocation of the simulated network; the core asks for none. */
static void test_a_round_sends_one_message_for_each_edge_between_ranks(void **state)
{
    for (uint32_t ranks = 3; ranks <= RANKS_MAX; ranks++) {
        uint64_t few, many, few_messages, many_messages;
        run(ranks, FEW, &few, &few_messages);
        run(ranks, MANY, &many, &many_messages);
        assert_int_equal(many_messages - few_messages, (MANY - FEW) * 2 * ranks);
        assert_int_equal(many - few, many_messages - few_messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_round_on_one_rank_allocates_and_sends_nothing),
        cmocka_unit_test(test_a_round_sends_one_message_for_each_edge_between_ranks),
    };
    return cmocka_run_group_tests_name("graph costs", tests, NULL, NULL);
}
