/* Lines between hosts: who gets one, who does not, and what their end means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launch/join.h"
#include "watched.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 3 };

static union card_page cards[RANKS];
static int listener = -1;
static uint64_t silence_ns = 10 * SECOND;

/* The loopback stands for the network: a host's own useful addresses are not needed here. */
static int set_up(void **state)
{
    memset(cards, 0, sizeof cards);
    said[0] = 0;
    silence_ns = 10 * SECOND;
    for (uint32_t i = 0; i < RANKS; i++) {
        card_fill(&cards[i].card, host, NULL, 0);
        snprintf(cards[i].card.host, sizeof cards[i].card.host, "n%u", i);
        cards[i].card.machine = i;
        cards[i].card.rank = i;
    }
    if (join_listen(&cards[0].card, &listener) != MANTA_OK) {
        return 1;
    }
    cards[0].card.address_count = 1;
    return inet_pton(AF_INET6, "::ffff:127.0.0.1", cards[0].card.addresses[0]) != 1;
}

static int tear_down(void **state)
{
    close(listener);
    return 0;
}

static struct watch *watch_of(uint32_t rank)
{
    return start_watch((struct watch_options){.host_name = cards[rank].card.host,
                                              .owner = WATCH_GUEST,
                                              .rank = rank,
                                              .silence_ns = silence_ns});
}

/* A child on a host of its own. */
static pid_t spawn(uint32_t rank, int (*act)(struct watch *watch))
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid) {
        cards[rank].card.pid = (uint32_t)pid;
        close(pipe_fds[0]);
        assert_int_equal(write(pipe_fds[1], &pid, sizeof pid), sizeof pid);
        close(pipe_fds[1]);
        return pid;
    }
    struct link link;
    char text[400];
    (void)!read(pipe_fds[0], &pid, sizeof pid);
    close(listener);
    cards[rank].card.pid = (uint32_t)getpid();
    struct watch *watch = watch_of(rank);
    if (join_call(host, cards, rank, in(5 * SECOND), &link, text, sizeof text) ||
        watch_adopt(watch, rank, RANKS, &link, cards)) {
        _exit(90);
    }
    watch_survive(watch, hear_of_death, NULL);
    int code = watch_meet(watch, 0, 5 * SECOND, text, sizeof text);
    int result = code ? 91 : act(watch);
    watch_destroy(watch);
    _exit(result);
}

static struct watch *join(void)
{
    struct link links[RANKS];
    char text[400] = "";
    struct watch *watch = watch_of(0);
    for (uint32_t i = 0; i < RANKS; i++) {
        links[i] = (struct link){-1, -1};
    }
    atomic_store(&deaths_told, 0);
    int code = join_accept(host, listener, cards, RANKS, in(5 * SECOND), links, text, sizeof text);
    if (code) {
        print_error("%s\n", text);
    }
    assert_int_equal(code, MANTA_OK);
    assert_int_equal(watch_adopt(watch, 0, RANKS, links, cards), MANTA_OK);
    watch_survive(watch, hear_of_death, NULL);
    assert_int_equal(watch_meet(watch, 0, 5 * SECOND, text, sizeof text), MANTA_OK);
    return watch;
}

static int leave(struct watch *watch)
{
    watch_leave(watch);
    return 0;
}

static void ranks_on_other_hosts_join_meet_and_leave(void **state)
{
    int code;
    pid_t a = spawn(1, leave), b = spawn(2, leave);
    struct watch *watch = join();
    expect_exit(a, 0);
    expect_exit(b, 0);
    usleep(20000);
    assert_false(watch_has_ended(watch, &code));
    assert_int_equal(atomic_load(&deaths_told), 0);
    assert_string_equal(said, "");
    watch_leave(watch);
    watch_destroy(watch);
}

static int hear_that_two_died(struct watch *watch)
{
    int ended;
    bool is_told = await_death(2);
    bool has_ended = watch_has_ended(watch, &ended);
    watch_leave(watch);
    return !is_told || has_ended;
}

static void a_death_elsewhere_is_the_end_of_its_line(void **state)
{
    char expected[100];
    int code;
    pid_t a = spawn(1, hear_that_two_died), b = spawn(2, wait_long);
    struct watch *watch = join();
    kill(b, SIGKILL);
    assert_true(await_death(2));
    expect_exit(a, 0);
    expect_exit(b, -SIGKILL);
    assert_false(watch_has_ended(watch, &code));
    snprintf(expected, sizeof expected, "rank 2 on n2 (process %d) has ended, or cannot be reached",
             b);
    assert_non_null(strstr(said, expected));
    watch_leave(watch);
    watch_destroy(watch);
}

/* What it was told of itself is all that it says. */
static int hear_why_it_is_out(struct watch *watch)
{
    int code = await_end(watch);
    bool is_told = strstr(said, "rank 2 on n2 said nothing for ") &&
                   strstr(said, "it counts as dead, the others do its work, and ends");
    return is_told && !strstr(said, "rank 0 on n0") ? code : 92;
}

/* Cut off is what a stopped rank looks like; when it goes on it reads why on its line and
 * leaves. */
static void a_silent_rank_is_cut_off_and_leaves_when_it_comes_back(void **state)
{
    silence_ns = 100 * MS;
    pid_t a = spawn(1, hear_that_two_died), b = spawn(2, hear_why_it_is_out);
    struct watch *watch = join();
    kill(b, SIGSTOP);
    assert_true(await_death(2));
    kill(b, SIGCONT);
    expect_exit(a, 0);
    expect_exit(b, 1);
    assert_non_null(strstr(said, "rank 2 on n2"));
    assert_non_null(strstr(said, "s (MANTA_SILENCE): it counts as dead"));
    watch_leave(watch);
    watch_destroy(watch);
}

/* From the fault until rank 0 tells of it. */
static uint64_t time_a_stop(void)
{
    pid_t a = spawn(1, hear_that_two_died), b = spawn(2, wait_long);
    struct watch *watch = join();
    usleep(50000);
    uint64_t start_ns = base_now_ns(host);
    kill(b, SIGSTOP);
    assert_true(await_death(2));
    uint64_t took_ns = base_now_ns(host) - start_ns;
    kill(b, SIGKILL);
    expect_exit(a, 0);
    expect_exit(b, -SIGKILL);
    watch_leave(watch);
    watch_destroy(watch);
    return took_ns;
}

/* The fastest of some, so that a busy machine does not matter. */
static void a_stop_elsewhere_is_told_when_patience_ends(void **state)
{
    uint64_t fastest_ns = UINT64_MAX;
    silence_ns = 400 * MS;
    for (int i = 0; i < 3; i++) {
        fastest_ns = MT_MIN(fastest_ns, time_a_stop());
    }
    print_message("told %.0f ms after the fault, at a silence of 400 ms\n", fastest_ns / 1e6);
    assert_true(fastest_ns < 2 * silence_ns);
    assert_true(fastest_ns > silence_ns / 2);
}

static int reporting;

static int report_the_end(struct watch *watch)
{
    int code = await_end(watch);
    return write(reporting, &code, sizeof code) != sizeof code;
}

/* Its parent ends as rank 0 without a word; the pipe says what became of it. */
static void the_end_of_rank_0_ends_the_others(void **state)
{
    int report[2], codes[2] = {0, 0};
    assert_int_equal(pipe(report), 0);
    pid_t first = fork();
    if (first == 0) {
        reporting = report[1];
        (void)spawn(1, report_the_end);
        (void)spawn(2, report_the_end);
        (void)join();
        _exit(0);
    }
    close(report[1]);
    expect_exit(first, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read(report[0], &codes[i], sizeof codes[i]), sizeof codes[i]);
        assert_int_equal(codes[i], 1);
    }
    close(report[0]);
}

static int call_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(cards[0].card.port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(line, (struct sockaddr *)&address, sizeof address), 0);
    return line;
}

/* Mute ones, garbage, and some that know all but the secret, more than fit at once. */
static void strangers_get_nothing_and_hold_up_nobody(void **state)
{
    struct {
        uint64_t magic;
        uint32_t rank, pid;
        uint64_t random[2];
    } hello = {UINT64_C(0x6d616e74616a6f69), 1, 0, {1, 2}};
    enum { STRANGERS = 100 };
    int strangers[STRANGERS];
    char byte;
    for (int i = 0; i < STRANGERS; i++) {
        strangers[i] = call_port();
        if (i % 3 == 1) {
            assert_int_equal(send(strangers[i], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
        } else if (i % 3 == 2) {
            assert_int_equal(send(strangers[i], &hello, sizeof hello, 0), sizeof hello);
        }
    }
    pid_t a = spawn(1, leave), b = spawn(2, leave);
    struct watch *watch = join();
    expect_exit(a, 0);
    expect_exit(b, 0);
    assert_true(recv(strangers[2], &byte, 1, MSG_DONTWAIT) <= 0);
    for (int i = 0; i < STRANGERS; i++) {
        close(strangers[i]);
    }
    watch_leave(watch);
    watch_destroy(watch);
}

static void giver_and_caller_give_up_in_time_and_say_whom_they_missed(void **state)
{
    struct link link, links[RANKS];
    char text[400] = "";
    for (uint32_t i = 0; i < RANKS; i++) {
        links[i] = (struct link){-1, -1};
    }
    assert_int_equal(
        join_accept(host, listener, cards, RANKS, in(30 * MS), links, text, sizeof text),
        MANTA_E_LAUNCH);
    assert_non_null(strstr(text, "rank 1 on n1"));
    tear_down(NULL);
    assert_int_equal(join_call(host, cards, 1, in(50 * MS), &link, text, sizeof text),
                     MANTA_E_LAUNCH);
    assert_non_null(strstr(text, "rank 1 cannot reach rank 0 on n0"));
    assert_int_equal(join_listen(&cards[0].card, &listener), MANTA_OK);
}

static void the_hosts_addresses_are_in_the_card(void **state)
{
    struct card card = {.port = 0};
    int other;
    assert_int_equal(join_listen(&card, &other), MANTA_OK);
    assert_int_not_equal(card.port, 0);
    assert_true(card.address_count <= CARD_ADDRESSES);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranks_on_other_hosts_join_meet_and_leave, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_death_elsewhere_is_the_end_of_its_line, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_silent_rank_is_cut_off_and_leaves_when_it_comes_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stop_elsewhere_is_told_when_patience_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_rank_0_ends_the_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_get_nothing_and_hold_up_nobody, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(giver_and_caller_give_up_in_time_and_say_whom_they_missed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_hosts_addresses_are_in_the_card, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
