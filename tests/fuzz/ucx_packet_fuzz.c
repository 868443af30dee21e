/*
 * Fuzz target: packets as they come over UCX, from strangers and from ranks that have proven
 * themselves. An input is a row of packets: a byte that says how it is made, a length, and bytes.
 *
 *     0  the bytes as they are
 *     1  a hello of a rank, signed; the bytes then change it
 *     2  frames of a rank, with the session and number that are its turn
 *     3  the same, with the kind from the bytes
 *     4  lent bytes (its highest bit is set): a byte that says whether the session is the rank's
 *        and how much its head lacks, the words for the sink, and the bytes that are lent
 *
 * What is delivered lies within a packet of the rank it is said to be from, which has proven itself
 * and is not down; a changed hello proves nothing. Of lent bytes the sink is asked for the place
 * only if they are from such a rank, and each place that it gives comes back once. UCX itself is
 * not started: no rank is called, and lent bytes are there when they are told of.
 */
#include "base/alloc.h"
#include "comm/ucx.h"
#include "fuzz.h"
#include "manta/error.h"

enum { RANKS = 3, OWN = 0, PACKETS_MAX = 64, NUMBER_OF_BYTES = 1024 };

static struct comm_ucx *ucx;
static struct comm_ucx_entry entries[RANKS];
static const struct comm_ucx_table table = {.bytes = (const uint8_t *)"", .entries = entries};
static uint64_t touched;
static uint32_t places; /* that the sink has given and not got back */

static int peer_init(struct comm *comm, struct comm_peer *common)
{
    struct ucx_peer *peer = (struct ucx_peer *)common;
    struct base_list *const lists[] = {&peer->dirty, &peer->failed, &peer->greeted, &peer->waiting,
                                       &peer->ready};
    peer->ucx = ucx_of(comm);
    for (size_t i = 0; i < MT_COUNT(lists); i++) {
        base_list_init(lists[i]);
    }
    return 0;
}

static void peer_down(struct comm *comm, struct comm_peer *common)
{
    ucx_peer_disconnect(ucx_of(comm), ucx_peer_of(common));
}

static const struct comm_ops ops = {.peer_bytes = sizeof(struct ucx_peer),
                                    .fragment_bytes = UCX_FRAGMENT_BYTES,
                                    .peer_init = peer_init,
                                    .slot = ucx_slot,
                                    .peer_down = peer_down};

static void on_message(void *owner, uint32_t from, const struct wire_header *header,
                       const void *body)
{
    struct ucx_peer *peer = (struct ucx_peer *)comm_peer_find(&ucx->common, from);
    HOLDS(peer && peer->accepted && !peer->common.down && header->length <= WIRE_BODY_MAX);
    for (uint32_t i = 0; i < header->length; i++) {
        touched += ((const uint8_t *)body)[i];
    }
}

static void on_down(void *owner, uint32_t peer)
{
}

/* By the first of its words nobody wants them. */
static void *place(void *owner, uint32_t from, const struct comm_lent *lent)
{
    struct ucx_peer *peer = (struct ucx_peer *)comm_peer_find(&ucx->common, from);
    HOLDS(peer && peer->accepted && !peer->common.down);
    void *place = lent->head[0] & 1 ? NULL : malloc(lent->bytes ? lent->bytes : 1);
    places += place != NULL;
    return place;
}

static void landed(void *owner, uint32_t from, const struct comm_lent *lent, void *place,
                   bool is_whole)
{
    struct ucx_peer *peer = (struct ucx_peer *)comm_peer_find(&ucx->common, from);
    HOLDS(places-- > 0 && is_whole == !peer->common.down);
    for (size_t i = 0; i < lent->bytes; i++) {
        touched += ((const uint8_t *)place)[i];
    }
    free(place);
}

static void returned(void *owner, struct comm_loan *loan)
{
    HOLDS(!"nothing was lent to anybody");
}

static void open_end(void)
{
    const struct comm_sink sink = {on_message, on_down, NULL, place, landed, returned};
    ucx = calloc(1, sizeof *ucx);
    HOLDS(ucx && comm_init(&ucx->common, &ops, &base_host_real, OWN, RANKS) == 0);
    struct base_list *const lists[] = {
        &ucx->dirty,    &ucx->inbox,   &ucx->spare,  &ucx->sending,        &ucx->failed,
        &ucx->greeted,  &ucx->ready,   &ucx->doors,  &ucx->broken,         &ucx->lending,
        &ucx->returned, &ucx->landing, &ucx->landed, &ucx->loans_given_up, &ucx->landings_given_up};
    for (size_t i = 0; i < MT_COUNT(lists); i++) {
        base_list_init(lists[i]);
    }
    ucx->table = &table;
    memset(ucx->secret, 0x5a, sizeof ucx->secret);
    comm_set_sink(&ucx->common, &sink);
}

static void close_end(void)
{
    struct base_list *node;
    (void)ucx_deliver_lent(ucx);
    HOLDS(places == 0);
    ucx_lent_fini(ucx);
    while ((node = base_list_pop_front(&ucx->inbox)) || (node = base_list_pop_front(&ucx->spare))) {
        base_free(MT_CONTAINER(node, struct ucx_packet, link));
    }
    comm_fini(&ucx->common);
    free(ucx);
}

/* In a block of just its size, so that a sanitizer sees the first byte beyond it. */
static void receive(const void *bytes, size_t size)
{
    const ucp_am_recv_param_t param = {0};
    void *packet = malloc(size ? size : 1);
    HOLDS(packet);
    memcpy(packet, bytes, size);
    HOLDS(ucx_on_packet(ucx, NULL, 0, packet, size, &param) == UCS_OK);
    free(packet);
}

/* Whatever changes a hello, but what is not covered by its proof, makes it void. */
static void receive_hello(uint32_t rank, struct fuzz_input *bytes)
{
    struct {
        struct ucx_head head;
        struct ucx_hello hello;
    } packet = {.head = {.session = 77 + rank, .from = rank, .kind = UCX_KIND_HELLO},
                .hello = {.from = rank, .to = OWN, .session = 77 + rank}};
    ucx_hello_sign(&packet.hello, ucx->secret);
    uint8_t *at = (uint8_t *)&packet.hello;
    bool is_changed = false;
    for (size_t i = 0; i < sizeof packet.hello && bytes->left; i++) {
        uint8_t change = fuzz_byte(bytes);
        at[i] ^= change;
        is_changed |= change != 0;
    }
    HOLDS(ucx_hello_is_genuine(&packet.hello, ucx->secret) == !is_changed);
    uint64_t refused = ucx->refused;
    receive(&packet, sizeof packet);
    HOLDS(!is_changed || ucx->refused == refused + 1);
}

static void receive_frames(uint32_t rank, uint32_t kind, const struct fuzz_input *bytes)
{
    uint8_t packet[sizeof(struct ucx_head) + NUMBER_OF_BYTES];
    struct ucx_peer *peer = (struct ucx_peer *)comm_peer_find(&ucx->common, rank);
    struct ucx_head head = {.session = peer ? peer->session_in : 0,
                            .from = rank,
                            .kind = kind,
                            .sequence = peer ? peer->sequence_in : 0};
    memcpy(packet, &head, sizeof head);
    if (bytes->left) {
        memcpy(packet + sizeof head, bytes->at, bytes->left);
    }
    receive(packet, sizeof head + bytes->left);
}

static void receive_lent(uint32_t rank, struct fuzz_input *bytes)
{
    const ucp_am_recv_param_t param = {0};
    struct ucx_peer *peer = (struct ucx_peer *)comm_peer_find(&ucx->common, rank);
    uint8_t how = fuzz_byte(bytes);
    struct ucx_lent_head whole = {.head = {.session = peer ? peer->session_in : 0, .from = rank}};
    fuzz_take(bytes, &whole.header, sizeof whole.header);
    fuzz_take(bytes, whole.words, sizeof whole.words);
    whole.head.session += how & 1;
    whole.head.from += how >> 1 & 3;
    size_t head_bytes = sizeof whole - MT_MIN((size_t)how >> 3, sizeof whole);
    void *head = malloc(head_bytes ? head_bytes : 1);
    void *data = malloc(bytes->left ? bytes->left : 1);
    HOLDS(head && data);
    memcpy(head, &whole, head_bytes);
    if (bytes->left) {
        memcpy(data, bytes->at, bytes->left);
    }
    uint64_t refused = ucx->refused;
    HOLDS(ucx_on_lent(ucx, head, head_bytes, data, bytes->left, &param) == UCS_OK);
    bool is_known = peer && peer->accepted && how == 0;
    HOLDS(!is_known || ucx->refused == refused);
    bool is_wrong = how >> 3 || (how & 7) == 1; /* a piece of a head; another session */
    HOLDS(!is_wrong || ucx->refused == refused + 1);
    free(head);
    free(data);
}

static void receive_one(struct fuzz_input *input)
{
    uint8_t how = fuzz_byte(input), length = fuzz_byte(input);
    size_t size = MT_MIN((size_t)length * 4, input->left);
    struct fuzz_input bytes = {input->at, size};
    uint32_t rank = 1 + how / 4 % (RANKS - 1);
    input->at += size;
    input->left -= size;
    switch (how & 128 ? 4 : how % 4) {
    case 0:
        receive(bytes.at, bytes.left);
        break;
    case 1:
        receive_hello(rank, &bytes);
        break;
    case 2:
        receive_frames(rank, UCX_KIND_FRAMES, &bytes);
        break;
    case 3:
        receive_frames(rank, fuzz_byte(&bytes), &bytes);
        break;
    default:
        receive_lent(rank, &bytes);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint64_t live = base_alloc_live();
    open_end();
    for (int i = 0; i < PACKETS_MAX && input.left; i++) {
        receive_one(&input);
        unsigned budget = 1 + i % 5;
        HOLDS(ucx_deliver(ucx, budget) <= budget);
        if (input.left % 2) {
            (void)ucx_deliver_lent(ucx);
        }
    }
    close_end();
    HOLDS(base_alloc_live() == live);
    return 0;
}
