/* Commands: every field of the request does what it says, every end is told as it was. */
#include "../../folder.h"
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

static struct outcome outcome;

static const struct spawn_limits tails = {.tail_bytes = 4096};

static const char *content_of(const char *name)
{
    static char text[4096];
    FILE *file = fopen(folder_path(name), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void an_exit_code_comes_back_with_the_last_words(void **state)
{
    run_command(
        &(struct spawn_command){.argv = SHELL("echo out; echo first >&2; echo last >&2; exit 3"),
                                .limits = tails},
        &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    assert_int_equal(outcome.result.exit_code, 3);
    assert_int_equal(outcome.result.error.code, MANTA_E_TASK);
    assert_non_null(strstr(outcome.result.error.text, "sh ended with exit code 3"));
    assert_non_null(strstr(outcome.result.error.text, "last words: last"));
    assert_string_equal(outcome.out, "out\n");
    assert_string_equal(outcome.err, "first\nlast\n");
    assert_int_equal(outcome.result.out_bytes, 4);
    assert_int_equal(outcome.result.err_bytes, 11);
    assert_int_equal(outcome.starts, 1);
    assert_int_equal(outcome.result.pid, outcome.started_pid);
}

static void a_success_is_no_error(void **state)
{
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    assert_int_equal(outcome.result.exit_code, 0);
    assert_int_equal(outcome.result.error.code, MANTA_OK);
    assert_string_equal(outcome.result.error.text, "");
    assert_true(outcome.result.wall_ns > 0 && outcome.result.wall_ns < 60 * SECONDS);
    assert_true(outcome.result.max_rss_bytes > 4096);
}

static void a_signal_is_named(void **state)
{
    run_command(&(struct spawn_command){.argv = SHELL("kill -SEGV $$")}, &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_SIGNAL);
    assert_int_equal(outcome.result.signal, SIGSEGV);
    assert_int_equal(outcome.result.error.code, MANTA_E_CRASH);
    assert_non_null(strstr(outcome.result.error.text, "signal 11"));
}

static void cpu_time_is_counted(void **state)
{
    run_command(
        &(struct spawn_command){.argv = SHELL("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")},
        &outcome);
    assert_true(outcome.result.user_ns > 10 * MS);
    assert_true(outcome.result.user_ns + outcome.result.system_ns < 60 * SECONDS);
}

static void variables_are_added_and_removed(void **state)
{
    static const char *const environment[] = {"EXTRA=one two", "HOME=/elsewhere", "LOGNAME", NULL};
    run_command(&(struct spawn_command){.argv = SHELL(
                                            "echo \"$EXTRA|$HOME|${LOGNAME-none}|${PATH:+path}\""),
                                        .environment = environment,
                                        .limits = tails},
                &outcome);
    assert_string_equal(outcome.out, "one two|/elsewhere|none|path\n");
}

static void a_whole_environment_replaces_the_ranks(void **state)
{
    static const char *const environment[] = {"ONLY=this", NULL};
    run_command(&(struct spawn_command){.argv = ARGV("/usr/bin/env"),
                                        .environment = environment,
                                        .environment_kind = SPAWN_ENVIRONMENT_WHOLE,
                                        .limits = tails},
                &outcome);
    assert_string_equal(outcome.out, "ONLY=this\n");
}

static void launchers_variables_and_the_spawners_do_not_reach_commands(void **state)
{
    spawn_destroy(spawn);
    setenv("OMPI_COMM_WORLD_RANK", "3", 1);
    setenv("PMIX_RANK", "3", 1);
    setenv("SLURM_PROCID", "3", 1);
    setenv("SLURM_JOB_ID", "77", 1);
    setenv("OMPI_MCA_btl", "tcp,self", 1);
    open_spawn(NULL);
    unsetenv("OMPI_COMM_WORLD_RANK");
    unsetenv("PMIX_RANK");
    unsetenv("SLURM_PROCID");
    run_command(
        &(struct spawn_command){.argv = ARGV("env"), .limits = {.tail_bytes = SPAWN_TAIL_MAX}},
        &outcome);
    assert_null(strstr(outcome.out, "OMPI_COMM_WORLD_RANK"));
    assert_null(strstr(outcome.out, "PMIX_RANK"));
    assert_null(strstr(outcome.out, "SLURM_PROCID"));
    assert_null(strstr(outcome.out, "MANTA_SPAWNER"));
    assert_non_null(strstr(outcome.out, "SLURM_JOB_ID=77"));
    assert_non_null(strstr(outcome.out, "OMPI_MCA_btl=tcp,self"));
}

static void the_directory_is_entered(void **state)
{
    run_command(&(struct spawn_command){.argv = SHELL("pwd; cat < name"),
                                        .directory = folder,
                                        .limits = tails},
                &outcome);
    assert_int_equal(strncmp(outcome.out, folder, strlen(folder)), 0);
}

static void standard_input_is_empty_bytes_or_a_file(void **state)
{
    run_command(&(struct spawn_command){.argv = ARGV("wc", "-c"), .limits = tails}, &outcome);
    assert_int_equal(atoi(outcome.out), 0);
    run_command(
        &(struct spawn_command){
            .argv = ARGV("cat"), .input = "given", .input_bytes = 5, .limits = tails},
        &outcome);
    assert_string_equal(outcome.out, "given");
    FILE *file = fopen(folder_path("input"), "w");
    fputs("from a file", file);
    fclose(file);
    run_command(
        &(struct spawn_command){
            .argv = ARGV("cat"), .input_path = "input", .directory = folder, .limits = tails},
        &outcome);
    assert_string_equal(outcome.out, "from a file");
}

static void a_long_standard_input_arrives_whole(void **state)
{
    size_t size = 3 << 20;
    char *bytes = malloc(size);
    memset(bytes, 'x', size);
    run_command(
        &(struct spawn_command){
            .argv = ARGV("wc", "-c"), .input = bytes, .input_bytes = size, .limits = tails},
        &outcome);
    assert_int_equal(atoi(outcome.out), size);
    free(bytes);
}

static void output_goes_to_files_at_their_start_or_end(void **state)
{
    struct spawn_command command = {.argv = SHELL("echo line; echo error >&2"),
                                    .directory = folder,
                                    .out = {SPAWN_TO_FILE, "out"},
                                    .err = {SPAWN_TO_APPEND, "err"}};
    run_command(&command, &outcome);
    run_command(&command, &outcome);
    assert_string_equal(content_of("out"), "line\n");
    assert_string_equal(content_of("err"), "error\nerror\n");
    assert_int_equal(outcome.result.out_bytes + outcome.result.err_bytes, 0);
}

static void errors_can_go_where_output_goes(void **state)
{
    run_command(&(struct spawn_command){.argv = SHELL("echo a; echo b >&2; echo c"),
                                        .err = {.to = SPAWN_TO_STDOUT},
                                        .limits = tails},
                &outcome);
    assert_string_equal(outcome.out, "a\nb\nc\n");
    run_command(&(struct spawn_command){.argv = SHELL("echo a; echo b >&2"),
                                        .out = {.to = SPAWN_TO_NOTHING},
                                        .limits = tails},
                &outcome);
    assert_string_equal(outcome.out, "");
    assert_string_equal(outcome.err, "b\n");
}

static void a_tail_is_the_end_of_the_output(void **state)
{
    run_command(
        &(struct spawn_command){
            .argv = SHELL("i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done"),
            .limits = {.tail_bytes = 18}},
        &outcome);
    assert_int_equal(outcome.result.out_bytes, 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5 + 20000 * 6);
    assert_string_equal(outcome.out, "29997\n29998\n29999\n");
}

static void rlimits_are_set(void **state)
{
    const struct spawn_rlimit limits[] = {{RLIMIT_NOFILE, 77, 80}, {RLIMIT_CORE, 0, 0}};
    run_command(
        &(struct spawn_command){
            .argv = SHELL("ulimit -Sn; ulimit -Hn; ulimit -c"),
            .limits = {.tail_bytes = 100, .rlimits = limits, .rlimit_count = 2}},
        &outcome);
    assert_string_equal(outcome.out, "77\n80\n0\n");
}

static void the_ranks_own_limit_of_files_is_given_on(void **state)
{
    struct rlimit own;
    char expected[32];
    getrlimit(RLIMIT_NOFILE, &own);
    snprintf(expected, sizeof expected, "%llu\n", (unsigned long long)own.rlim_cur);
    run_command(&(struct spawn_command){.argv = SHELL("ulimit -Sn"), .limits = tails}, &outcome);
    assert_string_equal(outcome.out, expected);
}

static void processors_are_bound(void **state)
{
    cpu_set_t own, one;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof own, &own);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &own)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
        }
    }
    run_command(
        &(struct spawn_command){
            .argv = ARGV("nproc"),
            .limits = {.tail_bytes = 100, .cpus = &one, .cpu_bytes = sizeof one}},
        &outcome);
    assert_string_equal(outcome.out, "1\n");
}

/* A sanitizer's thread may open a file at that very moment, but not each time. */
static void a_child_leads_a_session_with_clean_signals_and_no_descriptors(void **state)
{
    outcome.out[0] = '\0';
    int open_one = open("/dev/null", O_RDONLY); /* not close-on-exec, as applications do */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    spawn_destroy(spawn);
    open_spawn(NULL);
    static const char expected[] = "1\n0000000000000000\n0 1 2 ";
    for (int tries = 0; tries < 5 && strcmp(outcome.out, expected) != 0; tries++) {
        run_command(
            &(struct spawn_command){
                .argv = SHELL("cut -d' ' -f1,5,6 /proc/$$/stat | tr ' ' '\\n' | sort -u | wc -l;"
                              "grep -E 'SigBlk|SigIgn' /proc/self/status | cut -f2 | sort -u;"
                              "ls /proc/$$/fd | sort -n | tr '\\n' ' '"),
                .limits = tails},
            &outcome);
    }
    assert_string_equal(outcome.out, expected);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    close(open_one);
}

static void refused(const struct spawn_command *command, int code, const char *words,
                    const char *advice)
{
    run_command(command, &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_REFUSED);
    assert_int_equal(outcome.result.error.code, code);
    if (!strstr(outcome.result.error.text, words) || !strstr(outcome.result.error.text, advice)) {
        fail_msg("'%s' has not '%s' and '%s'", outcome.result.error.text, words, advice);
    }
    assert_int_equal(outcome.starts, 0);
}

static void what_cannot_begin_says_why_and_what_to_do(void **state)
{
    refused(&(struct spawn_command){.argv = ARGV("no-such-program")}, MANTA_E_NOTFOUND,
            "cannot run no-such-program (No such file", "PATH");
    refused(&(struct spawn_command){.argv = ARGV("/no/such/program")}, MANTA_E_NOTFOUND,
            "/no/such/program", "full path");
    refused(&(struct spawn_command){.argv = ARGV("")}, MANTA_E_NOTFOUND, "cannot run", "full path");
    refused(&(struct spawn_command){.argv = ARGV("/tmp")}, MANTA_E_INVALID,
            "cannot run /tmp (Is a directory)", "name the program in it");
    FILE *file = fopen(folder_path("plain"), "w");
    fputs("neither script nor program\n", file);
    fclose(file);
    refused(&(struct spawn_command){.argv = ARGV(folder_path("plain"))}, MANTA_E_SYSTEM,
            "Permission denied", "chmod +x");
    chmod(folder_path("plain"), 0755);
    refused(&(struct spawn_command){.argv = ARGV(folder_path("plain"))}, MANTA_E_INVALID,
            "Exec format", "#!/bin/sh");
    refused(&(struct spawn_command){.argv = ARGV("true"), .directory = "/no/such"},
            MANTA_E_NOTFOUND, "directory /no/such of true", "every node");
    refused(&(struct spawn_command){.argv = ARGV("true"), .input_path = "/no/such"},
            MANTA_E_NOTFOUND, "standard input /no/such of true", "exists");
    refused(&(struct spawn_command){.argv = ARGV("true"), .out = {SPAWN_TO_FILE, "/no/such/out"}},
            MANTA_E_NOTFOUND, "standard output /no/such/out of true", "written to");
    refused(&(struct spawn_command){.argv = ARGV("true"), .err = {SPAWN_TO_FILE, "/no/such/err"}},
            MANTA_E_NOTFOUND, "standard error /no/such/err of true", "written to");
}

static void limits_that_cannot_be_set_are_refused(void **state)
{
    const struct spawn_rlimit absurd = {9999, 1, 1};
    uint8_t no_cpus[8] = {0};
    refused(&(struct spawn_command){.argv = ARGV("true"),
                                    .limits = {.rlimits = &absurd, .rlimit_count = 1}},
            MANTA_E_INVALID, "rlimits of true", "hard limit");
    refused(
        &(struct spawn_command){.argv = ARGV("true"), .limits = {.cpus = no_cpus, .cpu_bytes = 8}},
        MANTA_E_INVALID, "processors of true", "was given");
}

static void too_long_arguments_are_refused(void **state)
{
    size_t size = 4 << 20;
    char *word = malloc(size);
    memset(word, 'x', size);
    word[size - 1] = '\0';
    refused(&(struct spawn_command){.argv = ARGV("true", word)}, MANTA_E_LIMIT,
            "Argument list too long", "standard input");
    free(word);
}

/* Waits for its answers with pipes for one command only, then has none. */
static void a_lack_of_descriptors_and_processes_is_told(void **state)
{
    struct rlimit own, few = {10, 10};
    getrlimit(RLIMIT_NOFILE, &own);
    assert_int_equal(prlimit(spawn_pid(spawn), RLIMIT_NOFILE, &few, &own), 0);
    refused(&(struct spawn_command){.argv = ARGV("true"), .input = "x", .input_bytes = 1},
            MANTA_E_LIMIT, "true", "fewer at once");
    prlimit(spawn_pid(spawn), RLIMIT_NOFILE, &own, NULL);
}

static void broken_requests_are_refused_before_they_are_sent(void **state)
{
    struct spawn_done done = done_of(&outcome);
    manta_error error = {0};
    const struct spawn_command bad[] = {
        {.argv = NULL},
        {.argv = (const char *const[]){NULL}},
        {.argv = ARGV("true"), .input = "x", .input_bytes = 1, .input_path = "x"},
        {.argv = ARGV("true"), .out = {.to = SPAWN_TO_FILE}},
        {.argv = ARGV("true"), .out = {SPAWN_TO_LOG, "path"}},
        {.argv = ARGV("true"), .out = {.to = SPAWN_TO_STDOUT}},
        {.argv = ARGV("true"), .err = {.to = (enum spawn_to)77}},
        {.argv = ARGV("true"), .limits = {.tail_bytes = SPAWN_TAIL_MAX + 1}},
        {.argv = ARGV("true"), .limits = {.cpu_bytes = 8}},
    };
    for (size_t i = 0; i < MT_COUNT(bad); i++) {
        error.text[0] = '\0';
        assert_int_equal(spawn_command(spawn, &bad[i], &done, NULL, &error), MANTA_E_INVALID);
        assert_true(error.code == MANTA_E_INVALID && error.text[0]);
    }
    while (spawn_poll(spawn, 50 * MS) == MANTA_OK) {}
    assert_int_equal(outcome.answers, 0);
}

static int make_folder(void **state)
{
    int code = folder_make(state);
    folder_write("name", "");
    return code;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_spawn, tear_down_spawn)
    const struct CMUnitTest tests[] = {
        TEST(an_exit_code_comes_back_with_the_last_words),
        TEST(a_success_is_no_error),
        TEST(a_signal_is_named),
        TEST(cpu_time_is_counted),
        TEST(variables_are_added_and_removed),
        TEST(a_whole_environment_replaces_the_ranks),
        TEST(launchers_variables_and_the_spawners_do_not_reach_commands),
        TEST(the_directory_is_entered),
        TEST(standard_input_is_empty_bytes_or_a_file),
        TEST(a_long_standard_input_arrives_whole),
        TEST(output_goes_to_files_at_their_start_or_end),
        TEST(errors_can_go_where_output_goes),
        TEST(a_tail_is_the_end_of_the_output),
        TEST(rlimits_are_set),
        TEST(the_ranks_own_limit_of_files_is_given_on),
        TEST(processors_are_bound),
        TEST(a_child_leads_a_session_with_clean_signals_and_no_descriptors),
        TEST(what_cannot_begin_says_why_and_what_to_do),
        TEST(limits_that_cannot_be_set_are_refused),
        TEST(too_long_arguments_are_refused),
        TEST(a_lack_of_descriptors_and_processes_is_told),
        TEST(broken_requests_are_refused_before_they_are_sent),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_remove);
}
