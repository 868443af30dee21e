/*
 * Commands and isolated tasks over pretended processes (pretend.h): what core does with them must
 * hold for every seed, with ranks that die, spawners that die, and cancels at drawn moments. Every
 * right answer comes once, nothing hangs, no process is left running, and no rank ever runs more at
 * once than it has CPUs.
 */
#include "check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const manta_options many_tries = {.retries = 100};
static const manta_options many_isolated = {.retries = 100, .isolated = 1};

static manta_ref command(const manta_options *options, const char *name, const char *number)
{
    const char *argv[] = {name, number, NULL};
    return manta_command(options, argv, NULL);
}

MANTA_TASK(square, val(int64_t, x), out(int64_t, y))
{
    *y = x * x;
    return MANTA_OK;
}

MANTA_TASK(add_all, in(int64_t, xs), span(char, big), outv(int64_t, ys), out(int64_t, sum))
{
    int64_t *out = (int64_t *)manta_outv_alloc(ys, xs_len + big_len);
    for (size_t i = 0; i < xs_len; i++) {
        *sum += xs[i];
        out[i] = xs[i];
    }
    return MANTA_OK;
}

MANTA_TASK(own_words, val(int32_t, code))
{
    return manta_fail(code, "own words %d", (int)code);
}

MANTA_TASK(submits, out(int64_t, y))
{
    return square_get(square_async(NULL, 3), y);
}

/* A task that waits for commands: its worker goes on meanwhile. */
MANTA_TASK(sweep, val(int64_t, count), out(int64_t, done))
{
    manta_ref refs[16];
    for (int64_t i = 0; i < count; i++) {
        refs[i] = command(&many_tries, "sleep", "20000");
    }
    for (int64_t i = 0; i < count; i++) {
        manta_command_result result;
        MANTA_TRY(manta_command_get(refs[i], &result));
        *done += result.exit_code == 0;
    }
    return MANTA_OK;
}

/* ---- Drivers --------------------------------------------------------------------------------- */

static int commands_and_isolated(int argc, char **argv)
{
    enum { N = 40 };
    manta_ref commands[N], isolated[N], sweeps[4];
    int64_t y;
    for (int i = 0; i < N; i++) {
        commands[i] = command(&many_tries, i % 2 ? "exit" : "sleep", i % 2 ? "0" : "30000");
        isolated[i] = square_async(&many_isolated, i);
    }
    for (int i = 0; i < 4; i++) {
        sweeps[i] = sweep_async(&many_tries, 8);
    }
    for (int i = 0; i < N; i++) {
        manta_command_result result;
        CHECK(manta_command_get(commands[i], &result) == MANTA_OK && result.exit_code == 0);
        CHECK(square_get(isolated[i], &y) == MANTA_OK && y == i * i);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(sweep_get(sweeps[i], &y) == MANTA_OK && y == 8);
    }
    return 0;
}

static int cancelled_ones(int argc, char **argv)
{
    enum { N = 60 };
    manta_ref refs[N];
    for (int i = 0; i < N; i++) {
        refs[i] = command(&many_tries, "sleep", i % 3 ? "100000000000" : "30000");
    }
    (void)manta_wait(refs, N, N, 3 * MS / 2, NULL);
    for (int i = 0; i < N; i++) {
        if (i % 3) {
            CHECK(manta_cancel(refs[i]) == MANTA_OK);
        }
    }
    for (int i = 0; i < N; i++) {
        manta_command_result result;
        CHECK(manta_command_get(refs[i], &result) == (i % 3 ? MANTA_E_CANCELLED : MANTA_OK));
    }
    return 0;
}

/* The driver ends while all of it runs: nothing waits for an hour. */
static int left_running(int argc, char **argv)
{
    for (int i = 0; i < 20; i++) {
        (void)command(&many_tries, "sleep", "3000000000000");
        (void)square_async(&many_isolated, i);
    }
    return 0;
}

/* ---- Campaigns ------------------------------------------------------------------------------- */

struct campaign {
    manta_driver driver;
    uint32_t kills, lost_percent;
    uint64_t press_at_ns;
};

static struct world_result sum;

static void run_campaign(const struct campaign *campaign)
{
    uint64_t first, count;
    world_seeds(100, &first, &count);
    memset(&sum, 0, sizeof sum);
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct world_options options = {.seed = seed,
                                        .ranks = 1 + (uint32_t)(seed % 6),
                                        .workers = 1 + (uint32_t)(seed / 7 % 3),
                                        .kills = campaign->kills,
                                        .kill_within_ns = 2 * MS,
                                        .lost_percent = campaign->lost_percent,
                                        .press_at_ns = campaign->press_at_ns};
        struct world_result result;
        assert_int_equal(world_run(&options, campaign->driver, &result), 0);
        assert_int_equal(world_check("outside", &options, &result), 0);
        assert_true(result.processes.most <= options.workers);
        sum.killed += result.killed;
        sum.total.retried += result.total.retried;
        sum.processes.lost += result.processes.lost;
        sum.processes.killed += result.processes.killed;
        sum.processes.most =
            result.processes.most > sum.processes.most ? result.processes.most : sum.processes.most;
    }
    print_message("%u seeds: %u ranks killed, %u processes lost, %u ended, %u tasks run again\n",
                  (unsigned)count, sum.killed, (unsigned)sum.processes.lost,
                  (unsigned)sum.processes.killed, (unsigned)sum.total.retried);
}

static bool is_whole_campaign(void)
{
    uint64_t first, count;
    world_seeds(100, &first, &count);
    return count >= 50;
}

static void results_come_and_all_cpus_are_used(void **state)
{
    run_campaign(&(struct campaign){commands_and_isolated, 0, 0, 0});
    assert_true(!is_whole_campaign() || sum.processes.most == 3);
    assert_int_equal(sum.total.retried, 0);
}

static void results_come_though_ranks_die(void **state)
{
    run_campaign(&(struct campaign){commands_and_isolated, 3, 0, 0});
    assert_true(!is_whole_campaign() || (sum.killed > 50 && sum.total.retried > 50));
}

static void results_come_though_spawners_die(void **state)
{
    run_campaign(&(struct campaign){commands_and_isolated, 0, 10, 0});
    assert_true(!is_whole_campaign() || sum.processes.lost > 100);
    assert_int_equal(sum.total.retried, sum.processes.lost);
}

static void results_come_though_all_of_it_dies(void **state)
{
    run_campaign(&(struct campaign){commands_and_isolated, 2, 10, MS / 10});
}

static void cancelled_ones_are_ended(void **state)
{
    run_campaign(&(struct campaign){cancelled_ones, 0, 0, 0});
    assert_true(!is_whole_campaign() || sum.processes.killed > 100);
}

static void cancelled_ones_are_ended_though_ranks_die(void **state)
{
    run_campaign(&(struct campaign){cancelled_ones, 2, 0, 0});
}

static void what_runs_at_the_end_is_ended(void **state)
{
    run_campaign(&(struct campaign){left_running, 0, 0, 0});
    assert_true(!is_whole_campaign() || sum.processes.killed > 100);
}

static void the_newest_is_ended_when_memory_is_short_and_runs_again(void **state)
{
    run_campaign(&(struct campaign){commands_and_isolated, 0, 0, MS / 10});
    assert_true(!is_whole_campaign() || sum.processes.killed > 50);
    assert_int_equal(sum.total.retried, sum.processes.killed);
}

/* ---- Single worlds --------------------------------------------------------------------------- */

static void run_one(uint32_t ranks, uint64_t press_at_ns, manta_driver driver)
{
    struct world_options options = {
        .seed = 1, .ranks = ranks, .workers = 2, .press_at_ns = press_at_ns};
    struct world_result result;
    assert_int_equal(world_run(&options, driver, &result), 0);
    assert_int_equal(world_check("outside", &options, &result), 0);
}

static int failures(int argc, char **argv)
{
    manta_command_result result;
    manta_options again = {.retry_errors = 1};
    CHECK(manta_command_get(command(NULL, "exit", "3"), &result) == MANTA_E_TASK);
    CHECK(strcmp(manta_last_error()->task, "exit") == 0 && manta_last_error()->attempt == 1);
    CHECK(manta_command_get(command(NULL, "crash", NULL), &result) == MANTA_E_CRASH);
    CHECK(manta_last_error()->attempt == 1); /* a crash is its own fault: not again unasked */
    CHECK(manta_command_get(command(&again, "crash", NULL), &result) == MANTA_E_CRASH);
    CHECK(manta_last_error()->attempt == 4);
    CHECK(manta_command_get(command(&again, "flaky", "3"), &result) == MANTA_OK);
    CHECK(result.attempt == 3);
    CHECK(manta_command_get(command(NULL, "lost", "3"), &result) == MANTA_OK);
    CHECK(result.attempt == 3);
    CHECK(manta_command_get(command(NULL, "lost", "9"), &result) == MANTA_E_CRASH);
    CHECK(manta_last_error()->attempt == 4);
    CHECK(manta_command_get(command(NULL, "refused", NULL), &result) == MANTA_E_LIMIT);
    CHECK(error_says("no place for it"));
    manta_options limited = {.timeout_ns = MS};
    CHECK(manta_command_get(command(&limited, "sleep", "5000000"), &result) == MANTA_E_TIMEOUT);
    return 0;
}

/* Each attempt has to end before the next one can begin where it ran. */
static int pinned_failures(int argc, char **argv)
{
    manta_options pinned = {.rank = MANTA_ON(0), .retry_errors = 1}, apart = pinned;
    manta_command_result result;
    apart.isolated = 1;
    CHECK(own_words_get(own_words_async(&pinned, 7)) == 7);
    CHECK(manta_last_error()->attempt == 4);
    CHECK(own_words_get(own_words_async(&apart, 7)) == 7);
    CHECK(manta_last_error()->attempt == 4);
    CHECK(manta_command_get(command(&pinned, "flaky", "4"), &result) == MANTA_OK);
    CHECK(result.attempt == 4);
    CHECK(manta_command_get(command(&pinned, "lost", "4"), &result) == MANTA_OK);
    CHECK(result.attempt == 4);
    return 0;
}

static int isolated_failures(int argc, char **argv)
{
    int64_t y;
    CHECK(own_words_get(own_words_async(&many_isolated, 7)) == 7 && error_says("own words 7"));
    CHECK(strcmp(manta_last_error()->task, "own_words") == 0);
    CHECK(submits_get(submits_async(&many_isolated), &y) == MANTA_E_STATE);
    CHECK(error_says("neither submit nor wait"));
    return 0;
}

static int values(int argc, char **argv)
{
    static const char big[20000];
    int64_t seven = 49, sum_of;
    struct add_all_refs refs =
        add_all_async(&many_isolated, square_async(NULL, 7), big, sizeof big / 4);
    const int64_t *ys;
    size_t count;
    CHECK(add_all_get(refs, &ys, &count, &sum_of) == MANTA_OK);
    CHECK(count == 5001 && ys[0] == seven && ys[5000] == 0 && sum_of == seven);
    return 0;
}

static int order(int argc, char **argv)
{
    const char *line[] = {"exit", "0", NULL};
    manta_ref first = command(NULL, "sleep", "2000000"), bad = command(NULL, "exit", "1");
    manta_ref after[] = {first, square_async(NULL, 2)}, both[] = {first, bad};
    manta_ref next = manta_command(NULL, line, MANTA_COMMAND_SETUP(.after = after, .after_len = 2));
    manta_ref never = manta_command(NULL, line, MANTA_COMMAND_SETUP(.after = both, .after_len = 2));
    manta_command_result result;
    uint8_t ready[2];
    manta_ref two[] = {first, next};
    CHECK(manta_wait(two, 2, 1, MANTA_FOREVER, ready) == MANTA_OK && ready[0]);
    CHECK(manta_command_get(next, &result) == MANTA_OK);
    CHECK(manta_command_get(never, &result) == MANTA_E_DEPENDENCY);
    CHECK(manta_last_error()->cause_code == MANTA_E_TASK);
    return 0;
}

static int newest(int argc, char **argv)
{
    manta_options once = {.retries = MANTA_NO_RETRY};
    manta_ref refs[] = {command(NULL, "sleep", "5000000"), command(&once, "sleep", "5000000")};
    manta_command_result old, young;
    CHECK(manta_command_get(refs[0], &old) == MANTA_OK);
    CHECK(manta_command_get(refs[1], &young) == MANTA_OK);
    CHECK(old.attempt == 2 && young.attempt == 1); /* the younger one may not run again */
    return 0;
}

static int lonely(int argc, char **argv)
{
    manta_options once = {.retries = MANTA_NO_RETRY};
    manta_command_result result;
    CHECK(manta_command_get(command(&once, "sleep", "5000000"), &result) == MANTA_E_NOMEM);
    CHECK(error_says("MiB of memory left"));
    return 0;
}

static int wide(int argc, char **argv)
{
    manta_options both = {.cpus = 2}, huge = {.cpus = 4000};
    manta_ref refs[] = {command(NULL, "sleep", "1000000"), command(&both, "sleep", "1000000"),
                        command(&huge, "sleep", "1000000")};
    for (int i = 0; i < 3; i++) {
        manta_command_result result;
        CHECK(manta_command_get(refs[i], &result) == MANTA_OK);
    }
    return 0;
}

/* Those that wait for workers do not wait behind those that wait for CPUs of processes. */
static int beside(int argc, char **argv)
{
    enum { COMMANDS = 60, TASKS = 600 };
    manta_ref commands[COMMANDS], tasks[TASKS];
    int64_t y;
    for (int i = 0; i < COMMANDS; i++) {
        commands[i] = command(NULL, "sleep", "1000000");
    }
    for (int64_t i = 0; i < TASKS; i++) {
        tasks[i] = square_async(NULL, i);
    }
    for (int64_t i = 0; i < TASKS; i++) {
        CHECK(square_get(tasks[i], &y) == MANTA_OK && y == i * i);
    }
    CHECK(manta_wait(commands, COMMANDS, COMMANDS / 2, 0, NULL) == MANTA_E_TIMEOUT);
    CHECK(manta_wait(commands, COMMANDS, COMMANDS, MANTA_FOREVER, NULL) == MANTA_OK);
    return 0;
}

static void tasks_run_beside_commands(void **state)
{
    run_one(1, 0, beside);
    run_one(3, 0, beside);
}

static void each_failure_has_its_code_and_its_attempts(void **state)
{
    run_one(1, 0, failures);
    run_one(3, 0, failures);
}

static void pinned_tasks_that_fail_run_again_where_they_must(void **state)
{
    run_one(1, 0, pinned_failures);
    run_one(3, 0, pinned_failures);
}

static void isolated_failures_say_what_the_body_said(void **state)
{
    run_one(1, 0, isolated_failures);
    run_one(3, 0, isolated_failures);
}

static void isolated_tasks_take_and_give_all_kinds_of_values(void **state)
{
    run_one(1, 0, values);
    run_one(3, 0, values);
}

static void a_command_waits_for_refs_and_fails_with_them(void **state)
{
    run_one(1, 0, order);
    run_one(3, 0, order);
}

static void short_memory_spares_what_may_not_run_again(void **state)
{
    run_one(1, MS, newest);
    run_one(1, MS, lonely);
}

static void commands_may_take_several_cpus(void **state)
{
    run_one(1, 0, wide);
    run_one(2, 0, wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_beside_commands),
        cmocka_unit_test(each_failure_has_its_code_and_its_attempts),
        cmocka_unit_test(pinned_tasks_that_fail_run_again_where_they_must),
        cmocka_unit_test(isolated_failures_say_what_the_body_said),
        cmocka_unit_test(isolated_tasks_take_and_give_all_kinds_of_values),
        cmocka_unit_test(a_command_waits_for_refs_and_fails_with_them),
        cmocka_unit_test(short_memory_spares_what_may_not_run_again),
        cmocka_unit_test(commands_may_take_several_cpus),
        cmocka_unit_test(results_come_and_all_cpus_are_used),
        cmocka_unit_test(results_come_though_ranks_die),
        cmocka_unit_test(results_come_though_spawners_die),
        cmocka_unit_test(results_come_though_all_of_it_dies),
        cmocka_unit_test(cancelled_ones_are_ended),
        cmocka_unit_test(cancelled_ones_are_ended_though_ranks_die),
        cmocka_unit_test(what_runs_at_the_end_is_ended),
        cmocka_unit_test(the_newest_is_ended_when_memory_is_short_and_runs_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
