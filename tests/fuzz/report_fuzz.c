/*
 * Fuzz target: what is said to `manta run`. The first byte chooses: a text as the variable that
 * names the listener, which is read as it was written or not at all; or bytes on a connection,
 * from a stranger or behind a genuine hello. Of a stranger nothing is believed.
 */
#include "cli/listener.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEARINGS = 64 };

static void read_variable(const struct fuzz_input *input)
{
    struct report_target target, again;
    char value[REPORT_VALUE_MAX], *text = malloc(input->left + 1);
    HOLDS(text);
    memcpy(text, input->at, input->left);
    text[input->left] = 0;
    if (report_read_target(text, &target) == MANTA_OK) {
        HOLDS(target.address_count >= 1 && target.address_count <= REPORT_ADDRESSES && target.port);
        report_write_target(&target, value);
        HOLDS(report_read_target(value, &again) == MANTA_OK);
        HOLDS(again.port == target.port && again.address_count == target.address_count);
        HOLDS(memcmp(again.secret, target.secret, sizeof target.secret) == 0);
    }
    free(text);
}

static int call(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct linger at_once = {.l_onoff = 1}; /* no port waits after its end */
    HOLDS(line >= 0 && connect(line, (struct sockaddr *)&address, sizeof address) == 0);
    HOLDS(setsockopt(line, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    return line;
}

static void say_hello(int line, const struct report_target *target)
{
    struct report_message hello = {
        .magic = REPORT_MAGIC, .version = REPORT_VERSION, .kind = REPORT_HELLO};
    memcpy(hello.secret, target->secret, sizeof hello.secret);
    HOLDS(send(line, &hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello);
}

static void speak(struct fuzz_input *input, bool is_genuine)
{
    char value[REPORT_VALUE_MAX];
    struct listener *listener;
    struct report_target target;
    HOLDS(listener_open(LISTENER_NEAR, &listener, value) == MANTA_OK);
    HOLDS(report_read_target(value, &target) == MANTA_OK);
    int line = call(target.port);
    if (is_genuine) {
        say_hello(line, &target);
    }
    if (input->left) {
        (void)!send(line, input->at, input->left, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    (void)shutdown(line, SHUT_WR);
    for (int i = 0; i < HEARINGS; i++) {
        listener_hear(listener);
    }
    const struct driver *driver = listener_driver(listener);
    HOLDS(driver->has_come == is_genuine);
    HOLDS(is_genuine || (!driver->has_reported && !driver->has_places && !driver->pid));
    HOLDS(memchr(driver->text, 0, sizeof driver->text));
    HOLDS(memchr(driver->places.host, 0, sizeof driver->places.host));
    close(line);
    listener_close(listener);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint8_t what = fuzz_byte(&input) % 4;
    if (what < 2) {
        read_variable(&input);
    } else {
        speak(&input, what == 2);
    }
    return 0;
}
