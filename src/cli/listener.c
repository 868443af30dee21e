/*
 * Anybody who reaches the port can call; who does not say the secret in its first message is
 * dropped without a word. Callers are few at a time and have two seconds, so that nobody can
 * fill the table for long. One connection at a time is the driver's: a Manta program that a
 * task has started has inherited the variable too, and its call is not taken while the driver
 * lives. After the driver's end another may come, for instance when the program is a script
 * that runs several.
 */
#include "cli/listener.h"

#include "base/alloc.h"
#include "base/host.h"
#include "launch/death.h"
#include "launch/handover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(2000000000)
enum { CALLERS = 16, END_WAIT_MS = 200 };
_Static_assert(CALLERS + 2 <= LISTENER_POLLS, "a place for the listener and the driver");

struct line {
    int socket; /* -1: none */
    uint64_t until_ns;
    size_t got;
    union {
        struct report_message message;
        uint8_t bytes[sizeof(struct report_message)];
    } in;
};

struct listener {
    int socket;
    int pidfd; /* the driver's, -1 */
    uint8_t secret[32];
    struct driver driver;
    struct line line; /* to the driver */
    struct line callers[CALLERS];
};

/* ---- Opening --------------------------------------------------------------------------------- */

static void add_address(struct report_target *target, const struct sockaddr *address)
{
    uint8_t *at = target->addresses[target->address_count];
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
        memset(at, 0, 10);
        at[10] = at[11] = 0xff;
        memcpy(at + 12, &four->sin_addr, 4);
        target->address_count++;
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(at, &six->sin6_addr, 16);
        target->address_count += !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr);
    }
}

static void add_addresses(struct report_target *target, enum listener_reach reach)
{
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ifaddrs *all = NULL;
    if (reach == LISTENER_FAR && getifaddrs(&all) == 0) {
        for (struct ifaddrs *one = all; one && target->address_count < REPORT_ADDRESSES;
             one = one->ifa_next) {
            if (one->ifa_addr && one->ifa_flags & IFF_UP && !(one->ifa_flags & IFF_LOOPBACK)) {
                add_address(target, one->ifa_addr);
            }
        }
        freeifaddrs(all);
    }
    if (target->address_count == 0) {
        add_address(target, (struct sockaddr *)&loopback);
    }
}

static int open_port(int family, enum listener_reach reach, uint16_t *ret_port)
{
    struct sockaddr_in four = {.sin_family = AF_INET,
                               .sin_addr.s_addr =
                                   htonl(reach == LISTENER_NEAR ? INADDR_LOOPBACK : INADDR_ANY)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr *address =
        family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t length = family == AF_INET ? sizeof four : sizeof six;
    int off = 0, port = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (port < 0) {
        return -1;
    }
    if (family == AF_INET6) {
        (void)setsockopt(port, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(port, address, length) != 0 || listen(port, CALLERS) != 0 ||
        getsockname(port, address, &length) != 0) {
        close(port);
        return -1;
    }
    *ret_port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return port;
}

/* By both versions of IP when others are to reach it; a host may lack version 6. */
static int open_socket(enum listener_reach reach, uint16_t *ret_port)
{
    int port = reach == LISTENER_FAR ? open_port(AF_INET6, reach, ret_port) : -1;
    return port >= 0 ? port : open_port(AF_INET, reach, ret_port);
}

int listener_open(enum listener_reach reach, struct listener **ret_listener,
                  char value[REPORT_VALUE_MAX])
{
    struct report_target target = {0};
    struct listener *listener = base_alloc(sizeof *listener);
    if (!listener) {
        return MANTA_E_NOMEM;
    }
    listener->pidfd = listener->line.socket = -1;
    for (uint32_t i = 0; i < CALLERS; i++) {
        listener->callers[i].socket = -1;
    }
    listener->socket = open_socket(reach, &target.port);
    if (listener->socket < 0 || getrandom(listener->secret, sizeof listener->secret, 0) !=
                                    (ssize_t)sizeof listener->secret) {
        listener_close(listener);
        return MANTA_E_SYSTEM;
    }
    memcpy(target.secret, listener->secret, sizeof target.secret);
    add_addresses(&target, reach);
    report_write_target(&target, value);
    *ret_listener = listener;
    return MANTA_OK;
}

static void drop(struct line *line)
{
    if (line->socket >= 0) {
        close(line->socket);
    }
    line->socket = -1;
}

static void forget_process(struct listener *listener)
{
    if (listener->pidfd >= 0) {
        close(listener->pidfd);
    }
    listener->pidfd = -1;
}

void listener_close(struct listener *listener)
{
    if (!listener) {
        return;
    }
    if (listener->socket >= 0) {
        close(listener->socket);
    }
    drop(&listener->line);
    for (uint32_t i = 0; i < CALLERS; i++) {
        drop(&listener->callers[i]);
    }
    forget_process(listener);
    base_free(listener);
}

const struct driver *listener_driver(const struct listener *listener)
{
    return &listener->driver;
}

/* ---- Hearing --------------------------------------------------------------------------------- */

enum heard { HEARD_NOTHING, HEARD_PART, HEARD_MESSAGE, HEARD_END };

static enum heard receive(struct line *line)
{
    if (line->got == sizeof line->in) {
        line->got = 0;
    }
    ssize_t got = recv(line->socket, line->in.bytes + line->got, sizeof line->in - line->got, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return HEARD_NOTHING;
    }
    if (got <= 0) {
        return HEARD_END;
    }
    line->got += (size_t)got;
    return line->got == sizeof line->in ? HEARD_MESSAGE : HEARD_PART;
}

static void set_text(char *to, const char *from, size_t size)
{
    snprintf(to, size, "%.*s", (int)size - 1, from);
}

static void take_message(struct driver *driver, const struct report_message *message)
{
    if (message->kind == REPORT_PLACES) {
        driver->has_places = true;
        driver->places = message->places;
        driver->places.host[sizeof driver->places.host - 1] = 0;
    } else if (message->kind == REPORT_END) {
        driver->has_reported = true;
        driver->code = message->code;
        driver->deaths = message->deaths;
        set_text(driver->text, message->text, sizeof driver->text);
    }
}

/* It is about to be a zombie, or it has been taken already; only a moment tells. */
static void find_status(struct listener *listener)
{
    struct driver *driver = &listener->driver;
    struct pollfd one = {.fd = listener->pidfd, .events = POLLIN};
    if (driver->pid && !driver->has_reported && listener->pidfd >= 0 &&
        poll(&one, 1, END_WAIT_MS) > 0) {
        driver->has_status = death_read(listener->pidfd, driver->pid, &driver->status);
    }
}

static void hear_driver(struct listener *listener)
{
    enum heard heard = HEARD_PART;
    while (listener->line.socket >= 0 && heard != HEARD_NOTHING) {
        const struct report_message *message = &listener->line.in.message;
        heard = receive(&listener->line);
        if (heard == HEARD_MESSAGE && message->magic == REPORT_MAGIC) {
            take_message(&listener->driver, message);
        } else if (heard == HEARD_MESSAGE || heard == HEARD_END) {
            drop(&listener->line);
            listener->driver.is_connected = false;
            find_status(listener);
        }
    }
}

static void welcome(struct listener *listener, struct line *caller)
{
    const struct report_message *hello = &caller->in.message;
    listener->driver = (struct driver){.has_come = true, .is_connected = true};
    listener->driver.is_guest = hello->is_guest != 0;
    forget_process(listener);
    if (hello->pid_space == report_pid_space()) {
        listener->driver.pid = hello->pid;
        listener->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)hello->pid, 0);
    }
    listener->line = *caller;
    listener->line.got = 0;
    caller->socket = -1;
}

static bool is_hello(const struct listener *listener, const struct report_message *message)
{
    return message->magic == REPORT_MAGIC && message->version == REPORT_VERSION &&
           message->kind == REPORT_HELLO && secret_is_equal(message->secret, listener->secret);
}

static void hear_caller(struct listener *listener, struct line *caller)
{
    enum heard heard = receive(caller);
    if (heard == HEARD_MESSAGE && listener->line.socket < 0 &&
        is_hello(listener, &caller->in.message)) {
        welcome(listener, caller);
    } else if (heard == HEARD_MESSAGE || heard == HEARD_END ||
               base_now_ns(&base_host_real) >= caller->until_ns) {
        drop(caller);
    }
}

static void accept_callers(struct listener *listener)
{
    for (uint32_t i = 0; i < CALLERS; i++) {
        struct line *caller = &listener->callers[i];
        if (caller->socket < 0) {
            caller->socket = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            caller->until_ns = base_now_ns(&base_host_real) + PATIENCE_NS;
            caller->got = 0;
            if (caller->socket < 0) {
                return;
            }
        }
    }
}

/* A hello may come together with the report and the end of a short job. */
void listener_hear(struct listener *listener)
{
    accept_callers(listener);
    for (uint32_t i = 0; i < CALLERS; i++) {
        hear_driver(listener);
        if (listener->callers[i].socket >= 0) {
            hear_caller(listener, &listener->callers[i]);
        }
    }
    hear_driver(listener);
}

/* With all places taken, nobody else is listened to until one is free. */
uint32_t listener_polls(const struct listener *listener, struct pollfd polls[LISTENER_POLLS])
{
    uint32_t count = 0, callers = 0;
    for (uint32_t i = 0; i < CALLERS; i++) {
        if (listener->callers[i].socket >= 0) {
            polls[count++] = (struct pollfd){.fd = listener->callers[i].socket, .events = POLLIN};
            callers++;
        }
    }
    if (callers < CALLERS) {
        polls[count++] = (struct pollfd){.fd = listener->socket, .events = POLLIN};
    }
    if (listener->line.socket >= 0) {
        polls[count++] = (struct pollfd){.fd = listener->line.socket, .events = POLLIN};
    }
    return count;
}
