/*
 * The port is ephemeral and open only while the job starts. Anybody who reaches the host can call
 * it, and anybody can have taken the port, or the address, that a rank calls. So both sides prove
 * (base/proof.h) that they know the job's secret, which travelled with the cards; on the line it is
 * never said:
 *
 *   caller                                   rank 0
 *     hello: rank, process, random number ->
 *                                         <- answer: another random number, rank 0's proof
 *     the caller's proof                  ->
 *
 * A proof covers who proves, the caller's rank and process, and both random numbers: one that was
 * overheard fits no other call, and none can be sent back to who made it. The caller believes rank
 * 0 before it proves anything itself, and rank 0 gives a rank's place to a proof only.
 *
 * Callers who are wrong are dropped, and so are slow ones when there is no room for more; they hold
 * nobody up: everything is one poll with the deadline of the launch. Which of rank 0's addresses
 * leads to it from another host is not known beforehand: the caller tries them in turn, with more
 * patience each time, until what answers is rank 0.
 */
#include "launch/join.h"

#include "base/alloc.h"
#include "base/proof.h"

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
#define PATIENCE_NS (2000 * MS) /* with one caller; with one address at first */
#define PAUSE_NS (20 * MS)      /* between two rounds through the addresses */

struct hello {
    uint64_t magic;
    uint32_t rank, pid;
    uint64_t random[2];
};

struct answer {
    uint64_t random[2];
    struct base_proof proof;
};

/* What is proven. */
struct claim {
    char who[8];
    struct hello hello;
    uint64_t random[2];
};

enum { STRANGERS_MAX = 64 };

/* One that has called and not yet proven anything. */
struct caller {
    int socket; /* -1: none */
    uint32_t got;
    uint64_t until_ns;
    bool is_answered; /* what comes now is its proof */
    struct hello hello;
    struct base_proof proof;
    uint64_t random[2];
};

struct joining {
    const struct base_host *host;
    const union card_page *cards;
    struct link *links;
    uint32_t size, missing;
    int listener;
    struct caller callers[STRANGERS_MAX];
    bool is_full;
};

static struct base_proof prove(const uint8_t *secret, const char *who, const struct hello *hello,
                               const uint64_t random[2])
{
    struct claim claim = {.hello = *hello, .random = {random[0], random[1]}};
    memcpy(claim.who, who, strlen(who));
    return base_prove(secret, &claim, sizeof claim);
}

static void make_random(const struct base_host *host, uint64_t ret_random[2])
{
    ret_random[0] = host->random(host->self);
    ret_random[1] = host->random(host->self);
}

static struct base_proof prove_first(const uint8_t *secret, const struct hello *hello,
                                     const uint64_t random[2])
{
    return prove(secret, "rank 0", hello, random);
}

static struct base_proof prove_caller(const uint8_t *secret, const struct hello *hello,
                                      const uint64_t random[2])
{
    return prove(secret, "caller", hello, random);
}

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
    joining->is_full = false;
    for (uint32_t i = 0; i < STRANGERS_MAX; i++) {
        struct caller *caller = &joining->callers[i];
        if (caller->socket >= 0) {
            continue;
        }
        int socket = accept4(joining->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0) {
            return;
        }
        *caller =
            (struct caller){.socket = socket, .until_ns = base_now_ns(joining->host) + PATIENCE_NS};
    }
    joining->is_full = true;
}

static bool is_missing(const struct joining *joining, const struct hello *hello)
{
    return hello->magic == HELLO_MAGIC && hello->rank && hello->rank < joining->size &&
           joining->links[hello->rank].socket < 0 &&
           hello->pid == joining->cards[hello->rank].card.pid;
}

/* After the hello. False: it is to be dropped. */
static bool answer(const struct joining *joining, struct caller *caller)
{
    struct answer answer;
    if (!is_missing(joining, &caller->hello)) {
        return false;
    }
    make_random(joining->host, caller->random);
    memcpy(answer.random, caller->random, sizeof answer.random);
    answer.proof = prove_first(joining->cards[0].card.secret, &caller->hello, caller->random);
    caller->is_answered = true;
    caller->got = 0;
    return send(caller->socket, &answer, sizeof answer, MSG_NOSIGNAL) == (ssize_t)sizeof answer;
}

/* After its proof. False: it is to be dropped. */
static bool admit(struct joining *joining, struct caller *caller)
{
    struct base_proof right =
        prove_caller(joining->cards[0].card.secret, &caller->hello, caller->random);
    if (!base_proof_is_equal(&caller->proof, &right) || !is_missing(joining, &caller->hello)) {
        return false;
    }
    set_options(caller->socket);
    joining->links[caller->hello.rank].socket = caller->socket;
    joining->missing--;
    caller->socket = -1;
    return true;
}

/* False: it is to be dropped. */
static bool hear(struct joining *joining, struct caller *caller)
{
    uint8_t *into = caller->is_answered ? (uint8_t *)&caller->proof : (uint8_t *)&caller->hello;
    uint32_t wanted = caller->is_answered ? sizeof caller->proof : sizeof caller->hello;
    ssize_t got = recv(caller->socket, into + caller->got, wanted - caller->got, 0);
    if (got <= 0) {
        bool has_time = !joining->is_full || base_now_ns(joining->host) < caller->until_ns;
        return got < 0 && (errno == EAGAIN || errno == EINTR) && has_time;
    }
    caller->got += (uint32_t)got;
    if (caller->got < wanted) {
        return true;
    }
    return caller->is_answered ? admit(joining, caller) : answer(joining, caller);
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
    struct pollfd polls[1 + STRANGERS_MAX] = {
        {.fd = joining->is_full ? -1 : joining->listener, .events = POLLIN}};
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

static bool await(const struct base_host *host, int socket, short events, uint64_t until_ns)
{
    struct pollfd one = {.fd = socket, .events = events};
    int ready = 0;
    for (uint64_t now_ns; ready <= 0 && (now_ns = base_now_ns(host)) < until_ns;) {
        ready = poll(&one, 1, (int)MT_MIN((until_ns - now_ns) / MS + 1, 1000u));
    }
    return ready > 0;
}

static bool is_connected(const struct base_host *host, int socket, uint64_t until_ns)
{
    int failed = 0;
    socklen_t length = sizeof failed;
    return await(host, socket, POLLOUT, until_ns) &&
           getsockopt(socket, SOL_SOCKET, SO_ERROR, &failed, &length) == 0 && !failed;
}

static bool read_all(const struct base_host *host, int socket, void *into, size_t bytes,
                     uint64_t until_ns)
{
    size_t got = 0;
    while (got < bytes && await(host, socket, POLLIN, until_ns)) {
        ssize_t more = recv(socket, (uint8_t *)into + got, bytes - got, 0);
        if (more == 0 || (more < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        got += more > 0 ? (size_t)more : 0;
    }
    return got == bytes;
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
static int connect_to(const struct base_host *host, const struct card *first, uint32_t i,
                      uint64_t until_ns)
{
    struct sockaddr_storage address;
    socklen_t length = make_address(first, i, &address);
    int line = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line < 0) {
        return -1;
    }
    if ((connect(line, (struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS) ||
        !is_connected(host, line, until_ns)) {
        close(line);
        return -1;
    }
    return line;
}

/* False: it is not rank 0, or not in time. */
static bool greet(const struct base_host *host, const uint8_t *secret, const struct card *own,
                  int line, uint64_t until_ns)
{
    struct hello hello = {.magic = HELLO_MAGIC, .rank = own->rank, .pid = own->pid};
    struct answer answer;
    make_random(host, hello.random);
    if (send(line, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello ||
        !read_all(host, line, &answer, sizeof answer, until_ns)) {
        return false;
    }
    struct base_proof right = prove_first(secret, &hello, answer.random);
    struct base_proof own_proof = prove_caller(secret, &hello, answer.random);
    return base_proof_is_equal(&answer.proof, &right) &&
           send(line, &own_proof, sizeof own_proof, MSG_NOSIGNAL) == (ssize_t)sizeof own_proof;
}

static int call(const struct base_host *host, const union card_page *cards, uint32_t rank,
                uint32_t i, uint64_t until_ns, bool *is_answered)
{
    const struct card *first = &cards[0].card;
    int line = connect_to(host, first, i, until_ns);
    if (line >= 0 && !greet(host, first->secret, &cards[rank].card, line, until_ns)) {
        *is_answered = true;
        close(line);
        line = -1;
    }
    return line;
}

static int call_all(const struct base_host *host, const union card_page *cards, uint32_t rank,
                    uint64_t deadline_ns, bool *is_answered)
{
    const struct timespec pause = {0, PAUSE_NS};
    const struct card *first = &cards[0].card;
    uint64_t patience_ns = PATIENCE_NS;
    while (base_now_ns(host) < deadline_ns) {
        for (uint32_t i = 0; i < first->address_count && i < CARD_ADDRESSES; i++) {
            uint64_t until_ns = MT_MIN(base_now_ns(host) + patience_ns, deadline_ns);
            int line = call(host, cards, rank, i, until_ns, is_answered);
            if (line >= 0) {
                return line;
            }
        }
        patience_ns *= 2;
        nanosleep(&pause, NULL);
    }
    return -1;
}

int join_call(const struct base_host *host, const union card_page *cards, uint32_t rank,
              uint64_t deadline_ns, struct link *ret_link, char *text, size_t text_size)
{
    const struct card *first = &cards[0].card;
    bool is_answered = false;
    int line = call_all(host, cards, rank, deadline_ns, &is_answered);
    if (line < 0) {
        snprintf(text, text_size,
                 "rank %u cannot reach rank 0 on %s, port %u, by any of its %u addresses: %s", rank,
                 first->host, first->port, first->address_count,
                 is_answered ? "what answers there is not rank 0 of this job, or is too slow"
                             : "it has ended, or a firewall stands between the hosts");
        return MANTA_E_LAUNCH;
    }
    set_options(line);
    *ret_link = (struct link){line, -1};
    return MANTA_OK;
}
