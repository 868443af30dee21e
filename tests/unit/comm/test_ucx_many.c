/*
 * Many ends over UCX, each a process, all to all, or some of them, the hubs, with all: MESSAGES
 * each way between every two that talk, in order, none missing. UCX 1.13 has a number of
 * endpoints over TCP, 256, from which on it prefers others (UCX_TCP_MAX_NUM_EPS), so what matters
 * are ends with more peers than that.
 *
 *     test_comm_ucx_many RANKS [HUBS]
 *
 * Prints how long it took, and what a peer cost in memory.
 */
#define UCX_RANKS_MAX 512
#include "ucx_world.h"

#include <sys/wait.h>

enum { MESSAGES = 4, FDS_OF_END = 64, FDS_OF_PEER = 4, PATIENCE_S = 240 };

static uint32_t ranks, hubs;

struct common {
    _Atomic uint64_t before_kib, after_kib; /* resident memory, of all ranks */
    _Atomic uint32_t complete, wrong;
};
static struct common *common;

struct seat {
    uint32_t expected[UCX_RANKS_MAX]; /* number of the next message, by sender */
    uint32_t received;
};

static void on_number(void *owner, uint32_t from, const struct wire_header *header,
                      const void *body)
{
    struct seat *seat = owner;
    uint32_t number;
    memcpy(&number, body, sizeof number);
    if (header->length != sizeof number || number != seat->expected[from]++) {
        atomic_fetch_add(&common->wrong, 1);
    }
    seat->received++;
}

static void on_loss(void *owner, uint32_t peer)
{
    atomic_fetch_add(&common->wrong, 1);
}

static uint64_t own_kib(void)
{
    unsigned long total = 0, resident = 0, shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        (void)!fscanf(file, "%lu %lu %lu", &total, &resident, &shared);
        fclose(file);
    }
    return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static bool talks(uint32_t a, uint32_t b)
{
    return a != b && (a < hubs || b < hubs);
}

static uint32_t count_peers(uint32_t rank)
{
    return rank < hubs ? ranks - 1 : hubs;
}

static void send_number(struct comm *comm, uint32_t to, uint32_t number)
{
    struct wire_header *header = comm_prepare(comm, to, sizeof number);
    if (header) {
        *header = (struct wire_header){.kind = 1, .length = sizeof number};
        memcpy(comm_body(header), &number, sizeof number);
        comm_commit(comm);
    }
}

/* Polls until `done` says so; a core is shared by very many, so it steps aside after each turn. */
static bool turn_until(struct comm *comm, const uint32_t *count, uint32_t wanted)
{
    uint64_t until_ns = base_now_ns(&base_host_real) + PATIENCE_S * UINT64_C(1000000000);
    while (*count < wanted && !atomic_load(&common->wrong) &&
           base_now_ns(&base_host_real) < until_ns) {
        comm_flush(comm);
        if (!comm_progress(comm, 64) && comm_arm(comm)) {
            comm_sleep(comm, base_now_ns(&base_host_real) + 100000000);
        }
    }
    return *count >= wanted;
}

/* Each begins with its right neighbour, so that nobody is called by all at once. */
static void talk_to_all(struct comm *comm, struct seat *seat)
{
    uint32_t own = comm_rank(comm);
    for (uint32_t number = 0; number < MESSAGES; number++) {
        for (uint32_t step = 1; step < ranks; step++) {
            if (talks(own, (own + step) % ranks)) {
                send_number(comm, (own + step) % ranks, number);
            }
            comm_flush(comm);
            (void)comm_progress(comm, 64);
        }
    }
    if (turn_until(comm, &seat->received, count_peers(own) * MESSAGES)) {
        atomic_fetch_add(&common->complete, 1);
    }
}

static void live(uint32_t rank)
{
    static struct seat seat;
    struct comm *comm;
    if (exchange_create(rank, ranks, &comm) || !exchange_publish(comm)) {
        _exit(1);
    }
    exchange_await(ranks);
    comm_ucx_set_table(comm, &the_exchange->table);
    const struct comm_sink sink = {on_number, on_loss, &seat};
    comm_set_sink(comm, &sink);
    atomic_fetch_add(&common->before_kib, own_kib());
    talk_to_all(comm, &seat);
    atomic_fetch_add(&common->after_kib, own_kib());
    exchange_leave(comm, ranks);
    _exit(0); /* the rest of an end is in the conformance suite */
}

static void test_all_hear_all(void **state)
{
    uint64_t start_ns = base_now_ns(&base_host_real);
    exchange_reset();
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(common, MAP_FAILED);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            live(rank);
        }
    }
    for (uint32_t left = ranks; left; left--) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(common->wrong, 0);
    assert_int_equal(common->complete, ranks);
    double seconds = (double)(base_now_ns(&base_host_real) - start_ns) / 1e9;
    double pairs = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        pairs += count_peers(rank);
    }
    printf("%u ends, %u of them with %u peers: %.1f s, %.1f KiB for each peer of an end\n", ranks,
           hubs, ranks - 1, seconds, (double)(common->after_kib - common->before_kib) / pairs);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_hear_all)};
    struct rlimit limit;
    ranks = argc > 1 ? (uint32_t)atoi(argv[1]) : 0;
    hubs = argc > 2 ? (uint32_t)atoi(argv[2]) : ranks;
    raise_descriptor_limit();
    if (ranks < 2 || hubs > ranks || ranks > UCX_RANKS_MAX || getrlimit(RLIMIT_NOFILE, &limit) ||
        limit.rlim_cur < FDS_OF_END + ranks * FDS_OF_PEER) {
        printf("skipped: %u ranks, or too few descriptors for them\n", ranks);
        return 77;
    }
    return cmocka_run_group_tests_name("comm ucx, many", tests, NULL, NULL);
}
