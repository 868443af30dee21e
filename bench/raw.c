#include "raw.h"

#include "base/compiler.h"
#include "base/host.h"
#include "bench.h"
#include "comm/backends.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WARM_ROUNDS = 300,
    TURN = 64,
    STREAM_WINDOW = 1024,
    TASK_BODY = 8,
    RESULT_BODY = 12,
    ECHO_KIND = 1
};

/* ---- Shared pages --------------------------------------------------------------------------- */

int raw_page_create(struct raw_page *page, size_t bytes)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
        return MANTA_E_SYSTEM;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        close(fd);
        return MANTA_E_NOMEM;
    }
    memset(memory, 0, bytes);
    *page =
        (struct raw_page){.process = getpid(), .descriptor = fd, .memory = memory, .bytes = bytes};
    return MANTA_OK;
}

void raw_page_destroy(struct raw_page *page)
{
    munmap(page->memory, page->bytes);
    close(page->descriptor);
}

static int open_other(int32_t process, int32_t descriptor)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", process, descriptor);
    return open(path, O_RDWR | O_CLOEXEC);
}

void *raw_page_map(int32_t process, int32_t descriptor, size_t bytes)
{
    int fd = open_other(process, descriptor);
    void *memory =
        fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) {
        close(fd);
    }
    return memory == MAP_FAILED ? NULL : memory;
}

void raw_page_unmap(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}

/* ---- A slot with its sequence number inside ------------------------------------------------- */

struct slot {
    MT_ALIGNED(MT_CACHE_LINE) _Atomic uint64_t sequence;
    uint8_t body[56];
};

static void await(const struct slot *slot, uint64_t sequence)
{
    while (atomic_load_explicit(&slot->sequence, memory_order_acquire) != sequence) {
        base_cpu_relax();
    }
}

static void put(struct slot *slot, uint64_t sequence)
{
    memset(slot->body, (int)sequence, sizeof slot->body);
    atomic_store_explicit(&slot->sequence, sequence, memory_order_release);
}

MANTA_TASK(raw_pong, val(int32_t, process), val(int32_t, descriptor), val(uint64_t, rounds))
{
    struct slot *slots = raw_page_map(process, descriptor, 2 * sizeof *slots);
    if (!slots) {
        return manta_fail(MANTA_E_SYSTEM, "cannot map the page of process %d", process);
    }
    for (uint64_t i = 1; i <= rounds; i++) {
        await(&slots[0], i);
        put(&slots[1], i);
    }
    raw_page_unmap(slots, 2 * sizeof *slots);
    return MANTA_OK;
}

static void ping(struct slot *slots, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        put(&slots[0], i);
        await(&slots[1], i);
    }
}

int raw_ping(uint32_t rounds, double *ret_ns)
{
    struct raw_page page;
    MANTA_TRY(raw_page_create(&page, 2 * sizeof(struct slot)));
    manta_ref done = raw_pong_async(MANTA_OPTIONS(.rank = MANTA_ON(1)), page.process,
                                    page.descriptor, (uint64_t)rounds + WARM_ROUNDS);
    ping(page.memory, 1, WARM_ROUNDS);
    uint64_t start_ns = bench_now_ns();
    ping(page.memory, WARM_ROUNDS + 1, (uint64_t)rounds + WARM_ROUNDS);
    *ret_ns = (double)(bench_now_ns() - start_ns) / rounds;
    int code = raw_pong_get(done);
    manta_drop(done);
    raw_page_destroy(&page);
    return code;
}

const char *raw_placement(double round_trip_ns)
{
    return round_trip_ns > RAW_SEPARATE_NS ? "separate cores" : "siblings of one core";
}

/* ---- comm's rings --------------------------------------------------------------------------- */

/* One end and how many messages have come. */
struct end {
    struct comm *comm;
    uint64_t received;
    bool echoes;
};

static void send(struct comm *comm, uint32_t peer, size_t body_bytes)
{
    struct wire_header *header = comm_prepare(comm, peer, body_bytes);
    if (header) {
        *header = (struct wire_header){.kind = ECHO_KIND};
        memset(comm_body(header), 0, body_bytes);
        comm_commit(comm);
    }
}

static void on_message(void *owner, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct end *end = owner;
    end->received++;
    if (end->echoes) {
        send(end->comm, from, RESULT_BODY);
    }
}

static void on_peer_down(void *owner, uint32_t peer)
{
}

static int end_create(struct end *end, int fd, uint32_t rank)
{
    int code = comm_create_shm(&base_host_real, fd, rank, 2, &end->comm);
    if (code == MANTA_OK) {
        comm_set_sink(end->comm, &(struct comm_sink){on_message, on_peer_down, end});
    }
    return code;
}

MANTA_TASK(comm_pong, val(int32_t, process), val(int32_t, descriptor), val(uint64_t, rounds))
{
    struct end end = {.echoes = true};
    int fd = open_other(process, descriptor);
    if (fd < 0 || end_create(&end, fd, 1) != 0) {
        return manta_fail(MANTA_E_SYSTEM, "cannot join the rings of process %d", process);
    }
    close(fd);
    while (end.received < rounds || comm_is_congested(end.comm, 0)) {
        base_cpu_relax();
        comm_progress(end.comm, TURN);
        comm_flush(end.comm);
    }
    comm_destroy(end.comm);
    return MANTA_OK;
}

static void exchange(struct end *end, uint64_t count, uint64_t window)
{
    uint64_t sent = end->received, target = sent + count;
    while (end->received < target) {
        for (unsigned i = 0; i < TURN && sent < target && sent - end->received < window;
             i++, sent++) {
            send(end->comm, 1, TASK_BODY);
        }
        comm_flush(end->comm);
        base_cpu_relax();
        comm_progress(end->comm, TURN);
    }
}

static int measure_comm(uint32_t count, uint64_t window, double *ret_ns)
{
    int fd;
    struct end end = {.echoes = false};
    MANTA_TRY(comm_shm_segment_create(2, 0, &fd));
    int code = end_create(&end, fd, 0);
    if (code != MANTA_OK) {
        close(fd);
        return code;
    }
    manta_ref done = comm_pong_async(MANTA_OPTIONS(.rank = MANTA_ON(1)), getpid(), fd,
                                     (uint64_t)count + WARM_ROUNDS);
    exchange(&end, WARM_ROUNDS, window);
    uint64_t start_ns = bench_now_ns();
    exchange(&end, count, window);
    *ret_ns = (double)(bench_now_ns() - start_ns) / count;
    code = comm_pong_get(done);
    manta_drop(done);
    comm_destroy(end.comm);
    close(fd);
    return code;
}

int raw_comm_ping(uint32_t rounds, double *ret_ns)
{
    return measure_comm(rounds, 1, ret_ns);
}

int raw_comm_stream(uint32_t count, double *ret_ns)
{
    return measure_comm(count, STREAM_WINDOW, ret_ns);
}
