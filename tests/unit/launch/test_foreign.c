/*
 * Other users of the node, who may list the sockets' names and here know the secret too: they get
 * no segment, give none, and hold up nobody. The test is rank 0 as root, children are anybody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "deadline.h"
#include "launch/handover.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 2, STRANGERS = RANKS + 6, FOREIGN_UID = 20001, SKIP = 77 };

static union card_page cards[RANKS];
static int listener, segment;
static struct handover_fds segments;

static int set_up(void **state)
{
    memset(cards, 0, sizeof cards);
    for (uint32_t i = 0; i < RANKS; i++) {
        card_fill(&cards[i].card, host, NULL, 0);
        cards[i].card.rank = i;
    }
    segment = memfd_create("test", MFD_CLOEXEC);
    segments = (struct handover_fds){1, {segment}};
    return segment < 0 || handover_listen(&cards[0].card, RANKS, &listener) != MANTA_OK;
}

static int tear_down(void **state)
{
    close(listener);
    close(segment);
    return 0;
}

/* Runs `act` as a user; its result is the child's code. */
static pid_t spawn(uid_t user, int (*act)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        close(listener);
        alarm(20);
        _exit(user && (setgid(user) || setuid(user)) ? 90 : act());
    }
    return pid;
}

static int code_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int give(uint64_t patience_ns)
{
    struct link links[RANKS];
    char text[300];
    int code = handover_give(host, listener, cards, RANKS, &segments, in(patience_ns), links, text,
                             sizeof text);
    for (int i = 0; code == MANTA_OK && i < RANKS; i++) {
        link_close(&links[i]);
    }
    return code;
}

static int call(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "manta-%016llx%016llx",
                          (unsigned long long)cards[0].card.socket_name[0],
                          (unsigned long long)cards[0].card.socket_name[1]);
    int line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    return line >= 0 && connect(line, (struct sockaddr *)&address, size) == 0 ? line : -1;
}

/* A hello that is right in all things. 0: the line ended, and nothing came over it. */
static int say_hello(void)
{
    struct {
        uint64_t magic;
        uint32_t rank, reserved;
        uint8_t secret[32];
    } hello = {.magic = UINT64_C(0x6d616e746168656c), .rank = 1};
    char bytes[100], control[200];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct pollfd line = {.fd = call(), .events = POLLIN};
    memcpy(hello.secret, cards[0].card.secret, sizeof hello.secret);
    if (line.fd < 0) {
        return 91;
    }
    if (send(line.fd, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello) {
        return 0;
    }
    if (poll(&line, 1, 5000) != 1) {
        return 92;
    }
    ssize_t got = recvmsg(line.fd, &message, 0);
    return got > 0 || (got == 0 && message.msg_controllen > 0);
}

/* More than there are places; the last ones may find no room in the queue of calls. */
static int stay_mute(void)
{
    bool is_through = call() >= 0;
    for (int i = 1; i < STRANGERS; i++) {
        (void)call();
    }
    return is_through && pause() ? 0 : 93;
}

static int take(void)
{
    struct link link;
    char text[300];
    struct handover_fds fds;
    int code = handover_take(host, cards, 1, in(5 * SECOND), &link, &fds, text, sizeof text);
    return code == MANTA_OK ? 0 : 1;
}

/* So that what the foreign user is refused is his being foreign. */
static void the_same_hello_of_the_own_user_is_answered(void **state)
{
    pid_t own = spawn(0, say_hello);
    assert_int_equal(give(5 * SECOND), MANTA_OK);
    assert_int_equal(code_of(own), 1);
}

static void a_foreign_user_with_the_secret_gets_nothing(void **state)
{
    pid_t foreign = spawn(FOREIGN_UID, say_hello);
    assert_int_equal(give(500 * MS), MANTA_E_LAUNCH);
    close(listener);
    assert_int_equal(code_of(foreign), 0);
    assert_int_equal(handover_listen(&cards[0].card, RANKS, &listener), MANTA_OK);
}

static void mute_foreign_users_hold_up_nobody(void **state)
{
    pid_t foreign = spawn(FOREIGN_UID, stay_mute);
    usleep(100000); /* so that he is first; if he is not, this test only proves less */
    pid_t own = spawn(0, take);
    assert_int_equal(give(5 * SECOND), MANTA_OK);
    assert_int_equal(code_of(own), 0);
    kill(foreign, SIGKILL);
    assert_int_equal(code_of(foreign), 128 + SIGKILL);
}

/* Here root is the foreign one, whose listener has the name that a rank was told. */
static void a_rank_takes_nothing_from_a_foreign_giver(void **state)
{
    pid_t foreign = spawn(FOREIGN_UID, take);
    assert_int_equal(give(500 * MS), MANTA_E_LAUNCH);
    assert_int_equal(code_of(foreign), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_hello_of_the_own_user_is_answered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_user_with_the_secret_gets_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mute_foreign_users_hold_up_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rank_takes_nothing_from_a_foreign_giver, set_up,
                                        tear_down),
    };
    if (geteuid() != 0) {
        puts("skipped: only root can be another user");
        return SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
