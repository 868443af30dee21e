/*
 * The socket's name is random and abstract: no file, nothing left when the processes
 * are gone. Names of abstract sockets can be listed, so a caller must be of the same
 * user (SO_PEERCRED) and know the 32 random bytes that travelled with the cards, which
 * are compared in constant time. Whoever does not is dropped and forgotten, and cannot
 * hold up the others: all waits are one poll with the deadline of the launch.
 *
 * A rank that dies before it has called is noticed by the pidfd taken from its card.
 */
#include "launch/handover.h"

#include "base/alloc.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MAGIC UINT64_C(0x6d616e746168656c)
#define RETRY_NS 1000000

struct hello {
    uint64_t magic;
    uint32_t rank, reserved;
    uint8_t secret[32];
};

/* The giver's work. */
struct giving {
    const struct base_host *host;
    const union card_page *cards;
    struct link *links;
    struct pollfd *polls; /* listener, callers that have not said hello, pidfds by rank */
    uint32_t size, missing, caller_count;
    int listener;
    const struct handover_fds *fds;
};

void link_close(struct link *link)
{
    if (link->socket >= 0) {
        close(link->socket);
    }
    if (link->pidfd >= 0) {
        close(link->pidfd);
    }
    *link = (struct link){-1, -1};
}

static socklen_t make_address(const struct card *card, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1,
                          "manta-%016llx%016llx", (unsigned long long)card->socket_name[0],
                          (unsigned long long)card->socket_name[1]);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

int handover_listen(const struct card *card, uint32_t size, int *ret_listener)
{
    struct sockaddr_un address;
    socklen_t length = make_address(card, &address);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) {
        return MANTA_E_SYSTEM;
    }
    if (bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, (int)size) != 0) {
        close(listener);
        return MANTA_E_SYSTEM;
    }
    *ret_listener = listener;
    return MANTA_OK;
}

static int open_pidfd(pid_t pid)
{
    return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

bool secret_is_equal(const uint8_t *a, const uint8_t *b)
{
    unsigned difference = 0;
    for (size_t i = 0; i < sizeof((struct card){0}.secret); i++) {
        difference |= (unsigned)(a[i] ^ b[i]);
    }
    return difference == 0;
}

static bool read_peer(int socket, struct ucred *ret_peer)
{
    socklen_t length = sizeof *ret_peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, ret_peer, &length) == 0 &&
           ret_peer->uid == geteuid();
}

union control {
    struct cmsghdr head;
    char space[CMSG_SPACE(HANDOVER_FDS_MAX * sizeof(int))];
};

static bool send_fds(int socket, const struct handover_fds *fds)
{
    union control control = {0};
    size_t bytes = (size_t)fds->count * sizeof fds->fds[0];
    uint64_t magic = HELLO_MAGIC;
    struct iovec part = {&magic, sizeof magic};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(bytes)};
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(&control.head), fds->fds, bytes);
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)sizeof magic;
}

static bool receive_fds(int socket, struct handover_fds *ret_fds)
{
    union control control = {0};
    struct handover_fds fds = {0};
    uint64_t magic = 0;
    struct iovec part = {&magic, sizeof magic};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got >= 0 && message.msg_controllen >= CMSG_LEN(sizeof fds.fds[0]) &&
        control.head.cmsg_type == SCM_RIGHTS) {
        fds.count = (int)((control.head.cmsg_len - CMSG_LEN(0)) / sizeof fds.fds[0]);
        memcpy(fds.fds, CMSG_DATA(&control.head), (size_t)fds.count * sizeof fds.fds[0]);
    }
    if (got == (ssize_t)sizeof magic && magic == HELLO_MAGIC && fds.count &&
        !(message.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
        *ret_fds = fds;
        return true;
    }
    while (fds.count) {
        close(fds.fds[--fds.count]);
    }
    return false;
}

/* False: not one of ours, or it has gone. */
static bool welcome(struct giving *giving, int socket)
{
    struct hello hello;
    struct ucred peer;
    ssize_t got = recv(socket, &hello, sizeof hello, MSG_TRUNC); /* its whole length */
    if (got != (ssize_t)sizeof hello || hello.magic != HELLO_MAGIC || hello.rank == 0 ||
        hello.rank >= giving->size || giving->links[hello.rank].socket >= 0 ||
        !read_peer(socket, &peer) || !secret_is_equal(hello.secret, giving->cards[0].card.secret) ||
        !send_fds(socket, giving->fds)) {
        return false;
    }
    struct link *link = &giving->links[hello.rank];
    if (link->pidfd < 0 || (uint32_t)peer.pid != giving->cards[hello.rank].card.pid) {
        if (link->pidfd >= 0) {
            close(link->pidfd);
        }
        link->pidfd = open_pidfd(peer.pid);
    }
    link->socket = socket;
    giving->missing--;
    return true;
}

/* At most as many callers at once as there are ranks: more would be strangers. Those of other users
 * take no place. */
static void accept_callers(struct giving *giving)
{
    struct ucred peer;
    while (giving->caller_count < giving->size) {
        int socket = accept4(giving->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0) {
            return;
        }
        if (!read_peer(socket, &peer)) {
            close(socket);
            continue;
        }
        giving->polls[1 + giving->caller_count++] = (struct pollfd){.fd = socket, .events = POLLIN};
    }
}

static void hear_callers(struct giving *giving)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < giving->caller_count; i++) {
        struct pollfd caller = giving->polls[1 + i];
        if (!caller.revents) {
            giving->polls[1 + kept++] = caller;
        } else if (!welcome(giving, caller.fd)) {
            close(caller.fd);
        }
    }
    giving->caller_count = kept;
}

/* The missing rank whose process has ended; 0: none has. */
static uint32_t find_dead(struct giving *giving)
{
    struct pollfd *polls = giving->polls + 1 + giving->size;
    for (uint32_t rank = 1; rank < giving->size; rank++) {
        struct link *link = &giving->links[rank];
        polls[rank] = (struct pollfd){.fd = link->socket < 0 ? link->pidfd : -1, .events = POLLIN};
    }
    if (poll(polls + 1, giving->size - 1, 0) > 0) {
        for (uint32_t rank = 1; rank < giving->size; rank++) {
            if (polls[rank].revents) {
                return rank;
            }
        }
    }
    return 0;
}

static void open_pidfds(struct giving *giving)
{
    const struct card *first = &giving->cards[0].card;
    for (uint32_t rank = 0; rank < giving->size; rank++) {
        const struct card *card = &giving->cards[rank].card;
        bool is_known = rank && card->pid_space == first->pid_space;
        giving->links[rank] = (struct link){-1, is_known ? open_pidfd((pid_t)card->pid) : -1};
    }
}

static int say_missing(const struct giving *giving, const char *what, uint32_t rank, char *text,
                       size_t size)
{
    while (!rank || (rank < giving->size && giving->links[rank].socket >= 0)) {
        rank++;
    }
    const struct card *card = &giving->cards[rank].card;
    snprintf(text, size, "rank %u on %s (process %u) %s", card->rank, card->host, card->pid, what);
    return MANTA_E_LAUNCH;
}

/* Deaths are looked for now and then: who is dead does not call. */
static int give_all(struct giving *giving, uint64_t deadline_ns, char *text, size_t size)
{
    while (giving->missing) {
        uint32_t dead = find_dead(giving);
        if (dead) {
            return say_missing(giving, "ended while the job was starting", dead, text, size);
        }
        if (base_now_ns(giving->host) >= deadline_ns) {
            return say_missing(giving,
                               "did not call in time; do all ranks share a network namespace?", 0,
                               text, size);
        }
        giving->polls[0] = (struct pollfd){.fd = giving->listener, .events = POLLIN};
        if (poll(giving->polls, 1 + giving->caller_count, 10) > 0) {
            hear_callers(giving);
            accept_callers(giving);
        }
    }
    return MANTA_OK;
}

int handover_give(const struct base_host *host, int listener, const union card_page *cards,
                  uint32_t size, const struct handover_fds *fds, uint64_t deadline_ns,
                  struct link *links, char *text, size_t text_size)
{
    struct giving giving = {.host = host,
                            .cards = cards,
                            .links = links,
                            .size = size,
                            .missing = size - 1,
                            .listener = listener,
                            .fds = fds};
    giving.polls = base_alloc((1 + 2 * (size_t)size) * sizeof *giving.polls);
    if (!giving.polls) {
        snprintf(text, text_size, "no memory for the handover");
        return MANTA_E_NOMEM;
    }
    open_pidfds(&giving);
    int code = give_all(&giving, deadline_ns, text, text_size);
    for (uint32_t i = 0; i < giving.caller_count; i++) {
        close(giving.polls[1 + i].fd);
    }
    for (uint32_t rank = 0; code != MANTA_OK && rank < size; rank++) {
        link_close(&links[rank]);
    }
    base_free(giving.polls);
    return code;
}

static int call(const struct base_host *host, const struct card *card, uint64_t deadline_ns,
                int *ret_socket)
{
    struct sockaddr_un address;
    socklen_t length = make_address(card, &address);
    struct timespec pause = {0, RETRY_NS};
    int socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket_fd < 0) {
        return MANTA_E_SYSTEM;
    }
    while (connect(socket_fd, (struct sockaddr *)&address, length) != 0) {
        if (errno != EAGAIN || base_now_ns(host) >= deadline_ns) {
            close(socket_fd);
            return MANTA_E_LAUNCH;
        }
        nanosleep(&pause, NULL);
    }
    *ret_socket = socket_fd;
    return MANTA_OK;
}

static bool await_fds(const struct base_host *host, int socket, uint64_t deadline_ns,
                      struct handover_fds *ret_fds)
{
    struct pollfd one = {.fd = socket, .events = POLLIN};
    int ready;
    do {
        uint64_t now_ns = base_now_ns(host);
        ready = now_ns < deadline_ns
                    ? poll(&one, 1, (int)MT_MIN((deadline_ns - now_ns) / 1000000 + 1, 1000u))
                    : -1;
    } while (ready == 0 || (ready < 0 && errno == EINTR && base_now_ns(host) < deadline_ns));
    return ready > 0 && receive_fds(socket, ret_fds);
}

int handover_take(const struct base_host *host, const union card_page *cards, uint32_t rank,
                  uint64_t deadline_ns, struct link *ret_link, struct handover_fds *ret_fds,
                  char *text, size_t text_size)
{
    const struct card *first = &cards[0].card;
    struct hello hello = {.magic = HELLO_MAGIC, .rank = rank};
    struct ucred peer;
    struct handover_fds fds;
    int socket_fd, code = call(host, first, deadline_ns, &socket_fd);
    if (code != MANTA_OK) {
        snprintf(text, text_size,
                 "rank %u cannot reach rank %u on %s (process %u): it has ended, or the ranks do "
                 "not share a network namespace",
                 cards[rank].card.rank, first->rank, first->host, first->pid);
        return code;
    }
    memcpy(hello.secret, first->secret, sizeof hello.secret);
    if (!read_peer(socket_fd, &peer) ||
        send(socket_fd, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello ||
        !await_fds(host, socket_fd, deadline_ns, &fds)) {
        snprintf(text, text_size,
                 "rank %u on %s (process %u) ended or did not answer while the job was starting",
                 first->rank, first->host, first->pid);
        close(socket_fd);
        return MANTA_E_LAUNCH;
    }
    *ret_link = (struct link){socket_fd, open_pidfd(peer.pid)};
    *ret_fds = fds;
    return MANTA_OK;
}
