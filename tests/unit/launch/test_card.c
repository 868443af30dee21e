/* Cards: who may be one job, and how ranks of a node share its cores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "launch/card.h"
#include "launch/differ.h"

#include <string.h>

enum { RANKS = 8 };
static union card_page cards[RANKS];

static int fresh(void **state)
{
    memset(cards, 0, sizeof cards);
    for (int i = 0; i < RANKS; i++) {
        card_fill(&cards[i].card, &base_host_real, NULL, 0);
        cards[i].card.mask = 1;
        cards[i].card.mask_cores = 4;
        strcpy(cards[i].card.host, "n1");
    }
    return 0;
}

static int check(uint32_t size, uint32_t *ret_differs, const char *expected)
{
    char text[400] = "";
    int code = cards_check(cards, size, ret_differs, text, sizeof text);
    if (expected) {
        assert_non_null(strstr(text, expected));
    }
    return code;
}

static void equal_cards_are_one_job(void **state)
{
    uint32_t differs = 9;
    assert_int_equal(check(RANKS, &differs, NULL), MANTA_OK);
    assert_int_equal(differs, 0);
    assert_memory_not_equal(cards[0].card.secret, cards[1].card.secret, 32);
}

static void versions_must_match(void **state)
{
    uint32_t differs;
    cards[5].card.wire_version++;
    assert_int_equal(check(RANKS, &differs, "rank 5 runs 0.1.0 (wire 2, 64-bit)"), MANTA_E_VERSION);
    fresh(NULL);
    cards[2].card.library_version = 1002003;
    assert_int_equal(check(RANKS, &differs, "rank 2 runs 1.2.3"), MANTA_E_VERSION);
    fresh(NULL);
    cards[1].card.pointer_bytes = 4;
    assert_int_equal(check(RANKS, &differs, "32-bit"), MANTA_E_VERSION);
    fresh(NULL);
    cards[3].card.byte_order = 0x04030201;
    assert_int_equal(check(RANKS, &differs, "rank 3"), MANTA_E_VERSION);
}

static void the_ranks_of_a_node_are_found_by_host_and_machine(void **state)
{
    uint32_t index = 9, count = 0;
    strcpy(cards[1].card.host, "n2");
    strcpy(cards[4].card.host, "n2");
    cards[5].card.machine++; /* the same name in another network namespace */
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        cards[rank].card.rank = rank;
    }
    union card_page *node = cards_of_node(cards, RANKS, 4, &index, &count);
    assert_non_null(node);
    assert_int_equal(count, 2);
    assert_int_equal(index, 1);
    assert_int_equal(node[0].card.rank, 1);
    assert_int_equal(node[1].card.rank, 4);
    base_free(node);
    node = cards_of_node(cards, RANKS, 0, &index, &count);
    assert_int_equal(count, RANKS - 3);
    assert_int_equal(index, 0);
    base_free(node);
    node = cards_of_node(cards, RANKS, 5, &index, &count);
    assert_int_equal(count, 1);
    base_free(node);
    const uint32_t expected[RANKS] = {0, 1, 0, 0, 1, 5};
    uint32_t *nodes = cards_nodes(cards, RANKS);
    assert_non_null(nodes);
    for (uint32_t rank = 0; rank < 6; rank++) {
        assert_int_equal(nodes[rank], expected[rank]);
    }
    base_free(nodes);
}

static void a_rank_that_cannot_start_speaks_for_all(void **state)
{
    uint32_t differs;
    cards[6].card.code = MANTA_E_SYSTEM;
    strcpy(cards[6].card.text, "no topology");
    assert_int_equal(check(RANKS, &differs, "rank 6 on n1: no topology"), MANTA_E_SYSTEM);
}

static void other_tasks_are_found_at_the_lowest_rank(void **state)
{
    uint32_t differs = 0;
    cards[5].card.functions++;
    cards[3].card.functions++;
    assert_int_equal(check(RANKS, &differs, NULL), MANTA_OK);
    assert_int_equal(differs, 3);
}

static void ranks_split_the_cores_they_share(void **state)
{
    uint32_t cores = 0;
    for (uint32_t rank = 0; rank < 3; rank++) {
        struct place place = cards_place(cards, 3, rank);
        assert_int_equal(place.index, rank);
        assert_int_equal(place.sharers, 3);
        assert_int_equal(place.workers, place.cores);
        assert_false(place.is_crowded);
        cores += place.cores;
    }
    assert_int_equal(cores, 4);
}

static void more_ranks_than_cores_are_crowded_with_one_each(void **state)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        struct place place = cards_place(cards, RANKS, rank);
        assert_int_equal(place.cores, 1);
        assert_true(place.is_crowded);
    }
}

static void ranks_with_cores_of_their_own_do_not_share(void **state)
{
    cards[1].card.mask = 2;
    for (uint32_t rank = 0; rank < 2; rank++) {
        struct place place = cards_place(cards, 2, rank);
        assert_int_equal(place.sharers, 1);
        assert_int_equal(place.cores, 4);
        assert_false(place.is_crowded);
    }
}

static void workers_asked_for_beyond_the_cores_crowd_all(void **state)
{
    cards[1].card.workers = 3;
    assert_int_equal(cards_place(cards, 2, 1).workers, 3);
    assert_int_equal(cards_place(cards, 2, 0).workers, 2);
    assert_true(cards_place(cards, 2, 0).is_crowded);
}

static void descriptions_differ_by_signature_not_by_place(void **state)
{
    assert_int_equal(differ_compare("f(val int[4]) at a.c:1", "f(val int[4]) at b.c:2"), 0);
    assert_true(differ_compare("f(val int[4]) at a.c:1", "g(val int[4]) at a.c:1") < 0);
    assert_true(differ_compare("f(val long[8]) at a.c:1", "f(val int[4]) at a.c:1") > 0);
    assert_true(differ_compare("", "f() at a.c:1") > 0);
    assert_true(differ_compare("f() at a.c:1", "") < 0);
    assert_int_equal(differ_compare("", ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(equal_cards_are_one_job, fresh),
        cmocka_unit_test_setup(versions_must_match, fresh),
        cmocka_unit_test_setup(the_ranks_of_a_node_are_found_by_host_and_machine, fresh),
        cmocka_unit_test_setup(a_rank_that_cannot_start_speaks_for_all, fresh),
        cmocka_unit_test_setup(other_tasks_are_found_at_the_lowest_rank, fresh),
        cmocka_unit_test_setup(ranks_split_the_cores_they_share, fresh),
        cmocka_unit_test_setup(more_ranks_than_cores_are_crowded_with_one_each, fresh),
        cmocka_unit_test_setup(ranks_with_cores_of_their_own_do_not_share, fresh),
        cmocka_unit_test_setup(workers_asked_for_beyond_the_cores_crowd_all, fresh),
        cmocka_unit_test(descriptions_differ_by_signature_not_by_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
