/*
 * What all backends share: routes, overflow, fragments, deaths.
 *
 * A message takes one of four ways, decided in comm_prepare. Straight into the
 * backend's slot, the usual one. Into the peer's overflow, when others wait there
 * already, the way is full, or the message is longer than a frame. Into the queue to
 * itself. Or nowhere, when the peer is dead or this end is mute. direct_bound folds the questions
 * "dead? congested? too long?" into one comparison on the hot path.
 *
 * Overflow keeps the order: while it holds anything, nothing goes direct. It moves on
 * from comm_progress, or from the commit itself when the message was only too long.
 *
 * A death has two halves. comm_mark_down only notes it (it may be called between
 * prepare and commit, or inside a sink); the next comm_progress drops what waits for
 * the peer and tells the sink, once. From the first half on nothing is sent to the
 * peer and nothing of it is delivered.
 */
#include "base/alloc.h"
#include "comm/ops.h"
#include "manta/error.h"

uint32_t comm_rank(const struct comm *comm)
{
    return comm->rank;
}

uint32_t comm_size(const struct comm *comm)
{
    return comm->size;
}

void comm_set_sink(struct comm *comm, const struct comm_sink *sink)
{
    comm->sink = *sink;
}

struct comm_stats comm_get_stats(const struct comm *comm)
{
    struct comm_stats stats = comm->stats;
    stats.sleeps = atomic_load_explicit(&comm->sleeps, memory_order_relaxed);
    return stats;
}

int comm_init(struct comm *comm, const struct comm_ops *ops, const struct base_host *host,
              uint32_t rank, uint32_t size)
{
    uint32_t pages = (size + COMM_PAGE_PEERS - 1) / COMM_PAGE_PEERS;
    comm->pages = base_alloc(pages * sizeof *comm->pages);
    if (!comm->pages) {
        return MANTA_E_NOMEM;
    }
    comm->ops = ops;
    comm->host = host;
    comm->rank = rank;
    comm->size = size;
    base_list_init(&comm->congested);
    base_list_init(&comm->down_news);
    return 0;
}

static void free_page(struct comm_peer **page)
{
    for (uint32_t i = 0; page && i < COMM_PAGE_PEERS; i++) {
        if (page[i]) {
            comm_fifo_fini(&page[i]->overflow);
            base_free(page[i]->assembly);
            base_free(page[i]);
        }
    }
    base_free(page);
}

void comm_fini(struct comm *comm)
{
    for (uint32_t i = 0; i * COMM_PAGE_PEERS < comm->size; i++) {
        free_page(comm->pages[i]);
    }
    base_free(comm->pages);
    comm_fifo_fini(&comm->self);
    base_free(comm->discard);
}

void comm_destroy(struct comm *comm)
{
    if (!comm || !comm->ops->destroy) {
        return;
    }
    comm->ops->destroy(comm);
    comm_fini(comm);
    base_free(comm);
}

static uint32_t direct_bound(const struct comm *comm, const struct comm_peer *peer)
{
    /* The caller knows that the overflow is empty. */
    bool is_direct = !peer->down && !comm->is_mute && peer->rank != comm->rank;
    return is_direct ? comm->ops->fragment_bytes + 1 : 0;
}

static struct comm_peer *first_contact(struct comm *comm, struct comm_peer **page, uint32_t rank)
{
    struct comm_peer *peer = base_alloc_aligned(MT_CACHE_LINE, comm->ops->peer_bytes);
    if (!peer) {
        return NULL;
    }
    peer->rank = rank;
    base_list_init(&peer->congested);
    base_list_init(&peer->news);
    if (comm->ops->peer_init(comm, peer)) {
        base_free(peer);
        return NULL;
    }
    peer->direct_bound = direct_bound(comm, peer);
    page[rank % COMM_PAGE_PEERS] = peer;
    return peer;
}

struct comm_peer *comm_peer_get(struct comm *comm, uint32_t rank)
{
    struct comm_peer *peer = comm_peer_find(comm, rank);
    if (peer) {
        return peer;
    }
    struct comm_peer ***page = &comm->pages[rank / COMM_PAGE_PEERS];
    if (!*page) {
        *page = base_alloc(COMM_PAGE_PEERS * sizeof **page);
        if (!*page) {
            return NULL;
        }
    }
    return first_contact(comm, *page, rank);
}

static struct wire_header *prepare_discard(struct comm *comm, uint32_t bytes)
{
    uint32_t needed = (uint32_t)sizeof(struct wire_header) + bytes;
    if (comm->discard_bytes < needed) {
        void *room = base_realloc(comm->discard, comm->discard_bytes, needed);
        if (!room) {
            return NULL;
        }
        comm->discard = room;
        comm->discard_bytes = needed;
    }
    comm->open.kind = COMM_OPEN_DISCARD;
    return comm->discard;
}

static struct wire_header *prepare_overflow(struct comm *comm, struct comm_peer *peer,
                                            uint32_t bytes)
{
    struct comm_record *record = comm_fifo_push(&peer->overflow, bytes);
    if (!record) {
        return NULL;
    }
    peer->direct_bound = 0;
    comm->open.kind = COMM_OPEN_RECORD;
    comm->open.peer = peer;
    return &record->header;
}

static MT_NOINLINE struct wire_header *prepare_indirect(struct comm *comm, struct comm_peer *peer,
                                                        uint32_t bytes)
{
    struct wire_header *header;
    comm->open.word = NULL;
    if (peer->rank == comm->rank) {
        header = comm_self_prepare(comm, bytes);
    } else if (peer->down || comm->is_mute) {
        header = prepare_discard(comm, bytes);
    } else {
        header = prepare_overflow(comm, peer, bytes);
    }
    comm->open.header = header;
    comm->open.bytes = bytes;
    return header;
}

MT_HOT struct wire_header *comm_prepare(struct comm *comm, uint32_t rank, size_t body_bytes)
{
    struct comm_peer *peer = comm_peer_find(comm, rank);
    if (MT_UNLIKELY(!peer)) {
        peer = comm_peer_get(comm, rank);
        if (!peer) {
            return NULL;
        }
    }
    if (MT_LIKELY(body_bytes < peer->direct_bound)) {
        comm->open.word = NULL;
        struct wire_header *header =
            comm->ops->slot(comm, peer, (uint32_t)body_bytes, COMM_FRAME_WHOLE);
        if (MT_LIKELY(header != NULL)) {
            comm->open.kind = COMM_OPEN_FRAME;
            comm->open.header = header;
            comm->open.bytes = (uint32_t)body_bytes;
            return header;
        }
    }
    return body_bytes <= WIRE_BODY_MAX ? prepare_indirect(comm, peer, (uint32_t)body_bytes) : NULL;
}

MT_INLINE void publish(struct comm *comm)
{
    comm->dirty = true;
    if (MT_LIKELY(comm->open.word != NULL)) {
        /* Pairs with the acquire of the backend's poll: header and body before the word. */
        atomic_store_explicit(comm->open.word, comm->open.value, memory_order_release);
    } else {
        comm->ops->publish(comm);
    }
}

/* One frame of the record's body, from sent_bytes on. False when the way is full. */
static bool send_frame(struct comm *comm, struct comm_peer *peer, struct comm_record *record)
{
    uint32_t limit = comm->ops->fragment_bytes, left = record->body_bytes - record->sent_bytes;
    uint32_t bytes = MT_MIN(left, limit);
    enum comm_frame frame = record->sent_bytes ? COMM_FRAME_MORE : COMM_FRAME_BEGIN;
    if (left == bytes) {
        frame = record->sent_bytes ? COMM_FRAME_END : COMM_FRAME_WHOLE;
    }
    comm->open.word = NULL;
    struct wire_header *header = comm->ops->slot(comm, peer, bytes, frame);
    if (!header) {
        return false;
    }
    comm->open.header = header;
    *header = record->header;
    memcpy(header + 1, record->body + record->sent_bytes, bytes);
    record->sent_bytes += bytes;
    publish(comm);
    return true;
}

/* Moves the overflow on until it is empty or the way is full. */
static void move_overflow(struct comm *comm, struct comm_peer *peer)
{
    struct comm_record *record;
    while ((record = comm_fifo_front(&peer->overflow))) {
        do {
            if (!send_frame(comm, peer, record)) {
                return;
            }
        } while (record->sent_bytes < record->body_bytes);
        comm_fifo_pop(&peer->overflow);
    }
    base_list_remove(&peer->congested);
    peer->direct_bound = direct_bound(comm, peer);
}

static void commit_record(struct comm *comm, struct comm_peer *peer)
{
    if (peer->overflow.count == 1) {
        move_overflow(comm, peer);
        if (!peer->overflow.count) {
            return;
        }
        base_list_push_back(&comm->congested, &peer->congested);
    }
    comm->stats.overflowed++;
}

MT_HOT void comm_commit(struct comm *comm)
{
    comm->open.header->length = comm->open.bytes;
    if (MT_UNLIKELY(comm->open.kind == COMM_OPEN_DISCARD)) {
        return;
    }
    comm->stats.messages_sent++;
    comm->stats.bytes_sent += sizeof(struct wire_header) + comm->open.bytes;
    if (MT_LIKELY(comm->open.kind == COMM_OPEN_FRAME)) {
        publish(comm);
    } else if (comm->open.kind == COMM_OPEN_RECORD) {
        commit_record(comm, comm->open.peer);
    }
}

bool comm_lend(struct comm *comm, uint32_t rank, const struct comm_lent *lent,
               struct comm_loan *loan)
{
    struct comm_peer *peer = comm->ops->lend ? comm_peer_find(comm, rank) : NULL;
    bool is_far = peer && !peer->down && !comm->is_mute && rank != comm->rank;
    if (!is_far || !comm->ops->lend(comm, peer, lent, loan)) {
        return false;
    }
    comm->stats.messages_sent++;
    comm->stats.bytes_sent += sizeof lent->header + sizeof lent->head + lent->bytes;
    return true;
}

MT_HOT void comm_flush(struct comm *comm)
{
    if (comm->dirty) {
        comm->dirty = false;
        comm->ops->flush(comm);
    }
}

void comm_push(struct comm *comm)
{
    comm_flush(comm);
    if (comm->ops->push) {
        comm->ops->push(comm);
    }
}

bool comm_is_congested(const struct comm *comm, uint32_t rank)
{
    const struct comm_peer *peer = comm_peer_find(comm, rank);
    return peer && peer->overflow.count;
}

/* Returns how many peers are not congested any more. */
static unsigned move_all(struct comm *comm)
{
    unsigned ended = 0;
    BASE_LIST_EACH(&comm->congested, node)
    {
        struct comm_peer *peer = MT_CONTAINER(node, struct comm_peer, congested);
        move_overflow(comm, peer);
        ended += !peer->overflow.count;
    }
    comm_flush(comm);
    return ended;
}

static void drop_peer(struct comm *comm, struct comm_peer *peer)
{
    comm_fifo_fini(&peer->overflow);
    base_list_remove(&peer->congested);
    base_free(peer->assembly);
    peer->assembly = NULL;
    if (comm->ops->peer_down) {
        comm->ops->peer_down(comm, peer);
    }
    comm->sink.peer_down(comm->sink.owner, peer->rank);
}

static MT_COLD unsigned tell_deaths(struct comm *comm)
{
    unsigned count = 0;
    struct base_list *node;
    while ((node = base_list_pop_front(&comm->down_news))) {
        drop_peer(comm, MT_CONTAINER(node, struct comm_peer, news));
        count++;
    }
    return count;
}

static MT_NOINLINE unsigned progress_rest(struct comm *comm, unsigned budget)
{
    unsigned count = 0;
    if (comm->self.count) {
        count += comm_self_poll(comm, budget);
    }
    if (MT_UNLIKELY(!base_list_is_empty(&comm->down_news))) {
        count += tell_deaths(comm);
    }
    if (MT_UNLIKELY(!base_list_is_empty(&comm->congested))) {
        count += move_all(comm);
    }
    return count;
}

MT_HOT unsigned comm_progress(struct comm *comm, unsigned budget)
{
    if (MT_UNLIKELY(comm->armed)) {
        comm_rouse(comm);
    }
    unsigned count = comm->ops->poll(comm, budget);
    bool has_rest = comm->self.count || !base_list_is_empty(&comm->down_news) ||
                    !base_list_is_empty(&comm->congested);
    return MT_UNLIKELY(has_rest) ? count + progress_rest(comm, budget) : count;
}

bool comm_arm(struct comm *comm)
{
    if (comm->self.count || !base_list_is_empty(&comm->down_news) || !comm->ops->arm(comm)) {
        return false;
    }
    comm->armed = true;
    return true;
}

void comm_rouse(struct comm *comm)
{
    comm->armed = false;
    comm->ops->rouse(comm);
}

bool comm_is_armed(const struct comm *comm)
{
    return comm->armed;
}

void comm_sleep(struct comm *comm, uint64_t deadline_ns)
{
    comm->ops->sleep(comm, deadline_ns);
}

void comm_wake(struct comm *comm)
{
    comm->ops->wake(comm);
}

uint32_t comm_node_index(struct comm *comm, uint32_t rank)
{
    return comm->ops->node_index ? comm->ops->node_index(comm, rank) : 0;
}

void *comm_board(struct comm *comm, uint32_t rank)
{
    return comm->ops->board ? comm->ops->board(comm, rank) : NULL;
}

void comm_mark_down(struct comm *comm, uint32_t rank)
{
    if (rank == comm->rank || rank >= comm->size) {
        return;
    }
    struct comm_peer *peer = comm_peer_get(comm, rank);
    if (!peer || peer->down) {
        return;
    }
    peer->down = true;
    peer->direct_bound = 0;
    base_list_push_back(&comm->down_news, &peer->news);
}

void comm_mute(struct comm *comm)
{
    comm->is_mute = true;
    for (uint32_t rank = 0; rank < comm->size; rank++) {
        struct comm_peer *peer = comm_peer_find(comm, rank);
        if (peer) {
            peer->direct_bound = 0;
        }
    }
}

/* Three instructions where it is called; that the linker shall see. */
extern inline bool comm_is_down(const struct comm *comm, uint32_t rank)
{
    const struct comm_peer *peer = comm_peer_find(comm, rank);
    return peer && peer->down;
}

void comm_report_death(struct comm *comm, uint32_t peer)
{
    if (peer < comm->size && peer != comm->rank && comm->ops->report_death) {
        comm->ops->report_death(comm, peer);
    }
}

void comm_peer_broken(struct comm *comm, struct comm_peer *peer)
{
    comm_mark_down(comm, peer->rank);
}

static void assembly_begin(struct comm *comm, struct comm_peer *peer,
                           const struct wire_header *header, uint32_t bytes)
{
    uint32_t length = header->length;
    if (peer->assembly || length > WIRE_BODY_MAX || length <= bytes) {
        comm_peer_broken(comm, peer);
        return;
    }
    peer->assembly = base_alloc(sizeof *header + length);
    if (!peer->assembly) {
        comm_peer_broken(comm, peer);
        return;
    }
    *peer->assembly = *header;
    peer->assembly->length = length;
    memcpy(peer->assembly + 1, header + 1, bytes);
    peer->assembled_bytes = bytes;
}

static void assembly_end(struct comm *comm, struct comm_peer *peer)
{
    struct wire_header *whole = peer->assembly;
    peer->assembly = NULL;
    comm->stats.messages_received++;
    comm->stats.bytes_received += sizeof *whole + whole->length;
    comm->sink.message(comm->sink.owner, peer->rank, whole, whole + 1);
    base_free(whole);
}

/*
 * Any frame that is not a plain whole message, malformed ones too. Memory running
 * out here loses a message, which only the peer's death may do: it is treated so.
 */
void comm_receive_fragment(struct comm *comm, struct comm_peer *peer,
                           const struct wire_header *header, uint32_t bytes, enum comm_frame frame)
{
    if (frame == COMM_FRAME_BEGIN) {
        assembly_begin(comm, peer, header, bytes);
        return;
    }
    bool fits = frame != COMM_FRAME_WHOLE && peer->assembly &&
                bytes <= peer->assembly->length - peer->assembled_bytes;
    if (!fits) {
        comm_peer_broken(comm, peer);
        return;
    }
    memcpy((uint8_t *)(peer->assembly + 1) + peer->assembled_bytes, header + 1, bytes);
    peer->assembled_bytes += bytes;
    bool full = peer->assembled_bytes == peer->assembly->length;
    if (full != (frame == COMM_FRAME_END)) {
        comm_peer_broken(comm, peer);
    } else if (full) {
        assembly_end(comm, peer);
    }
}
