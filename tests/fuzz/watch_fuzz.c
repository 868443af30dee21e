/*
 * Fuzz target: any bytes on a line of the watch, at rank 0 and elsewhere. The first byte says who
 * listens, and whether deaths are survived. The line is closed behind them, so what has been said
 * is judged in bounded time; nobody is told of a rank that there is not.
 */
#include "base/alloc.h"
#include "fuzz.h"
#include "launch/watch.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RANKS = 4, CALLER = 2, PATIENCE_S = 20 };

static void tell(void *arg, uint32_t rank)
{
    HOLDS(rank < RANKS);
}

static int start(uint32_t rank, bool survives, struct watch **ret_watch)
{
    static union card_page cards[RANKS];
    struct watch_options options = {.host = &base_host_real,
                                    .host_name = "here",
                                    .owner = WATCH_GUEST,
                                    .silence_ns = UINT64_C(1000000000),
                                    .stop_timeout_ns = 1000000};
    struct link links[RANKS];
    int ends[2];
    HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    for (uint32_t i = 0; i < RANKS; i++) {
        links[i] = (struct link){-1, -1};
    }
    links[rank ? 0 : CALLER].socket = ends[0];
    HOLDS(watch_start(&options, ret_watch) == MANTA_OK);
    if (survives) {
        watch_survive(*ret_watch, tell, NULL);
    }
    HOLDS(watch_adopt(*ret_watch, rank, RANKS, links, cards) == MANTA_OK);
    return ends[1];
}

/* The end of the line is the last thing that it hears: it is told, survived, or the job's end. */
static void await_end(int line)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    uint8_t answer[4096];
    ssize_t got;
    HOLDS(setsockopt(line, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    do {
        got = recv(line, answer, sizeof answer, 0);
    } while (got > 0 || (got < 0 && errno == EINTR)); /* a campaign has a timer of its own */
    HOLDS(got == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint64_t live = base_alloc_live();
    uint8_t how = fuzz_byte(&input);
    struct watch *watch;
    int line = start(how & 1, how & 2, &watch);
    while (input.left) {
        ssize_t sent = send(line, input.at, input.left, MSG_NOSIGNAL);
        if (sent <= 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            break; /* it has closed the line */
        }
        input.at += sent;
        input.left -= (size_t)sent;
    }
    HOLDS(shutdown(line, SHUT_WR) == 0);
    await_end(line);
    watch_destroy(watch);
    close(line);
    HOLDS(base_alloc_live() == live);
    return 0;
}
