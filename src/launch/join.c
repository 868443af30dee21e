/*
 * The port is ephemeral and open only while the job starts. Anybody who reaches the host can call
 * it, so a caller is believed only after it has said the job's secret, which travelled with the
 * cards and is compared in constant time. Callers who are slow, wrong or too many are dropped and
 * hold nobody up: everything is one poll with the deadline of the launch.
 *
 * Which of rank 0's addresses leads to it from another host is not known beforehand: the caller
 * tries them in turn until one answers.
 */
#include "launch/join.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MAGIC UINT64_C(0x6d616e74616a6f69)
#define MS UINT64_C(1000000)
#define PATIENCE_NS (2000 * MS) /* with one caller, or one address */
#define PAUSE_NS (20 * MS)      /* between two rounds through the addresses */

struct hello {
    uint64_t magic;
    uint32_t rank, pid;
    uint8_t secret[32];
};

enum { STRANGERS_MAX = 64 };

/* One that has called and not yet said hello in full. */
struct caller {
    int socket; /* -1: none */
    uint32_t got;
    uint64_t until_ns;
    union {
        struct hello hello;
        uint8_t bytes[sizeof(struct hello)];
    } said;
};

struct joining {
    const struct base_host *host;
    const union card_page *cards;
    struct link *links;
    uint32_t size, missing;
    int listener;
    struct caller callers[STRANGERS_MAX];
};

/* ---- Addresses ------------------------------------------------------------------------------ */

static bool is_useful(const struct ifaddrs *one)
{
    return one->ifa_addr && one->ifa_flags & IFF_UP && !(one->ifa_flags & IFF_LOOPBACK) &&
           (one->ifa_addr->sa_family == AF_INET || one->ifa_addr->sa_family == AF_INET6);
}

/* All as IPv6; those of version 4 mapped. Link-local ones mean nothing elsewhere. */
static void note_address(struct card *card, const struct sockaddr *address)
{
    struct in6_addr *at = (struct in6_addr *)card->addresses[card->address_count];
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
        *at = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(&at->s6_addr[12], &four->sin_addr, 4);
    } else {
        *at = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (IN6_IS_ADDR_LINKLOCAL(at)) {
            return;
        }
    }
    card->address_count++;
}

static void note_addresses(struct card *card)
{
    struct ifaddrs *all;
    card->address_count = 0;
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *one = all; one && card->address_count < CARD_ADDRESSES;
         one = one->ifa_next) {
        if (is_useful(one)) {
            note_address(card, one->ifa_addr);
        }
    }
    freeifaddrs(all);
}

/* A host without IPv6 listens by version 4. */
static int open_listener(uint16_t *ret_port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    int off = 0, listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr *address = (struct sockaddr *)&six;
    socklen_t length = sizeof six;
    if (listener >= 0) {
        (void)setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    } else {
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        address = (struct sockaddr *)&four;
        length = sizeof four;
    }
    if (listener < 0 || bind(listener, address, length) != 0 || listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, address, &length) != 0) {
        if (listener >= 0) {
            close(listener);
        }
        return -1;
    }
    *ret_port = ntohs(address->sa_family == AF_INET6 ? six.sin6_port : four.sin_port);
    return listener;
}

int join_listen(struct card *card, int *ret_listener)
{
    uint16_t port = 0;
    int listener = open_listener(&port);
    if (listener < 0) {
        return MANTA_E_SYSTEM;
    }
    note_addresses(card);
    card->port = port;
    *ret_listener = listener;
    return MANTA_OK;
}

static void set_options(int socket)
{
    int on = 1;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* ---- Rank 0 --------------------------------------------------------------------------------- */

static void accept_callers(struct joining *joining)
{
    for (uint32_t i = 0; i < STRANGERS_MAX; i++) {
        struct caller *caller = &joining->callers[i];
        if (caller->socket >= 0) {
            continue;
        }
        int socket = accept4(joining->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0) {
            return;
        }
        *caller = (struct caller){.socket = socket,
                                  .until_ns = base_now_ns(joining->host) + PATIENCE_NS};
    }
}

static bool is_ours(const struct joining *joining, const struct hello *hello)
{
    return hello->magic == HELLO_MAGIC && hello->rank && hello->rank < joining->size &&
           joining->links[hello->rank].socket < 0 &&
           secret_is_equal(hello->secret, joining->cards[0].card.secret) &&
           hello->pid == joining->cards[hello->rank].card.pid;
}

/* False: it is to be dropped. */
static bool hear(struct joining *joining, struct caller *caller)
{
    ssize_t got = recv(caller->socket, caller->said.bytes + caller->got,
                       sizeof caller->said - caller->got, 0);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR) &&
               base_now_ns(joining->host) < caller->until_ns;
    }
    caller->got += (uint32_t)got;
    if (caller->got < sizeof caller->said) {
        return true;
    }
    if (!is_ours(joining, &caller->said.hello)) {
        return false;
    }
    set_options(caller->socket);
    joining->links[caller->said.hello.rank].socket = caller->socket;
    joining->missing--;
    caller->socket = -1;
    return true;
}

static void hear_callers(struct joining *joining)
{
    for (uint32_t i = 0; i < STRANGERS_MAX; i++) {
        struct caller *caller = &joining->callers[i];
        if (caller->socket >= 0 && !hear(joining, caller)) {
            close(caller->socket);
            caller->socket = -1;
        }
    }
}

static void await_callers(const struct joining *joining)
{
    struct pollfd polls[1 + STRANGERS_MAX] = {{.fd = joining->listener, .events = POLLIN}};
    for (uint32_t i = 0; i < STRANGERS_MAX; i++) {
        polls[1 + i] = (struct pollfd){.fd = joining->callers[i].socket, .events = POLLIN};
    }
    (void)poll(polls, 1 + STRANGERS_MAX, 10);
}

static int say_missing(const struct joining *joining, char *text, size_t size)
{
    uint32_t rank = 1;
    while (rank + 1 < joining->size && joining->links[rank].socket >= 0) {
        rank++;
    }
    snprintf(text, size,
             "rank %u on %s (process %u) did not call rank 0 on %s, port %u, in time: does a "
             "firewall stand between the hosts?",
             rank, joining->cards[rank].card.host, joining->cards[rank].card.pid,
             joining->cards[0].card.host, joining->cards[0].card.port);
    return MANTA_E_LAUNCH;
}

int join_accept(const struct base_host *host, int listener, const union card_page *cards,
                uint32_t size, uint64_t deadline_ns, struct link *links, char *text,
                size_t text_size)
{
    struct joining joining = {
        .host = host, .cards = cards, .links = links, .size = size, .listener = listener};
    int code = MANTA_OK;
    for (uint32_t i = 0; i < STRANGERS_MAX; i++) {
        joining.callers[i].socket = -1;
    }
    for (uint32_t rank = 1; rank < size; rank++) {
        joining.missing += links[rank].socket < 0;
    }
    while (joining.missing && code == MANTA_OK) {
        await_callers(&joining);
        hear_callers(&joining);
        accept_callers(&joining);
        if (joining.missing && base_now_ns(host) >= deadline_ns) {
            code = say_missing(&joining, text, text_size);
        }
    }
    for (uint32_t i = 0; i < STRANGERS_MAX; i++) {
        if (joining.callers[i].socket >= 0) {
            close(joining.callers[i].socket);
        }
    }
    return code;
}

/* ---- The others ----------------------------------------------------------------------------- */

static bool await_writable(const struct base_host *host, int socket, uint64_t until_ns)
{
    struct pollfd one = {.fd = socket, .events = POLLOUT};
    int failed = 0, ready = 0;
    socklen_t length = sizeof failed;
    for (uint64_t now_ns; ready <= 0 && (now_ns = base_now_ns(host)) < until_ns;) {
        ready = poll(&one, 1, (int)((until_ns - now_ns) / MS + 1));
    }
    return ready > 0 && getsockopt(socket, SOL_SOCKET, SO_ERROR, &failed, &length) == 0 && !failed;
}

static socklen_t make_address(const struct card *card, uint32_t i, struct sockaddr_storage *address)
{
    const struct in6_addr *at = (const struct in6_addr *)card->addresses[i];
    memset(address, 0, sizeof *address);
    if (IN6_IS_ADDR_V4MAPPED(at)) {
        struct sockaddr_in *four = (struct sockaddr_in *)address;
        four->sin_family = AF_INET;
        four->sin_port = htons(card->port);
        memcpy(&four->sin_addr, &at->s6_addr[12], 4);
        return sizeof *four;
    }
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    *six = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(card->port), .sin6_addr = *at};
    return sizeof *six;
}

/* -1: not by this address, or not in time. */
static int call(const struct base_host *host, const struct card *first, uint32_t i,
                uint64_t until_ns)
{
    struct sockaddr_storage address;
    socklen_t length = make_address(first, i, &address);
    int line = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line < 0) {
        return -1;
    }
    if ((connect(line, (struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS) ||
        !await_writable(host, line, until_ns)) {
        close(line);
        return -1;
    }
    return line;
}

static int call_all(const struct base_host *host, const struct card *first, uint64_t deadline_ns)
{
    const struct timespec pause = {0, PAUSE_NS};
    while (base_now_ns(host) < deadline_ns) {
        for (uint32_t i = 0; i < first->address_count && i < CARD_ADDRESSES; i++) {
            uint64_t until_ns = MT_MIN(base_now_ns(host) + PATIENCE_NS, deadline_ns);
            int line = call(host, first, i, until_ns);
            if (line >= 0) {
                return line;
            }
        }
        nanosleep(&pause, NULL);
    }
    return -1;
}

int join_call(const struct base_host *host, const union card_page *cards, uint32_t rank,
              uint64_t deadline_ns, struct link *ret_link, char *text, size_t text_size)
{
    const struct card *first = &cards[0].card;
    struct hello hello = {.magic = HELLO_MAGIC, .rank = rank, .pid = cards[rank].card.pid};
    int line = call_all(host, first, deadline_ns);
    memcpy(hello.secret, first->secret, sizeof hello.secret);
    if (line < 0 || send(line, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello) {
        snprintf(text, text_size,
                 "rank %u cannot reach rank 0 on %s, port %u, by any of its %u addresses: it has "
                 "ended, or a firewall stands between the hosts",
                 rank, first->host, first->port, first->address_count);
        if (line >= 0) {
            close(line);
        }
        return MANTA_E_LAUNCH;
    }
    set_options(line);
    *ret_link = (struct link){line, -1};
    return MANTA_OK;
}
