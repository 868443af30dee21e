/*
 * The parts of an end over UCX. Private to comm and its tests.
 *
 * ucx.c is the backend: poll, arm, sleep, making and ending. ucx_packet.c moves packets,
 * ucx_worker.c has to do with UCX's context, workers and endpoints, ucx_way.c tells which
 * transport a peer got, ucx_address.c where to listen,
 * ucx_auth.c who may speak, ucx_lent.c moves bytes that are lent.
 *
 * A packet is one active message of UCX: a head and then frames, each a word of kind and
 * length, the wire header, the body, padded to 8 bytes. All frames to one peer that are
 * committed between two flushes share packets. A packet is never longer than what UCX
 * sends in one piece over every transport with 8 KiB segments, TCP among them.
 */
#ifndef COMM_UCX_H
#define COMM_UCX_H

#include "comm/ops.h"
#include "comm/ucx_auth.h"
#include "comm/ucx_end.h"

#include <sys/socket.h>
#include <ucp/api/ucp.h>

#define UCX_AM_ID 0x4d
#define UCX_LENT_ID 0x4e
#define UCX_PACKET_BYTES 8128u
/* Packets to one peer that UCX has not sent yet. */
#define UCX_WINDOW 16u
/* Endpoints of one end that connect at the same time. */
#define UCX_CONNECTING_MAX 8u
#define UCX_WARNING_BYTES 256
/* Transport and device; the peers of an end have some few of them. */
#define UCX_WAYS_MAX 32

/* LEFT answers LEAVE: everything has been received. */
enum ucx_kind { UCX_KIND_HELLO = 1, UCX_KIND_FRAMES, UCX_KIND_LEAVE, UCX_KIND_LEFT };

struct ucx_head {
    uint64_t session;
    uint32_t from;
    uint32_t sequence; /* of the packet on its way; the hello is 0 */
    uint32_t kind, reserved;
};

struct ucx_frame {
    uint32_t info; /* enum comm_frame in the upper 4 bits, bytes of body in the lower 28 */
    uint32_t reserved;
    struct wire_header header;
};
_Static_assert(sizeof(struct ucx_head) == 24 && sizeof(struct ucx_frame) == 32, "no holes");

#define UCX_FRAGMENT_BYTES                                                                         \
    (UCX_PACKET_BYTES - (uint32_t)sizeof(struct ucx_head) - (uint32_t)sizeof(struct ucx_frame))
#define UCX_INFO(kind, bytes) ((uint32_t)(kind) << 28 | (bytes))
#define UCX_INFO_KIND(info) ((info) >> 28)
#define UCX_INFO_BYTES(info) ((info)&0x0fffffffu)

struct ucx_packet {
    struct base_list link; /* in ucx->inbox, ucx->spare, ucx->sending or peer->waiting */
    struct ucx_peer *peer;
    uint32_t bytes; /* of data in use */
    uint32_t at;    /* received: delivered so far */
    MT_ALIGNED(16) uint8_t data[UCX_PACKET_BYTES];
};

struct ucx_peer {
    struct comm_peer common;
    struct comm_ucx *ucx;
    ucp_ep_h endpoint; /* NULL before the first packet and after the end */
    struct ucx_door
        *door;          /* by which its hello came; owned if it is in use; NULL: none (any more) */
    bool accepted;      /* its hello was genuine: session_in counts */
    bool has_left;      /* it said so, or knows that this end leaves: its silence is no death */
    bool is_connected;  /* the hello has been sent */
    bool is_connecting; /* counted in ucx->connecting */
    bool is_broken;     /* UCX has given the endpoint up */
    bool is_abandoned;  /* the endpoint is UCX's now: it could not be closed */
    uint32_t outstanding;               /* packets that wait, or that UCX has not completed */
    uint32_t sequence_out, sequence_in; /* of the next packet */
    uint64_t session_out, session_in;
    struct ucx_packet *open;        /* being filled; then the peer is in ucx->dirty */
    struct base_list dirty, failed; /* in the end's lists of the same name */
    struct base_list greeted;
    struct base_list waiting; /* packets, until the hello has been sent */
    struct base_list ready;   /* in ucx->ready: the hello has been sent, and some wait */
};

/* A connection that somebody made to this end. Who it is, his packets say. */
struct ucx_door {
    struct comm_ucx *ucx;
    ucp_ep_h endpoint;
    struct base_list link; /* in ucx->doors or ucx->broken; in none when it is in use */
    struct ucx_peer *peer; /* whose hello came by it; NULL: nobody's yet */
    bool is_used;          /* its endpoint is the peer's */
};

/* The header of an active message with lent bytes. */
struct ucx_lent_head {
    struct ucx_head head;
    struct wire_header header;
    uint8_t words[COMM_HEAD_BYTES];
};

struct comm_ucx {
    struct comm common;
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_listener_h listener;
    struct sockaddr_storage address; /* of the listener */
    struct base_list doors, broken;  /* connections of others to here; those that UCX gave up */
    const struct comm_ucx_table *table;
    uint64_t incarnation;
    uint8_t secret[BASE_SECRET_BYTES];

    struct base_list dirty;             /* peers with an open packet */
    struct base_list inbox;             /* packets received and not yet delivered */
    struct base_list spare;             /* packets */
    struct base_list sending;           /* packets that UCX still reads */
    struct base_list failed;            /* peers whose way broke: down when the inbox is empty */
    struct base_list greeted;           /* peers whose hello came: an endpoint watches them */
    struct base_list ready;             /* peers that have just connected */
    struct base_list lending, returned; /* of struct ucx_loan: with UCX, and to be given back */
    struct base_list landing, landed;   /* of struct ucx_landing */
    struct base_list loans_given_up, landings_given_up; /* UCX may still complete them, or not */
    uint32_t inbox_count, spare_count;
    uint32_t outstanding;         /* of all peers */
    uint32_t closing;             /* endpoints */
    uint32_t connecting;          /* endpoints whose hello has not been sent yet */
    uint32_t quiet, skipped;      /* fruitless looks in a row; turns since the last look */
    uint32_t hurried;             /* flushes in a row that came soon after another one */
    uint64_t flushed_ns, sent_ns; /* the last flush, the last one that sent */
    bool has_new;                 /* a frame was written since the last turn */
    _Atomic uint32_t nothing;     /* where comm_commit stores: flush publishes, not commit */
    bool is_ending;
    uint64_t refused;

    int worker_fd; /* UCX's own: readable when the armed worker has something */
    int event_fd;
    _Atomic uint32_t bell;
    _Atomic uint32_t deaths;   /* 1: look at dead */
    _Atomic uint64_t *dead;    /* bit per rank: reported, not yet seen. Any thread sets. */
    _Atomic uint64_t *mourned; /* bit per rank: was ever reported */

    const char *interface, *devices; /* as in the options */
    bool expects_rdma, has_looked_for_rdma, has_warned;
    char warning[UCX_WARNING_BYTES];
    uint32_t missing; /* who the warning cannot reach; UINT32_MAX: it is of something else */
    _Atomic bool is_warning_due; /* released by the baton's holder, taken by any thread */
    struct comm_ucx_way ways[UCX_WAYS_MAX];
    uint32_t way_count;
    _Atomic uint8_t *way_of; /* by rank: 1 + index in ways, whose content it publishes; 0: none */
};

static inline struct comm_ucx *ucx_of(struct comm *comm)
{
    return (struct comm_ucx *)comm;
}

static inline struct ucx_peer *ucx_peer_of(struct comm_peer *peer)
{
    return (struct ucx_peer *)peer;
}

/* It has an endpoint, or may make one now. */
static inline bool ucx_peer_may_call(const struct ucx_peer *peer)
{
    return peer->endpoint || peer->ucx->connecting < UCX_CONNECTING_MAX;
}

/* ucx_worker.c */

/* Context, worker, listener. 0 or a MANTA_E_ code; ucx_worker_fini in both cases. */
int ucx_worker_init(struct comm_ucx *ucx) MT_CHECKED;
void ucx_worker_fini(struct comm_ucx *ucx);
/* Closes the connections to here that UCX has given up. */
void ucx_close_broken(struct comm_ucx *ucx);
/* Makes the peer's endpoint and sends the hello. MANTA_E_NOMEM: try again; otherwise it failed. */
int ucx_peer_connect(struct comm_ucx *ucx, struct ucx_peer *peer) MT_CHECKED;
/* Closes the endpoint, and completes what is under way there; or abandons both. */
void ucx_peer_disconnect(struct comm_ucx *ucx, struct ucx_peer *peer);
/* The peer's hello came by the endpoint: if that is a door, it may be the way back. */
void ucx_peer_note_door(struct comm_ucx *ucx, struct ucx_peer *peer, ucp_ep_h endpoint);
/* The hello has been sent, or never will be. */
void ucx_peer_end_connecting(struct comm_ucx *ucx, struct ucx_peer *peer);
/* Notes that the way to the peer is broken. Also from UCX's callbacks. */
void ucx_peer_fail(struct comm_ucx *ucx, struct ucx_peer *peer);

/* ucx_address.c */

/* Where to listen, port 0. MANTA_E_NOTFOUND: the interface, or any, has no address. */
int ucx_address_find(const char *interface, struct sockaddr_storage *ret_address) MT_CHECKED;
socklen_t ucx_address_bytes(const struct sockaddr_storage *address);
/* Is the interface, or an RDMA device of its, in the list "eth0,mlx5_0:1"? */
bool ucx_address_is_named(const char *interface, const char *devices);

/* ucx_log.c: UCX prints nothing unless it was asked to. */
void ucx_log_be_quiet(void);

/* ucx_packet.c */

struct ucx_packet *ucx_packet_get(struct comm_ucx *ucx, struct ucx_peer *peer, enum ucx_kind kind);
void ucx_packet_put(struct comm_ucx *ucx, struct ucx_packet *packet);
/* Consumes the packet. */
void ucx_packet_send(struct comm_ucx *ucx, struct ucx_packet *packet);
/* The open packet, if any. */
void ucx_peer_flush(struct comm_ucx *ucx, struct ucx_peer *peer);
/* Throws away what UCX does not have yet. */
void ucx_peer_drop(struct comm_ucx *ucx, struct ucx_peer *peer);
/* Sends what waited for the hello. */
void ucx_peer_start(struct comm_ucx *ucx, struct ucx_peer *peer);
struct wire_header *ucx_slot(struct comm *comm, struct comm_peer *common, uint32_t bytes,
                             enum comm_frame frame);
/* UCX's callback. */
ucs_status_t ucx_on_packet(void *arg, const void *header, size_t header_bytes, void *data,
                           size_t bytes, const ucp_am_recv_param_t *param);
/* Delivers at most `budget` frames from the inbox. */
unsigned ucx_deliver(struct comm_ucx *ucx, unsigned budget);

/* ucx_lent.c */

bool ucx_lend(struct comm *comm, struct comm_peer *common, const struct comm_lent *lent,
              struct comm_loan *loan);
/* UCX's callback. */
ucs_status_t ucx_on_lent(void *arg, const void *header, size_t header_bytes, void *data,
                         size_t bytes, const ucp_am_recv_param_t *param);
/* Tells the sink what has landed and what is returned. */
unsigned ucx_deliver_lent(struct comm_ucx *ucx);
static inline bool ucx_lent_is_under_way(const struct comm_ucx *ucx)
{
    return !base_list_is_empty(&ucx->lending) || !base_list_is_empty(&ucx->landing) ||
           !base_list_is_empty(&ucx->landed) || !base_list_is_empty(&ucx->returned);
}
/* At the end, when UCX is not moved on any more. */
void ucx_lent_fini(struct comm_ucx *ucx);

/* ucx_way.c */

/* After an endpoint has connected: notes its way, and whether a warning is due. */
void ucx_way_note(struct comm_ucx *ucx, struct ucx_peer *peer);
/* An endpoint that never came to be. */
void ucx_way_missing(struct comm_ucx *ucx, struct ucx_peer *peer, const char *reason);
/* One line per lane, as ucp_ep_print_info writes them: the way of active messages. False: none. */
bool ucx_way_parse(const char *text, struct comm_ucx_way *ret_way);
/* An active port in a directory like /sys/class/infiniband. */
bool ucx_way_has_active_device(const char *directory);

#endif
