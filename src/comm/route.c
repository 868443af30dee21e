/*
 * One end over two: shm for the ranks of the own node, and a far one, UCX's, for all others.
 *
 * The two below are whole ends, but only their backends are used: this end has the
 * overflow, the fragments to send, the deaths and the queue to itself, and hands frames to
 * whichever backend reaches the peer, for one indirect call more than that backend
 * alone. What comes in is put together by the end below, which calls the sink here.
 *
 * Ranks of the node have their index there below, their rank of the world here. Deaths
 * noticed below become deaths here, where the sink is told; then the peer below is down
 * too.
 *
 * shm waits for room on behalf of peers in its own list of the congested. The congested are
 * known here, so around an arming they stand in for theirs below.
 *
 * Sleep is one poll of UCX's descriptors and of the datagram socket at which ranks
 * of the node ring (shm_segment.c). The two bells are begun one after the other; one
 * that has rung already means no sleep.
 */
#include "base/alloc.h"
#include "comm/backends.h"
#include "comm/ops.h"
#include "comm/shm.h"
#include "manta/error.h"

#include <unistd.h>

#define NOT_HERE UINT32_MAX

struct route_peer {
    struct comm_peer common;
    struct comm *via;        /* the end below */
    struct comm_peer *below; /* the peer there; NULL for the own rank */
};

struct comm_route {
    struct comm common;
    struct comm *shm, *far;
    uint32_t *node_ranks; /* rank of the world by index on the node */
    uint32_t *indices;    /* index on the node by rank of the world, or NOT_HERE */
    int bell;             /* socket; -1: not made */
};

static struct comm_route *route_of(struct comm *comm)
{
    return (struct comm_route *)comm;
}

static struct route_peer *route_peer_of(struct comm_peer *peer)
{
    return (struct route_peer *)peer;
}

static int route_peer_init(struct comm *comm, struct comm_peer *common)
{
    struct comm_route *route = route_of(comm);
    struct route_peer *peer = route_peer_of(common);
    uint32_t index = route->indices[common->rank];
    peer->via = index == NOT_HERE ? route->far : route->shm;
    if (common->rank == comm->rank) {
        return 0;
    }
    peer->below = comm_peer_get(peer->via, index == NOT_HERE ? common->rank : index);
    return peer->below ? 0 : MANTA_E_NOMEM;
}

static MT_HOT struct wire_header *route_slot(struct comm *comm, struct comm_peer *common,
                                             uint32_t bytes, enum comm_frame frame)
{
    struct route_peer *peer = route_peer_of(common);
    struct comm *via = peer->via;
    struct wire_header *header = via->ops->slot(via, peer->below, bytes, frame);
    via->dirty |= header != NULL;
    comm->open.word = via->open.word;
    comm->open.value = via->open.value;
    return header;
}

static bool route_lend(struct comm *comm, struct comm_peer *common, const struct comm_lent *lent,
                       struct comm_loan *loan)
{
    struct route_peer *peer = route_peer_of(common);
    struct comm *via = peer->via;
    return via->ops->lend && via->ops->lend(via, peer->below, lent, loan);
}

static MT_HOT void route_flush(struct comm *comm)
{
    struct comm_route *route = route_of(comm);
    comm_flush(route->shm);
    comm_flush(route->far);
    comm->stats.bells_rung = route->shm->stats.bells_rung;
}

static void route_push(struct comm *comm)
{
    comm_push(route_of(comm)->far);
}

/* Receiving */

MT_INLINE void pass_up(struct comm_route *route, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct comm *comm = &route->common;
    struct comm_peer *peer = comm_peer_find(comm, from);
    if (MT_UNLIKELY(peer && peer->down)) {
        return;
    }
    comm->stats.messages_received++;
    comm->stats.bytes_received += sizeof *header + header->length;
    comm->sink.message(comm->sink.owner, from, header, body);
}

static void from_shm(void *owner, uint32_t from, const struct wire_header *header, const void *body)
{
    struct comm_route *route = owner;
    pass_up(route, route->node_ranks[from], header, body);
}

static void from_far(void *owner, uint32_t from, const struct wire_header *header, const void *body)
{
    pass_up(owner, from, header, body);
}

/* The ends below tell nobody: their news are taken. */
static void *place_far(void *owner, uint32_t from, const struct comm_lent *lent)
{
    const struct comm *comm = owner;
    return comm->sink.place && !comm_is_down(comm, from)
               ? comm->sink.place(comm->sink.owner, from, lent)
               : NULL;
}

static void landed_far(void *owner, uint32_t from, const struct comm_lent *lent, void *place,
                       bool is_whole)
{
    struct comm *comm = owner;
    comm_count_landed(comm, lent);
    comm->sink.landed(comm->sink.owner, from, lent, place, is_whole && !comm_is_down(comm, from));
}

static void returned_far(void *owner, struct comm_loan *loan)
{
    const struct comm *comm = owner;
    comm->sink.returned(comm->sink.owner, loan);
}

static void nobody_told(void *owner, uint32_t peer)
{
}

static MT_COLD void take_news(struct comm_route *route, struct comm *via, const uint32_t *ranks)
{
    BASE_LIST_EACH(&via->down_news, node)
    {
        struct comm_peer *below = MT_CONTAINER(node, struct comm_peer, news);
        uint32_t rank = ranks ? ranks[below->rank] : below->rank;
        comm_mark_down(&route->common, rank);
        if (comm_is_down(&route->common, rank)) { /* else memory is out: at the next turn */
            base_list_remove(node);
        }
    }
}

static MT_HOT unsigned route_poll(struct comm *comm, unsigned budget)
{
    struct comm_route *route = route_of(comm);
    unsigned count = route->shm->ops->poll(route->shm, budget);
    count += route->far->ops->poll(route->far, budget); /* whatever is going on on the node */
    if (MT_UNLIKELY(!base_list_is_empty(&route->shm->down_news))) {
        take_news(route, route->shm, route->node_ranks);
    }
    if (MT_UNLIKELY(!base_list_is_empty(&route->far->down_news))) {
        take_news(route, route->far, NULL);
    }
    return count;
}

static void route_peer_down(struct comm *comm, struct comm_peer *common)
{
    struct route_peer *peer = route_peer_of(common);
    struct comm_peer *below = peer->below;
    below->down = true;
    base_list_remove(&below->news);
    base_free(below->assembly);
    below->assembly = NULL;
    if (peer->via->ops->peer_down) {
        peer->via->ops->peer_down(peer->via, below);
    }
}

/* Sleep */

static void lend_congested(struct comm *comm)
{
    BASE_LIST_EACH(&comm->congested, node)
    {
        struct route_peer *peer = MT_CONTAINER(node, struct route_peer, common.congested);
        base_list_push_back(&peer->via->congested, &peer->below->congested);
    }
}

static void return_congested(struct comm *via)
{
    while (base_list_pop_front(&via->congested)) {}
}

static bool route_arm(struct comm *comm)
{
    struct comm_route *route = route_of(comm);
    lend_congested(comm);
    bool is_armed = route->far->ops->arm(route->far) && route->shm->ops->arm(route->shm);
    return_congested(route->far);
    return_congested(route->shm);
    return is_armed;
}

static void route_rouse(struct comm *comm)
{
    struct comm_route *route = route_of(comm);
    route->shm->ops->rouse(route->shm);
    route->far->ops->rouse(route->far);
}

static void route_sleep(struct comm *comm, uint64_t deadline_ns)
{
    struct comm_route *route = route_of(comm);
    struct shm_control *control = comm_shm_control(route->shm);
    atomic_fetch_add_explicit(&comm->sleeps, 1, memory_order_relaxed);
    if (comm_shm_begin_poll(control)) {
        route->far->ops->sleep_with(route->far, deadline_ns, route->bell);
    }
    comm_shm_end_poll(control, route->bell);
}

static void route_wake(struct comm *comm)
{
    struct comm *far = route_of(comm)->far;
    far->ops->wake(far);
}

static void route_report_death(struct comm *comm, uint32_t peer)
{
    struct comm_route *route = route_of(comm);
    if (route->indices[peer] == NOT_HERE) {
        comm_report_death(route->far, peer);
    } else {
        comm_report_death(route->shm, route->indices[peer]);
    }
}

/* Making and ending */

static void route_destroy(struct comm *comm)
{
    struct comm_route *route = route_of(comm);
    comm_destroy(route->far);
    comm_destroy(route->shm);
    base_free(route->node_ranks);
    base_free(route->indices);
    if (route->bell >= 0) {
        close(route->bell);
    }
}

static uint32_t route_node_index(struct comm *comm, uint32_t rank)
{
    uint32_t index = route_of(comm)->indices[rank];
    return index == NOT_HERE ? COMM_ELSEWHERE : index;
}

static void *route_board(struct comm *comm, uint32_t rank)
{
    struct comm_route *route = route_of(comm);
    uint32_t index = route->indices[rank];
    return index == NOT_HERE ? NULL : comm_board(route->shm, index);
}

static const struct comm_ops route_ops = {
    .peer_bytes = sizeof(struct route_peer),
    .fragment_bytes = SHM_FRAGMENT_BYTES,
    .peer_init = route_peer_init,
    .slot = route_slot,
    .lend = route_lend,
    .flush = route_flush,
    .push = route_push,
    .poll = route_poll,
    .arm = route_arm,
    .rouse = route_rouse,
    .sleep = route_sleep,
    .wake = route_wake,
    .report_death = route_report_death,
    .peer_down = route_peer_down,
    .node_index = route_node_index,
    .board = route_board,
    .destroy = route_destroy,
};

static int fill_tables(struct comm_route *route, const uint32_t *node_ranks)
{
    uint32_t size = route->common.size, node_size = route->shm->size;
    route->node_ranks = base_alloc(node_size * sizeof *route->node_ranks);
    route->indices = base_alloc(size * sizeof *route->indices);
    if (!route->node_ranks || !route->indices) {
        return MANTA_E_NOMEM;
    }
    memset(route->indices, 0xff, size * sizeof *route->indices);
    for (uint32_t i = 0; i < node_size; i++) {
        if (node_ranks[i] >= size || route->indices[node_ranks[i]] != NOT_HERE) {
            return MANTA_E_INVALID;
        }
        route->node_ranks[i] = node_ranks[i];
        route->indices[node_ranks[i]] = i;
    }
    return node_ranks[route->shm->rank] == route->common.rank ? 0 : MANTA_E_INVALID;
}

static int fill_end(struct comm_route *route, const uint32_t *node_ranks)
{
    const struct comm_sink shm_sink = {from_shm, nobody_told, route};
    const struct comm_sink far_sink = {from_far,  nobody_told, route,
                                       place_far, landed_far,  returned_far};
    const struct base_host *host = route->common.host;
    const struct comm_ops *far_ops = route->far->ops;
    int rc = fill_tables(route, node_ranks);
    if (rc) {
        return rc;
    }
    if (!far_ops->sleep_with || far_ops->fragment_bytes < SHM_FRAGMENT_BYTES) {
        return MANTA_E_INVALID;
    }
    comm_set_sink(route->shm, &shm_sink);
    comm_set_sink(route->far, &far_sink);
    return comm_shm_make_bell(comm_shm_control(route->shm), host->random(host->self) | 1,
                              &route->bell);
}

int comm_create_routed(struct comm *shm, const uint32_t *node_ranks, struct comm *far,
                       struct comm **ret_comm)
{
    struct comm_route *route = base_alloc_aligned(MT_CACHE_LINE, sizeof *route);
    int rc = route ? comm_init(&route->common, &route_ops, far->host, far->rank, far->size)
                   : MANTA_E_NOMEM;
    if (rc) {
        base_free(route);
        comm_destroy(far);
        comm_destroy(shm);
        return rc;
    }
    route->shm = shm;
    route->far = far;
    route->bell = -1;
    rc = fill_end(route, node_ranks);
    if (rc) {
        comm_destroy(&route->common);
        return rc;
    }
    *ret_comm = &route->common;
    return 0;
}
