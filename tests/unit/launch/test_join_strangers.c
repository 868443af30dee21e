/*
 * Who is believed on a line between hosts: each side against a wrong one. What is said is written
 * down here once more, byte by byte, and what a right call said is recorded by a wire in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "deadline.h"
#include "launch/join.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RANKS = 2, HELLO_BYTES = 32, ANSWER_BYTES = 32, PROOF_BYTES = 16 };
#define FIRST_ADDRESS "127.0.0.3"
#define OTHER_ADDRESS "127.0.0.2"

static union card_page cards[RANKS], other_cards[RANKS]; /* the second with another secret */
static int listener, impostor;                           /* at one port of two addresses */

/* Port 0: any. */
static int listen_at(const char *address, int flags, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t length = sizeof at;
    inet_pton(AF_INET, address, &at.sin_addr);
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (bind(line, (struct sockaddr *)&at, length) || listen(line, 100) ||
        getsockname(line, (struct sockaddr *)&at, &length)) {
        close(line);
        return -1;
    }
    *port = ntohs(at.sin_port);
    return line;
}

static void set_address(uint32_t i, const char *address)
{
    char mapped[40];
    snprintf(mapped, sizeof mapped, "::ffff:%s", address);
    assert_int_equal(inet_pton(AF_INET6, mapped, cards[0].card.addresses[i]), 1);
}

static int set_up(void **state)
{
    uint16_t port;
    memset(cards, 0, sizeof cards);
    for (uint32_t i = 0; i < RANKS; i++) {
        card_fill(&cards[i].card, host, NULL, 0);
        cards[i].card.rank = i;
    }
    /* The port that is free at one address may be taken at the other. */
    for (listener = -1; listener < 0;) {
        port = 0;
        impostor = listen_at(OTHER_ADDRESS, 0, &port);
        listener = listen_at(FIRST_ADDRESS, SOCK_NONBLOCK, &port);
        if (listener < 0) {
            close(impostor);
        }
    }
    cards[0].card.port = port;
    cards[0].card.address_count = 1;
    set_address(0, FIRST_ADDRESS);
    memcpy(other_cards, cards, sizeof cards);
    other_cards[0].card.secret[31] ^= 1;
    return 0;
}

static int tear_down(void **state)
{
    close(listener);
    close(impostor);
    return 0;
}

/* ---- Both sides, each in a thread ----------------------------------------------------------- */

struct side {
    pthread_t thread;
    const union card_page *cards;
    uint64_t patience_ns;
    int code;
    struct link links[RANKS];
    char text[400];
};

static void *accept_main(void *arg)
{
    struct side *side = arg;
    side->links[0] = side->links[1] = (struct link){-1, -1};
    side->code = join_accept(host, listener, side->cards, RANKS, in(side->patience_ns), side->links,
                             side->text, sizeof side->text);
    return NULL;
}

static void *call_main(void *arg)
{
    struct side *side = arg;
    side->links[0] = (struct link){-1, -1};
    side->code = join_call(host, side->cards, 1, in(side->patience_ns), side->links, side->text,
                           sizeof side->text);
    return NULL;
}

static void start(struct side *side, void *(*main)(void *), const union card_page *with,
                  uint64_t patience_ns)
{
    *side = (struct side){.cards = with, .patience_ns = patience_ns};
    assert_int_equal(pthread_create(&side->thread, NULL, main, side), 0);
}

static int end(struct side *side)
{
    pthread_join(side->thread, NULL);
    for (int i = 0; i < RANKS; i++) {
        if (side->links[i].socket > 0) {
            close(side->links[i].socket);
        }
    }
    return side->code;
}

/* ---- By hand -------------------------------------------------------------------------------- */

static int dial(const char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(cards[0].card.port)};
    inet_pton(AF_INET, address, &at.sin_addr);
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(line, (struct sockaddr *)&at, sizeof at), 0);
    return line;
}

static void say(int line, const void *what, size_t bytes)
{
    assert_int_equal(send(line, what, bytes, MSG_NOSIGNAL), bytes);
}

static void hear(int line, void *into, size_t bytes)
{
    assert_int_equal(recv(line, into, bytes, MSG_WAITALL), bytes);
}

/* The other side hangs up; what it says before counts as nothing said. */
static bool is_dropped(int line)
{
    struct pollfd one = {.fd = line, .events = POLLIN};
    char byte;
    return poll(&one, 1, 5000) == 1 && recv(line, &byte, 1, 0) <= 0;
}

static void make_hello(uint8_t hello[HELLO_BYTES])
{
    uint64_t magic = UINT64_C(0x6d616e74616a6f69);
    uint32_t rank = 1;
    memset(hello, 7, HELLO_BYTES);
    memcpy(hello, &magic, sizeof magic);
    memcpy(hello + 8, &rank, sizeof rank);
    memcpy(hello + 12, &cards[1].card.pid, sizeof rank);
}

struct record {
    uint8_t hello[HELLO_BYTES], answer[ANSWER_BYTES], proof[PROOF_BYTES];
};

/* A right call, by way of the impostor, who passes all on. */
static void record_a_call(struct record *ret_record)
{
    struct side first, caller;
    set_address(0, OTHER_ADDRESS);
    start(&first, accept_main, cards, 5 * SECOND);
    start(&caller, call_main, cards, 5 * SECOND);
    int near = accept(impostor, NULL, NULL), far = dial(FIRST_ADDRESS);
    hear(near, ret_record->hello, HELLO_BYTES);
    say(far, ret_record->hello, HELLO_BYTES);
    hear(far, ret_record->answer, ANSWER_BYTES);
    say(near, ret_record->answer, ANSWER_BYTES);
    hear(near, ret_record->proof, PROOF_BYTES);
    say(far, ret_record->proof, PROOF_BYTES);
    assert_int_equal(end(&caller), MANTA_OK);
    assert_int_equal(end(&first), MANTA_OK);
    close(near);
    close(far);
    set_address(0, FIRST_ADDRESS);
}

static bool holds(const void *all, size_t bytes, const void *part, size_t part_bytes)
{
    return memmem(all, bytes, part, part_bytes) != NULL;
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void the_secret_is_never_said(void **state)
{
    struct record record;
    record_a_call(&record);
    for (size_t i = 0; i + 4 <= sizeof cards[0].card.secret; i++) {
        assert_false(holds(&record, sizeof record, &cards[0].card.secret[i], 4));
    }
}

/* It does not even try: rank 0 has not proven itself to it. */
static void sides_with_different_secrets_refuse_each_other(void **state)
{
    struct side first, caller;
    start(&first, accept_main, cards, 300 * MS);
    start(&caller, call_main, other_cards, 200 * MS);
    assert_int_equal(end(&caller), MANTA_E_LAUNCH);
    assert_non_null(strstr(caller.text, "what answers there is not rank 0 of this job"));
    assert_int_equal(end(&first), MANTA_E_LAUNCH);
}

static void a_wrong_proof_is_refused(void **state)
{
    struct side first;
    uint8_t hello[HELLO_BYTES], answer[ANSWER_BYTES], proof[PROOF_BYTES] = {1, 2, 3};
    start(&first, accept_main, cards, 5 * SECOND);
    int line = dial(FIRST_ADDRESS);
    make_hello(hello);
    say(line, hello, sizeof hello);
    hear(line, answer, sizeof answer);
    say(line, proof, sizeof proof);
    assert_true(is_dropped(line));
    close(line);
    /* And it was no harm to the right one. */
    struct side caller;
    start(&caller, call_main, cards, 5 * SECOND);
    assert_int_equal(end(&caller), MANTA_OK);
    assert_int_equal(end(&first), MANTA_OK);
}

static void rank_0s_own_proof_sent_back_is_refused(void **state)
{
    struct side first;
    uint8_t hello[HELLO_BYTES], answer[ANSWER_BYTES];
    start(&first, accept_main, cards, 300 * MS);
    int line = dial(FIRST_ADDRESS);
    make_hello(hello);
    say(line, hello, sizeof hello);
    hear(line, answer, sizeof answer);
    say(line, answer + ANSWER_BYTES - PROOF_BYTES, PROOF_BYTES);
    assert_true(is_dropped(line));
    close(line);
    assert_int_equal(end(&first), MANTA_E_LAUNCH);
}

static void a_recorded_proof_is_refused(void **state)
{
    struct record record;
    struct side first;
    uint8_t answer[ANSWER_BYTES];
    record_a_call(&record);
    start(&first, accept_main, cards, 300 * MS);
    int line = dial(FIRST_ADDRESS);
    say(line, record.hello, HELLO_BYTES);
    hear(line, answer, sizeof answer);
    say(line, record.proof, PROOF_BYTES);
    assert_true(is_dropped(line));
    close(line);
    assert_int_equal(end(&first), MANTA_E_LAUNCH);
}

/* The caller then tries the next address, where rank 0 is. */
static void check_an_impostor_is_left(const void *says, size_t bytes)
{
    struct side first, caller;
    uint8_t hello[HELLO_BYTES];
    cards[0].card.address_count = 2;
    set_address(0, OTHER_ADDRESS);
    set_address(1, FIRST_ADDRESS);
    start(&first, accept_main, cards, 30 * SECOND);
    start(&caller, call_main, cards, 30 * SECOND);
    int line = accept(impostor, NULL, NULL);
    hear(line, hello, sizeof hello);
    say(line, says, bytes);
    assert_true(is_dropped(line)); /* without a proof of its own */
    close(line);
    assert_int_equal(end(&caller), MANTA_OK);
    assert_int_equal(end(&first), MANTA_OK);
}

static void garbage_at_the_first_address_is_not_rank_0(void **state)
{
    check_an_impostor_is_left("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", 47);
}

static void a_recorded_answer_is_not_rank_0(void **state)
{
    struct record record;
    record_a_call(&record);
    check_an_impostor_is_left(record.answer, ANSWER_BYTES);
}

static void silence_at_the_first_address_is_not_rank_0(void **state)
{
    check_an_impostor_is_left("half", 4);
}

/* Each of these leaves its place for those behind it. */
static void silence_and_halves_hold_up_nobody(void **state)
{
    enum { STRANGERS = 70 };
    int lines[STRANGERS];
    uint8_t hello[HELLO_BYTES];
    struct side first, caller;
    make_hello(hello);
    for (int i = 0; i < STRANGERS; i++) {
        lines[i] = dial(FIRST_ADDRESS);
        say(lines[i], hello, (size_t)(i % (HELLO_BYTES + 1)));
    }
    start(&caller, call_main, cards, 30 * SECOND);
    start(&first, accept_main, cards, 30 * SECOND);
    assert_int_equal(end(&caller), MANTA_OK);
    assert_int_equal(end(&first), MANTA_OK);
    for (int i = 0; i < STRANGERS; i++) {
        close(lines[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_secret_is_never_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sides_with_different_secrets_refuse_each_other, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_proof_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rank_0s_own_proof_sent_back_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_recorded_proof_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_at_the_first_address_is_not_rank_0, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_recorded_answer_is_not_rank_0, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silence_at_the_first_address_is_not_rank_0, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(silence_and_halves_hold_up_nobody, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
