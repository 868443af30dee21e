/*
 * A report may never harm the job that it is about: nobody listening, a wrong variable, a
 * listener that does not answer cost a second at most, once, and then the job runs as without.
 * Each message is a few hundred bytes, so the kernel takes it whole and delivers it even if the
 * process is killed right after; there is nothing to wait for and nothing comes back.
 *
 * The socket is left open on purpose when the report has been made: `manta run` takes its end
 * for the end of the process, and a program may do other things after manta_run.
 *
 * The secret is a line of the environment, which the kernel shows to the same user only; it is
 * said to the listener and nowhere else.
 */
#include "launch/report.h"

#include "base/alloc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define OPEN_NS (1000 * MS)
#define END_NS (1000 * MS)

enum { SECRET_BYTES = 32, SECRET_DIGITS = 2 * SECRET_BYTES };

struct report {
    int socket;
};

/* ---- The variable --------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool read_secret(const char *text, uint8_t *secret)
{
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        secret[i] = (uint8_t)(high << 4 | low);
    }
    return text[SECRET_DIGITS] == 0;
}

static bool read_address(const char *text, uint8_t *address)
{
    if (inet_pton(AF_INET6, text, address) == 1) {
        return true;
    }
    memset(address, 0, 10);
    address[10] = address[11] = 0xff;
    return inet_pton(AF_INET, text, address + 12) == 1;
}

static bool read_addresses(char *text, struct report_target *target)
{
    char *rest = NULL;
    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (target->address_count == REPORT_ADDRESSES ||
            !read_address(one, target->addresses[target->address_count++])) {
            return false;
        }
    }
    return target->address_count > 0;
}

static bool is_version_4(const uint8_t *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address, mapped, sizeof mapped) == 0;
}

/* Addresses of version 6 have colons of their own, so it is read from its end. */
int report_read_target(const char *value, struct report_target *ret_target)
{
    struct report_target target = {0};
    char copy[REPORT_VALUE_MAX], *end;
    if (strlen(value) >= sizeof copy) {
        return MANTA_E_INVALID;
    }
    strcpy(copy, value);
    char *secret = strrchr(copy, ':');
    if (!secret || !read_secret(secret + 1, target.secret)) {
        return MANTA_E_INVALID;
    }
    *secret = 0;
    char *port = strrchr(copy, ':');
    unsigned long number = port ? strtoul(port + 1, &end, 10) : 0;
    if (!port || number == 0 || number > UINT16_MAX || *end) {
        return MANTA_E_INVALID;
    }
    *port = 0;
    target.port = (uint16_t)number;
    if (!read_addresses(copy, &target)) {
        return MANTA_E_INVALID;
    }
    *ret_target = target;
    return MANTA_OK;
}

void report_write_target(const struct report_target *target, char value[REPORT_VALUE_MAX])
{
    char address[INET6_ADDRSTRLEN], *at = value;
    for (uint32_t i = 0; i < target->address_count; i++) {
        const uint8_t *bytes = target->addresses[i];
        bool is_four = is_version_4(bytes);
        inet_ntop(is_four ? AF_INET : AF_INET6, is_four ? bytes + 12 : bytes, address,
                  sizeof address);
        at += sprintf(at, "%s%s", i ? "," : "", address);
    }
    at += sprintf(at, ":%u:", target->port);
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        at += sprintf(at, "%02x", target->secret[i]);
    }
}

uint64_t report_pid_space(void)
{
    struct stat space;
    char id[64] = "";
    uint64_t hash = stat("/proc/self/ns/pid", &space) == 0 ? (uint64_t)space.st_ino : 0;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        (void)!fgets(id, sizeof id, file);
        fclose(file);
    }
    for (const char *at = id; *at; at++) {
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    }
    return hash;
}

/* ---- The call ------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    return base_now_ns(&base_host_real);
}

static bool await_writable(int socket, uint64_t until_ns)
{
    struct pollfd one = {.fd = socket, .events = POLLOUT};
    int ready = 0;
    for (uint64_t now; ready <= 0 && (now = now_ns()) < until_ns;) {
        ready = poll(&one, 1, (int)((until_ns - now) / MS + 1));
    }
    return ready > 0;
}

static bool is_connected(int socket)
{
    int failed = 0;
    socklen_t length = sizeof failed;
    return getsockopt(socket, SOL_SOCKET, SO_ERROR, &failed, &length) == 0 && !failed;
}

static socklen_t make_address(const struct report_target *target, uint32_t i,
                              struct sockaddr_storage *address)
{
    const uint8_t *bytes = target->addresses[i];
    memset(address, 0, sizeof *address);
    if (is_version_4(bytes)) {
        struct sockaddr_in *four = (struct sockaddr_in *)address;
        *four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(target->port)};
        memcpy(&four->sin_addr, bytes + 12, sizeof four->sin_addr);
        return sizeof *four;
    }
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    *six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(target->port)};
    memcpy(&six->sin6_addr, bytes, sizeof six->sin6_addr);
    return sizeof *six;
}

/* -1: not by this address, or not in time. */
static int call(const struct report_target *target, uint32_t i, uint64_t until_ns)
{
    struct sockaddr_storage address;
    socklen_t length = make_address(target, i, &address);
    int line = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line < 0) {
        return -1;
    }
    if ((connect(line, (struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS) ||
        !await_writable(line, until_ns) || !is_connected(line)) {
        close(line);
        return -1;
    }
    return line;
}

/* Each address gets an even part of the time that is left. */
static int call_all(const struct report_target *target)
{
    uint64_t deadline_ns = now_ns() + OPEN_NS;
    int line = -1;
    for (uint32_t i = 0; line < 0 && i < target->address_count; i++) {
        uint64_t now = now_ns(), left_ns = deadline_ns > now ? deadline_ns - now : 0;
        line = call(target, i, now + left_ns / (target->address_count - i));
    }
    return line;
}

/* What the kernel does not take at once, or in time, is not said at all. */
static bool say(int socket, const struct report_message *message, uint64_t until_ns)
{
    ssize_t sent;
    do {
        sent = send(socket, message, sizeof *message, MSG_NOSIGNAL);
    } while (sent < 0 && (errno == EINTR || errno == EAGAIN) && await_writable(socket, until_ns));
    return sent == (ssize_t)sizeof *message;
}

static struct report_message make_message(enum report_kind kind)
{
    return (struct report_message){.magic = REPORT_MAGIC, .version = REPORT_VERSION, .kind = kind};
}

static int say_hello(const struct report_target *target, enum report_owner owner, int *ret_socket)
{
    struct report_message hello = make_message(REPORT_HELLO);
    int on = 1, line = call_all(target);
    if (line < 0) {
        return MANTA_E_TIMEOUT;
    }
    memcpy(hello.secret, target->secret, sizeof hello.secret);
    hello.pid = (uint32_t)getpid();
    hello.pid_space = report_pid_space();
    hello.is_guest = owner == REPORT_GUEST;
    (void)setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(line, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (!say(line, &hello, now_ns() + OPEN_NS)) {
        close(line);
        return MANTA_E_TIMEOUT;
    }
    *ret_socket = line;
    return MANTA_OK;
}

int report_open(const char *value, enum report_owner owner, struct report **ret_report)
{
    struct report_target target;
    *ret_report = NULL;
    if (!value || !*value) {
        return MANTA_OK;
    }
    int code = report_read_target(value, &target);
    if (code != MANTA_OK) {
        return code;
    }
    struct report *report = base_alloc(sizeof *report);
    if (!report) {
        return MANTA_E_NOMEM;
    }
    code = say_hello(&target, owner, &report->socket);
    if (code != MANTA_OK) {
        base_free(report);
        return code;
    }
    *ret_report = report;
    return MANTA_OK;
}

void report_end(struct report *report, int code, uint32_t deaths, const char *text)
{
    struct report_message end = make_message(REPORT_END);
    if (!report) {
        return;
    }
    end.code = code;
    end.deaths = deaths;
    snprintf(end.text, sizeof end.text, "%s", text ? text : "");
    (void)say(report->socket, &end, now_ns() + END_NS);
    base_free(report);
}

/* ---- Places --------------------------------------------------------------------------------- */

static bool has_fewer_cores_each(const struct report_places *a, const struct report_places *b)
{
    return b->sharers == 0 || (uint64_t)a->cores * b->sharers < (uint64_t)b->cores * a->sharers;
}

static struct report_places find_group(const union card_page *cards, uint32_t size, uint32_t rank)
{
    const struct card *mine = &cards[rank].card;
    struct report_places group = {.cores = mine->mask_cores};
    for (uint32_t i = 0; i < size; i++) {
        if (card_is_near(mine, &cards[i].card)) {
            group.near++;
            group.sharers += cards[i].card.mask == mine->mask;
        }
    }
    snprintf(group.host, sizeof group.host, "%.*s", MANTA_ERROR_HOST_MAX - 1, mine->host);
    return group;
}

/* mask NULL: with any. */
static bool is_first_of_node(const union card_page *cards, uint32_t rank, const uint64_t *mask)
{
    for (uint32_t i = 0; i < rank; i++) {
        if (card_is_near(&cards[i].card, &cards[rank].card) &&
            (!mask || cards[i].card.mask == *mask)) {
            return false;
        }
    }
    return true;
}

struct report_places report_find_places(const union card_page *cards, uint32_t size)
{
    struct report_places worst = {0};
    uint32_t nodes = 0;
    for (uint32_t rank = 0; rank < size; rank++) {
        uint64_t mask = cards[rank].card.mask;
        nodes += is_first_of_node(cards, rank, NULL);
        if (is_first_of_node(cards, rank, &mask)) {
            struct report_places group = find_group(cards, size, rank);
            worst = has_fewer_cores_each(&group, &worst) ? group : worst;
        }
    }
    worst.ranks = size;
    worst.nodes = nodes;
    return worst;
}

void report_places(struct report *report, const union card_page *cards, uint32_t size)
{
    struct report_message places = make_message(REPORT_PLACES);
    if (report) {
        places.places = report_find_places(cards, size);
        (void)say(report->socket, &places, now_ns() + END_NS);
    }
}
