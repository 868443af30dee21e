/*
 * The network between virtual ranks.
 *
 * A way is one rank's view of a peer: the messages it has committed and the other has
 * not yet been given. A message is held until comm_flush, and only then flies: a
 * forgotten flush is a hang here, not a slow message. It arrives after a drawn
 * delay, never before an earlier one of the same way. Arriving, it enters the
 * receiver's inbox and wakes it if it is armed. It counts against the way's window
 * from commit to delivery.
 *
 * When a rank dies, a drawn prefix of what each of its ways holds and flies still
 * arrives, flushed or not, and the rest never existed. What is sent to the dead is
 * lost, and its ways stay full, as a ring would that nobody reads. What is sent while two
 * ranks are cut from each other flies when they are not any more.
 *
 * What a rank sends to other nodes leaves it one byte after the other, if a rate is given: who
 * sends the same to many takes as many times as long.
 */
#include "base/alloc.h"
#include "comm/sim_world.h"
#include "manta/error.h"

#define FRAGMENT_BYTES 4064u

static struct sim_rank *rank_of(struct comm *comm)
{
    return MT_CONTAINER(comm, struct sim_rank, comm);
}

static struct sim_way *way_of(struct comm_peer *peer)
{
    return MT_CONTAINER(peer, struct sim_way, common);
}

static void push_message(struct sim_queue *queue, struct sim_message *message)
{
    message->next = NULL;
    *(queue->last ? &queue->last->next : &queue->first) = message;
    queue->last = message;
}

static struct sim_message *pop_message(struct sim_queue *queue)
{
    struct sim_message *message = queue->first;
    if (message) {
        queue->first = message->next;
        if (!queue->first) {
            queue->last = NULL;
        }
    }
    return message;
}

/* Nobody reads it any more: what was lent for it goes back. */
static void end_message(struct sim_message *message)
{
    struct sim_rank *from = message->way->from;
    if (message->loan) {
        base_list_push_back(&from->returned, &message->loan->link);
        sim_rouse_rank(from);
    }
    base_free(message);
}

/* Ends all but the first `kept`; returns how many those are. */
static uint32_t cut_queue(struct sim_queue *queue, uint32_t kept)
{
    struct sim_queue rest = *queue;
    *queue = (struct sim_queue){0};
    uint32_t count = 0;
    for (struct sim_message *message; (message = pop_message(&rest));) {
        if (count < kept) {
            push_message(queue, message);
            count++;
        } else {
            end_message(message);
        }
    }
    return count;
}

static uint32_t queue_length(const struct sim_queue *queue)
{
    uint32_t count = 0;
    for (const struct sim_message *message = queue->first; message; message = message->next) {
        count++;
    }
    return count;
}

static int net_peer_init(struct comm *comm, struct comm_peer *peer)
{
    struct sim_way *way = way_of(peer);
    way->from = rank_of(comm);
    way->to = &way->from->sim->ranks[peer->rank];
    way->next = way->from->ways;
    way->from->ways = way;
    return 0;
}

static struct wire_header *net_slot(struct comm *comm, struct comm_peer *peer, uint32_t bytes,
                                    enum comm_frame frame)
{
    struct sim_way *way = way_of(peer);
    if (way->in_flight >= way->from->sim->options.window) {
        return NULL;
    }
    struct sim_message *message = base_alloc(sizeof *message + bytes);
    if (!message) {
        return NULL;
    }
    message->way = way;
    message->frame = frame;
    message->bytes = bytes;
    comm->open.peer = peer;
    return &message->header;
}

static bool shares_node(const struct sim *sim, uint32_t a, uint32_t b)
{
    uint32_t node_ranks = sim->options.node_ranks;
    return node_ranks == 0 || a / node_ranks == b / node_ranks;
}

/* When the last byte of it is on its way. */
static uint64_t leaves_ns(struct sim *sim, const struct sim_way *way,
                          const struct sim_message *message)
{
    struct sim_rank *from = way->from;
    if (!sim->options.bytes_per_us || shares_node(sim, from->index, way->to->index)) {
        return sim->now_ns;
    }
    from->sends_until_ns =
        MT_MAX(from->sends_until_ns, sim->now_ns) +
        (sizeof message->header + message->bytes) * UINT64_C(1000) / sim->options.bytes_per_us;
    return from->sends_until_ns;
}

static void launch(struct sim *sim, struct sim_way *way, struct sim_message *message)
{
    uint64_t delay_ns = sim_between(sim, sim->options.delay_min_ns, sim->options.delay_max_ns);
    uint64_t apart_ns = sim_apart_until(sim, way->from, way->to);
    uint64_t left_ns = leaves_ns(sim, way, message);
    delay_ns += sim_slowness(sim, way->from) + sim_slowness(sim, way->to);
    way->last_arrival_ns = MT_MAX(way->last_arrival_ns + 1, MT_MAX(left_ns, apart_ns) + delay_ns);
    push_message(&way->flying, message);
    sim_push(sim, way->last_arrival_ns, SIM_ARRIVAL, message->bytes, message->header.kind, way);
}

static void launch_held(struct sim *sim, struct sim_way *way)
{
    for (struct sim_message *message; (message = pop_message(&way->held));) {
        launch(sim, way, message);
    }
}

static void hold(struct comm *comm, struct sim_way *way, struct sim_message *message)
{
    comm->dirty = true;
    way->in_flight++;
    push_message(&way->held, message);
    if (!way->dirty) {
        way->dirty = true;
        way->next_dirty = way->from->dirty;
        way->from->dirty = way;
    }
}

/* comm.c has filled in the header that slot gave out. */
static void net_publish(struct comm *comm)
{
    hold(comm, way_of(comm->open.peer),
         MT_CONTAINER(comm->open.header, struct sim_message, header));
}

static void net_flush(struct comm *comm)
{
    struct sim_rank *rank = rank_of(comm);
    for (struct sim_way *way; (way = rank->dirty);) {
        rank->dirty = way->next_dirty;
        way->dirty = false;
        launch_held(rank->sim, way);
    }
}

void sim_rouse_rank(struct sim_rank *rank)
{
    if (rank->alive && rank->comm.armed) {
        base_park_wake(&rank->host, &rank->comm.park);
    }
}

void sim_arrive(struct sim *sim, struct sim_way *way)
{
    struct sim_message *message = pop_message(&way->flying);
    if (!message) {
        return;
    }
    sim_note(sim, message->header.parent);
    sim_note(sim, (uint64_t)message->header.position << 32 | message->header.length);
    if (!way->to->alive) {
        end_message(message);
        return;
    }
    push_message(&way->to->inbox, message);
    sim_rouse_rank(way->to);
}

void sim_room(struct sim *sim, struct sim_way *way)
{
    sim_rouse_rank(way->from);
}

/* As a network would that reads and writes memory by itself; it takes a copy in between. */
static bool net_lend(struct comm *comm, struct comm_peer *peer, const struct comm_lent *lent,
                     struct comm_loan *loan)
{
    struct sim_way *way = way_of(peer);
    uint32_t bytes = (uint32_t)(sizeof *lent + lent->bytes);
    struct sim_message *message =
        way->to->comm.sink.place ? base_alloc(sizeof *message + bytes) : NULL;
    if (!message) {
        return false;
    }
    message->way = way;
    message->frame = COMM_FRAME_WHOLE;
    message->bytes = bytes;
    message->loan = loan;
    message->header = lent->header;
    memcpy(message->body, lent, sizeof *lent);
    memcpy(message->body + sizeof *lent, lent->data, lent->bytes);
    hold(comm, way, message);
    return true;
}

static void land(struct sim_rank *rank, uint32_t from, const struct sim_message *message)
{
    const struct comm_sink *sink = &rank->comm.sink;
    struct comm_lent lent;
    memcpy(&lent, message->body, sizeof lent);
    lent.data = NULL; /* the lender's */
    void *place = sink->place(sink->owner, from, &lent);
    if (place) {
        memcpy(place, message->body + sizeof lent, lent.bytes);
        comm_count_landed(&rank->comm, &lent);
        sink->landed(sink->owner, from, &lent, place, true);
    }
}

static unsigned tell_returned(struct sim_rank *rank)
{
    const struct comm_sink *sink = &rank->comm.sink;
    struct base_list *link;
    unsigned count = 0;
    for (; (link = base_list_pop_front(&rank->returned)); count++) {
        sink->returned(sink->owner, MT_CONTAINER(link, struct comm_loan, link));
    }
    return count;
}

static void deliver(struct sim_rank *rank, struct sim_message *message)
{
    struct sim_way *way = message->way;
    struct sim *sim = rank->sim;
    struct comm_peer *peer = comm_peer_get(&rank->comm, way->from->index);
    way->in_flight--;
    if (way->waits) {
        way->waits = false;
        sim_push(sim, sim->now_ns + sim_between(sim, 0, sim->options.delay_max_ns), SIM_ROOM, 0, 0,
                 way);
    }
    if (!peer) {
        sim->out_of_memory = true;
    } else if (!peer->down && message->loan) {
        land(rank, peer->rank, message);
    } else if (!peer->down) {
        comm_receive(&rank->comm, peer, &message->header, message->bytes, message->frame);
    }
    end_message(message);
}

static unsigned net_poll(struct comm *comm, unsigned budget)
{
    struct sim_rank *rank = rank_of(comm);
    unsigned count = tell_returned(rank);
    struct sim_message *message;
    while (count < budget && (message = pop_message(&rank->inbox))) {
        deliver(rank, message);
        count++;
    }
    return count;
}

static bool net_arm(struct comm *comm)
{
    struct sim_rank *rank = rank_of(comm);
    if (rank->inbox.first || !base_list_is_empty(&rank->returned)) {
        return false;
    }
    BASE_LIST_EACH(&comm->congested, node)
    {
        struct sim_way *way = MT_CONTAINER(node, struct sim_way, common.congested);
        if (way->in_flight < rank->sim->options.window) {
            return false;
        }
        way->waits = true;
    }
    return true;
}

static void net_rouse(struct comm *comm)
{
}

static uint32_t net_node_index(struct comm *comm, uint32_t rank)
{
    const struct sim *sim = ((struct sim_rank *)comm)->sim;
    uint32_t node_ranks = sim->options.node_ranks;
    return !shares_node(sim, comm->rank, rank) ? COMM_ELSEWHERE
           : node_ranks                        ? rank % node_ranks
                                               : rank;
}

static void *net_board(struct comm *comm, uint32_t rank)
{
    struct sim *sim = ((struct sim_rank *)comm)->sim;
    struct sim_rank *of = &sim->ranks[rank];
    if (!shares_node(sim, comm->rank, rank)) {
        return NULL;
    }
    if (!of->board) {
        of->board = base_alloc_aligned(MT_CACHE_LINE, COMM_BOARD_BYTES);
    }
    return of->board;
}

static const struct comm_ops net_ops = {
    .peer_bytes = sizeof(struct sim_way),
    .fragment_bytes = FRAGMENT_BYTES,
    .peer_init = net_peer_init,
    .slot = net_slot,
    .lend = net_lend,
    .publish = net_publish,
    .flush = net_flush,
    .poll = net_poll,
    .arm = net_arm,
    .rouse = net_rouse,
    .sleep = comm_park_sleep,
    .wake = comm_park_wake,
    .node_index = net_node_index,
    .board = net_board,
};

int sim_end_init(struct sim_rank *rank)
{
    base_list_init(&rank->returned);
    return comm_init(&rank->comm, &net_ops, &rank->host, rank->index, rank->sim->options.ranks);
}

/* Who sent them may have ended before: nobody is told. */
static void free_queue(struct sim_queue *queue)
{
    for (struct sim_message *message; (message = pop_message(queue));) {
        base_free(message);
    }
}

void sim_end_fini(struct sim_rank *rank)
{
    for (struct sim_way *way = rank->ways; way; way = way->next) {
        free_queue(&way->held);
        free_queue(&way->flying);
    }
    free_queue(&rank->inbox);
    base_free(rank->board);
    if (rank->comm.pages) {
        comm_fini(&rank->comm);
    }
}

static void cut_way(struct sim *sim, struct sim_way *way)
{
    uint32_t flying = queue_length(&way->flying), held = queue_length(&way->held);
    uint32_t kept = (uint32_t)sim_draw(sim, flying + held + 1);
    kept -= cut_queue(&way->flying, kept);
    cut_queue(&way->held, kept);
    launch_held(sim, way);
}

/* With a rank's end, at the latest. */
void sim_lose_messages(struct sim *sim, struct sim_rank *rank)
{
    for (struct sim_way *way = rank->ways; way; way = way->next) {
        cut_way(sim, way);
    }
    cut_queue(&rank->inbox, 0);
}
