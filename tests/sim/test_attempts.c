/*
 * Tasks whose rank dies under them, one death at a time: how often they run again, what the error
 * says when that is over, what becomes of what depends on them, and what a parent must do that runs
 * again.
 *
 * Rank 0 cannot be killed, so nothing that is to die may go there: one task is in flight to a rank
 * at most, and rank 0 has one that stays until all is over.
 */
#include "check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RANKS = 7 };

/* Of all ranks: they share this process. */
static bool is_over;     /* the task on rank 0 may end */
static bool may_end;     /* `stay` may */
static uint32_t started; /* runs of `stay` or of `parent` that have begun */
static uint32_t ran_on;  /* the latest of them */

static uint32_t this_rank(void)
{
    manta_world world;
    return manta_world_get(&world) == MANTA_OK ? world.rank : UINT32_MAX;
}

MANTA_TASK(occupy, out(int64_t, y))
{
    while (!is_over) {
        core_work(50 * US);
    }
    *y = 1;
    return MANTA_OK;
}

MANTA_TASK(stay, val(int64_t, x), out(int64_t, y))
{
    ran_on = this_rank();
    started++;
    while (!may_end) {
        core_work(20 * US);
    }
    *y = x + 1;
    return MANTA_OK;
}

MANTA_TASK(add_one, in(int64_t, x), out(int64_t, y))
{
    *y = x[0] + 1;
    return MANTA_OK;
}

/* Kills the rank of each of the next `count` runs, when they have begun. */
static void kill_runs(uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++) {
        while (started < i) {
            core_work(20 * US);
        }
        core_work(MS); /* the word that it has begun is out */
        world_kill(ran_on);
    }
}

static int fails_with_dependents(manta_ref ref, manta_ref after, uint32_t attempt, const char *text)
{
    int64_t y = -1;
    CHECK(stay_get(ref, &y) == MANTA_E_CRASH && y == -1);
    CHECK(manta_last_error()->attempt == attempt && error_says(text) && error_says("died"));
    CHECK(strcmp(manta_last_error()->task, "stay") == 0 && manta_last_error()->line != 0);
    CHECK(add_one_get(after, &y) == MANTA_E_DEPENDENCY && y == -1);
    CHECK(manta_last_error()->cause_code == MANTA_E_CRASH);
    CHECK(strcmp(manta_last_error()->cause_task, "stay") == 0);
    return 0;
}

/* ---- Drivers -------------------------------------------------------------------------------- */

static int behaviour_54_no_retry_is_a_crash_and_fails_dependents(int argc, char **argv)
{
    int64_t y;
    manta_ref ref = stay_async(MANTA_OPTIONS(.retries = MANTA_NO_RETRY), 5);
    manta_ref after = add_one_async(NULL, add_one_async(NULL, ref));
    kill_runs(1);
    CHECK(fails_with_dependents(ref, after, 1, "may not run twice") == 0);
    CHECK(started == 1);
    may_end = true;
    CHECK(stay_get(stay_async(MANTA_OPTIONS(.retries = MANTA_NO_RETRY), 5), &y) == MANTA_OK);
    CHECK(y == 6);
    return 0;
}

static int behaviour_55_three_deaths_are_survived_by_default(int argc, char **argv)
{
    int64_t y;
    manta_ref ref = stay_async(NULL, 5), after = add_one_async(NULL, ref);
    kill_runs(3);
    may_end = true;
    CHECK(stay_get(ref, &y) == MANTA_OK && y == 6 && started == 4);
    CHECK(add_one_get(after, &y) == MANTA_OK && y == 7);
    return 0;
}

static int is_out_after(uint32_t deaths, const char *text)
{
    manta_ref ref = stay_async(NULL, 5), after = add_one_async(NULL, ref);
    kill_runs(deaths);
    CHECK(fails_with_dependents(ref, after, deaths, text) == 0);
    CHECK(started == deaths);
    return 0;
}

static int behaviour_55_the_fourth_death_is_an_error_with_attempt_4(int argc, char **argv)
{
    return is_out_after(4, "attempt 4 was the last allowed");
}

/* Nobody could see what the first was in. */
static int on_other_nodes_it_is_the_fifth(int argc, char **argv)
{
    return is_out_after(5, "attempt 5 was the last allowed");
}

/* ---- A parent that does something else ------------------------------------------------------- */

/* Runs until long after the death. */
MANTA_TASK(child, val(int64_t, x), out(int64_t, y))
{
    core_work(30 * MS);
    *y = x;
    return MANTA_OK;
}

MANTA_TASK(other, val(int64_t, x), out(int64_t, y))
{
    *y = -x;
    return MANTA_OK;
}

/* Hands on the ref of what it submits, which runs elsewhere; that is not the same the second time.
 * By `differs`: 0 it is, 1 the argument, 2 the function. */
MANTA_TASK(parent, val(int64_t, differs), outrefs(made))
{
    manta_ref *ref = (manta_ref *)manta_outv_alloc(made, 1);
    uint32_t here = this_rank();
    manta_options elsewhere = {.rank = MANTA_ON(here == 1 ? 2 : 1)};
    if (started > 0) {
        *ref = differs == 2 ? other_async(NULL, 7) : child_async(NULL, differs == 1 ? 8 : 7);
    } else {
        *ref = child_async(&elsewhere, 7);
        core_work(100 * US); /* it is on its way */
    }
    ran_on = here;
    started++;
    return MANTA_OK;
}

/* The code and the text of what a holder on a rank of its own gets, when the death is over. */
MANTA_TASK(ask_later, ref(value), outv(char, text), out(int32_t, code), out(int64_t, y))
{
    core_work(15 * MS);
    *code = child_get(value, y);
    const char *said = *code ? manta_last_error()->text : "";
    char *copy = (char *)manta_outv_alloc(text, strlen(said) + 1);
    memcpy(copy, said, strlen(said) + 1);
    return MANTA_OK;
}

/* The parent has ended on the rank that dies; its child lives, and both the driver and a task on a
 * third rank hold the ref. */
static int lose_the_parent(int64_t differs, manta_ref *ret_child, struct ask_later_refs *ret_asked)
{
    const manta_ref *made;
    size_t count;
    manta_ref ref = parent_async(NULL, differs);
    CHECK(parent_get(ref, &made, &count) == MANTA_OK && count == 1);
    *ret_child = *made;
    *ret_asked = ask_later_async(MANTA_OPTIONS(.rank = MANTA_ON(ran_on == 3 ? 4 : 3)), *made);
    core_work(MS); /* it holds the ref by then */
    world_kill(ran_on);
    return 0;
}

static int the_same_again_is_adopted(int argc, char **argv)
{
    manta_ref ref;
    struct ask_later_refs asked;
    int64_t y, asked_y;
    int32_t code;
    CHECK(lose_the_parent(0, &ref, &asked) == 0);
    CHECK(child_get(ref, &y) == MANTA_OK && y == 7);
    CHECK(manta_get(asked.code, &code, sizeof code) == MANTA_OK && code == MANTA_OK);
    CHECK(manta_get(asked.y, &asked_y, sizeof asked_y) == MANTA_OK && asked_y == 7);
    CHECK(started == 2);
    return 0;
}

/* What both holders are told: the place of what was submitted, and of what is now. */
static int is_told(manta_ref ref, struct ask_later_refs asked, const char *now)
{
    const void *text;
    size_t bytes;
    int64_t y = -1;
    int32_t code;
    CHECK(manta_get(ref, &y, sizeof y) == MANTA_E_DIVERGED && y == -1);
    CHECK(error_says("submitted child (test_attempts.c:") && error_says(now));
    CHECK(error_says("must submit the same again"));
    CHECK(strcmp(manta_last_error()->file, "test_attempts.c") == 0);
    CHECK(manta_get(asked.code, &code, sizeof code) == MANTA_OK && code == MANTA_E_DIVERGED);
    CHECK(manta_view(asked.text, &text, &bytes) == MANTA_OK);
    CHECK(strstr(text, "submitted child (test_attempts.c:") && strstr(text, now));
    CHECK(started == 2);
    return 0;
}

static int another_function_is_an_error_that_names_both_places(int argc, char **argv)
{
    manta_ref ref;
    struct ask_later_refs asked;
    CHECK(lose_the_parent(2, &ref, &asked) == 0);
    CHECK(is_told(ref, asked, "its re-execution other (test_attempts.c:") == 0);
    CHECK(strcmp(manta_last_error()->task, "other") == 0);
    return 0;
}

static int other_arguments_are_an_error_that_says_so(int argc, char **argv)
{
    manta_ref ref;
    struct ask_later_refs asked;
    CHECK(lose_the_parent(1, &ref, &asked) == 0);
    return is_told(ref, asked, "with other arguments");
}

/* ---- Worlds --------------------------------------------------------------------------------- */

static manta_driver inner;

static int beside_an_occupied_rank(int argc, char **argv)
{
    int64_t y;
    is_over = may_end = false;
    started = 0;
    manta_ref occupied = occupy_async(MANTA_OPTIONS(.rank = MANTA_ON(0)));
    int failed = inner(argc, argv);
    is_over = may_end = true;
    CHECK(occupy_get(occupied, &y) == MANTA_OK && y == 1);
    return failed;
}

/* node_ranks: of a node; 0: one to three. */
static void in_worlds(manta_driver driver, uint32_t deaths, uint32_t node_ranks)
{
    uint64_t first, count;
    world_seeds(12, &first, &count);
    inner = driver;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = RANKS,
                                        .workers = 1,
                                        .node_ranks =
                                            node_ranks ? node_ranks : 1 + (uint32_t)(seed % 3),
                                        .window_max = 1,
                                        .work_ns = 100 * MS,
                                        .will_kill = true};
        struct world_result result;
        assert_int_equal(world_run(&options, beside_an_occupied_rank, &result), 0);
        assert_int_equal(world_check("attempts", &options, &result), 0);
        assert_int_equal(result.killed, deaths);
    }
}

#define EACH_DRIVER(X)                                                                             \
    X(behaviour_54_no_retry_is_a_crash_and_fails_dependents, 1, 0)                                 \
    X(behaviour_55_three_deaths_are_survived_by_default, 3, 0)                                     \
    X(behaviour_55_the_fourth_death_is_an_error_with_attempt_4, 4, RANKS)                          \
    X(on_other_nodes_it_is_the_fifth, 5, 1)                                                        \
    X(the_same_again_is_adopted, 1, 0)                                                             \
    X(another_function_is_an_error_that_names_both_places, 1, 0)                                   \
    X(other_arguments_are_an_error_that_says_so, 1, 0)

#define TEST(driver, deaths, node_ranks)                                                           \
    static void test_##driver(void **state)                                                        \
    {                                                                                              \
        in_worlds(driver, deaths, node_ranks);                                                     \
    }
EACH_DRIVER(TEST)

int main(void)
{
#define ENTRY(driver, deaths, node_ranks) cmocka_unit_test(test_##driver),
    const struct CMUnitTest tests[] = {EACH_DRIVER(ENTRY)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
