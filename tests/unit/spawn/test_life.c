/* Lives and deaths: of the spawner, of the rank, of the connection. Nothing is answered twice or
 * not at all, nothing is left behind. */
#include "../../folder.h"
#include "harness.h"

#include "base/alloc.h"
#include "spawn/channel.h"
#include "spawn/message.h"
#include "spawn/takeover.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct outcome outcome;
static int left;

static void count_end(void *arg, const struct spawn_result *result)
{
    int *by_end = arg;
    by_end[result->end]++;
    left--;
}

static void start_many(const char *const *argv, int count, int by_end[SPAWN_ENDS])
{
    struct spawn_done done = {.ended = count_end, .arg = by_end};
    for (int i = 0; i < count; i++) {
        left++;
        assert_int_equal(
            spawn_command(spawn, &(struct spawn_command){.argv = argv}, &done, NULL, NULL),
            MANTA_OK);
    }
}

static void wait_all(void)
{
    uint64_t until_ns = now_ns() + 60 * SECONDS;
    while (left) {
        assert_true(now_ns() < until_ns);
        spawn_poll(spawn, SECONDS);
    }
}

static void two_thousand_commands_two_at_a_time(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    int begun = 0;
    while (begun < 2000 || left) {
        while (begun < 2000 && left < 2) {
            start_many(ARGV("true"), 1, by_end);
            begun++;
        }
        spawn_poll(spawn, SECONDS);
    }
    assert_int_equal(by_end[SPAWN_ENDED_EXIT], 2000);
}

static void more_than_the_socket_holds_is_kept(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    kill(spawn_pid(spawn), SIGSTOP);
    start_many(ARGV("true"), 800, by_end);
    kill(spawn_pid(spawn), SIGCONT);
    wait_all();
    assert_int_equal(by_end[SPAWN_ENDED_EXIT], 800);
}

static void kills_wait_for_room_too(void **state)
{
    enum { COUNT = 900 };
    static struct outcome outcomes[3];
    int by_end[SPAWN_ENDS] = {0};
    uint64_t handles[3];
    for (int i = 0; i < 3; i++) {
        struct spawn_done done = done_of(&outcomes[i]);
        assert_int_equal(spawn_command(spawn, &(struct spawn_command){.argv = ARGV("sleep", "50")},
                                       &done, &handles[i], NULL),
                         MANTA_OK);
        wait_started(&outcomes[i]);
    }
    kill(spawn_pid(spawn), SIGSTOP);
    start_many(ARGV("true"), COUNT, by_end);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(spawn_kill(spawn, handles[i], 0), MANTA_OK);
    }
    kill(spawn_pid(spawn), SIGCONT);
    wait_all();
    for (int i = 0; i < 3; i++) {
        wait_answer(&outcomes[i]);
        assert_int_equal(outcomes[i].result.end, SPAWN_ENDED_KILLED);
    }
}

static void answers_wait_for_a_slow_rank(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    struct spawn_done done = {.ended = count_end, .arg = by_end};
    for (int i = 0; i < 40; i++) {
        left++;
        assert_int_equal(
            spawn_command(spawn,
                          &(struct spawn_command){.argv = ARGV("head", "-c", "40000", "/dev/zero"),
                                                  .limits = {.tail_bytes = SPAWN_TAIL_MAX}},
                          &done, NULL, NULL),
            MANTA_OK);
    }
    pause_ms(700);
    wait_all();
    assert_int_equal(by_end[SPAWN_ENDED_EXIT], 40);
}

static void a_killed_spawner_loses_what_ran_and_is_replaced(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    struct spawn_done done = done_of(&outcome);
    assert_int_equal(folder_make(state), 0);
    const char *path = folder_path("background");
    pid_t background = 0;
    assert_int_equal(
        spawn_command(spawn,
                      &(struct spawn_command){.argv = SHELL("sleep 50 & echo $!; wait"),
                                              .limits = {.memory_bytes = 1 << 30},
                                              .out = {SPAWN_TO_FILE, path}},
                      &done, NULL, NULL),
        MANTA_OK);
    wait_started(&outcome);
    for (FILE *file = NULL; background == 0;) {
        pause_ms(10);
        file = fopen(path, "r");
        if (file) {
            (void)!fscanf(file, "%d", &background);
            fclose(file);
        }
    }
    start_many(ARGV("sleep", "50"), 4, by_end);
    int32_t before = spawn_pid(spawn);
    kill(before, SIGKILL);
    wait_answer(&outcome);
    wait_all();
    assert_int_equal(folder_remove(state), 0);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_LOST);
    assert_int_equal(outcome.result.error.code, MANTA_E_CRASH);
    assert_non_null(strstr(outcome.result.error.text, "spawner"));
    assert_int_equal(by_end[SPAWN_ENDED_LOST], 4);
    assert_true(goes_within_ms(outcome.started_pid, 1000));
    assert_true(goes_within_ms(background, 1000));
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    assert_int_not_equal(spawn_pid(spawn), before);
}

static void a_spawner_that_dies_again_and_again_is_always_replaced(void **state)
{
    for (int i = 0; i < 8; i++) {
        run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
        assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
        kill(spawn_pid(spawn), SIGKILL);
        struct spawn_done done = done_of(&outcome);
        assert_int_equal(
            spawn_command(spawn, &(struct spawn_command){.argv = ARGV("true")}, &done, NULL, NULL),
            MANTA_OK);
        wait_answer(&outcome); /* lost, or run by the next one */
        assert_true(outcome.result.end == SPAWN_ENDED_LOST ||
                    outcome.result.end == SPAWN_ENDED_EXIT ||
                    outcome.result.end == SPAWN_ENDED_REFUSED);
    }
}

static void the_end_answers_what_is_open_and_waits_for_the_children(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    struct spawn_done done = done_of(&outcome);
    assert_int_equal(spawn_command(spawn,
                                   &(struct spawn_command){.argv = SHELL("trap '' TERM; sleep 50")},
                                   &done, NULL, NULL),
                     MANTA_OK);
    wait_started(&outcome);
    start_many(ARGV("sleep", "50"), 50, by_end);
    int32_t spawner = spawn_pid(spawn);
    uint64_t begin_ns = now_ns();
    spawn_destroy(spawn);
    spawn = NULL;
    assert_true(now_ns() - begin_ns < 5 * SECONDS);
    assert_int_equal(by_end[SPAWN_ENDED_KILLED], 50);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_KILLED);
    assert_int_equal(outcome.result.error.code, MANTA_E_SHUTDOWN);
    assert_int_equal(left, 0);
    assert_false(is_alive(spawner));
    assert_false(is_alive(outcome.started_pid));
    spawn_destroy(NULL);
}

static void no_descriptor_is_left(void **state)
{
    char spawner[16];
    spawn_destroy(spawn);
    int before = count_fds("self");
    open_spawn(NULL);
    int open_now = count_fds("self");
    snprintf(spawner, sizeof spawner, "%d", spawn_pid(spawn));
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    int idle = count_fds(spawner);
    for (int i = 0; i < 30; i++) {
        char long_input[40000] = "x";
        run_command(&(struct spawn_command){.argv = i % 3 ? ARGV("true") : ARGV("nothing-like-it"),
                                            .input = long_input,
                                            .input_bytes = i % 2 ? sizeof long_input : 3,
                                            .limits = {.memory_bytes = 64 << 20}},
                    &outcome);
    }
    assert_int_equal(count_fds(spawner), idle);
    assert_int_equal(count_fds("self"), open_now);
    spawn_destroy(spawn);
    assert_int_equal(count_fds("self"), before);
    open_spawn(NULL);
}

static void garbage_from_the_rank_does_not_end_a_spawner(void **state)
{
    int sockets[2];
    struct hello hello = {.magic = MESSAGE_MAGIC};
    struct iovec piece = {&hello, sizeof hello};
    char buffer[CHANNEL_PACKET_MAX];
    struct packet packet = {.buffer = buffer};
    assert_int_equal(channel_pair(sockets), MANTA_OK);
    pid_t pid = fork();
    if (pid == 0) {
        close(sockets[0]);
        dup2(sockets[1], TAKEOVER_FD);
        close_range(TAKEOVER_FD + 1, ~0u, 0);
        spawner_main(TAKEOVER_FD, NULL);
    }
    close(sockets[1]);
    assert_int_equal(channel_send(sockets[0], &piece, 1, NULL), MANTA_OK);
    unsigned seed = 7;
    for (int i = 0; i < 3000; i++) {
        uint8_t bytes[512];
        size_t size = (size_t)(rand_r(&seed) % (int)sizeof bytes) + 1;
        for (size_t at = 0; at < size; at++) {
            bytes[at] = (uint8_t)rand_r(&seed);
        }
        struct request_head head = {.magic = MESSAGE_MAGIC, .kind = (uint8_t)(i % 6), .token = 1};
        head.part_bytes[rand_r(&seed) % PARTS] = (uint64_t)rand_r(&seed) << (i % 40);
        struct iovec pieces[] = {{&head, sizeof head}, {bytes, size}};
        const int fds[2] = {0, 1};
        (void)!(i % 3 == 0   ? channel_send(sockets[0], pieces, 2, NULL)
                : i % 3 == 1 ? channel_send(sockets[0], pieces + 1, 1, fds)
                             : (int)send(sockets[0], bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL));
        while (channel_receive(sockets[0], &packet) == MANTA_OK) {
            channel_release(&packet);
        }
        if (i % 100 == 0) {
            pause_ms(1);
        }
    }
    pause_ms(100);
    assert_true(is_alive(pid));
    close(sockets[0]);
    assert_true(goes_within_ms(pid, 4000));
    waitpid(pid, NULL, 0);
}

struct chain {
    int left, failures;
};

static void go_on(void *arg, const struct spawn_result *result)
{
    struct chain *chain = arg;
    const struct spawn_done done = {.ended = go_on, .arg = chain};
    chain->failures += result->end != SPAWN_ENDED_EXIT;
    if (--chain->left && spawn_command(spawn, &(struct spawn_command){.argv = ARGV("true")}, &done,
                                       NULL, NULL) != MANTA_OK) {
        chain->failures++;
        chain->left = 0;
    }
}

static void an_answer_may_ask_for_more(void **state)
{
    struct chain chain = {.left = 30};
    const struct spawn_done done = {.ended = go_on, .arg = &chain};
    assert_int_equal(
        spawn_command(spawn, &(struct spawn_command){.argv = ARGV("true")}, &done, NULL, NULL),
        MANTA_OK);
    while (chain.left) {
        struct pollfd readable = {.fd = spawn_fd(spawn), .events = POLLIN};
        assert_int_equal(poll(&readable, 1, 60000), 1);
        assert_int_equal(spawn_poll(spawn, 0), MANTA_OK);
    }
    assert_int_equal(chain.failures, 0);
    while (spawn_poll(spawn, 0) == MANTA_OK) {}
    assert_int_equal(spawn_poll(spawn, 5 * MS), MANTA_E_TIMEOUT);
}

static void garbage_from_the_spawner_has_it_replaced(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    int32_t before = spawn_pid(spawn);
    start_many(ARGV("sleep", "50"), 3, by_end);
    int pidfd = (int)syscall(SYS_pidfd_open, before, 0);
    int socket = (int)syscall(SYS_pidfd_getfd, pidfd, TAKEOVER_FD, 0);
    if (socket < 0) {
        skip(); /* containers can forbid pidfd_getfd */
    }
    struct iovec piece = {(void *)(uintptr_t) "rubbish", 7};
    assert_int_equal(channel_send(socket, &piece, 1, NULL), MANTA_OK);
    close(socket);
    close(pidfd);
    wait_all();
    assert_int_equal(by_end[SPAWN_ENDED_LOST], 3);
    assert_true(goes_within_ms(before, 1000));
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
}

/* The loader lists the libraries instead of running the program, as for any that cannot run. */
static void a_spawner_that_never_comes_refuses_everything(void **state)
{
    static const char *const environment[] = {"LD_TRACE_LOADED_OBJECTS=1", NULL};
    struct spawn_options options = {.host = &base_host_real, .environment = environment};
    struct spawn_done done = done_of(&outcome);
    manta_error error = {0};
    assert_int_equal(spawn_create(&options, &spawn, &error), MANTA_OK);
    assert_int_equal(
        spawn_command(spawn, &(struct spawn_command){.argv = ARGV("true")}, &done, NULL, NULL),
        MANTA_OK);
    wait_answer(&outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_REFUSED);
    assert_int_equal(outcome.result.error.code, MANTA_E_SYSTEM);
    assert_non_null(strstr(outcome.result.error.text, "linked to libmanta"));
    assert_int_equal(
        spawn_command(spawn, &(struct spawn_command){.argv = ARGV("true")}, &done, NULL, &error),
        MANTA_E_SYSTEM);
    assert_non_null(strstr(error.text, "linked to libmanta"));
    tear_down_spawn(state);
}

static void a_request_that_has_not_left_is_ended_here(void **state)
{
    uint64_t handle;
    struct spawn_done done = done_of(&outcome);
    /* The spawner cannot have reported yet: nobody has polled. */
    assert_int_equal(
        spawn_command(spawn, &(struct spawn_command){.argv = ARGV("true")}, &done, &handle, NULL),
        MANTA_OK);
    assert_int_equal(spawn_kill(spawn, handle, 0), MANTA_OK);
    assert_int_equal(spawn_kill(spawn, handle, 0), MANTA_E_NOTFOUND);
    wait_answer(&outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_KILLED);
    assert_int_equal(outcome.result.error.code, MANTA_E_CANCELLED);
    assert_int_equal(outcome.starts, 0);
}

static int create_and_run(void)
{
    manta_error error = {0};
    struct spawn_options options = {.host = &base_host_real};
    struct spawn_done done = done_of(&outcome);
    static const char *const environment[] = {"A=b", NULL};
    int code = spawn_create(&options, &spawn, &error);
    if (code == MANTA_OK) {
        code = spawn_command(
            spawn, &(struct spawn_command){.argv = ARGV("true"), .environment = environment}, &done,
            NULL, &error);
        assert_int_equal(outcome.answers, 0);
        spawn_destroy(spawn);
        assert_int_equal(outcome.answers, code == MANTA_OK);
        spawn = NULL;
    }
    assert_true(code == MANTA_OK || error.text[0]);
    return code;
}

static void each_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    uint64_t live = base_alloc_live();
    int fds = count_fds("self");
    base_alloc_fail_at(0);
    assert_int_equal(create_and_run(), MANTA_OK);
    uint64_t asked = base_alloc_asked();
    assert_true(asked > 4);
    for (uint64_t k = 1; k <= asked; k++) {
        base_alloc_fail_at(k);
        assert_int_equal(create_and_run(), MANTA_E_NOMEM);
        base_alloc_fail_at(0);
        assert_int_equal(base_alloc_live(), live);
        assert_int_equal(count_fds("self"), fds);
    }
}

/* ---- Ranks of their own: this program again, with a word that says what to do. */

static int be_rank(const char *word)
{
    struct outcome child;
    struct spawn_done done = done_of(&child);
    open_spawn(NULL);
    if (spawn_command(spawn,
                      &(struct spawn_command){
                          .argv = SHELL("echo $$; sleep 60 & echo $!; setsid sleep 60 & echo $!;"
                                        "(setsid sleep 60 & echo $!); trap '' TERM HUP; wait"),
                          .out = {.to = SPAWN_TO_RANK}},
                      &done, NULL, NULL) != MANTA_OK) {
        return 1;
    }
    wait_started(&child);
    dprintf(STDOUT_FILENO, "%d\n", spawn_pid(spawn));
    if (strcmp(word, "exit") == 0) {
        pause_ms(300);
        return 0;
    }
    for (;;) {
        spawn_poll(spawn, SECONDS);
    }
}

static pid_t start_rank(const char *name, const char *word, int *ret_output)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(name, name, word, NULL);
        _exit(126);
    }
    close(ends[1]);
    *ret_output = ends[0];
    return pid;
}

static void nothing_outlives_a_rank(const char *word)
{
    int output, pids[5], count = 0, status;
    pid_t rank = start_rank("/proc/self/exe", word, &output);
    FILE *file = fdopen(output, "r");
    while (count < 5 && fscanf(file, "%d", &pids[count]) == 1) {
        assert_true(pids[count] > 1);
        count++;
    }
    assert_int_equal(count, 5);
    if (strcmp(word, "exit") != 0) {
        kill(strcmp(word, "group") == 0 ? -rank : rank, SIGKILL);
    }
    waitpid(rank, &status, 0);
    for (int i = 0; i < 5; i++) {
        if (!goes_within_ms(pids[i], 3000)) {
            fail_msg("process %d of 5 still lives", i + 1);
        }
    }
    fclose(file);
}

/* As mpirun ends its ranks. */
static void nothing_outlives_a_killed_group(void **state)
{
    nothing_outlives_a_rank("group");
}

static void nothing_outlives_a_killed_rank(void **state)
{
    nothing_outlives_a_rank("rank");
}

static void nothing_outlives_a_rank_that_just_exits(void **state)
{
    nothing_outlives_a_rank("exit");
}

/* PDEATHSIG comes at the end of a thread, too. */
static void *open_in_thread(void *arg)
{
    open_spawn(NULL);
    return NULL;
}

static void a_spawner_outlives_the_thread_that_started_it(void **state)
{
    pthread_t thread;
    spawn_destroy(spawn);
    assert_int_equal(pthread_create(&thread, NULL, open_in_thread, NULL), 0);
    pthread_join(thread, NULL);
    int32_t pid = spawn_pid(spawn);
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    pause_ms(50);
    run_command(&(struct spawn_command){.argv = ARGV("true")}, &outcome);
    assert_int_equal(outcome.result.end, SPAWN_ENDED_EXIT);
    assert_int_equal(spawn_pid(spawn), pid);
}

static void a_program_started_by_a_relative_path_has_a_spawner(void **state)
{
    char path[4096], here[4096], name[4200], word[16] = "";
    int output;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(length > 0);
    path[length] = '\0';
    strcpy(here, path);
    assert_int_equal(chdir(dirname(here)), 0);
    snprintf(name, sizeof name, "./%s", basename(path));
    pid_t rank = start_rank(name, "rank", &output);
    assert_true(read(output, word, sizeof word - 1) > 0);
    assert_true(atoi(word) > 1);
    kill(rank, SIGKILL);
    waitpid(rank, NULL, 0);
    close(output);
}

static void a_stale_variable_changes_nothing(void **state)
{
    char token[2 * MESSAGE_TOKEN_BYTES + 1], word[16] = "";
    int output;
    memset(token, 'a', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    setenv(TAKEOVER_NAME, token, 1);
    pid_t rank = start_rank("/proc/self/exe", "rank", &output);
    unsetenv(TAKEOVER_NAME);
    assert_true(read(output, word, sizeof word - 1) > 0);
    assert_true(atoi(word) > 1);
    kill(rank, SIGKILL);
    waitpid(rank, NULL, 0);
    close(output);
}

struct asker {
    pthread_t thread;
    int *by_end;
};

static atomic_int answered;

static void count_answer(void *arg, const struct spawn_result *result)
{
    ((int *)arg)[result->end]++;
    atomic_fetch_add(&answered, 1);
}

static void *ask_forty(void *arg)
{
    struct asker *asker = arg;
    struct spawn_done done = {.ended = count_answer, .arg = asker->by_end};
    uint64_t handle;
    for (int i = 0; i < 40; i++) {
        if (spawn_command(
                spawn, &(struct spawn_command){.argv = i % 4 ? ARGV("true") : ARGV("sleep", "50")},
                &done, &handle, NULL) != MANTA_OK) {
            return asker;
        }
        if (i % 4 == 0) {
            spawn_kill(spawn, handle, 0);
        }
    }
    return NULL;
}

static void requests_come_from_any_thread(void **state)
{
    int by_end[SPAWN_ENDS] = {0};
    struct asker askers[4];
    void *failed = NULL;
    for (int i = 0; i < 4; i++) {
        askers[i].by_end = by_end;
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_forty, &askers[i]), 0);
    }
    for (uint64_t until_ns = now_ns() + 60 * SECONDS; atomic_load(&answered) < 160;) {
        assert_true(now_ns() < until_ns);
        spawn_poll(spawn, SECONDS);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(askers[i].thread, &failed);
        assert_null(failed);
    }
    assert_int_equal(by_end[SPAWN_ENDED_EXIT], 120);
    assert_int_equal(by_end[SPAWN_ENDED_KILLED], 40);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_spawn, tear_down_spawn)
    const struct CMUnitTest tests[] = {
        TEST(two_thousand_commands_two_at_a_time),
        TEST(more_than_the_socket_holds_is_kept),
        TEST(kills_wait_for_room_too),
        TEST(answers_wait_for_a_slow_rank),
        TEST(a_killed_spawner_loses_what_ran_and_is_replaced),
        TEST(a_spawner_that_dies_again_and_again_is_always_replaced),
        TEST(the_end_answers_what_is_open_and_waits_for_the_children),
        TEST(no_descriptor_is_left),
        cmocka_unit_test(garbage_from_the_rank_does_not_end_a_spawner),
        TEST(an_answer_may_ask_for_more),
        TEST(garbage_from_the_spawner_has_it_replaced),
        cmocka_unit_test(a_spawner_that_never_comes_refuses_everything),
        TEST(a_request_that_has_not_left_is_ended_here),
        cmocka_unit_test(each_failing_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(nothing_outlives_a_killed_rank),
        cmocka_unit_test(nothing_outlives_a_killed_group),
        cmocka_unit_test(nothing_outlives_a_rank_that_just_exits),
        TEST(a_spawner_outlives_the_thread_that_started_it),
        cmocka_unit_test(a_program_started_by_a_relative_path_has_a_spawner),
        cmocka_unit_test(a_stale_variable_changes_nothing),
        TEST(requests_come_from_any_thread),
    };
    if (argc > 1) {
        return be_rank(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
