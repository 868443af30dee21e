/*
 * Values in the store whose maker dies, alone or with its node, one death at a time: what is read
 * on, what is made again and how often, what is an error and what that says. Everywhere every count
 * and every block is gone at the end.
 */
#include "check.h"
#include "values.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { NUMBERS = 50000, STORE = 16 << 20 };

static uint32_t made; /* how often a body has made a value, on all ranks */

static double sum_of(double first)
{
    return NUMBERS * first + (double)NUMBERS * (NUMBERS - 1) / 2;
}

static uint32_t this_rank(void)
{
    manta_world world;
    return manta_world_get(&world) == MANTA_OK ? world.rank : UINT32_MAX;
}

static int fill(manta_outv *xs, double first)
{
    double *x = (double *)manta_outv_alloc(xs, NUMBERS);
    if (!x) {
        return manta_fail(manta_last_error()->code, "%s", manta_last_error()->text);
    }
    for (int i = 0; i < NUMBERS; i++) {
        x[i] = first + i;
    }
    made++;
    return MANTA_OK;
}

MANTA_TASK(make, val(double, first), outv(double, xs), out(uint32_t, rank))
{
    *rank = this_rank();
    core_work(100000);
    return fill(xs, first);
}

MANTA_TASK(next, in(double, before), outv(double, xs), out(uint32_t, rank))
{
    *rank = this_rank();
    core_work(100000);
    return fill(xs, before[0] + 1);
}

/* Holds the ref, and looks at it when a death has come and gone. */
MANTA_TASK(sum_later, ref(xs), out(double, s))
{
    core_work(9000000);
    return sum_of_ref(xs, s);
}

/* One of some that was made where it is wanted. */
static int make_on(uint32_t rank, const manta_options *options, double first, manta_ref *ret_xs)
{
    enum { TRIES = 24 };
    struct make_refs refs[TRIES];
    int found = -1;
    for (int i = 0; i < TRIES; i++) {
        refs[i] = make_async(options, first);
    }
    for (int i = 0; i < TRIES; i++) {
        uint32_t where = UINT32_MAX;
        MANTA_TRY(manta_get(refs[i].rank, &where, sizeof where));
        found = found < 0 && where == rank ? i : found;
        manta_drop(refs[i].rank);
    }
    for (int i = 0; i < TRIES; i++) {
        if (i != found) {
            manta_drop(refs[i].xs);
        }
    }
    *ret_xs = refs[found < 0 ? 0 : found].xs;
    return found < 0 ? MANTA_E_NOTFOUND : MANTA_OK;
}

static bool has_sum(manta_ref xs, double expected)
{
    double s = 0;
    return sum_of_ref(xs, &s) == MANTA_OK && s == expected;
}

static bool has_sum_on(uint32_t rank, manta_ref xs, double expected)
{
    double s;
    const manta_options there = {.rank = MANTA_ON(rank)};
    return sum_get(sum_async(&there, xs), &s) == MANTA_OK && s == expected;
}

/* ---- Drivers -------------------------------------------------------------------------------- */

static int behaviour_56_a_chain_that_died_with_its_nodes_is_made_again(int argc, char **argv)
{
    enum { LEVELS = 5 };
    manta_ref xs;
    CHECK(make_on(1, NULL, 0, &xs) == MANTA_OK);
    for (int i = 0; i < LEVELS; i++) {
        struct next_refs refs = next_async(NULL, xs);
        manta_drop(xs);
        manta_drop(refs.rank);
        xs = refs.xs;
    }
    CHECK(manta_wait(&xs, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    for (uint32_t rank = 1; rank < 5; rank++) {
        world_kill(rank);
    }
    CHECK(has_sum(xs, sum_of(LEVELS)));
    return 0;
}

static int behaviour_56_a_loss_beyond_the_retries_says_so(int argc, char **argv)
{
    const manta_options one = {.retries = 1};
    manta_ref xs;
    CHECK(make_on(1, &one, 7, &xs) == MANTA_OK);
    uint32_t before = made;
    world_kill(1);
    CHECK(has_sum_on(2, xs, sum_of(7)) && made == before + 1);
    for (uint32_t rank = 2; rank < 6; rank++) {
        world_kill(rank);
    }
    int code = manta_wait(&xs, 1, 1, MANTA_FOREVER, NULL);
    CHECK(code == MANTA_OK);
    if (has_sum(xs, sum_of(7))) { /* rank 0 had made it again */
        return made == before + 1 ? 0 : 1;
    }
    CHECK(manta_last_error()->code == MANTA_E_LOST);
    CHECK(strstr(manta_last_error()->text, "no attempt is left") &&
          strstr(manta_last_error()->text, "died"));
    return 0;
}

static int behaviour_57_a_copy_that_lives_is_used_and_nothing_is_made_again(int argc, char **argv)
{
    manta_ref xs;
    CHECK(make_on(1, NULL, 3, &xs) == MANTA_OK && has_sum(xs, sum_of(3)));
    uint32_t before = made;
    world_kill(1);
    CHECK(has_sum(xs, sum_of(3)));
    double s;
    for (uint32_t rank = 2; rank < 4; rank++) {
        const manta_options there = {.rank = MANTA_ON(rank)};
        CHECK(has_sum_on(rank, xs, sum_of(3)));
        CHECK(sum_of_ref_get(sum_of_ref_async(&there, xs), &s) == MANTA_OK && s == sum_of(3));
    }
    CHECK(made == before);
    return 0;
}

/* Two ranks to a node: the other one serves, then frees. */
static int the_heir_serves_what_its_neighbour_has_made(int argc, char **argv)
{
    manta_ref kept, dropped;
    CHECK(make_on(2, NULL, 1, &kept) == MANTA_OK && make_on(2, NULL, 2, &dropped) == MANTA_OK);
    uint32_t before = made;
    world_kill(2);
    manta_drop(dropped);
    for (uint32_t rank = 3; rank < 6; rank++) {
        CHECK(has_sum_on(rank, kept, sum_of(1)));
    }
    CHECK(has_sum(kept, sum_of(1)) && made == before);
    return 0;
}

/* Three to a node, of which two die; then the third, and what it had is made again. */
static int the_next_heir_takes_over_and_the_last_takes_it_along(int argc, char **argv)
{
    manta_ref xs, read;
    CHECK(make_on(3, NULL, 1, &xs) == MANTA_OK && make_on(3, NULL, 4, &read) == MANTA_OK);
    uint32_t before = made;
    world_kill(3);
    world_kill(4);
    CHECK(has_sum_on(6, read, sum_of(4)) && made == before);
    CHECK(has_sum_on(5, xs, sum_of(1)) && made == before);
    world_kill(5);
    CHECK(has_sum(xs, sum_of(1)) && made == before + 1);
    return 0;
}

static int who_holds_the_ref_elsewhere_waits_for_it_to_come_back(int argc, char **argv)
{
    manta_ref xs, sums[4];
    double s;
    CHECK(make_on(1, NULL, 5, &xs) == MANTA_OK);
    for (uint32_t i = 0; i < 4; i++) {
        const manta_options there = {.rank = MANTA_ON(2 + i)};
        sums[i] = sum_later_async(&there, xs);
    }
    uint32_t before = made;
    world_kill(1);
    manta_drop(xs);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK(sum_later_get(sums[i], &s) == MANTA_OK && s == sum_of(5));
    }
    CHECK(made == before + 1);
    return 0;
}

static int what_may_not_run_twice_is_an_error_that_names_the_death(int argc, char **argv)
{
    const manta_options once = {.retries = MANTA_NO_RETRY};
    manta_ref xs;
    double s;
    CHECK(make_on(1, &once, 5, &xs) == MANTA_OK);
    struct next_refs after = next_async(MANTA_OPTIONS(.rank = MANTA_ON(0)), xs);
    CHECK(manta_wait(&after.xs, 1, 1, MANTA_FOREVER, NULL) == MANTA_OK);
    world_kill(1);
    CHECK(!has_sum(xs, sum_of(5)) && manta_last_error()->code == MANTA_E_LOST);
    CHECK(manta_last_error()->rank == 1 && strstr(manta_last_error()->text, "rank 1, which died") &&
          strstr(manta_last_error()->text, "may not run twice"));
    CHECK(sum_get(sum_async(NULL, xs), &s) == MANTA_E_DEPENDENCY);
    CHECK(has_sum(after.xs, sum_of(6)));
    return 0;
}

/* With room for the lineage of no task. */
static int a_lineage_that_was_let_go_is_an_error_that_says_so(int argc, char **argv)
{
    manta_ref xs;
    CHECK(make_on(1, NULL, 5, &xs) == MANTA_OK);
    world_kill(1);
    CHECK(!has_sum(xs, sum_of(5)) && manta_last_error()->code == MANTA_E_LOST);
    CHECK(strstr(manta_last_error()->text, "MANTA_LINEAGE"));
    return 0;
}

/* A chain holds one value at a time, although all of it could be made again. */
static int lineage_keeps_records_and_no_values(int argc, char **argv)
{
    enum { LEVELS = 60 }; /* of which 20 fit into all stores together */
    manta_ref xs;
    CHECK(make_on(1, NULL, 0, &xs) == MANTA_OK);
    for (int i = 0; i < LEVELS; i++) {
        struct next_refs refs = next_async(NULL, xs);
        manta_drop(xs);
        manta_drop(refs.rank);
        xs = refs.xs;
    }
    CHECK(has_sum(xs, sum_of(LEVELS)));
    return 0;
}

MANTA_TASK(kill_later, val(uint32_t, rank), val(uint64_t, after_ns))
{
    core_work(after_ns);
    world_kill(rank);
    return MANTA_OK;
}

/* The owner and another rank are fetching it when the only rank that has it dies; whoever hears of
 * that first tells the other. */
static int what_is_lost_on_its_way_comes_again(int argc, char **argv)
{
    manta_options at_2 = {.rank = MANTA_ON(2)}, at_3 = {.rank = MANTA_ON(3)};
    manta_ref xs;
    double s;
    CHECK(make_on(1, NULL, 0, &xs) == MANTA_OK);
    manta_ref there = sum_of_ref_async(&at_2, xs);
    manta_ref killer = kill_later_async(&at_3, 1, 2000000);
    CHECK(has_sum(xs, sum_of(0)));
    CHECK(sum_of_ref_get(there, &s) == MANTA_OK && s == sum_of(0));
    CHECK(kill_later_get(killer) == MANTA_OK);
    return 0;
}

/* ---- Worlds --------------------------------------------------------------------------------- */

struct place {
    uint32_t ranks, node_ranks;
    uint64_t store_bytes, lineage_bytes;
};

static void in_worlds(manta_driver driver, struct place place)
{
    uint64_t first, count;
    world_seeds(8, &first, &count);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = place.ranks,
                                        .workers = 1 + (uint32_t)(seed % 2),
                                        .node_ranks = place.node_ranks,
                                        .store_bytes = place.store_bytes,
                                        .lineage_bytes = place.lineage_bytes,
                                        .will_kill = true};
        struct world_result result;
        made = 0;
        assert_int_equal(world_run(&options, driver, &result), 0);
        assert_int_equal(world_check("lost", &options, &result), 0);
    }
}

static void test_what_is_lost_on_its_way_comes_again(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 5,
                                        .node_ranks = 1,
                                        .bytes_per_us = 100,
                                        .store_bytes = STORE,
                                        .will_kill = true};
        struct world_result result;
        assert_int_equal(world_run(&options, what_is_lost_on_its_way_comes_again, &result), 0);
        assert_int_equal(world_check("lost", &options, &result), 0);
    }
}

#define EACH_DRIVER(X)                                                                             \
    X(behaviour_56_a_chain_that_died_with_its_nodes_is_made_again, 6, 1, STORE, 0)                 \
    X(behaviour_56_a_loss_beyond_the_retries_says_so, 6, 1, STORE, 0)                              \
    X(behaviour_57_a_copy_that_lives_is_used_and_nothing_is_made_again, 4, 1, STORE, 0)            \
    X(the_heir_serves_what_its_neighbour_has_made, 6, 2, STORE, 0)                                 \
    X(the_next_heir_takes_over_and_the_last_takes_it_along, 7, 3, STORE, 0)                        \
    X(who_holds_the_ref_elsewhere_waits_for_it_to_come_back, 6, 1, STORE, 0)                       \
    X(what_may_not_run_twice_is_an_error_that_names_the_death, 3, 1, STORE, 0)                     \
    X(a_lineage_that_was_let_go_is_an_error_that_says_so, 3, 1, STORE, 1)                          \
    X(lineage_keeps_records_and_no_values, 3, 1, STORE / 2, 0)

#define TEST(driver, ranks, node_ranks, store, lineage)                                            \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        in_worlds(driver, (struct place){ranks, node_ranks, store, lineage});                      \
    }
EACH_DRIVER(TEST)

int main(void)
{
#define ENTRY(driver, ranks, node_ranks, store, lineage) cmocka_unit_test(test_##driver),
    const struct CMUnitTest tests[] = {
        EACH_DRIVER(ENTRY) cmocka_unit_test(test_what_is_lost_on_its_way_comes_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
