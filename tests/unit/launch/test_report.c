/* report's way to `manta run`, and that it harms nobody; what is said over it: tests/unit/cli. */
#include "launch/report.h"

#include "base/alloc.h"
#include "base/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#define SECRET "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"
#define SECONDS UINT64_C(1000000000)

static void the_variable_is_read_and_written_alike(void **state)
{
    const char *const values[] = {
        "127.0.0.1:4711:" SECRET,
        "10.0.0.1,10.77.0.254,fd00::1:65535:" SECRET,
        "::1:1:" SECRET,
        "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6:80:" SECRET,
    };
    for (size_t i = 0; i < MT_COUNT(values); i++) {
        struct report_target target;
        char written[REPORT_VALUE_MAX];
        assert_int_equal(report_read_target(values[i], &target), MANTA_OK);
        assert_int_equal(target.secret[1], 1);
        assert_int_equal(target.secret[31], 0xff);
        report_write_target(&target, written);
        assert_string_equal(written, values[i]);
    }
}

static void a_wrong_variable_is_refused_whole(void **state)
{
    const char *const values[] = {
        "",
        ":",
        "::",
        "127.0.0.1",
        "127.0.0.1:4711",
        "127.0.0.1:4711:",
        "127.0.0.1:4711:0011",
        "127.0.0.1:4711:" SECRET "0",
        "127.0.0.1:0:" SECRET,
        "127.0.0.1:65536:" SECRET,
        "127.0.0.1:x:" SECRET,
        "127.0.0.1::" SECRET,
        ":4711:" SECRET,
        "localhost:4711:" SECRET,
        "1.1.1.1,,x:4711:" SECRET,
        "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7:80:" SECRET,
    };
    for (size_t i = 0; i < MT_COUNT(values); i++) {
        struct report_target target = {.port = 77};
        assert_int_equal(report_read_target(values[i], &target), MANTA_E_INVALID);
        assert_int_equal(target.port, 77);
    }
    char endless[4 * REPORT_VALUE_MAX] = {0};
    struct report_target target;
    memset(endless, '1', sizeof endless - 1);
    assert_int_equal(report_read_target(endless, &target), MANTA_E_INVALID);
}

static void without_the_variable_there_is_no_report(void **state)
{
    struct report *report = (struct report *)1;
    assert_int_equal(report_open(NULL, REPORT_RUN, &report), MANTA_OK);
    assert_null(report);
    report_places(report, NULL, 0);
    report_end(report, 1, 0, "nobody hears this");
}

/* What an open costs, and that it gives nothing. */
static uint64_t open_in_vain(const char *value, int expected)
{
    struct report *report = (struct report *)1;
    uint64_t before_ns = base_now_ns(&base_host_real), live = base_alloc_live();
    assert_int_equal(report_open(value, REPORT_RUN, &report), expected);
    assert_null(report);
    assert_int_equal(base_alloc_live(), live);
    return base_now_ns(&base_host_real) - before_ns;
}

static int listen_near(int backlog, uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, backlog), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    return listener;
}

static void nobody_there_costs_nothing(void **state)
{
    (void)open_in_vain("nonsense", MANTA_E_INVALID);
    assert_true(open_in_vain("127.0.0.1:1:" SECRET, MANTA_E_TIMEOUT) < SECONDS);
    base_alloc_fail_at(1);
    (void)open_in_vain("127.0.0.1:1:" SECRET, MANTA_E_NOMEM);
    base_alloc_fail_at(0);
}

/* Its queue is full, so the kernel answers nobody any more. */
static void who_does_not_answer_costs_a_second(void **state)
{
    char value[REPORT_VALUE_MAX];
    uint16_t port;
    int listener = listen_near(0, &port), fillers[4];
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (size_t i = 0; i < MT_COUNT(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    snprintf(value, sizeof value, "127.0.0.1,127.0.0.1:%u:" SECRET, port);
    uint64_t took_ns = open_in_vain(value, MANTA_E_TIMEOUT);
    assert_in_range(took_ns, SECONDS * 9 / 10, SECONDS * 2);
    for (size_t i = 0; i < MT_COUNT(fillers); i++) {
        close(fillers[i]);
    }
    close(listener);
}

static void a_listener_that_goes_harms_nobody(void **state)
{
    char value[REPORT_VALUE_MAX];
    uint16_t port;
    struct report *report;
    int listener = listen_near(1, &port);
    snprintf(value, sizeof value, "127.0.0.1:%u:" SECRET, port);
    assert_int_equal(report_open(value, REPORT_RUN, &report), MANTA_OK);
    assert_non_null(report);
    close(listener);
    uint64_t before_ns = base_now_ns(&base_host_real);
    for (int i = 0; i < 100; i++) {
        report_places(report, &(union card_page){.bytes = {0}}, 1);
    }
    report_end(report, 0, 0, NULL);
    assert_true(base_now_ns(&base_host_real) - before_ns < 3 * SECONDS);
    assert_int_equal(base_alloc_live(), 0);
}

struct sketch {
    uint64_t machine, mask;
    uint32_t cores;
};

static struct report_places find(const struct sketch *sketches, uint32_t size)
{
    union card_page cards[8] = {{.bytes = {0}}};
    for (uint32_t i = 0; i < size; i++) {
        cards[i].card.machine = sketches[i].machine;
        cards[i].card.mask = sketches[i].mask;
        cards[i].card.mask_cores = sketches[i].cores;
        snprintf(cards[i].card.host, sizeof cards[i].card.host, "n%u",
                 (unsigned)sketches[i].machine);
    }
    return report_find_places(cards, size);
}

static void the_most_crowded_group_of_ranks_is_found(void **state)
{
    const struct sketch crowd[] = {{1, 10, 4}, {1, 10, 4}, {2, 20, 1}, {2, 20, 1}, {2, 21, 8}};
    struct report_places places = find(crowd, 5);
    assert_int_equal(places.ranks, 5);
    assert_int_equal(places.nodes, 2);
    assert_string_equal(places.host, "n2");
    assert_int_equal(places.sharers, 2);
    assert_int_equal(places.cores, 1);
    assert_int_equal(places.near, 3);
    /* The same mask on another node is another group. */
    const struct sketch apart[] = {{1, 10, 1}, {2, 10, 1}};
    places = find(apart, 2);
    assert_int_equal(places.sharers, 1);
    assert_int_equal(places.near, 1);
    assert_int_equal(places.nodes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_variable_is_read_and_written_alike),
        cmocka_unit_test(a_wrong_variable_is_refused_whole),
        cmocka_unit_test(without_the_variable_there_is_no_report),
        cmocka_unit_test(nobody_there_costs_nothing),
        cmocka_unit_test(who_does_not_answer_costs_a_second),
        cmocka_unit_test(a_listener_that_goes_harms_nobody),
        cmocka_unit_test(the_most_crowded_group_of_ranks_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
