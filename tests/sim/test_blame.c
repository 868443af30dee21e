/*
 * What a death costs the tasks that were at the dead rank, on nodes of one rank, where nobody can
 * read its board, and on larger ones. A task that has not begun loses no attempt, however often it
 * is lost; one of which ranks die loses one each time, where it cannot be seen each time but the
 * first.
 */
#include "check.h"
#include "core/board.h"
#include "core/context.h"
#include "core/outside.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum { RETRIES = 2, FAILS_ITSELF = 9, MANY = 10000, DEATHS = 4 };

static uint8_t begun[MANY]; /* of all ranks: they share this process */

static uint32_t node_ranks; /* of the world under test */

/* Virtual time that a poisonous body takes before its rank dies: what it has said has arrived. */
static uint64_t poison_takes_ns;

static uint32_t this_rank(void)
{
    manta_world world;
    return manta_world_get(&world) == MANTA_OK ? world.rank : 0;
}

MANTA_TASK(work, val(int64_t, id), val(uint64_t, takes_ns), out(int64_t, y))
{
    begun[id]++;
    core_work(takes_ns);
    *y = id;
    return MANTA_OK;
}

/* Ranks die of it, but for the first, of which no job can be without. */
static int die(int64_t id)
{
    begun[id]++;
    if (this_rank() == 0) {
        return manta_fail(FAILS_ITSELF, "spared");
    }
    core_work(poison_takes_ns);
    world_kill(this_rank());
    return MANTA_OK;
}

MANTA_TASK(poison, val(int64_t, id), out(int64_t, y))
{
    return die(id);
}

MANTA_TASK(element, val(uint64_t, bad), out(int64_t, y))
{
    uint64_t index = manta_map_index();
    *y = (int64_t)index;
    if (index == bad) {
        return die((int64_t)index);
    }
    begun[index]++;
    core_work(20 * US);
    return MANTA_OK;
}

/* It came out right, or it had its chances. */
static bool is_fair(int code, int64_t id, int64_t y, uint32_t retries)
{
    return code == MANTA_OK ? y == id : code == MANTA_E_CRASH && begun[id] > retries;
}

/* ---- Lost again and again, and never begun --------------------------------------------------- */

enum { SLOTS = 2, CRAWLS = 120 };

/* Where it has been sent; 0: nowhere, or to this rank. */
static uint32_t where_is(manta_ref ref)
{
    struct rank *rank = context_get()->rank;
    BASE_LIST_EACH(&rank->peer_list, link)
    {
        struct peer *peer = MT_CONTAINER(link, struct peer, link);
        BASE_LIST_EACH(&peer->sent, sent)
        {
            const struct task *task = MT_CONTAINER(sent, struct task, link);
            if (task->position == ref.position && task->parent == ref.parent) {
                return peer->number;
            }
        }
    }
    return 0;
}

/* All places are taken by tasks that crawl, so an urgent one is the first to be sent and then waits
 * for a worker; before it has one, its rank dies. */
static int never_begun(int argc, char **argv)
{
    manta_options here = {.rank = MANTA_ON(0)}, urgent = {.priority = 7, .retries = DEATHS - 1};
    uint32_t deaths = 0, where;
    int64_t y;
    for (int i = 0; i < SLOTS; i++) {
        (void)work_async(&here, 1, 200 * MS);
    }
    for (int i = 0; i < CRAWLS; i++) {
        (void)work_async(NULL, 2, 10 * MS);
    }
    manta_ref ref = work_async(&urgent, 0, US);
    while (!begun[0] && deaths < DEATHS) {
        core_work(200 * US);
        if ((where = where_is(ref)) != 0 && !begun[0]) {
            world_kill(where);
            deaths++;
        }
    }
    CHECK(deaths == DEATHS && !begun[0]);
    CHECK(work_get(ref, &y) == MANTA_OK && y == 0);
    return 0;
}

/* ---- A long queue, and a death after the other ----------------------------------------------- */

static int long_queue(int argc, char **argv)
{
    static manta_ref refs[MANY];
    manta_options once_more = {.retries = 1};
    int64_t y;
    for (int64_t i = 0; i < MANY; i++) { /* short ones first: windows grow */
        refs[i] = work_async(&once_more, i, i < MANY / 2 ? US : 300 * US);
    }
    for (uint32_t dead = 1; dead <= DEATHS; dead++) {
        core_work(4 * MS);
        world_kill(dead);
    }
    for (int64_t i = 0; i < MANY; i++) {
        int code = work_get(refs[i], &y);
        CHECK(is_fair(code, i, y, 1));
    }
    return 0;
}

/* ---- Poison ---------------------------------------------------------------------------------- */

enum { INNOCENTS = 300, POISON = INNOCENTS + 1 };

static bool is_over_in_time(int code, int64_t id)
{
    bool has_died = code == MANTA_E_CRASH && begun[id] > RETRIES;
    uint32_t free_deaths = node_ranks == 1;
    bool is_known = poison_takes_ns && node_ranks < 2;
    return code == FAILS_ITSELF ||
           (has_died && (!is_known || begun[id] == RETRIES + 1 + free_deaths));
}

static int poison_among_others(int argc, char **argv)
{
    manta_ref refs[INNOCENTS + 1];
    manta_options few = {.retries = RETRIES}, once_more = {.retries = 1};
    int64_t y;
    for (int64_t i = 0; i <= INNOCENTS; i++) {
        refs[i] =
            i == INNOCENTS / 3 ? poison_async(&few, POISON) : work_async(&once_more, i, 100 * US);
    }
    for (int64_t i = 0; i <= INNOCENTS; i++) {
        int code = manta_get(refs[i], &y, sizeof y);
        CHECK(i == INNOCENTS / 3 ? is_over_in_time(code, POISON) : is_fair(code, i, y, 1));
    }
    return 0;
}

static int poison_in_a_map(int argc, char **argv)
{
    enum { N = 2000, BAD = 777 };
    static int64_t values[N];
    static int32_t codes[N];
    manta_options few = {.retries = RETRIES};
    manta_ref map = element_map(&few, N, BAD);
    int code = manta_map_get(map, values, sizeof values[0], N, codes);
    CHECK(code == codes[BAD] && is_over_in_time(code, BAD));
    for (int64_t i = 0; i < N; i++) {
        CHECK(i == BAD || is_fair(codes[i], i, values[i], RETRIES));
    }
    return 0;
}

/* ---- Worlds ---------------------------------------------------------------------------------- */

/* On nodes of one rank, two, and all. */
static void over_seeds(const char *test, manta_driver driver, struct world_options options,
                       uint64_t fallback)
{
    uint64_t first, count;
    world_seeds(fallback, &first, &count);
    options.will_kill = true;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_result result;
        options.seed = seed;
        node_ranks = seed % 5 < 3 ? 1 : seed % 5 == 3 ? 2 : 0;
        options.node_ranks = node_ranks;
        poison_takes_ns = seed % 4 ? 3 * MS : 0;
        assert_int_equal(world_run(&options, driver, &result), 0);
        assert_int_equal(world_check(test, &options, &result), 0);
    }
}

static void test_a_task_that_never_began_loses_no_attempt(void **state)
{
    over_seeds("blame", never_begun, (struct world_options){.ranks = 8, .window_max = SLOTS}, 40);
}

static void test_nor_do_those_of_a_long_queue(void **state)
{
    over_seeds("blame", long_queue, (struct world_options){.ranks = 8, .window_max = MANY}, 3);
}

static void test_a_task_of_which_ranks_die_is_given_up(void **state)
{
    over_seeds("blame", poison_among_others, (struct world_options){.ranks = 14}, 40);
}

static void test_so_is_an_element_of_a_map_and_no_other(void **state)
{
    over_seeds("blame", poison_in_a_map, (struct world_options){.ranks = 14}, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_task_that_never_began_loses_no_attempt),
        cmocka_unit_test(test_nor_do_those_of_a_long_queue),
        cmocka_unit_test(test_a_task_of_which_ranks_die_is_given_up),
        cmocka_unit_test(test_so_is_an_element_of_a_map_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
