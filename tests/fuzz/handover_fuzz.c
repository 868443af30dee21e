/*
 * Fuzz target: any hellos of callers on the socket where a node's lowest rank hands out its
 * descriptors, and any answer to one who calls there. The first byte chooses.
 *
 * Callers: parts of the input that the byte 0xff ends. A part's first byte says whether the rest is
 * what the caller says, or changes a genuine hello. Nobody of them gets anything, and the rank that
 * does belong there is let in all the same, in time.
 *
 * Answer: a byte that says how many descriptors come along, then what is said. Only the word that
 * both know, with descriptors, is taken for an answer, and these are as many as came.
 */
#include "fuzz.h"
#include "launch/handover.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SIZE = 2, CALLERS_MAX = 4, PART = 0xff, GIVEN = 3, CHANGES_HELLO = 1 };

static const uint64_t patience_ns = UINT64_C(20000000000);

/* As handover.c says it; `unused` is of no meaning. */
struct hello {
    uint64_t magic;
    uint32_t rank, unused;
    uint8_t secret[32];
};

static const uint64_t hello_magic = UINT64_C(0x6d616e746168656c);

static union card_page cards[SIZE];

static uint64_t deadline_ns(void)
{
    return base_now_ns(&base_host_real) + patience_ns;
}

static int listen_as_lowest(void)
{
    static uint64_t number;
    int listener;
    memset(cards, 0, sizeof cards);
    memset(cards[0].card.secret, 0x5a, sizeof cards[0].card.secret);
    cards[0].card.socket_name[0] = (uint64_t)getpid();
    cards[0].card.socket_name[1] = ++number;
    cards[0].card.pid = cards[1].card.pid = (uint32_t)getpid();
    cards[1].card.rank = 1;
    HOLDS(handover_listen(&cards[0].card, SIZE + CALLERS_MAX, &listener) == MANTA_OK);
    return listener;
}

/* ---- Callers -------------------------------------------------------------------------------- */

static int call(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "manta-%016llx%016llx",
                          (unsigned long long)cards[0].card.socket_name[0],
                          (unsigned long long)cards[0].card.socket_name[1]);
    int line = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    HOLDS(line >= 0 &&
          connect(line, (struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0);
    return line;
}

static void change_hello(struct fuzz_input *changes, struct hello *ret_hello)
{
    const struct hello genuine = {.magic = hello_magic, .rank = 1};
    *ret_hello = genuine;
    memcpy(ret_hello->secret, cards[0].card.secret, sizeof ret_hello->secret);
    for (size_t i = 0; i < sizeof *ret_hello && changes->left; i++) {
        ((uint8_t *)ret_hello)[i] ^= fuzz_byte(changes);
    }
    if (ret_hello->magic == genuine.magic && ret_hello->rank == 1 &&
        memcmp(ret_hello->secret, cards[0].card.secret, sizeof ret_hello->secret) == 0) {
        ret_hello->secret[31] ^= 1;
    }
}

static void say(int line, struct fuzz_input *part)
{
    struct hello hello;
    if (fuzz_byte(part) & CHANGES_HELLO) {
        change_hello(part, &hello);
        (void)!send(line, &hello, sizeof hello, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        (void)!send(line, part->at, part->left, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static uint32_t disturb(struct fuzz_input input, int lines[CALLERS_MAX])
{
    uint32_t count = 0;
    while (input.left && count < CALLERS_MAX) {
        const uint8_t *end = memchr(input.at, PART, input.left);
        size_t bytes = end ? (size_t)(end - input.at) : input.left;
        struct fuzz_input part = {input.at, bytes};
        lines[count] = call();
        say(lines[count++], &part);
        bytes += end != NULL;
        input.at += bytes;
        input.left -= bytes;
    }
    return count;
}

struct taker {
    struct link link;
    struct handover_fds fds;
    int code;
};

static void *take_main(void *arg)
{
    struct taker *taker = arg;
    char text[256];
    taker->code = handover_take(&base_host_real, cards, 1, deadline_ns(), &taker->link, &taker->fds,
                                text, sizeof text);
    return NULL;
}

static void close_fds(const struct handover_fds *fds)
{
    for (int i = 0; i < fds->count; i++) {
        HOLDS(close(fds->fds[i]) == 0);
    }
}

static void give_beside(struct fuzz_input input)
{
    int listener = listen_as_lowest(), lines[CALLERS_MAX];
    const struct handover_fds fds = {GIVEN, {0, 1, 2}};
    struct taker taker = {.link = {-1, -1}};
    struct link links[SIZE] = {{-1, -1}, {-1, -1}};
    uint8_t answer;
    char text[256];
    pthread_t thread;
    uint32_t count = disturb(input, lines);
    HOLDS(pthread_create(&thread, NULL, take_main, &taker) == 0);
    int code = handover_give(&base_host_real, listener, cards, SIZE, &fds, deadline_ns(), links,
                             text, sizeof text);
    pthread_join(thread, NULL);
    HOLDS(code == MANTA_OK && taker.code == MANTA_OK && taker.fds.count == GIVEN);
    HOLDS(links[0].socket < 0 && links[1].socket >= 0);
    close(listener); /* with those that had no place yet */
    while (count--) {
        HOLDS(recv(lines[count], &answer, 1, MSG_DONTWAIT) <= 0);
        close(lines[count]);
    }
    close_fds(&taker.fds);
    link_close(&taker.link);
    link_close(&links[0]);
    link_close(&links[1]);
}

/* ---- An answer ------------------------------------------------------------------------------ */

static void answer(int line, struct fuzz_input *input, int fds)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE((HANDOVER_FDS_MAX + 2) * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)input->at, input->left};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fds) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)fds * sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN((size_t)fds * sizeof(int));
        for (int i = 0; i < fds; i++) {
            memcpy(CMSG_DATA(&control.head) + (size_t)i * sizeof i, &(int){0}, sizeof i);
        }
    }
    (void)!sendmsg(line, &message, MSG_NOSIGNAL);
}

static void take_any(struct fuzz_input input)
{
    int listener = listen_as_lowest(), fds = fuzz_byte(&input) % (HANDOVER_FDS_MAX + 3);
    struct taker taker = {.link = {-1, -1}};
    struct hello hello;
    pthread_t thread;
    int line;
    HOLDS(pthread_create(&thread, NULL, take_main, &taker) == 0);
    while ((line = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
        usleep(100);
    }
    HOLDS(recv(line, &hello, sizeof hello, 0) == sizeof hello);
    answer(line, &input, fds);
    close(line);
    pthread_join(thread, NULL);
    bool is_word =
        input.left == sizeof hello_magic && memcmp(input.at, &hello_magic, sizeof hello_magic) == 0;
    HOLDS((taker.code == MANTA_OK) == (is_word && fds > 0 && fds <= HANDOVER_FDS_MAX));
    if (taker.code == MANTA_OK) {
        HOLDS(taker.fds.count == fds);
        close_fds(&taker.fds);
        link_close(&taker.link);
    }
    close(listener);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    if (fuzz_byte(&input) & 1) {
        take_any(input);
    } else {
        give_beside(input);
    }
    /* Nothing that came with a refused answer stays open. */
    int lowest = dup(0);
    static int first;
    HOLDS(lowest >= 0 && (!first || lowest == first));
    first = lowest;
    close(lowest);
    return 0;
}
