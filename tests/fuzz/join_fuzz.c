/*
 * Fuzz target: any bytes from callers at the port where rank 0 waits for the other hosts' ranks.
 * Each byte 0xff parts two callers. Nobody of them is believed, and the rank that does belong here
 * is let in all the same, in time.
 */
#include "fuzz.h"
#include "launch/join.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 2, CALLERS_MAX = 4, PART = 0xff };

static const uint64_t deadline_after_ns = UINT64_C(20000000000);

static int call(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger at_once = {.l_onoff = 1}; /* no port waits after its end */
    int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    HOLDS(line >= 0 && connect(line, (struct sockaddr *)&address, sizeof address) == 0);
    HOLDS(setsockopt(line, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    return line;
}

static uint32_t disturb(const uint8_t *data, size_t size, uint16_t port, int lines[CALLERS_MAX])
{
    uint32_t count = 0;
    while (size && count < CALLERS_MAX) {
        const uint8_t *part = memchr(data, PART, size);
        size_t bytes = part ? (size_t)(part - data) : size;
        lines[count] = call(port);
        (void)!send(lines[count++], data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        bytes += part != NULL;
        data += bytes;
        size -= bytes;
    }
    return count;
}

struct joiner {
    const union card_page *cards;
    struct link link;
    int code;
};

static void *join_main(void *arg)
{
    struct joiner *joiner = arg;
    char text[256];
    uint64_t deadline_ns = base_now_ns(&base_host_real) + deadline_after_ns;
    joiner->code =
        join_call(&base_host_real, joiner->cards, 1, deadline_ns, &joiner->link, text, sizeof text);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union card_page cards[SIZE];
    struct link links[SIZE] = {{-1, -1}, {-1, -1}};
    struct joiner joiner = {.cards = cards, .link = {-1, -1}};
    pthread_t thread;
    int listener, lines[CALLERS_MAX];
    char text[256];
    HOLDS(join_listen(&cards[0].card, &listener) == MANTA_OK);
    memset(cards[0].card.secret, 0x5a, sizeof cards[0].card.secret);
    memset(cards[0].card.addresses, 0, sizeof cards[0].card.addresses);
    memcpy(cards[0].card.addresses[0] + 10, "\xff\xff\x7f\0\0\1", 6);
    cards[0].card.address_count = 1;
    cards[1].card.rank = 1;
    cards[1].card.pid = 1234;
    strcpy(cards[1].card.host, "there"); /* not this host: it is to call */
    uint32_t count = disturb(data, size, cards[0].card.port, lines);
    HOLDS(pthread_create(&thread, NULL, join_main, &joiner) == 0);
    int code =
        join_accept(&base_host_real, listener, cards, SIZE,
                    base_now_ns(&base_host_real) + deadline_after_ns, links, text, sizeof text);
    pthread_join(thread, NULL);
    HOLDS(code == MANTA_OK && joiner.code == MANTA_OK && links[1].socket >= 0);
    HOLDS(links[0].socket < 0);
    while (count--) {
        close(lines[count]);
    }
    close(links[1].socket);
    close(joiner.link.socket);
    close(listener);
    return 0;
}
