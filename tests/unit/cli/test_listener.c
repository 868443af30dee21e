/* Both ends of a report: what the driver's process says, and who is not listened to. */
#include "cli/listener.h"

#include "base/alloc.h"
#include "base/host.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

enum { PATIENCE_MS = 5000 };

struct fixture {
    struct listener *listener;
    const struct driver *driver;
    char value[REPORT_VALUE_MAX];
};

static struct fixture *open_near(struct fixture *fixture)
{
    assert_int_equal(listener_open(LISTENER_NEAR, &fixture->listener, fixture->value), MANTA_OK);
    fixture->driver = listener_driver(fixture->listener);
    return fixture;
}

/* Until *flag is as wanted, or the time is over. */
static void hear_until(struct fixture *fixture, const bool *flag, bool wanted)
{
    struct pollfd polls[LISTENER_POLLS];
    for (int i = 0; i < PATIENCE_MS / 10 && *flag != wanted; i++) {
        uint32_t count = listener_polls(fixture->listener, polls);
        (void)poll(polls, count, 10);
        listener_hear(fixture->listener);
    }
    assert_int_equal(*flag, wanted);
}

static void hear_a_moment(struct fixture *fixture)
{
    for (int i = 0; i < 20; i++) {
        usleep(5000);
        listener_hear(fixture->listener);
    }
}

/* A process that reports as a driver's does; -1: it is killed before it has. */
static pid_t start_driver(const char *value, int code)
{
    pid_t child = fork();
    if (child == 0) {
        struct report *report;
        if (report_open(value, REPORT_RUN, &report) != MANTA_OK) {
            _exit(1);
        }
        if (code < 0) {
            raise(SIGKILL);
        }
        report_end(report, code, 2, "all is well");
        usleep(100000);
        _exit(0);
    }
    return child;
}

static int call(const struct fixture *fixture)
{
    struct report_target target;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(report_read_target(fixture->value, &target), MANTA_OK);
    memcpy(&address.sin_addr, target.addresses[0] + 12, 4);
    address.sin_port = htons(target.port);
    assert_int_equal(connect(line, (struct sockaddr *)&address, sizeof address), 0);
    return line;
}

/* True: the listener has hung up. */
static bool is_dropped(int line)
{
    char byte;
    ssize_t got = recv(line, &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static void a_driver_says_its_code_and_its_end_is_seen(void **state)
{
    struct fixture fixture;
    pid_t child = start_driver(open_near(&fixture)->value, 42);
    hear_until(&fixture, &fixture.driver->has_reported, true);
    assert_int_equal(fixture.driver->code, 42);
    assert_int_equal(fixture.driver->deaths, 2);
    assert_string_equal(fixture.driver->text, "all is well");
    assert_int_equal(fixture.driver->pid, child);
    assert_true(fixture.driver->is_connected);
    hear_until(&fixture, &fixture.driver->is_connected, false);
    waitpid(child, NULL, 0);
    listener_close(fixture.listener);
}

static void a_driver_that_dies_is_said_how(void **state)
{
    struct fixture fixture;
    pid_t child = start_driver(open_near(&fixture)->value, -1);
    hear_until(&fixture, &fixture.driver->has_come, true);
    hear_until(&fixture, &fixture.driver->is_connected, false);
    assert_false(fixture.driver->has_reported);
    assert_true(fixture.driver->has_status);
    assert_true(WIFSIGNALED(fixture.driver->status));
    assert_int_equal(WTERMSIG(fixture.driver->status), SIGKILL);
    waitpid(child, NULL, 0);
    listener_close(fixture.listener);
}

static void who_does_not_know_the_secret_is_dropped(void **state)
{
    struct fixture fixture;
    struct report_message hello = {
        .magic = REPORT_MAGIC, .version = REPORT_VERSION, .kind = REPORT_HELLO};
    struct report_target target;
    open_near(&fixture);
    assert_int_equal(report_read_target(fixture.value, &target), MANTA_OK);
    for (int byte = -1; byte < 32; byte++) {
        memcpy(hello.secret, target.secret, sizeof hello.secret);
        hello.kind = byte < 0 ? REPORT_END : REPORT_HELLO;
        if (byte >= 0) {
            hello.secret[byte] ^= 1;
        }
        int line = call(&fixture);
        assert_int_equal(send(line, &hello, sizeof hello, 0), sizeof hello);
        for (int i = 0; i < 500 && !is_dropped(line); i++) {
            usleep(1000);
            listener_hear(fixture.listener);
        }
        assert_true(is_dropped(line));
        assert_false(fixture.driver->has_come);
        close(line);
    }
    listener_close(fixture.listener);
}

static void garbage_and_silence_hold_nobody_up(void **state)
{
    struct fixture fixture;
    uint8_t garbage[5000];
    int lines[10];
    open_near(&fixture);
    for (size_t i = 0; i < sizeof garbage; i++) {
        garbage[i] = (uint8_t)rand();
    }
    for (size_t i = 0; i < MT_COUNT(lines); i++) {
        lines[i] = call(&fixture);
        (void)!send(lines[i], garbage, i * 500, MSG_NOSIGNAL);
    }
    pid_t child = start_driver(fixture.value, 3);
    hear_until(&fixture, &fixture.driver->has_reported, true);
    assert_int_equal(fixture.driver->code, 3);
    for (size_t i = 0; i < MT_COUNT(lines); i++) {
        close(lines[i]);
    }
    waitpid(child, NULL, 0);
    listener_close(fixture.listener);
}

static void places_taken_by_silent_callers_are_free_again_in_time(void **state)
{
    struct fixture fixture;
    int lines[40];
    open_near(&fixture);
    for (size_t i = 0; i < MT_COUNT(lines); i++) {
        lines[i] = i < 16 ? call(&fixture) : -1;
    }
    hear_a_moment(&fixture);
    pid_t child = start_driver(fixture.value, 4);
    hear_until(&fixture, &fixture.driver->has_reported, true);
    assert_int_equal(fixture.driver->code, 4);
    for (size_t i = 0; i < MT_COUNT(lines); i++) {
        if (lines[i] >= 0) {
            close(lines[i]);
        }
    }
    waitpid(child, NULL, 0);
    listener_close(fixture.listener);
}

static void while_a_driver_lives_no_other_is_taken(void **state)
{
    struct fixture fixture;
    struct report *first, *second, *third;
    open_near(&fixture);
    assert_int_equal(report_open(fixture.value, REPORT_RUN, &first), MANTA_OK);
    hear_until(&fixture, &fixture.driver->is_connected, true);
    assert_int_equal(report_open(fixture.value, REPORT_GUEST, &second), MANTA_OK);
    report_end(second, 9, 0, NULL);
    hear_a_moment(&fixture);
    assert_false(fixture.driver->has_reported);
    report_end(first, 5, 0, NULL);
    hear_until(&fixture, &fixture.driver->has_reported, true);
    assert_int_equal(fixture.driver->code, 5);
    assert_int_equal(report_open(fixture.value, REPORT_GUEST, &third), MANTA_OK);
    hear_a_moment(&fixture);
    assert_false(fixture.driver->is_guest);
    report_end(third, 1, 0, NULL);
    listener_close(fixture.listener);
}

/* A script that runs two programs. */
static void after_a_driver_has_gone_another_may_come(void **state)
{
    struct fixture fixture;
    open_near(&fixture);
    for (int code = 1; code <= 2; code++) {
        pid_t child = start_driver(fixture.value, code);
        hear_until(&fixture, &fixture.driver->is_connected, true);
        hear_until(&fixture, &fixture.driver->has_reported, true);
        assert_int_equal(fixture.driver->code, code);
        hear_until(&fixture, &fixture.driver->is_connected, false);
        waitpid(child, NULL, 0);
    }
    listener_close(fixture.listener);
}

static void secrets_differ_and_addresses_fit_the_reach(void **state)
{
    struct listener *near, *far;
    char value[REPORT_VALUE_MAX], other[REPORT_VALUE_MAX];
    struct report_target a, b;
    assert_int_equal(listener_open(LISTENER_NEAR, &near, value), MANTA_OK);
    assert_int_equal(listener_open(LISTENER_FAR, &far, other), MANTA_OK);
    assert_int_equal(report_read_target(value, &a), MANTA_OK);
    assert_int_equal(report_read_target(other, &b), MANTA_OK);
    assert_int_not_equal(memcmp(a.secret, b.secret, sizeof a.secret), 0);
    assert_int_equal(strncmp(value, "127.0.0.1:", 10), 0);
    assert_int_equal(a.address_count, 1);
    assert_true(b.address_count >= 1);
    listener_close(near);
    listener_close(far);
}

static void nothing_is_left_allocated(void **state)
{
    assert_int_equal(base_alloc_live(), 0);
    base_alloc_fail_at(1);
    struct listener *listener;
    char value[REPORT_VALUE_MAX];
    assert_int_equal(listener_open(LISTENER_NEAR, &listener, value), MANTA_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_driver_says_its_code_and_its_end_is_seen),
        cmocka_unit_test(a_driver_that_dies_is_said_how),
        cmocka_unit_test(who_does_not_know_the_secret_is_dropped),
        cmocka_unit_test(garbage_and_silence_hold_nobody_up),
        cmocka_unit_test(places_taken_by_silent_callers_are_free_again_in_time),
        cmocka_unit_test(while_a_driver_lives_no_other_is_taken),
        cmocka_unit_test(after_a_driver_has_gone_another_may_come),
        cmocka_unit_test(secrets_differ_and_addresses_fit_the_reach),
        cmocka_unit_test(nothing_is_left_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
