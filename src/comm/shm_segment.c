/*
 * The segment: where things lie in it, its making and mapping; and the futex in it.
 *
 * The bell is a word with one token, like a base_park's but between processes: a
 * ring leaves the token, a sleeper takes it. A process killed between leaving the
 * token and waking the sleeper would leave it asleep; that is one reason why each
 * rank's death watcher, which wakes the rank unconditionally, is part of the
 * protocol.
 *
 * A rank that must also hear of other things than its node cannot sleep on a futex. It
 * puts the name of an abstract datagram socket into its control block; then the same word
 * says when to ring, but ringing is a datagram to that name. Who reads the name in
 * /proc can ring too: a wake for nothing.
 */
#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/shm.h"
#include "manta/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096u

static size_t control_bytes(uint32_t ranks)
{
    size_t words = (ranks + 63) / 64;
    return sizeof(struct shm_control) + MT_ALIGN_UP(words * sizeof(uint64_t), MT_CACHE_LINE);
}

size_t comm_shm_control_offset(uint32_t ranks, uint32_t rank)
{
    return PAGE_BYTES + control_bytes(ranks) * rank;
}

size_t comm_shm_board_offset(uint32_t ranks, uint32_t rank)
{
    size_t boards = MT_ALIGN_UP(comm_shm_control_offset(ranks, ranks), PAGE_BYTES);
    return boards + (size_t)rank * COMM_BOARD_BYTES;
}

size_t comm_shm_ring_offset(uint32_t ranks, uint32_t reader, uint32_t writer)
{
    size_t rings = comm_shm_board_offset(ranks, ranks);
    return rings + ((size_t)reader * ranks + writer) * sizeof(struct shm_ring);
}

size_t comm_shm_segment_bytes(uint32_t ranks)
{
    return MT_ALIGN_UP(comm_shm_ring_offset(ranks, ranks, 0), PAGE_BYTES);
}

static int fill_segment(int fd, uint32_t ranks, uint64_t extra)
{
    struct shm_segment head = {.magic = SHM_MAGIC, .ranks = ranks};
    if (ftruncate(fd, (off_t)(comm_shm_segment_bytes(ranks) + extra)) ||
        pwrite(fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        return MANTA_E_SYSTEM;
    }
    return 0;
}

int comm_shm_segment_create(uint32_t ranks, uint64_t extra, int *ret_fd)
{
    if (ranks == 0) {
        return MANTA_E_INVALID;
    }
    int fd = memfd_create("manta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return MANTA_E_SYSTEM;
    }
    int rc = fill_segment(fd, ranks, extra);
    if (rc) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *deadline)
{
    return syscall(SYS_futex, word, operation, value, deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

static socklen_t bell_address(uint64_t name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret_address->sun_path + 1, sizeof ret_address->sun_path - 1,
                          "manta-bell-%016llx", (unsigned long long)name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static MT_COLD void send_bell(uint64_t name)
{
    struct sockaddr_un address;
    socklen_t bytes = bell_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        /* A full socket is rung already; one that is gone needs no bell. */
        (void)sendto(fd, "", 1, 0, (struct sockaddr *)&address, bytes);
        close(fd);
    }
}

/* Wakes every sleeper: the token is for the rank, and each of its threads looks for itself. */
void comm_shm_ring_bell(struct shm_control *control)
{
    uint32_t before = atomic_exchange_explicit(&control->bell, SHM_BELL_RUNG, memory_order_seq_cst);
    if (before != SHM_BELL_SILENT) {
        uint64_t name = atomic_load_explicit(&control->bell_socket, memory_order_relaxed);
        if (name) {
            send_bell(name);
        } else {
            futex(&control->bell, FUTEX_WAKE, INT_MAX, NULL);
        }
    }
}

int comm_shm_make_bell(struct shm_control *control, uint64_t name, int *ret_socket)
{
    struct sockaddr_un address;
    socklen_t bytes = bell_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return MANTA_E_SYSTEM;
    }
    if (bind(fd, (struct sockaddr *)&address, bytes)) {
        close(fd);
        return MANTA_E_SYSTEM;
    }
    atomic_store_explicit(&control->bell_socket, name, memory_order_release);
    *ret_socket = fd;
    return 0;
}

void comm_shm_await_bell(struct shm_control *control, uint64_t deadline_ns)
{
    struct timespec at = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                          .tv_nsec = (long)(deadline_ns % 1000000000u)};
    uint32_t seen = SHM_BELL_SILENT;
    if (atomic_compare_exchange_strong_explicit(&control->bell, &seen, SHM_BELL_AWAITED,
                                                memory_order_seq_cst, memory_order_seq_cst) ||
        seen == SHM_BELL_AWAITED) {
        /* Absolute, on CLOCK_MONOTONIC: the clock of base_now_ns on real hosts. */
        futex(&control->bell, FUTEX_WAIT_BITSET, SHM_BELL_AWAITED,
              deadline_ns == BASE_FOREVER ? NULL : &at);
    }
    /* The token only: another thread's AWAITED must stay. A stale one costs one system call. */
    seen = SHM_BELL_RUNG;
    atomic_compare_exchange_strong_explicit(&control->bell, &seen, SHM_BELL_SILENT,
                                            memory_order_seq_cst, memory_order_seq_cst);
}

bool comm_shm_begin_poll(struct shm_control *control)
{
    uint32_t seen = SHM_BELL_SILENT;
    return atomic_compare_exchange_strong_explicit(&control->bell, &seen, SHM_BELL_AWAITED,
                                                   memory_order_seq_cst, memory_order_seq_cst);
}

void comm_shm_end_poll(struct shm_control *control, int socket)
{
    char rings[8];
    atomic_store_explicit(&control->bell, SHM_BELL_SILENT, memory_order_seq_cst);
    while (recv(socket, rings, sizeof rings, 0) >= 0) {}
}
