/* Requests, replies and packets: what is not whole is refused, and what is comes out as it went in.
 */
#include "harness.h"

#include "spawn/channel.h"
#include "spawn/message.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

struct laid {
    struct request_head head;
    uint8_t parts[64];
};

/* argv "a", "bc"; directory "/d"; bytes "xyz". */
static size_t lay(struct laid *laid)
{
    memset(laid, 0, sizeof *laid);
    laid->head.magic = MESSAGE_MAGIC;
    laid->head.kind = REQUEST_COMMAND;
    laid->head.token = 99;
    laid->head.part_bytes[PART_ARGV] = 5;
    laid->head.part_bytes[PART_DIRECTORY] = 3;
    laid->head.part_bytes[PART_BYTES] = 3;
    memcpy(laid->parts, "a\0bc\0/d\0xyz", 11);
    return sizeof laid->head + 11;
}

static void a_whole_request_is_understood(void **state)
{
    struct laid laid;
    struct request request;
    size_t size = lay(&laid);
    assert_int_equal(request_decode(&laid, size, &request), MANTA_OK);
    assert_int_equal(request.argv.count, 2);
    assert_string_equal(request.argv.texts, "a");
    assert_string_equal(request.argv.texts + 2, "bc");
    assert_string_equal(request.directory, "/d");
    assert_null(request.input_path);
    assert_int_equal(request.byte_count, 3);
    assert_memory_equal(request.bytes, "xyz", 3);
    assert_int_equal(request_token(&laid, size), 99);
}

static void each_shorter_or_longer_request_is_refused(void **state)
{
    struct laid laid;
    struct request request;
    size_t whole = lay(&laid);
    for (size_t size = 0; size < sizeof laid; size++) {
        assert_int_equal(request_decode(&laid, size, &request),
                         size == whole ? MANTA_OK : MANTA_E_INVALID);
    }
}

static void a_request_with_one_wrong_thing_is_refused(void **state)
{
    struct laid good, bad;
    struct request request;
    size_t size = lay(&good);
#define WRONG(change)                                                                              \
    bad = good;                                                                                    \
    bad.change;                                                                                    \
    assert_int_equal(request_decode(&bad, size, &request), MANTA_E_INVALID)
    WRONG(head.magic++);
    WRONG(head.kind = 0);
    WRONG(head.kind = REQUEST_ISOLATED); /* with an argv */
    WRONG(head.kind = 9);
    WRONG(head.out_to = SPAWN_TO_STDOUT);
    WRONG(head.out_to = SPAWN_TO_FILE); /* without a path */
    WRONG(head.err_to = 77);
    WRONG(head.environment_kind = 2);
    WRONG(head.tail_bytes = SPAWN_TAIL_MAX + 1);
    WRONG(head.part_bytes[PART_ARGV] = 4); /* no NUL at its end */
    WRONG(head.part_bytes[PART_ARGV] = UINT64_MAX);
    WRONG(head.part_bytes[PART_BYTES] = UINT64_MAX - 7);
    WRONG(parts[6] = 0); /* a NUL inside a path */
    WRONG(parts[7] = 'x');
    WRONG(head.part_bytes[PART_BYTES] = 0; bad.head.part_bytes[PART_RLIMITS] = 3);
    /* Two inputs. */
    WRONG(head.part_bytes[PART_DIRECTORY] = 0; bad.head.part_bytes[PART_INPUT_PATH] = 3);
}

static void a_reply_is_understood_or_refused(void **state)
{
    struct {
        struct reply_head head;
        char text[8];
    } laid = {.head = {.magic = MESSAGE_MAGIC,
                       .kind = REPLY_ENDED,
                       .end = SPAWN_ENDED_SIGNAL,
                       .signal = 11,
                       .out_tail_bytes = 3,
                       .text_bytes = 5},
              .text = "outwords"};
    struct reply_head head;
    struct spawn_result result;
    assert_int_equal(reply_decode(&laid, sizeof laid.head + 8, &head, &result), MANTA_OK);
    assert_int_equal(result.signal, 11);
    assert_memory_equal(result.out_tail, "out", 3);
    assert_string_equal(result.error.text, "words");
    for (size_t size = 0; size < sizeof laid.head + 8; size++) {
        assert_int_equal(reply_decode(&laid, size, &head, &result), MANTA_E_INVALID);
    }
    laid.head.end = SPAWN_ENDS;
    assert_int_equal(reply_decode(&laid, sizeof laid.head + 8, &head, &result), MANTA_E_INVALID);
    laid.head.end = -1;
    assert_int_equal(reply_decode(&laid, sizeof laid.head + 8, &head, &result), MANTA_E_INVALID);
}

static char buffer[CHANNEL_PACKET_MAX];

static void packets_bring_bodies_and_descriptors(void **state)
{
    int sockets[2], ends[2];
    struct iovec pieces[] = {{(void *)(uintptr_t) "one ", 4}, {(void *)(uintptr_t) "two", 3}};
    struct packet packet = {.buffer = buffer};
    char byte = 0;
    assert_int_equal(channel_pair(sockets), MANTA_OK);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(channel_receive(sockets[1], &packet), MANTA_E_AGAIN);
    assert_int_equal(channel_send(sockets[0], pieces, 2, ends), MANTA_OK);
    assert_int_equal(channel_receive(sockets[1], &packet), MANTA_OK);
    assert_int_equal(packet.size, 7);
    assert_memory_equal(packet.body, "one two", 7);
    assert_int_equal(write(packet.fds[1], "!", 1), 1);
    assert_int_equal(read(packet.fds[0], &byte, 1), 1);
    assert_int_equal(fcntl(packet.fds[0], F_GETFD), FD_CLOEXEC);
    channel_release(&packet);
    int file = channel_file(pieces, 2);
    assert_true(file >= 0);
    assert_int_equal(channel_send_file(sockets[0], file, 7), MANTA_OK);
    assert_int_equal(channel_receive(sockets[1], &packet), MANTA_OK);
    assert_memory_equal(packet.body, "one two", 7);
    channel_release(&packet);
    assert_int_equal(channel_send_file(sockets[0], file, 8), MANTA_OK);
    assert_int_equal(channel_receive(sockets[1], &packet), MANTA_E_INVALID); /* longer than it is */
    close(file);
    close(sockets[0]);
    assert_int_equal(channel_receive(sockets[1], &packet), MANTA_E_SHUTDOWN);
    assert_int_equal(channel_send(sockets[1], pieces, 1, NULL), MANTA_E_SYSTEM);
    close(sockets[1]);
    close(ends[0]);
    close(ends[1]);
}

static void files_that_could_shrink_are_refused(void **state)
{
    int sockets[2], file = memfd_create("unsealed", MFD_ALLOW_SEALING);
    struct packet packet = {.buffer = buffer};
    assert_int_equal(write(file, "1234", 4), 4);
    assert_int_equal(channel_pair(sockets), MANTA_OK);
    assert_int_equal(channel_send_file(sockets[0], file, 4), MANTA_OK);
    assert_int_equal(channel_receive(sockets[1], &packet), MANTA_E_INVALID);
    close(file);
    close(sockets[0]);
    close(sockets[1]);
}

static void a_full_socket_says_again(void **state)
{
    int sockets[2], code = MANTA_OK, sent = 0;
    struct iovec piece = {buffer, CHANNEL_INLINE_MAX};
    assert_int_equal(channel_pair(sockets), MANTA_OK);
    while ((code = channel_send(sockets[0], &piece, 1, NULL)) == MANTA_OK) {
        sent++;
    }
    assert_int_equal(code, MANTA_E_AGAIN);
    assert_true(sent >= 3);
    close(sockets[0]);
    close(sockets[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_request_is_understood),
        cmocka_unit_test(each_shorter_or_longer_request_is_refused),
        cmocka_unit_test(a_request_with_one_wrong_thing_is_refused),
        cmocka_unit_test(a_reply_is_understood_or_refused),
        cmocka_unit_test(packets_bring_bodies_and_descriptors),
        cmocka_unit_test(files_that_could_shrink_are_refused),
        cmocka_unit_test(a_full_socket_says_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
