/*
 * Handover and watch between real processes: the test is rank 0, forked children are the others.
 * Who ends in order is told apart from who dies, strangers get nothing, and every wait ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "comm/backends.h"
#include "core/rank.h"
#include "watched.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 3 };

static union card_page cards[RANKS];

static uint64_t silence_ns = 10 * SECOND;
static enum watch_owner owner = WATCH_GUEST;

static struct watch *watch_of(enum watch_owner of)
{
    return start_watch(
        (struct watch_options){.host_name = "n1", .owner = of, .silence_ns = silence_ns});
}

/* A child: takes what is handed over, joins, does `act`, ends with its result. */
static pid_t spawn(uint32_t rank, int (*act)(struct watch *watch))
{
    pid_t pid = fork();
    if (pid) {
        cards[rank].card.pid = (uint32_t)pid;
        return pid;
    }
    struct link link;
    char text[300];
    struct handover_fds fds;
    int value = 0;
    struct watch *watch = watch_of(owner);
    if (handover_take(host, cards, rank, in(5 * SECOND), &link, &fds, text, sizeof text) ||
        fds.count != 2 || pread(fds.fds[1], &value, sizeof value, 0) != sizeof value ||
        value != 42 || watch_adopt(watch, rank, RANKS, &link, cards)) {
        _exit(90);
    }
    int result = act(watch);
    watch_destroy(watch);
    _exit(result);
}

static int listener = -1, segment = -1;
static struct handover_fds segments; /* two, to see that several come over */

static int set_up(void **state)
{
    int value = 42;
    memset(cards, 0, sizeof cards);
    said[0] = 0;
    silence_ns = 10 * SECOND;
    owner = WATCH_GUEST;
    for (int i = 0; i < RANKS; i++) {
        card_fill(&cards[i].card, host, NULL, 0);
        cards[i].card.rank = (uint32_t)i;
        strcpy(cards[i].card.host, "n1");
    }
    segment = memfd_create("test", MFD_CLOEXEC);
    segments = (struct handover_fds){2, {0, segment}};
    return write(segment, &value, sizeof value) != sizeof value ||
           handover_listen(&cards[0].card, RANKS, &listener) != MANTA_OK;
}

static int tear_down(void **state)
{
    close(listener);
    close(segment);
    return 0;
}

static struct watch *join(void)
{
    struct link links[RANKS];
    char text[300] = "";
    struct watch *watch = watch_of(owner);
    int code = handover_give(host, listener, cards, RANKS, &segments, in(5 * SECOND), links, text,
                             sizeof text);
    if (code) {
        print_error("%s\n", text);
    }
    assert_int_equal(code, MANTA_OK);
    assert_int_equal(watch_adopt(watch, 0, RANKS, links, cards), MANTA_OK);
    return watch;
}

static int meet_twice_and_leave(struct watch *watch)
{
    char text[300] = "";
    int first = watch_meet(watch, 0, 5 * SECOND, text, sizeof text);
    int second = watch_meet(watch, 0, 5 * SECOND, text, sizeof text);
    watch_leave(watch);
    return first || second;
}

static void ranks_meet_and_leave_in_order(void **state)
{
    pid_t a = spawn(1, meet_twice_and_leave), b = spawn(2, meet_twice_and_leave);
    struct watch *watch = join();
    char text[300] = "";
    int code;
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), 0);
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), 0);
    expect_exit(a, 0);
    expect_exit(b, 0);
    usleep(20000);
    assert_false(watch_has_ended(watch, &code));
    assert_string_equal(said, "");
    watch_leave(watch);
    watch_destroy(watch);
}

static int fail_to_start(struct watch *watch)
{
    char text[300] = "no disk";
    int code = watch_meet(watch, 7, 5 * SECOND, text, sizeof text);
    watch_leave(watch);
    return code;
}

static int start_well(struct watch *watch)
{
    char text[300] = "";
    int code = watch_meet(watch, 0, 5 * SECOND, text, sizeof text);
    watch_leave(watch);
    return strcmp(text, "no disk") == 0 ? code : 91;
}

static void failure_of_one_is_every_ones(void **state)
{
    pid_t a = spawn(1, start_well), b = spawn(2, fail_to_start);
    struct watch *watch = join();
    char text[300] = "";
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), 7);
    assert_string_equal(text, "no disk");
    expect_exit(a, 7);
    expect_exit(b, 7);
    watch_leave(watch);
    watch_destroy(watch);
}

static void death_is_named_and_ends_all(void **state)
{
    pid_t a = spawn(1, wait_for_the_end), b = spawn(2, wait_long);
    struct watch *watch = join();
    char expected[100], text[300] = "";
    kill(b, SIGKILL);
    assert_int_equal(await_end(watch), 1);
    expect_exit(a, 1);
    snprintf(expected, sizeof expected, "rank 2 on n1 (process %d) was killed by signal 9", b);
    assert_non_null(strstr(said, expected));
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), MANTA_E_RANK);
    assert_non_null(strstr(text, expected));
    waitpid(b, NULL, 0);
    watch_destroy(watch);
}

static int end_early(struct watch *watch)
{
    _exit(3);
}

static void end_without_leaving_is_a_death(void **state)
{
    pid_t a = spawn(1, wait_for_the_end), b = spawn(2, end_early);
    struct watch *watch = join();
    assert_int_equal(await_end(watch), 1);
    expect_exit(a, 1);
    expect_exit(b, 3);
    assert_non_null(strstr(said, "rank 2 on n1"));
    watch_destroy(watch);
}

static int start(struct watch *watch)
{
    char text[300] = "";
    watch_survive(watch, hear_of_death, NULL);
    return watch_meet(watch, 0, 5 * SECOND, text, sizeof text);
}

static int hear_that_two_died(struct watch *watch)
{
    int code = start(watch), ended;
    bool is_told = await_death(2);
    bool has_ended = watch_has_ended(watch, &ended);
    watch_leave(watch);
    return code || !is_told || has_ended;
}

static int start_and_wait_long(struct watch *watch)
{
    return start(watch) || sleep(20);
}

/* Rank 2 is lost and ends with that code, the others see it, and the job goes on. */
static void lose_rank_2(int (*see)(struct watch *), int (*act)(struct watch *), int signal,
                        int code, const char *text)
{
    int ended;
    atomic_store(&deaths_told, 0);
    pid_t a = spawn(1, see), b = spawn(2, act);
    struct watch *watch = join();
    assert_int_equal(start(watch), MANTA_OK);
    kill(b, signal);
    assert_true(await_death(2));
    expect_exit(a, 0);
    expect_exit(b, code);
    assert_false(watch_has_ended(watch, &ended));
    assert_non_null(strstr(said, text));
    watch_leave(watch);
    watch_destroy(watch);
}

static void deaths_after_the_start_are_told_to_all_and_survived(void **state)
{
    lose_rank_2(hear_that_two_died, start_and_wait_long, SIGKILL, -SIGKILL,
                "was killed by signal 9 (Killed); the others do its work again");
}

/* From the death of a process of the node until rank 0 tells of it. */
static uint64_t time_a_death(void)
{
    atomic_store(&deaths_told, 0);
    pid_t a = spawn(1, hear_that_two_died), b = spawn(2, start_and_wait_long);
    struct watch *watch = join();
    assert_int_equal(start(watch), MANTA_OK);
    uint64_t start_ns = base_now_ns(host);
    kill(b, SIGKILL);
    assert_true(await_death(2));
    uint64_t took_ns = base_now_ns(host) - start_ns;
    expect_exit(a, 0);
    expect_exit(b, -SIGKILL);
    watch_leave(watch);
    watch_destroy(watch);
    return took_ns;
}

/* The fastest of some, so that a busy machine does not matter. */
static void a_death_on_the_node_is_told_at_once(void **state)
{
    uint64_t fastest_ns = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        fastest_ns = MT_MIN(fastest_ns, time_a_death());
    }
    print_message("told %.2f ms after the death\n", fastest_ns / 1e6);
    assert_true(fastest_ns < 10 * MS);
}

static void a_stopped_rank_is_ended_when_its_silence_is_too_long(void **state)
{
    silence_ns = 20 * MS;
    lose_rank_2(hear_that_two_died, start_and_wait_long, SIGSTOP, -SIGKILL,
                "s (MANTA_SILENCE): it counts as dead");
}

static struct rank *make_core(void)
{
    struct comm *comm;
    struct rank *core = NULL;
    manta_error error;
    if (comm_create_alone(host, &comm) == MANTA_OK) {
        struct core_options options = {
            .host = host, .comm = comm, .workers = 1, .cores = 1, .host_name = "n1"};
        (void)core_rank_create(&options, &core, &error);
    }
    return core;
}

/* Of a node of three, over a segment of its own: nobody is there. */
static struct rank *make_core_of_three(uint32_t rank)
{
    struct comm *comm;
    struct rank *core = NULL;
    manta_error error;
    int fd;
    if (comm_shm_segment_create(RANKS, 0, &fd) == MANTA_OK &&
        comm_create_shm(host, fd, rank, RANKS, &comm) == MANTA_OK) {
        struct core_options options = {
            .host = host, .comm = comm, .workers = 1, .cores = 1, .host_name = "n1"};
        (void)core_rank_create(&options, &core, &error);
    }
    return core;
}

static int fail_to_reach_two(struct watch *watch)
{
    struct rank *core = make_core_of_three(1);
    if (!core || start(watch)) {
        return 92;
    }
    watch_set_core(watch, core);
    baton_take(&core->baton, host);
    comm_mark_down(core->comm, 2);
    baton_give(&core->baton);
    comm_wake(core->comm);
    bool is_told = await_death(2);
    watch_set_core(watch, NULL);
    watch_leave(watch);
    return !is_told;
}

static int keep_the_core(struct watch *watch)
{
    struct rank *core = make_core();
    if (!core || start(watch)) {
        return 92;
    }
    watch_set_core(watch, core);
    baton_take(&core->baton, host);
    return sleep(20);
}

static int use_the_core(struct watch *watch)
{
    struct rank *core = make_core();
    if (!core || start(watch)) {
        return 92;
    }
    watch_set_core(watch, core);
    for (uint64_t end_ns = in(1000 * MS); base_now_ns(host) < end_ns;) {
        baton_take(&core->baton, host);
        usleep(100);
        baton_give(&core->baton);
        usleep(100);
    }
    watch_set_core(watch, NULL);
    watch_leave(watch);
    return 0;
}

static void a_rank_that_one_cannot_reach_is_out_for_all(void **state)
{
    silence_ns = 80 * MS;
    lose_rank_2(fail_to_reach_two, start_and_wait_long, 0, -SIGKILL,
                "cannot be reached by rank 1 any more");
}

static void a_rank_stuck_in_the_runtime_ends_itself(void **state)
{
    silence_ns = 80 * MS;
    owner = WATCH_OWN_PROCESS;
    lose_rank_2(use_the_core, keep_the_core, 0, 1, "rank 2");
}

static void signal_ends_the_job_everywhere(void **state)
{
    pid_t a = spawn(1, wait_for_the_end), b = spawn(2, wait_for_the_end);
    struct watch *watch = join();
    uint64_t bits = WATCH_SIGNAL_END;
    char text[300] = "";
    assert_int_equal(write(watch_signal_fd(watch), &bits, sizeof bits), sizeof bits);
    assert_int_equal(await_end(watch), 143);
    assert_int_equal(watch_meet(watch, 0, SECOND, text, sizeof text), MANTA_E_SHUTDOWN);
    expect_exit(a, 143);
    expect_exit(b, 143);
    watch_destroy(watch);
}

static void meeting_in_vain_times_out(void **state)
{
    pid_t a = spawn(1, wait_long), b = spawn(2, wait_long);
    struct watch *watch = join();
    char text[300] = "";
    assert_int_equal(watch_meet(watch, 0, 30 * MS, text, sizeof text), MANTA_E_TIMEOUT);
    watch_leave(watch);
    watch_destroy(watch);
    kill(a, SIGKILL);
    kill(b, SIGKILL);
    waitpid(a, NULL, 0);
    waitpid(b, NULL, 0);
}

static void owner_of_the_process_ends_it_by_force(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t bits = WATCH_SIGNAL_END;
        struct watch *watch = watch_of(WATCH_OWN_PROCESS);
        _exit(write(watch_signal_fd(watch), &bits, sizeof bits) != sizeof bits || sleep(20));
    }
    expect_exit(pid, 143);
}

/* Knows the name, not the secret; the second one not even what to say. */
static int call_as_a_stranger(bool says_hello)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "manta-%016llx%016llx",
                          (unsigned long long)cards[0].card.socket_name[0],
                          (unsigned long long)cards[0].card.socket_name[1]);
    struct {
        uint64_t magic;
        uint32_t rank, reserved;
        uint8_t secret[32];
    } hello = {UINT64_C(0x6d616e746168656c), 1, 0, {1, 2, 3}};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(
        connect(fd, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)),
        0);
    if (says_hello) {
        assert_int_equal(send(fd, &hello, sizeof hello, 0), sizeof hello);
    }
    return fd;
}

static void strangers_get_nothing_and_hold_up_nobody(void **state)
{
    int liar = call_as_a_stranger(true), mute = call_as_a_stranger(false);
    pid_t a = spawn(1, meet_twice_and_leave), b = spawn(2, meet_twice_and_leave);
    struct watch *watch = join();
    char text[300] = "", byte;
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), 0);
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), 0);
    ssize_t got = recv(liar, &byte, 1, MSG_DONTWAIT);
    assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
    close(liar);
    close(mute);
    expect_exit(a, 0);
    expect_exit(b, 0);
    watch_leave(watch);
    watch_destroy(watch);
}

static void death_before_the_call_is_noticed_at_once(void **state)
{
    struct link links[RANKS];
    char text[300] = "";
    pid_t a = fork();
    if (a == 0) {
        _exit(0);
    }
    cards[1].card.pid = (uint32_t)a;
    pid_t b = spawn(2, wait_long);
    uint64_t start_ns = base_now_ns(host);
    assert_int_equal(handover_give(host, listener, cards, RANKS, &segments, in(20 * SECOND), links,
                                   text, sizeof text),
                     MANTA_E_LAUNCH);
    assert_true(base_now_ns(host) - start_ns < 10 * SECOND);
    assert_non_null(strstr(text, "rank 1 on n1"));
    waitpid(a, NULL, 0);
    kill(b, SIGKILL);
    waitpid(b, NULL, 0);
}

static void giver_and_taker_give_up_in_time(void **state)
{
    struct link links[RANKS], link;
    char text[300] = "";
    struct handover_fds fds;
    cards[1].card.pid = cards[2].card.pid = (uint32_t)getpid();
    assert_int_equal(handover_give(host, listener, cards, RANKS, &segments, in(30 * MS), links,
                                   text, sizeof text),
                     MANTA_E_LAUNCH);
    assert_non_null(strstr(text, "rank 1"));
    assert_int_equal(handover_take(host, cards, 1, in(30 * MS), &link, &fds, text, sizeof text),
                     MANTA_E_LAUNCH);
    cards[0].card.socket_name[0]++;
    assert_int_equal(handover_take(host, cards, 1, in(30 * MS), &link, &fds, text, sizeof text),
                     MANTA_E_LAUNCH);
    assert_non_null(strstr(text, "cannot reach rank 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranks_meet_and_leave_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failure_of_one_is_every_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(death_is_named_and_ends_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(end_without_leaving_is_a_death, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deaths_after_the_start_are_told_to_all_and_survived, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_death_on_the_node_is_told_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rank_stuck_in_the_runtime_ends_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rank_that_one_cannot_reach_is_out_for_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_rank_is_ended_when_its_silence_is_too_long,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(signal_ends_the_job_everywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(meeting_in_vain_times_out, set_up, tear_down),
        cmocka_unit_test(owner_of_the_process_ends_it_by_force),
        cmocka_unit_test_setup_teardown(strangers_get_nothing_and_hold_up_nobody, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(death_before_the_call_is_noticed_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(giver_and_taker_give_up_in_time, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
