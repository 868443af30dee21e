/*
 * Private to comm: what a backend fills in, and the state all backends share.
 *
 * A backend moves frames. A frame is a wire header, at most `fragment_bytes` of body
 * and a kind: a whole message, or the beginning, middle or end of a long one. The
 * backend never waits and never queues for want of room: `slot` returns NULL and
 * comm.c keeps the message until `slot` succeeds from comm_progress.
 *
 * A backend's end embeds struct comm as its first member, its view of a peer embeds
 * struct comm_peer. Peers are made on first contact, by either side, and live as
 * long as the end.
 *
 * The hot path has one indirect call per send (slot; publication is a store that
 * comm_commit does itself, through open.word) and one per turn of polling (poll).
 */
#ifndef COMM_OPS_H
#define COMM_OPS_H

#include "comm/comm.h"
#include "comm/fifo.h"

#include <stdatomic.h>

enum comm_frame { COMM_FRAME_WHOLE, COMM_FRAME_BEGIN, COMM_FRAME_MORE, COMM_FRAME_END };

struct comm_peer {
    uint32_t rank;
    /* Shorter bodies go to the backend at once. 0 while messages wait or the peer is down. */
    uint32_t direct_bound;
    bool down;
    struct comm_fifo overflow;
    struct base_list congested;   /* in comm->congested while overflow holds something */
    struct base_list news;        /* in comm->down_news until the sink knows */
    struct wire_header *assembly; /* owned: the long message being received, NULL if none */
    uint32_t assembled_bytes;     /* of its body */
};

struct comm_ops {
    size_t peer_bytes;       /* of the backend's struct around comm_peer */
    uint32_t fragment_bytes; /* the longest body of a frame */

    /* First contact: fills in the backend's part. 0 or MANTA_E_NOMEM. */
    int (*peer_init)(struct comm *comm, struct comm_peer *peer);
    /*
     * Room for a frame with `bytes` of body, or NULL when the way is full. Sets
     * open.word and open.value if storing the one to the other (release) publishes
     * the frame; leaves open.word NULL if `publish` must be called.
     */
    struct wire_header *(*slot)(struct comm *comm, struct comm_peer *peer, uint32_t bytes,
                                enum comm_frame frame);
    void (*publish)(struct comm *comm); /* NULL if slot always sets open.word */
    /* See comm_lend; the peer is up, and another. NULL: never. */
    bool (*lend)(struct comm *comm, struct comm_peer *peer, const struct comm_lent *lent,
                 struct comm_loan *loan);
    void (*flush)(struct comm *comm); /* called only when comm->dirty */
    void (*push)(struct comm *comm);  /* sends what flush holds back; NULL: it holds nothing */
    /* Hands what has arrived to comm_receive. Returns how many frames. */
    unsigned (*poll)(struct comm *comm, unsigned budget);
    /* False, and nothing armed, when there is something to do. */
    bool (*arm)(struct comm *comm);
    void (*rouse)(struct comm *comm);
    void (*sleep)(struct comm *comm, uint64_t deadline_ns);
    void (*wake)(struct comm *comm);
    /* As sleep, but also until extra_fd is readable. NULL: no end above this one sleeps by it. */
    void (*sleep_with)(struct comm *comm, uint64_t deadline_ns, int extra_fd);
    /* See comm_report_death; peer is another rank. NULL: the end knows by itself. */
    void (*report_death)(struct comm *comm, uint32_t peer);
    /* Forget what concerns a peer that is now down. May be NULL. */
    void (*peer_down)(struct comm *comm, struct comm_peer *peer);
    /* See comm_node_index. NULL: the end is alone. */
    uint32_t (*node_index)(struct comm *comm, uint32_t rank);
    /* See comm_board. NULL: nobody but this end could read one. */
    void *(*board)(struct comm *comm, uint32_t rank);
    /* Releases what the backend owns; comm.c frees peers and end. NULL: the end is borrowed. */
    void (*destroy)(struct comm *comm);
};

/* The frame or record between prepare and commit. */
enum comm_open { COMM_OPEN_FRAME, COMM_OPEN_RECORD, COMM_OPEN_SELF, COMM_OPEN_DISCARD };

#define COMM_PAGE_PEERS 64

struct comm {
    const struct comm_ops *ops;
    uint32_t rank, size;
    struct comm_peer ***pages; /* pages[rank / 64][rank % 64]; both NULL before first contact */
    bool dirty;                /* frames were published since the last flush */
    bool armed;
    bool is_mute;
    struct {
        enum comm_open kind;
        uint32_t bytes;
        struct wire_header *header;
        _Atomic uint32_t *word;
        uint32_t value;
        struct comm_peer *peer;
    } open;
    struct comm_sink sink;
    struct comm_stats stats;
    struct comm_fifo self; /* messages to itself */
    struct base_list congested, down_news;
    void *discard; /* room for messages to the dead */
    uint32_t discard_bytes;
    const struct base_host *host;
    struct base_park park;   /* of ends that sleep by the host */
    _Atomic uint64_t sleeps; /* counted outside the baton */
};

/* Fills in a zeroed end. 0 or MANTA_E_NOMEM. */
int comm_init(struct comm *comm, const struct comm_ops *ops, const struct base_host *host,
              uint32_t rank, uint32_t size) MT_CHECKED;
/* Frees peers, queues and tables, not the end itself. */
void comm_fini(struct comm *comm);

/* NULL before first contact. rank < size. */
MT_INLINE struct comm_peer *comm_peer_find(const struct comm *comm, uint32_t rank)
{
    struct comm_peer **page = comm->pages[rank / COMM_PAGE_PEERS];
    return MT_LIKELY(page != NULL) ? page[rank % COMM_PAGE_PEERS] : NULL;
}
/* Makes first contact if need be. NULL when memory is out. */
struct comm_peer *comm_peer_get(struct comm *comm, uint32_t rank);

/* The peer sent what no healthy peer sends: marks it down. */
MT_COLD void comm_peer_broken(struct comm *comm, struct comm_peer *peer);

void comm_receive_fragment(struct comm *comm, struct comm_peer *peer,
                           const struct wire_header *header, uint32_t bytes, enum comm_frame frame);

/* Delivers one frame whose `bytes` of body lie behind the header. */
MT_INLINE void comm_receive(struct comm *comm, struct comm_peer *peer,
                            const struct wire_header *header, uint32_t bytes, enum comm_frame frame)
{
    if (MT_UNLIKELY(frame != COMM_FRAME_WHOLE || header->length != bytes || peer->assembly)) {
        comm_receive_fragment(comm, peer, header, bytes, frame);
        return;
    }
    comm->stats.messages_received++;
    comm->stats.bytes_received += sizeof *header + bytes;
    comm->sink.message(comm->sink.owner, peer->rank, header, header + 1);
}

static inline void comm_count_landed(struct comm *comm, const struct comm_lent *lent)
{
    comm->stats.messages_received++;
    comm->stats.bytes_received += sizeof lent->header + sizeof lent->head + lent->bytes;
}

/* self.c: the queue to itself, and sleep and wake for ends that use the host's park. */
struct wire_header *comm_self_prepare(struct comm *comm, uint32_t bytes);
unsigned comm_self_poll(struct comm *comm, unsigned budget);
void comm_park_sleep(struct comm *comm, uint64_t deadline_ns);
void comm_park_wake(struct comm *comm);

#endif
