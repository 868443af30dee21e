/* Hard limits: time, memory, output, and kills on request; what is ended takes its processes along.
 */
#include "harness.h"

#include "spawn/cgroup.h"

#include <sys/mman.h>

static struct outcome outcome;

static int hog(const void *bytes, size_t size, int reply_fd)
{
    size_t chunk = 8 << 20;
    for (;;) {
        char *memory =
            mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(memory, 1, chunk);
        pause_ms(5);
    }
    return 0;
}

__attribute__((constructor)) static void enroll(void)
{
    spawn_set_isolated(hog);
}

static void a_time_limit_ends_a_command(void **state)
{
    run_command(
        &(struct spawn_command){.argv = ARGV("sleep", "50"), .limits = {.wall_ns = 200 * MS}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_TIMEOUT);
    assert_int_equal(outcome.result.signal, SIGKILL);
    assert_int_equal(outcome.result.error.code, MANTA_E_TIMEOUT);
    assert_non_null(strstr(outcome.result.error.text, "its limit is 0.2 s"));
    assert_true(outcome.result.wall_ns >= 200 * MS && outcome.result.wall_ns < 5 * SECONDS);
}

static void limits_are_told_in_units_that_fit(void **state)
{
    run_command(&(struct spawn_command){.argv = ARGV("sleep", "50"), .limits = {.wall_ns = 1}},
                &outcome);
    assert_non_null(strstr(outcome.result.error.text, "its limit is 1 ns:"));
    run_command(&(struct spawn_command){.argv = ARGV("sleep", "50"), .limits = {.memory_bytes = 1}},
                &outcome);
    assert_non_null(strstr(outcome.result.error.text, "its limit of 1 B:"));
}

static void the_nearest_of_many_limits_comes_first(void **state)
{
    static struct outcome slow;
    struct spawn_done done = done_of(&slow);
    uint64_t handle;
    assert_int_equal(spawn_command(spawn,
                                   &(struct spawn_command){.argv = ARGV("sleep", "50"),
                                                           .limits = {.wall_ns = 40 * SECONDS}},
                                   &done, &handle, NULL),
                     MANTA_OK);
    run_command(
        &(struct spawn_command){.argv = ARGV("sleep", "50"), .limits = {.wall_ns = 100 * MS}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_TIMEOUT);
    assert_int_equal(slow.answers, 0);
    assert_int_equal(spawn_kill(spawn, handle, 0), MANTA_OK);
    wait_answer(&slow);
    assert_int_equal(slow.result.end, SPAWN_ENDED_KILLED);
}

static void a_grace_lets_a_command_end_by_itself(void **state)
{
    run_command(
        &(struct spawn_command){
            .argv = SHELL("trap 'echo saved; exit 9' TERM; while :; do sleep 0.02; done"),
            .limits = {.wall_ns = 200 * MS, .grace_ns = 20 * SECONDS, .tail_bytes = 100}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_TIMEOUT);
    assert_int_equal(outcome.result.exit_code, 9);
    assert_string_equal(outcome.out, "saved\n");
    assert_true(outcome.result.wall_ns < 15 * SECONDS);
}

static void a_grace_ends(void **state)
{
    run_command(&(struct spawn_command){.argv = SHELL("trap '' TERM; while :; do sleep 0.02; done"),
                                        .limits = {.wall_ns = 100 * MS, .grace_ns = 200 * MS}},
                &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_TIMEOUT);
    assert_int_equal(outcome.result.signal, SIGKILL);
    assert_true(outcome.result.wall_ns >= 300 * MS);
}

static void a_stopped_command_is_ended_too(void **state)
{
    run_command(&(struct spawn_command){.argv = SHELL("kill -STOP $$"),
                                        .limits = {.wall_ns = 100 * MS, .grace_ns = 20 * SECONDS}},
                &outcome);
    assert_int_equal(outcome.result.signal, SIGTERM);
    assert_true(outcome.result.wall_ns < 15 * SECONDS);
}

static void a_kill_is_answered_once_and_late_ones_find_nothing(void **state)
{
    struct spawn_done done = done_of(&outcome);
    uint64_t handle;
    assert_int_equal(spawn_command(spawn, &(struct spawn_command){.argv = ARGV("sleep", "50")},
                                   &done, &handle, NULL),
                     MANTA_OK);
    wait_started(&outcome);
    assert_int_equal(spawn_kill(spawn, handle, 5 * SECONDS), MANTA_OK);
    wait_answer(&outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_KILLED);
    assert_int_equal(outcome.result.signal, SIGTERM);
    assert_int_equal(outcome.result.error.code, MANTA_E_CANCELLED);
    assert_int_equal(spawn_kill(spawn, handle, 0), MANTA_E_NOTFOUND);
    assert_int_equal(spawn_kill(spawn, 12345, 0), MANTA_E_NOTFOUND);
}

static void the_whole_group_ends(void **state)
{
    pid_t child = 0, escaped = 0;
    run_command(&(struct spawn_command){.argv = SHELL(
                                            "sleep 50 & echo $!; setsid sleep 50 & echo $!; wait"),
                                        .limits = {.wall_ns = 300 * MS, .tail_bytes = 100}},
                &outcome);
    assert_int_equal(sscanf(outcome.out, "%d\n%d", &child, &escaped), 2);
    assert_true(goes_within_ms(child, 1000));
    assert_true(goes_within_ms(escaped, 1000));
}

static void what_a_command_leaves_behind_goes_with_it(void **state)
{
    static struct outcome other;
    struct spawn_done done = done_of(&other);
    uint64_t handle;
    pid_t child = 0, daemon = 0;
    run_command(
        &(struct spawn_command){.argv = SHELL("sleep 50 & echo $!; (setsid sleep 50 & echo $!)"),
                                .limits = {.tail_bytes = 100}},
        &outcome);
    assert_int_equal(outcome.result.exit_code, 0);
    assert_int_equal(sscanf(outcome.out, "%d\n%d", &child, &daemon), 2);
    assert_true(goes_within_ms(child, 1000));
    assert_true(goes_within_ms(daemon, 1000));
    /* Also while another one runs that came later. */
    run_command(&(struct spawn_command){.argv = SHELL("(setsid sleep 50 & echo $!)"),
                                        .limits = {.tail_bytes = 100}},
                &outcome);
    assert_int_equal(spawn_command(spawn, &(struct spawn_command){.argv = ARGV("sleep", "50")},
                                   &done, &handle, NULL),
                     MANTA_OK);
    assert_true(goes_within_ms(atoi(outcome.out), 1000));
    assert_int_equal(spawn_kill(spawn, handle, 0), MANTA_OK);
    wait_answer(&other);
}

static void a_daemon_may_live_as_long_as_its_command(void **state)
{
    run_command(
        &(struct spawn_command){.argv = SHELL("daemon=$(setsid sleep 50 >/dev/null & echo $!);"
                                              "sleep 0.6; kill -0 $daemon && echo lives"),
                                .limits = {.tail_bytes = 100}},
        &outcome);
    assert_string_equal(outcome.out, "lives\n");
}

static void memory_above_the_limit_ends_a_command(void **state)
{
    run_command(
        &(struct spawn_command){.argv =
                                    SHELL("a=x; while :; do a=$a$a; sleep 0.01; done & b=y; wait"),
                                .limits = {.memory_bytes = 48 << 20, .wall_ns = 30 * SECONDS}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_MEMORY);
    assert_int_equal(outcome.result.error.code, MANTA_E_NOMEM);
    assert_non_null(strstr(outcome.result.error.text, "48 MiB"));
}

static void memory_above_the_limit_ends_an_isolated_function(void **state)
{
    run_isolated(
        &(struct spawn_isolated){.limits = {.memory_bytes = 64 << 20, .wall_ns = 30 * SECONDS}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_MEMORY);
    assert_false(outcome.result.has_returned);
}

static void memory_below_the_limit_is_left_alone(void **state)
{
    run_command(
        &(struct spawn_command){.argv = ARGV("sleep", "0.3"), .limits = {.memory_bytes = 64 << 20}},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
}

static void many_run_at_once_within_memory_limits(void **state)
{
    static struct outcome outcomes[20];
    for (int i = 0; i < 20; i++) {
        struct spawn_done done = done_of(&outcomes[i]);
        assert_int_equal(
            spawn_command(spawn,
                          &(struct spawn_command){.argv = ARGV("sleep", "0.2"),
                                                  .limits = {.memory_bytes = 32 << 20}},
                          &done, NULL, NULL),
            MANTA_OK);
    }
    for (int i = 0; i < 20; i++) {
        wait_answer(&outcomes[i]);
        assert_int_equal(outcomes[i].result.end, SPAWN_ENDED_EXIT);
    }
}

/* Where no group can be made, and that is in most jobs, this is the same as without. */
static int set_up_groups(void **state)
{
    struct spawn_options options = {.host = &base_host_real, .memory_kind = SPAWN_MEMORY_GROUPS};
    return spawn_create(&options, &spawn, NULL);
}

static int count_groups(void)
{
    char path[2 * CGROUP_PATH_BYTES], prefix[CGROUP_NAME_BYTES];
    struct cgroup group;
    int count = 0;
    cgroup_find(NULL, 1, &group);
    cgroup_prefix(spawn_pid(spawn), prefix);
    snprintf(path, sizeof path, "%s%s", group.mount, group.path);
    DIR *folder = group.mount[0] ? opendir(path) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    if (folder) {
        closedir(folder);
    }
    return count;
}

static void no_group_is_left(void **state)
{
    static struct outcome daemon;
    struct spawn_done done = done_of(&daemon);
    run_command(&(struct spawn_command){.argv = SHELL("(setsid sleep 50 &)"),
                                        .limits = {.memory_bytes = 64 << 20}},
                &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    for (int waited = 0; count_groups() && waited < 200; waited++) {
        pause_ms(5);
    }
    assert_int_equal(count_groups(), 0);
    assert_int_equal(spawn_command(spawn,
                                   &(struct spawn_command){.argv = SHELL("setsid sleep 50 & wait"),
                                                           .limits = {.memory_bytes = 64 << 20}},
                                   &done, NULL, NULL),
                     MANTA_OK);
    wait_started(&daemon);
    int32_t spawner = spawn_pid(spawn);
    char group[64];
    snprintf(group, sizeof group, "manta-%d-2", spawner);
    kill(spawner, SIGKILL);
    wait_answer(&daemon);
    assert_int_equal(daemon.result.end, SPAWN_ENDED_LOST);
    struct cgroup own, left;
    cgroup_find(NULL, 1, &own);
    left = own;
    strcat(left.path, "/");
    strcat(left.path, group);
    assert_int_equal(cgroup_read(&left, "memory.usage_in_bytes"), UINT64_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_spawn, tear_down_spawn)
#define GROUPED(name) cmocka_unit_test_setup_teardown(name, set_up_groups, tear_down_spawn)
    const struct CMUnitTest tests[] = {
        TEST(a_time_limit_ends_a_command),
        TEST(limits_are_told_in_units_that_fit),
        TEST(the_nearest_of_many_limits_comes_first),
        TEST(a_grace_lets_a_command_end_by_itself),
        TEST(a_grace_ends),
        TEST(a_stopped_command_is_ended_too),
        TEST(a_kill_is_answered_once_and_late_ones_find_nothing),
        TEST(the_whole_group_ends),
        TEST(what_a_command_leaves_behind_goes_with_it),
        TEST(a_daemon_may_live_as_long_as_its_command),
        TEST(memory_above_the_limit_ends_a_command),
        TEST(memory_above_the_limit_ends_an_isolated_function),
        TEST(memory_below_the_limit_is_left_alone),
        TEST(many_run_at_once_within_memory_limits),
        GROUPED(memory_above_the_limit_ends_a_command),
        GROUPED(memory_above_the_limit_ends_an_isolated_function),
        GROUPED(memory_below_the_limit_is_left_alone),
        GROUPED(no_group_is_left),
        GROUPED(many_run_at_once_within_memory_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
