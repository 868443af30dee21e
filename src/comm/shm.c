/*
 * comm/shm: the ranks of one node over rings in shared memory.
 *
 * shm.h has the layout. What decides the speed is how little is touched: a small
 * message is one cache line, published by one release store of the sequence word
 * inside it; no other shared word is written. The writer keeps its position for
 * itself and rereads the reader's only when the ring seems full; the reader
 * publishes its own every half ring.
 *
 * A reader polls hot rings only: those that had something lately. A ring that has
 * been quiet for a while is armed: the reader stores polled = 0, fences, looks once
 * more, and leaves it. The writer, once per flush and not per message, fences, and
 * rings the reader's doorbell for those of its rings that are not polled. Each side
 * stores and then loads what the other stores, with a full fence in between, so at
 * least one of them sees the other: no message is left lying. Going to sleep is the
 * same for all hot rings at once and for the asleep flag.
 *
 * Invariant: a ring with something unread is in the hot list, or its doorbell bit is
 * set, or its writer has not flushed. A turn that ends early at its budget leaves
 * the ring hot, so clearing a bell never loses what the turn did not reach.
 *
 * A writer that wants to sleep while its overflow waits for room sets `waits`; the
 * reader looks at it when it publishes its position, again with fences between. It must set
 * the doorbell bit too, not only ring: its clearing of `waits` may hit one set anew.
 * tests/model has these protocols: ring.pml, sleep.pml, room.pml.
 *
 * The peer may be broken and write garbage: kinds, lengths and positions are checked
 * before use; what does not fit marks the peer down. The segment's owner is the
 * node's user, so this is against faults, not against attacks.
 */
#include "comm/shm.h"
#include "base/alloc.h"
#include "comm/backends.h"
#include "manta/error.h"

#include <sys/mman.h>
#include <sys/stat.h>

/* Fruitless looks, times hot rings, before a ring is armed: idle ones must not slow the rest. */
#define QUIET_LOOKS 4096

struct shm_peer {
    struct comm_peer common;
    /* Sending. */
    MT_ALIGNED(MT_CACHE_LINE) struct shm_ring *out;
    uint32_t tail;      /* next position to write */
    uint32_t head_seen; /* of the reader, as last read */
    bool dirty;         /* written since the last flush */
    /* Receiving. */
    bool hot;   /* in shm->hot */
    bool dying; /* its process has ended: down once the ring is empty */
    struct shm_ring *in;
    uint32_t head; /* next position to read */
    uint32_t head_published;
    uint32_t quiet; /* looks since the last frame */
};

struct comm_shm {
    struct comm common;
    uint8_t *segment;
    size_t mapped_bytes; /* 0: somebody else's mapping */
    struct shm_control *control;
    uint32_t doorbell_words;
    uint32_t hot_count, hot_next, dirty_count, contacts, capacity;
    struct shm_peer **hot, **dirty; /* room for every contact */
    _Atomic uint32_t deaths;        /* 1: look at dead */
    _Atomic uint64_t *dead;         /* bit per rank: reported, not yet seen. Any thread sets. */
};

/* Orders a store before a later load. The thread sanitizer knows no fences. */
MT_INLINE void full_fence(void)
{
#ifdef __SANITIZE_THREAD__
    static _Atomic uint32_t barrier;
    atomic_fetch_add_explicit(&barrier, 1, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static struct comm_shm *shm_of(struct comm *comm)
{
    return (struct comm_shm *)comm;
}

static struct shm_peer *shm_peer_of(struct comm_peer *peer)
{
    return (struct shm_peer *)peer;
}

static struct shm_ring *ring_at(const struct comm_shm *shm, uint32_t reader, uint32_t writer)
{
    return (struct shm_ring *)(shm->segment +
                               comm_shm_ring_offset(shm->common.size, reader, writer));
}

static struct shm_control *control_at(const struct comm_shm *shm, uint32_t rank)
{
    return (struct shm_control *)(shm->segment + comm_shm_control_offset(shm->common.size, rank));
}

static int grow_contacts(struct comm_shm *shm)
{
    uint32_t capacity = shm->capacity ? 2 * shm->capacity : 8;
    size_t old_bytes = shm->capacity * sizeof *shm->hot, bytes = capacity * sizeof *shm->hot;
    void *hot = base_realloc(shm->hot, old_bytes, bytes);
    if (hot) {
        shm->hot = hot;
    }
    void *dirty = base_realloc(shm->dirty, old_bytes, bytes);
    if (dirty) {
        shm->dirty = dirty;
    }
    if (!hot || !dirty) {
        return MANTA_E_NOMEM;
    }
    shm->capacity = capacity;
    return 0;
}

static int shm_peer_init(struct comm *comm, struct comm_peer *common)
{
    struct comm_shm *shm = shm_of(comm);
    struct shm_peer *peer = shm_peer_of(common);
    if (shm->contacts == shm->capacity) {
        int rc = grow_contacts(shm);
        if (rc) {
            return rc;
        }
    }
    shm->contacts++;
    peer->out = ring_at(shm, common->rank, comm->rank);
    peer->in = ring_at(shm, comm->rank, common->rank);
    return 0;
}

/* Sending */

MT_INLINE uint32_t frame_lines(uint32_t bytes)
{
    return (bytes + MT_CACHE_LINE - SHM_BODY_INLINE + MT_CACHE_LINE - 1) / MT_CACHE_LINE;
}

/* Rereads the reader's position. True when `lines` more fit. */
static MT_NOINLINE bool has_room(struct comm *comm, struct shm_peer *peer, uint32_t lines)
{
    /* Pairs with the release in publish_head: lines are cleared before they are reused. */
    uint32_t head = atomic_load_explicit(&peer->out->head, memory_order_acquire);
    if (peer->tail - head > peer->tail - peer->head_seen) {
        comm_peer_broken(comm, &peer->common);
        return false;
    }
    peer->head_seen = head;
    return peer->tail - head + lines <= SHM_RING_LINES;
}

static void put_pad(struct shm_peer *peer, uint32_t lines)
{
    struct shm_line *line = &peer->out->lines[peer->tail % SHM_RING_LINES];
    line->info = SHM_INFO(SHM_KIND_PAD, lines);
    atomic_store_explicit(&line->sequence, peer->tail | 1, memory_order_release);
    peer->tail += lines;
}

static MT_HOT struct wire_header *shm_slot(struct comm *comm, struct comm_peer *common,
                                           uint32_t bytes, enum comm_frame frame)
{
    struct shm_peer *peer = shm_peer_of(common);
    uint32_t lines = frame_lines(bytes), left = SHM_RING_LINES - peer->tail % SHM_RING_LINES;
    uint32_t pad = lines > left ? left : 0;
    if (MT_UNLIKELY(peer->tail - peer->head_seen + pad + lines > SHM_RING_LINES) &&
        !has_room(comm, peer, pad + lines)) {
        return NULL;
    }
    if (MT_UNLIKELY(pad != 0)) {
        put_pad(peer, pad);
    }
    struct shm_line *line = &peer->out->lines[peer->tail % SHM_RING_LINES];
    line->info = SHM_INFO(frame, bytes);
    comm->open.word = &line->sequence;
    comm->open.value = peer->tail | 1;
    peer->tail += lines;
    if (!peer->dirty) {
        peer->dirty = true;
        struct comm_shm *shm = shm_of(comm);
        shm->dirty[shm->dirty_count++] = peer;
    }
    return &line->header;
}

/* Makes a rank look at what concerns this one. The caller has fenced. */
static MT_NOINLINE void ring_doorbell(struct comm_shm *shm, uint32_t rank)
{
    struct shm_control *control = control_at(shm, rank);
    _Atomic uint64_t *word = &control->doorbell[shm->common.rank / 64];
    uint64_t bit = UINT64_C(1) << shm->common.rank % 64;
    if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) {
        /* Pairs with take_bells and found_work. */
        atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    }
    /* Pairs with shm_arm. Whoever takes the flag down rings; the others need not. */
    if (atomic_load_explicit(&control->asleep, memory_order_seq_cst) &&
        atomic_exchange_explicit(&control->asleep, 0, memory_order_seq_cst)) {
        shm->common.stats.bells_rung++;
        comm_shm_ring_bell(control);
    }
}

static MT_HOT void shm_flush(struct comm *comm)
{
    struct comm_shm *shm = shm_of(comm);
    full_fence(); /* the sequence words before the loads of polled */
    for (uint32_t i = 0; i < shm->dirty_count; i++) {
        struct shm_peer *peer = shm->dirty[i];
        peer->dirty = false;
        if (MT_UNLIKELY(!atomic_load_explicit(&peer->out->polled, memory_order_relaxed))) {
            ring_doorbell(shm, peer->common.rank);
        }
    }
    shm->dirty_count = 0;
}

/* Receiving */

static void publish_head(struct comm_shm *shm, struct shm_peer *peer)
{
    struct shm_ring *ring = peer->in;
    peer->head_published = peer->head;
    /* Pairs with has_room. */
    atomic_store_explicit(&ring->head, peer->head, memory_order_release);
    full_fence(); /* head before the load of waits; pairs with shm_arm */
    if (MT_UNLIKELY(atomic_load_explicit(&ring->waits, memory_order_relaxed))) {
        atomic_store_explicit(&ring->waits, 0, memory_order_relaxed);
        ring_doorbell(shm, peer->common.rank);
    }
}

/* How many lines the frame at `at` takes; 0: that cannot be. */
MT_INLINE uint32_t checked_lines(uint32_t info, uint32_t at)
{
    uint32_t bytes = SHM_INFO_BYTES(info), kind = SHM_INFO_KIND(info);
    if (MT_UNLIKELY(kind >= SHM_KIND_PAD)) {
        return kind == SHM_KIND_PAD && at + bytes == SHM_RING_LINES ? bytes : 0;
    }
    uint32_t lines = frame_lines(bytes);
    return bytes <= SHM_FRAGMENT_BYTES && at + lines <= SHM_RING_LINES ? lines : 0;
}

MT_INLINE bool is_ready(const struct shm_peer *peer)
{
    const struct shm_line *line = &peer->in->lines[peer->head % SHM_RING_LINES];
    /* Pairs with the release in comm_commit. */
    return atomic_load_explicit(&line->sequence, memory_order_acquire) == (peer->head | 1);
}

static void clear_continuation(struct shm_line *head, uint32_t lines)
{
    for (uint32_t i = 1; i < lines; i++) {
        atomic_store_explicit(&head[i].sequence, 0, memory_order_relaxed);
    }
}

/* Delivers at most `budget` frames. */
static MT_HOT unsigned drain(struct comm *comm, struct shm_peer *peer, unsigned budget)
{
    unsigned count = 0;
    while (count < budget && is_ready(peer) && !peer->common.down) {
        uint32_t at = peer->head % SHM_RING_LINES;
        struct shm_line *line = &peer->in->lines[at];
        uint32_t info = line->info, lines = checked_lines(info, at);
        if (MT_UNLIKELY(lines == 0)) {
            comm_peer_broken(comm, &peer->common);
            break;
        }
        if (MT_LIKELY(SHM_INFO_KIND(info) != SHM_KIND_PAD)) {
            comm_receive(comm, &peer->common, &line->header, SHM_INFO_BYTES(info),
                         SHM_INFO_KIND(info));
            clear_continuation(line, lines);
            count++;
        }
        peer->head += lines;
        if (peer->head - peer->head_published >= SHM_HEAD_STEP) {
            publish_head(shm_of(comm), peer);
        }
    }
    return count;
}

static void heat(struct comm_shm *shm, struct shm_peer *peer)
{
    if (!peer->hot) {
        peer->hot = true;
        peer->quiet = 0;
        shm->hot[shm->hot_count++] = peer;
    }
    atomic_store_explicit(&peer->in->polled, 1, memory_order_relaxed);
}

/* After a fruitless look: true when the ring shall be polled no more. */
static bool cools(struct comm_shm *shm, struct shm_peer *peer)
{
    if (MT_UNLIKELY(peer->common.down)) {
        return true;
    }
    if (MT_UNLIKELY(peer->dying)) {
        comm_mark_down(&shm->common, peer->common.rank);
        return true;
    }
    if (++peer->quiet * shm->hot_count < QUIET_LOOKS) {
        return false;
    }
    peer->quiet = 0;
    atomic_store_explicit(&peer->in->polled, 0, memory_order_relaxed);
    full_fence(); /* polled before the look; pairs with shm_flush */
    if (is_ready(peer)) {
        atomic_store_explicit(&peer->in->polled, 1, memory_order_relaxed);
        return false;
    }
    return true;
}

static MT_NOINLINE void take_bells(struct comm_shm *shm, uint32_t index)
{
    _Atomic uint64_t *word = &shm->control->doorbell[index];
    uint64_t bits = atomic_exchange_explicit(word, 0, memory_order_seq_cst);
    full_fence(); /* the bell before the look at the ring; pairs with ring_doorbell */
    for (; bits; bits &= bits - 1) {
        uint32_t rank = index * 64 + (uint32_t)__builtin_ctzll(bits);
        if (rank >= shm->common.size || rank == shm->common.rank) {
            continue;
        }
        struct comm_peer *peer = comm_peer_get(&shm->common, rank);
        if (!peer) { /* memory is out: try again at the next turn */
            atomic_fetch_or_explicit(word, UINT64_C(1) << rank % 64, memory_order_seq_cst);
        } else if (!peer->down) {
            heat(shm, shm_peer_of(peer));
        } else { /* it lives after all, and need not ring any more */
            atomic_store_explicit(&shm_peer_of(peer)->in->polled, 1, memory_order_relaxed);
        }
    }
}

static MT_COLD void take_deaths(struct comm_shm *shm)
{
    /* Pairs with shm_report_death. */
    atomic_exchange_explicit(&shm->deaths, 0, memory_order_seq_cst);
    for (uint32_t rank = 0; rank < shm->common.size; rank++) {
        uint64_t bit = UINT64_C(1) << rank % 64;
        if (!(atomic_load_explicit(&shm->dead[rank / 64], memory_order_acquire) & bit)) {
            continue;
        }
        struct comm_peer *peer = comm_peer_get(&shm->common, rank);
        if (!peer) {
            atomic_store_explicit(&shm->deaths, 1, memory_order_relaxed);
            continue;
        }
        atomic_fetch_and_explicit(&shm->dead[rank / 64], ~bit, memory_order_relaxed);
        if (!peer->down) {
            shm_peer_of(peer)->dying = true;
            heat(shm, shm_peer_of(peer));
        }
    }
}

MT_INLINE unsigned look_at_hot(struct comm_shm *shm, unsigned budget)
{
    unsigned count = 0;
    uint32_t at = shm->hot_next;
    for (uint32_t left = shm->hot_count; left && count < budget; left--) {
        if (at >= shm->hot_count) {
            at = 0;
        }
        struct shm_peer *peer = shm->hot[at];
        unsigned got = drain(&shm->common, peer, budget - count);
        if (got) {
            peer->quiet = 0;
            count += got;
            at++;
        } else if (MT_UNLIKELY(cools(shm, peer))) {
            peer->hot = false;
            shm->hot[at] = shm->hot[--shm->hot_count];
        } else {
            at++;
        }
    }
    shm->hot_next = at;
    return count;
}

MT_INLINE bool has_news(const struct comm_shm *shm)
{
    uint64_t news = atomic_load_explicit(&shm->deaths, memory_order_relaxed);
    for (uint32_t i = 0; i < shm->doorbell_words; i++) {
        news |= atomic_load_explicit(&shm->control->doorbell[i], memory_order_relaxed);
    }
    return news != 0;
}

/* Returns how many frames came from rings that have become hot by it. */
static MT_NOINLINE unsigned take_news(struct comm_shm *shm, unsigned budget)
{
    uint32_t hot_before = shm->hot_count;
    for (uint32_t i = 0; i < shm->doorbell_words; i++) {
        if (atomic_load_explicit(&shm->control->doorbell[i], memory_order_relaxed) != 0) {
            take_bells(shm, i);
        }
    }
    if (atomic_load_explicit(&shm->deaths, memory_order_relaxed)) {
        take_deaths(shm);
    }
    return shm->hot_count != hot_before ? look_at_hot(shm, budget) : 0;
}

/* Hot rings first: their messages should not wait for a look at the bells. */
static MT_HOT unsigned shm_poll(struct comm *comm, unsigned budget)
{
    struct comm_shm *shm = shm_of(comm);
    unsigned count = look_at_hot(shm, budget);
    return MT_UNLIKELY(has_news(shm)) ? count + take_news(shm, budget - count) : count;
}

/* Sleep */

static bool found_work(struct comm_shm *shm)
{
    for (uint32_t i = 0; i < shm->hot_count; i++) {
        if (shm->hot[i]->dying || is_ready(shm->hot[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < shm->doorbell_words; i++) {
        if (atomic_load_explicit(&shm->control->doorbell[i], memory_order_seq_cst)) {
            return true;
        }
    }
    BASE_LIST_EACH(&shm->common.congested, node)
    {
        struct shm_peer *peer = MT_CONTAINER(node, struct shm_peer, common.congested);
        if (atomic_load_explicit(&peer->out->head, memory_order_relaxed) != peer->head_seen) {
            return true;
        }
    }
    return atomic_load_explicit(&shm->deaths, memory_order_seq_cst) != 0;
}

static void set_polled(struct comm_shm *shm, uint32_t polled)
{
    for (uint32_t i = 0; i < shm->hot_count; i++) {
        atomic_store_explicit(&shm->hot[i]->in->polled, polled, memory_order_relaxed);
    }
}

static void shm_rouse(struct comm *comm)
{
    atomic_store_explicit(&shm_of(comm)->control->asleep, 0, memory_order_relaxed);
}

static bool shm_arm(struct comm *comm)
{
    struct comm_shm *shm = shm_of(comm);
    set_polled(shm, 0);
    BASE_LIST_EACH(&comm->congested, node)
    {
        struct shm_peer *peer = MT_CONTAINER(node, struct shm_peer, common.congested);
        atomic_store_explicit(&peer->out->waits, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&shm->control->asleep, 1, memory_order_seq_cst);
    full_fence(); /* all of that before the last look */
    if (found_work(shm)) {
        shm_rouse(comm);
        set_polled(shm, 1);
        return false;
    }
    for (uint32_t i = 0; i < shm->hot_count; i++) {
        shm->hot[i]->hot = false;
    }
    shm->hot_count = 0;
    return true;
}

static void shm_sleep(struct comm *comm, uint64_t deadline_ns)
{
    atomic_fetch_add_explicit(&comm->sleeps, 1, memory_order_relaxed);
    comm_shm_await_bell(shm_of(comm)->control, deadline_ns);
}

static void shm_wake(struct comm *comm)
{
    comm_shm_ring_bell(shm_of(comm)->control);
}

struct shm_control *comm_shm_control(struct comm *comm)
{
    return shm_of(comm)->control;
}

static void shm_report_death(struct comm *comm, uint32_t peer)
{
    struct comm_shm *shm = shm_of(comm);
    atomic_fetch_or_explicit(&shm->dead[peer / 64], UINT64_C(1) << peer % 64, memory_order_release);
    atomic_store_explicit(&shm->deaths, 1, memory_order_seq_cst);
    shm_wake(comm);
}

/* Making and ending */

static void shm_destroy(struct comm *comm)
{
    struct comm_shm *shm = shm_of(comm);
    base_free(shm->hot);
    base_free(shm->dirty);
    base_free(shm->dead);
    if (shm->mapped_bytes) {
        munmap(shm->segment, shm->mapped_bytes);
    }
}

static uint32_t shm_node_index(struct comm *comm, uint32_t rank)
{
    return rank;
}

static void *shm_board(struct comm *comm, uint32_t rank)
{
    return (char *)shm_of(comm)->segment + comm_shm_board_offset(comm->size, rank);
}

static const struct comm_ops shm_ops = {
    .peer_bytes = sizeof(struct shm_peer),
    .fragment_bytes = SHM_FRAGMENT_BYTES,
    .peer_init = shm_peer_init,
    .slot = shm_slot,
    .flush = shm_flush,
    .poll = shm_poll,
    .arm = shm_arm,
    .rouse = shm_rouse,
    .sleep = shm_sleep,
    .wake = shm_wake,
    .node_index = shm_node_index,
    .board = shm_board,
    .report_death = shm_report_death,
    .destroy = shm_destroy,
};

int comm_shm_attach(const struct base_host *host, void *segment, uint32_t rank, uint32_t ranks,
                    struct comm **ret_comm)
{
    const struct shm_segment *head = segment;
    if (rank >= ranks || head->magic != SHM_MAGIC || head->ranks != ranks) {
        return MANTA_E_INVALID;
    }
    struct comm_shm *shm = base_alloc_aligned(MT_CACHE_LINE, sizeof *shm);
    if (!shm) {
        return MANTA_E_NOMEM;
    }
    shm->segment = segment;
    shm->doorbell_words = (ranks + 63) / 64;
    shm->dead = base_alloc(shm->doorbell_words * sizeof *shm->dead);
    if (!shm->dead || comm_init(&shm->common, &shm_ops, host, rank, ranks)) {
        base_free(shm->dead);
        base_free(shm);
        return MANTA_E_NOMEM;
    }
    shm->control = control_at(shm, rank);
    *ret_comm = &shm->common;
    return 0;
}

int comm_create_shm(const struct base_host *host, int fd, uint32_t rank, uint32_t ranks,
                    struct comm **ret_comm)
{
    struct stat status;
    size_t bytes = comm_shm_segment_bytes(ranks);
    if (fstat(fd, &status)) {
        return MANTA_E_SYSTEM;
    }
    if (ranks == 0 || (size_t)status.st_size < bytes) {
        return MANTA_E_INVALID;
    }
    void *segment = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (segment == MAP_FAILED) {
        return MANTA_E_SYSTEM;
    }
    struct comm *comm;
    int rc = comm_shm_attach(host, segment, rank, ranks, &comm);
    if (rc) {
        munmap(segment, bytes);
        return rc;
    }
    shm_of(comm)->mapped_bytes = bytes;
    *ret_comm = comm;
    return 0;
}
