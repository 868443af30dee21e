/*
 * comm/ucx: ranks of different hosts over UCX.
 *
 * A look at the network costs a system call over TCP, so turns that bring nothing look
 * only now and then once it has been quiet; while packets are on their way out, or came
 * in lately, every turn looks. What a look brings lies in the inbox, and the next look waits
 * until that is empty: what is not taken stays in the network, which slows the senders
 * down.
 *
 * A packet costs a system call too, so when flushes come in a row within microseconds, as
 * they do while short tasks end one after the other, what they would send is held: until
 * nothing is added from one turn to the next, the packet is full, or a flush comes HOLD_NS
 * after the last that sent. Whoever then stays away for long leaves it to the next turn of another
 * thread (core's ticker), so single flushes, and the first ones of a row, send at once.
 *
 * Sleep: comm_arm asks UCX to arm its descriptors, which refuses while something is there;
 * then the thread polls those and an eventfd. A wake costs a system call only
 * when somebody sleeps: bell holds one token, as a park does.
 *
 * Deaths and failures, whoever reports them, wait until the inbox has been delivered: of
 * the dead a prefix arrives, as long as possible. Then comm marks the peer down and
 * the endpoint is closed by force, outside of UCX's callbacks.
 */
#include "comm/ucx.h"
#include "base/alloc.h"
#include "manta/error.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LOOK_ROUNDS 16
/* Fruitless looks in a row before turns are left out, and how many then. */
#define QUIET_LOOKS 64
#define QUIET_STRIDE 16
#define ARM_TRIES 64
#define HOLD_NS 20000
#define HURRY 16
#define LINGER_NS UINT64_C(1000000000)

enum bell { BELL_SILENT, BELL_RUNG, BELL_AWAITED };

static int ucx_peer_init(struct comm *comm, struct comm_peer *common)
{
    struct ucx_peer *peer = ucx_peer_of(common);
    peer->ucx = ucx_of(comm);
    base_list_init(&peer->dirty);
    base_list_init(&peer->failed);
    base_list_init(&peer->greeted);
    base_list_init(&peer->waiting);
    base_list_init(&peer->ready);
    return 0;
}

static void flush_all(struct comm_ucx *ucx)
{
    BASE_LIST_EACH(&ucx->dirty, node)
    {
        ucx_peer_flush(ucx, MT_CONTAINER(node, struct ucx_peer, dirty));
    }
    ucx->sent_ns = base_now_ns(ucx->common.host);
}

/* See the essay. */
static bool may_hold(struct comm_ucx *ucx)
{
    uint64_t now_ns = base_now_ns(ucx->common.host);
    ucx->hurried = now_ns - ucx->flushed_ns < HOLD_NS ? ucx->hurried + 1 : 0;
    ucx->flushed_ns = now_ns;
    return ucx->hurried > HURRY && now_ns - ucx->sent_ns < HOLD_NS;
}

static void ucx_flush(struct comm *comm)
{
    struct comm_ucx *ucx = ucx_of(comm);
    if (!base_list_is_empty(&ucx->dirty) && !may_hold(ucx)) {
        flush_all(ucx);
    }
}

static void ucx_push(struct comm *comm)
{
    flush_all(ucx_of(comm));
}

/* Progress */

static void progress(struct comm_ucx *ucx)
{
    unsigned rounds = 0;
    while (ucp_worker_progress(ucx->worker) && ++rounds < LOOK_ROUNDS && !ucx->inbox_count) {}
    ucx->quiet = rounds ? 0 : ucx->quiet + 1;
    ucx->skipped = 0;
}

static bool shall_look(struct comm_ucx *ucx)
{
    if (!ucx->table || ucx->inbox_count) {
        return false;
    }
    return ucx->outstanding || ucx_lent_is_under_way(ucx) || ucx->quiet < QUIET_LOOKS ||
           ++ucx->skipped >= QUIET_STRIDE;
}

static MT_COLD void start_ready(struct comm_ucx *ucx)
{
    struct base_list *node;
    while ((node = base_list_pop_front(&ucx->ready))) {
        struct ucx_peer *peer = MT_CONTAINER(node, struct ucx_peer, ready);
        ucx_peer_start(ucx, peer);
        ucx_way_note(ucx, peer);
    }
}

static MT_COLD void meet_greeted(struct comm_ucx *ucx)
{
    BASE_LIST_EACH(&ucx->greeted, node)
    {
        struct ucx_peer *peer = MT_CONTAINER(node, struct ucx_peer, greeted);
        bool is_met = peer->endpoint || peer->common.down || !base_list_is_empty(&peer->failed);
        if (!is_met && !ucx_peer_may_call(peer)) {
            continue;
        }
        if (is_met || ucx_peer_connect(ucx, peer) != MANTA_E_NOMEM) {
            base_list_remove(&peer->greeted);
        }
    }
}

static MT_COLD void bury_failed(struct comm_ucx *ucx)
{
    struct base_list *node;
    while ((node = base_list_pop_front(&ucx->failed))) {
        struct ucx_peer *peer = MT_CONTAINER(node, struct ucx_peer, failed);
        ucx_peer_disconnect(ucx, peer);
        if (!peer->has_left) {
            comm_mark_down(&ucx->common, peer->common.rank);
        }
    }
}

/* Their last words may be here already; who was told does not look for them any more. */
static MT_COLD void take_deaths(struct comm_ucx *ucx)
{
    if (ucx->table && !ucx->inbox_count) {
        progress(ucx);
    }
    /* Pairs with ucx_report_death. */
    atomic_exchange_explicit(&ucx->deaths, 0, memory_order_seq_cst);
    for (uint32_t rank = 0; rank < ucx->common.size; rank++) {
        uint64_t bit = UINT64_C(1) << rank % 64;
        if (!(atomic_load_explicit(&ucx->dead[rank / 64], memory_order_acquire) & bit)) {
            continue;
        }
        struct comm_peer *peer = comm_peer_get(&ucx->common, rank);
        if (!peer) { /* memory is out: try again at the next turn */
            atomic_store_explicit(&ucx->deaths, 1, memory_order_relaxed);
            continue;
        }
        atomic_fetch_and_explicit(&ucx->dead[rank / 64], ~bit, memory_order_relaxed);
        ucx_peer_of(peer)->has_left = false;
        ucx_peer_fail(ucx, ucx_peer_of(peer));
    }
}

MT_INLINE void take_news(struct comm_ucx *ucx)
{
    if (MT_UNLIKELY(!base_list_is_empty(&ucx->ready))) {
        start_ready(ucx);
    }
    if (MT_UNLIKELY(!base_list_is_empty(&ucx->greeted))) {
        meet_greeted(ucx);
    }
    if (MT_UNLIKELY(atomic_load_explicit(&ucx->deaths, memory_order_relaxed))) {
        take_deaths(ucx);
    }
    if (MT_UNLIKELY(!base_list_is_empty(&ucx->broken))) {
        ucx_close_broken(ucx);
    }
    if (MT_UNLIKELY(!base_list_is_empty(&ucx->failed)) && !ucx->inbox_count) {
        bury_failed(ucx);
    }
}

static MT_HOT unsigned ucx_poll(struct comm *comm, unsigned budget)
{
    struct comm_ucx *ucx = ucx_of(comm);
    unsigned count = ucx_deliver(ucx, budget);
    if (!base_list_is_empty(&ucx->dirty) && (!ucx->has_new || !may_hold(ucx))) {
        flush_all(ucx); /* before the look, which takes its time */
    }
    ucx->has_new = false;
    if (shall_look(ucx)) {
        progress(ucx);
        count += ucx_deliver(ucx, budget - count);
    }
    if (MT_UNLIKELY(ucx_lent_is_under_way(ucx))) {
        count += ucx_deliver_lent(ucx);
    }
    take_news(ucx);
    return count;
}

static void ucx_peer_down(struct comm *comm, struct comm_peer *common)
{
    struct comm_ucx *ucx = ucx_of(comm);
    struct ucx_peer *peer = ucx_peer_of(common);
    base_list_remove(&peer->failed);
    ucx_peer_disconnect(ucx, peer);
}

/* Sleep */

static bool has_work(struct comm_ucx *ucx)
{
    BASE_LIST_EACH(&ucx->common.congested, node)
    {
        struct ucx_peer *peer = MT_CONTAINER(node, struct ucx_peer, common.congested);
        if (peer->outstanding < UCX_WINDOW && !peer->has_left && ucx_peer_may_call(peer)) {
            return true;
        }
    }
    return ucx->inbox_count || !base_list_is_empty(&ucx->failed) ||
           !base_list_is_empty(&ucx->landed) || !base_list_is_empty(&ucx->returned) ||
           (!base_list_is_empty(&ucx->greeted) && ucx->connecting < UCX_CONNECTING_MAX) ||
           !base_list_is_empty(&ucx->ready) || !base_list_is_empty(&ucx->broken) ||
           atomic_load_explicit(&ucx->deaths, memory_order_seq_cst);
}

static bool ucx_arm(struct comm *comm)
{
    struct comm_ucx *ucx = ucx_of(comm);
    flush_all(ucx);
    for (int tries = 0; tries < ARM_TRIES && ucx->table && !has_work(ucx); tries++) {
        ucs_status_t status = ucp_worker_arm(ucx->worker);
        if (status != UCS_ERR_BUSY) {
            return status == UCS_OK;
        }
        progress(ucx);
    }
    return false;
}

static void ucx_rouse(struct comm *comm)
{
}

static void wait_for_any(struct comm_ucx *ucx, uint64_t deadline_ns, int extra_fd)
{
    struct pollfd polls[] = {{.fd = ucx->event_fd, .events = POLLIN},
                             {.fd = ucx->worker_fd, .events = POLLIN},
                             {.fd = extra_fd, .events = POLLIN}};
    struct timespec left = {0}, *timeout = NULL;
    if (deadline_ns != BASE_FOREVER) {
        uint64_t now_ns = base_now_ns(ucx->common.host);
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        left = (struct timespec){(time_t)(left_ns / 1000000000u), (long)(left_ns % 1000000000u)};
        timeout = &left;
    }
    uint64_t rings;
    if (ppoll(polls, MT_COUNT(polls), timeout, NULL) > 0 && polls[0].revents) {
        while (read(ucx->event_fd, &rings, sizeof rings) < 0 && errno == EINTR) {}
    }
}

static void ucx_sleep_with(struct comm *comm, uint64_t deadline_ns, int extra_fd)
{
    struct comm_ucx *ucx = ucx_of(comm);
    uint32_t silent = BELL_SILENT;
    /* Pairs with ucx_wake. */
    if (atomic_compare_exchange_strong_explicit(&ucx->bell, &silent, BELL_AWAITED,
                                                memory_order_seq_cst, memory_order_seq_cst)) {
        wait_for_any(ucx, deadline_ns, extra_fd);
    }
    atomic_store_explicit(&ucx->bell, BELL_SILENT, memory_order_seq_cst);
}

static void ucx_sleep(struct comm *comm, uint64_t deadline_ns)
{
    atomic_fetch_add_explicit(&comm->sleeps, 1, memory_order_relaxed);
    ucx_sleep_with(comm, deadline_ns, -1);
}

static void ucx_wake(struct comm *comm)
{
    struct comm_ucx *ucx = ucx_of(comm);
    uint64_t ring = 1;
    if (atomic_exchange_explicit(&ucx->bell, BELL_RUNG, memory_order_seq_cst) == BELL_AWAITED) {
        /* Full is rung already. */
        while (write(ucx->event_fd, &ring, sizeof ring) < 0 && errno == EINTR) {}
    }
}

static void ucx_report_death(struct comm *comm, uint32_t peer)
{
    struct comm_ucx *ucx = ucx_of(comm);
    uint64_t bit = UINT64_C(1) << peer % 64;
    atomic_fetch_or_explicit(&ucx->mourned[peer / 64], bit, memory_order_relaxed);
    atomic_fetch_or_explicit(&ucx->dead[peer / 64], bit, memory_order_release);
    atomic_store_explicit(&ucx->deaths, 1, memory_order_seq_cst);
    ucx_wake(comm);
}

/* Making and ending */

#define EACH_PEER(ucx, name)                                                                       \
    for (uint32_t name##_rank = 0; name##_rank < (ucx)->common.size; name##_rank++)                \
        for (struct ucx_peer *name =                                                               \
                 (struct ucx_peer *)comm_peer_find(&(ucx)->common, name##_rank);                   \
             name; name = NULL)

static bool is_alive(const struct ucx_peer *peer)
{
    return peer->endpoint && !peer->common.down && !peer->has_left &&
           base_list_is_empty(&peer->failed);
}

static bool is_awaited(struct comm_ucx *ucx)
{
    EACH_PEER(ucx, peer)
    {
        if (is_alive(peer)) {
            return true;
        }
    }
    return false;
}

/*
 * Tells the peers that this rank leaves, and waits until each has received everything, or
 * leaves too. To close earlier would make TCP throw away what the peer has not read.
 */
static void linger(struct comm_ucx *ucx)
{
    const struct base_host *host = ucx->common.host;
    uint64_t until_ns = base_deadline_after(base_now_ns(host), LINGER_NS);
    flush_all(ucx);
    EACH_PEER(ucx, peer)
    {
        struct ucx_packet *packet =
            is_alive(peer) ? ucx_packet_get(ucx, peer, UCX_KIND_LEAVE) : NULL;
        if (packet) {
            ucx_packet_send(ucx, packet);
        }
    }
    while (is_awaited(ucx) && base_now_ns(host) < until_ns) {
        start_ready(ucx);
        if (!ucp_worker_progress(ucx->worker)) {
            host->yield(host->self);
        }
    }
}

/* The peers shall see it at once, and UCX give back what it has. */
static void close_all(struct comm_ucx *ucx)
{
    const struct base_host *host = ucx->common.host;
    uint64_t until_ns = base_deadline_after(base_now_ns(host), LINGER_NS);
    EACH_PEER(ucx, peer)
    {
        ucx_peer_disconnect(ucx, peer);
    }
    ucx_close_broken(ucx);
    while ((ucx->outstanding || ucx->closing) && base_now_ns(host) < until_ns) {
        if (!ucp_worker_progress(ucx->worker)) {
            host->yield(host->self);
        }
    }
}

static void free_doors(struct base_list *list)
{
    struct base_list *node;
    while ((node = base_list_pop_front(list))) {
        base_free(MT_CONTAINER(node, struct ucx_door, link));
    }
}

static void free_packets(struct base_list *list)
{
    struct base_list *node;
    while ((node = base_list_pop_front(list))) {
        base_free(MT_CONTAINER(node, struct ucx_packet, link));
    }
}

static void ucx_destroy(struct comm *comm)
{
    struct comm_ucx *ucx = ucx_of(comm);
    ucx->is_ending = true;
    if (ucx->listener) {
        linger(ucx);
        close_all(ucx);
    }
    ucx_worker_fini(ucx);
    /* What UCX has not given back it would read only if the worker were moved on. */
    free_packets(&ucx->sending);
    ucx_lent_fini(ucx);
    EACH_PEER(ucx, peer)
    {
        if (peer->door && peer->door->is_used) {
            base_free(peer->door);
        }
    }
    free_doors(&ucx->doors);
    free_doors(&ucx->broken);
    free_packets(&ucx->inbox);
    free_packets(&ucx->spare);
    if (ucx->event_fd >= 0) {
        close(ucx->event_fd);
    }
    base_free(ucx->dead);
    base_free(ucx->way_of);
}

static const struct comm_ops ucx_ops = {
    .peer_bytes = sizeof(struct ucx_peer),
    .fragment_bytes = UCX_FRAGMENT_BYTES,
    .peer_init = ucx_peer_init,
    .slot = ucx_slot,
    .lend = ucx_lend,
    .flush = ucx_flush,
    .push = ucx_push,
    .poll = ucx_poll,
    .arm = ucx_arm,
    .rouse = ucx_rouse,
    .sleep = ucx_sleep,
    .wake = ucx_wake,
    .sleep_with = ucx_sleep_with,
    .report_death = ucx_report_death,
    .peer_down = ucx_peer_down,
    .destroy = ucx_destroy,
};

static int fill_end(struct comm_ucx *ucx, const struct comm_ucx_options *options)
{
    base_list_init(&ucx->dirty);
    base_list_init(&ucx->inbox);
    base_list_init(&ucx->spare);
    base_list_init(&ucx->sending);
    base_list_init(&ucx->failed);
    base_list_init(&ucx->greeted);
    base_list_init(&ucx->ready);
    base_list_init(&ucx->lending);
    base_list_init(&ucx->returned);
    base_list_init(&ucx->landing);
    base_list_init(&ucx->landed);
    base_list_init(&ucx->loans_given_up);
    base_list_init(&ucx->landings_given_up);
    base_list_init(&ucx->doors);
    base_list_init(&ucx->broken);
    ucx->incarnation = options->incarnation;
    ucx->interface = options->interface;
    ucx->devices = options->devices;
    ucx->expects_rdma = options->expects_rdma;
    memcpy(ucx->secret, options->secret, sizeof ucx->secret);
    ucx->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    size_t bitmap_words = (options->ranks + 63) / 64;
    ucx->dead = base_alloc(2 * bitmap_words * sizeof *ucx->dead);
    ucx->mourned = ucx->dead ? ucx->dead + bitmap_words : NULL;
    ucx->way_of = base_alloc(options->ranks * sizeof *ucx->way_of);
    if (!ucx->dead || !ucx->way_of) {
        return MANTA_E_NOMEM;
    }
    if (ucx->event_fd < 0) {
        return MANTA_E_SYSTEM;
    }
    return ucx_worker_init(ucx);
}

int comm_create_ucx(const struct comm_ucx_options *options, struct comm **ret_comm)
{
    if (options->rank >= options->ranks || !options->secret) {
        return MANTA_E_INVALID;
    }
    struct comm_ucx *ucx = base_alloc_aligned(MT_CACHE_LINE, sizeof *ucx);
    if (!ucx) {
        return MANTA_E_NOMEM;
    }
    int rc = comm_init(&ucx->common, &ucx_ops, options->host, options->rank, options->ranks);
    if (rc) {
        base_free(ucx);
        return rc;
    }
    rc = fill_end(ucx, options);
    if (rc) {
        comm_destroy(&ucx->common);
        return rc;
    }
    *ret_comm = &ucx->common;
    return 0;
}

const void *comm_ucx_address(const struct comm *comm, size_t *ret_bytes)
{
    const struct comm_ucx *ucx = (const struct comm_ucx *)comm;
    *ret_bytes = ucx_address_bytes(&ucx->address);
    return &ucx->address;
}

void comm_ucx_set_table(struct comm *comm, const struct comm_ucx_table *table)
{
    ucx_of(comm)->table = table;
}

uint64_t comm_ucx_refused(const struct comm *comm)
{
    return ((const struct comm_ucx *)comm)->refused;
}
