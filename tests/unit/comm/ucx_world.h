/*
 * Worlds over UCX for tests: addresses exchanged through memory that all ranks share, and
 * an end of the world at which nobody leaves while another may still need its progress.
 */
#ifndef TEST_COMM_UCX_WORLD_H
#define TEST_COMM_UCX_WORLD_H

#include "comm/ucx_end.h"
#include "conformance.h"

#include <sys/resource.h>
#include <unistd.h>

#ifndef UCX_RANKS_MAX
#define UCX_RANKS_MAX 64
#endif
#define ADDRESS_BYTES_MAX 1024

struct exchange {
    struct comm_ucx_table table;
    struct comm_ucx_entry entries[UCX_RANKS_MAX];
    uint8_t bytes[UCX_RANKS_MAX][ADDRESS_BYTES_MAX];
    _Atomic uint32_t ready, done, gone;
    uint8_t secret[COMM_SECRET_BYTES];
};

static struct exchange *the_exchange;

/* Each end has some twenty descriptors, and some for each peer. */
static MT_UNUSED void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Once per world, before its ranks exist. */
static MT_UNUSED void exchange_reset(void)
{
    if (!the_exchange) {
        the_exchange = mmap(NULL, sizeof *the_exchange, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(the_exchange, MAP_FAILED);
    }
    memset(the_exchange, 0, sizeof *the_exchange);
    raise_descriptor_limit();
    for (unsigned i = 0; i < COMM_SECRET_BYTES; i++) {
        the_exchange->secret[i] = (uint8_t)(i * 37 + 11);
    }
    the_exchange->table =
        (struct comm_ucx_table){.bytes = the_exchange->bytes[0], .entries = the_exchange->entries};
}

static MT_UNUSED int exchange_create(uint32_t rank, uint32_t ranks, struct comm **ret_comm)
{
    struct comm_ucx_options options = {.host = &base_host_real,
                                       .rank = rank,
                                       .ranks = ranks,
                                       .incarnation = 7 + rank,
                                       .secret = the_exchange->secret};
    return comm_create_ucx(&options, ret_comm);
}

static MT_UNUSED bool exchange_publish(struct comm *comm)
{
    size_t bytes;
    const void *address = comm_ucx_address(comm, &bytes);
    uint32_t rank = comm_rank(comm);
    if (bytes > ADDRESS_BYTES_MAX) {
        return false;
    }
    memcpy(the_exchange->bytes[rank], address, bytes);
    the_exchange->entries[rank] =
        (struct comm_ucx_entry){7 + rank, rank * ADDRESS_BYTES_MAX, (uint32_t)bytes};
    atomic_fetch_add(&the_exchange->ready, 1);
    return true;
}

static MT_UNUSED void exchange_await(uint32_t ranks)
{
    uint64_t until_ns = base_now_ns(&base_host_real) + SLEPT_THROUGH_NS;
    while (atomic_load(&the_exchange->ready) < ranks && base_now_ns(&base_host_real) < until_ns) {
        usleep(200);
    }
}

static void ignore_message(void *owner, uint32_t from, const struct wire_header *header,
                           const void *body)
{
}

static void ignore_down(void *owner, uint32_t peer)
{
}

/* Keeps the end going until all ranks but the dead have come here. */
static MT_UNUSED void exchange_leave(struct comm *comm, uint32_t ranks)
{
    struct comm_sink sink = {.message = ignore_message, .peer_down = ignore_down};
    comm_set_sink(comm, &sink);
    uint64_t until_ns = base_now_ns(&base_host_real) + SLEPT_THROUGH_NS;
    atomic_fetch_add(&the_exchange->done, 1);
    while (atomic_load(&the_exchange->done) + atomic_load(&the_exchange->gone) < ranks &&
           base_now_ns(&base_host_real) < until_ns) {
        comm_flush(comm);
        comm_progress(comm, 64);
        base_host_real.yield(NULL);
    }
}

#endif
