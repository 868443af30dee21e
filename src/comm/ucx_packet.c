/*
 * Packets over UCX: filled by slot, sent by flush, received into the inbox.
 *
 * Nothing of comm's runs inside UCX's callbacks. What they see they check and copy, or
 * note in a list, and poll goes on with it when UCX has returned. So a sink may send,
 * which calls UCX, and budgets hold although packets carry many frames.
 *
 * A packet belongs to UCX from its sending until its completion, and completes exactly
 * once: at once, by the callback, or, when its endpoint is closed by force, by the
 * callback with an error. What is under way when the worker ends is freed after it.
 *
 * Packets of a way are numbered. UCX keeps their order once a way is connected, not
 * before: what was sent while it connects may be overtaken by what is sent right after
 * (seen in 1.13). So all but the hello wait until the hello has gone. A gap in the numbers
 * is treated as the peer's failure, rather than ever delivering out of order.
 */
#include "base/alloc.h"
#include "comm/ucx.h"

#define SPARE_MAX 64

static struct ucx_head *head_of(struct ucx_packet *packet)
{
    return (struct ucx_head *)packet->data;
}

struct ucx_packet *ucx_packet_get(struct comm_ucx *ucx, struct ucx_peer *peer, enum ucx_kind kind)
{
    struct ucx_packet *packet;
    struct base_list *link = base_list_pop_front(&ucx->spare);
    if (link) {
        ucx->spare_count--;
        packet = MT_CONTAINER(link, struct ucx_packet, link);
    } else {
        packet = base_alloc_aligned(16, sizeof *packet);
        if (!packet) {
            return NULL;
        }
        base_list_init(&packet->link);
    }
    packet->peer = peer;
    packet->at = packet->bytes = sizeof(struct ucx_head);
    *head_of(packet) = (struct ucx_head){
        .session = peer->session_out, .from = ucx->common.rank, .kind = (uint32_t)kind};
    return packet;
}

void ucx_packet_put(struct comm_ucx *ucx, struct ucx_packet *packet)
{
    base_list_remove(&packet->link);
    if (ucx->spare_count == SPARE_MAX) {
        base_free(packet);
        return;
    }
    ucx->spare_count++;
    base_list_push_front(&ucx->spare, &packet->link);
}

/* Sending */

static void end_packet(struct comm_ucx *ucx, struct ucx_packet *packet)
{
    if (!packet->peer->is_abandoned) {
        packet->peer->outstanding--;
        ucx->outstanding--;
    }
    ucx_packet_put(ucx, packet);
}

static void packet_sent(struct comm_ucx *ucx, struct ucx_packet *packet, ucs_status_t status)
{
    struct ucx_peer *peer = packet->peer;
    end_packet(ucx, packet);
    if (status != UCS_OK) {
        ucx_peer_fail(ucx, peer);
    } else if (!peer->is_connected) {
        peer->is_connected = true;
        ucx_peer_end_connecting(ucx, peer);
        base_list_push_back(&ucx->ready, &peer->ready);
    }
}

static void on_sent(void *request, ucs_status_t status, void *user_data)
{
    struct ucx_packet *packet = user_data;
    ucp_request_free(request);
    packet_sent(packet->peer->ucx, packet, status);
}

static void give_to_ucx(struct comm_ucx *ucx, struct ucx_packet *packet)
{
    bool is_hello = head_of(packet)->kind == UCX_KIND_HELLO;
    ucp_request_param_t param = {
        .op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .flags = UCP_AM_SEND_FLAG_EAGER | (is_hello ? UCP_AM_SEND_FLAG_REPLY : 0),
        .cb.send = on_sent,
        .user_data = packet};
    base_list_push_back(&ucx->sending, &packet->link);
    ucs_status_ptr_t request = ucp_am_send_nbx(packet->peer->endpoint, UCX_AM_ID, NULL, 0,
                                               packet->data, packet->bytes, &param);
    if (!UCS_PTR_IS_PTR(request)) {
        packet_sent(ucx, packet, UCS_PTR_STATUS(request));
    }
}

void ucx_packet_send(struct comm_ucx *ucx, struct ucx_packet *packet)
{
    struct ucx_peer *peer = packet->peer;
    head_of(packet)->sequence = peer->sequence_out++;
    peer->outstanding++;
    ucx->outstanding++;
    if (peer->is_connected || head_of(packet)->kind == UCX_KIND_HELLO) {
        give_to_ucx(ucx, packet);
    } else {
        base_list_push_back(&peer->waiting, &packet->link);
    }
}

void ucx_peer_start(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    struct base_list *node;
    while (peer->endpoint && (node = base_list_pop_front(&peer->waiting))) {
        give_to_ucx(ucx, MT_CONTAINER(node, struct ucx_packet, link));
    }
}

void ucx_peer_flush(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    struct ucx_packet *packet = peer->open;
    if (packet) {
        peer->open = NULL;
        base_list_remove(&peer->dirty);
        ucx_packet_send(ucx, packet);
    }
}

void ucx_peer_drop(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    if (peer->open) {
        base_list_remove(&peer->dirty);
        ucx_packet_put(ucx, peer->open);
        peer->open = NULL;
    }
    while (!base_list_is_empty(&peer->waiting)) {
        end_packet(ucx, MT_CONTAINER(peer->waiting.next, struct ucx_packet, link));
    }
}

static MT_NOINLINE bool open_packet(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    ucx_peer_flush(ucx, peer);
    if (peer->outstanding >= UCX_WINDOW || peer->has_left || !ucx->table ||
        !base_list_is_empty(&peer->failed)) {
        return false;
    }
    if (!ucx_peer_may_call(peer) || (!peer->endpoint && ucx_peer_connect(ucx, peer))) {
        return false;
    }
    peer->open = ucx_packet_get(ucx, peer, UCX_KIND_FRAMES);
    if (!peer->open) {
        return false;
    }
    base_list_push_back(&ucx->dirty, &peer->dirty);
    return true;
}

MT_HOT struct wire_header *ucx_slot(struct comm *comm, struct comm_peer *common, uint32_t bytes,
                                    enum comm_frame kind)
{
    struct comm_ucx *ucx = ucx_of(comm);
    struct ucx_peer *peer = ucx_peer_of(common);
    uint32_t needed = (uint32_t)sizeof(struct ucx_frame) + MT_ALIGN_UP(bytes, 8u);
    if ((MT_UNLIKELY(!peer->open) || UCX_PACKET_BYTES - peer->open->bytes < needed) &&
        !open_packet(ucx, peer)) {
        return NULL;
    }
    struct ucx_frame *frame = (struct ucx_frame *)(peer->open->data + peer->open->bytes);
    frame->info = UCX_INFO(kind, bytes);
    frame->reserved = 0;
    peer->open->bytes += needed;
    comm->open.word = &ucx->nothing;
    ucx->has_new = true;
    return &frame->header;
}

/* Receiving */

/* What a table says of a rank's incarnation, against what its hello says. */
static bool is_current(struct comm_ucx *ucx, const struct ucx_hello *hello)
{
    uint64_t known = ucx->table->entries[hello->from].incarnation;
    if (hello->incarnation > known) {
        /* Somebody has taken the rank's place: the one known here is gone. */
        struct comm_peer *peer = comm_peer_get(&ucx->common, hello->from);
        if (peer) {
            ucx_peer_fail(ucx, ucx_peer_of(peer));
        }
    }
    return hello->incarnation == known;
}

static bool take_hello(struct comm_ucx *ucx, const struct ucx_head *head, const void *data,
                       size_t bytes, ucp_ep_h reply)
{
    struct ucx_hello hello;
    if (bytes != sizeof *head + sizeof hello) {
        return false;
    }
    memcpy(&hello, (const uint8_t *)data + sizeof *head, sizeof hello);
    if (!ucx_hello_is_genuine(&hello, ucx->secret) || hello.to != ucx->common.rank ||
        hello.from != head->from || hello.session != head->session || !is_current(ucx, &hello)) {
        return false;
    }
    struct comm_peer *common = comm_peer_get(&ucx->common, hello.from);
    if (!common || common->down) {
        return common != NULL;
    }
    struct ucx_peer *peer = ucx_peer_of(common);
    if (peer->accepted) { /* one way, one hello: two processes take themselves for this rank */
        ucx_peer_fail(ucx, peer);
        return false;
    }
    peer->accepted = true;
    peer->session_in = hello.session;
    peer->sequence_in = head->sequence + 1;
    ucx_peer_note_door(ucx, peer, reply);
    base_list_push_back(&ucx->greeted, &peer->greeted);
    return true;
}

static bool take_packet(struct comm_ucx *ucx, const struct ucx_head *head, const void *data,
                        size_t bytes)
{
    struct comm_peer *common = comm_peer_find(&ucx->common, head->from);
    struct ucx_peer *peer = common ? ucx_peer_of(common) : NULL;
    if (!peer || !peer->accepted || (peer->session_in ^ head->session) != 0) {
        return false;
    }
    if (common->down) {
        return true;
    }
    if (ucx->is_ending) {
        peer->has_left |= head->kind == UCX_KIND_LEAVE || head->kind == UCX_KIND_LEFT;
        return true;
    }
    struct ucx_packet *packet =
        head->sequence == peer->sequence_in ? ucx_packet_get(ucx, peer, UCX_KIND_FRAMES) : NULL;
    if (!packet) { /* a gap, or no memory, which would make one */
        ucx_peer_fail(ucx, peer);
        return true;
    }
    peer->sequence_in++;
    memcpy(packet->data, data, bytes);
    packet->bytes = (uint32_t)bytes;
    base_list_push_back(&ucx->inbox, &packet->link);
    ucx->inbox_count++;
    return true;
}

static bool take(struct comm_ucx *ucx, const void *data, size_t bytes, ucp_ep_h reply)
{
    struct ucx_head head;
    if (bytes < sizeof head || bytes > UCX_PACKET_BYTES) {
        return false;
    }
    memcpy(&head, data, sizeof head);
    if (head.from >= ucx->common.size || head.from == ucx->common.rank) {
        return false;
    }
    if (head.kind == UCX_KIND_HELLO) {
        return take_hello(ucx, &head, data, bytes, reply);
    }
    return take_packet(ucx, &head, data, bytes);
}

ucs_status_t ucx_on_packet(void *arg, const void *header, size_t header_bytes, void *data,
                           size_t bytes, const ucp_am_recv_param_t *param)
{
    struct comm_ucx *ucx = arg;
    bool is_here = !(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV);
    bool has_reply = param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP;
    if (header_bytes || !is_here || !take(ucx, data, bytes, has_reply ? param->reply_ep : NULL)) {
        ucx->refused++;
    }
    return UCS_OK; /* UCX may have the data back */
}

/* Frames of a packet whose session was right: what is malformed in it is the peer's fault. */
static unsigned deliver_frames(struct comm_ucx *ucx, struct ucx_packet *packet, unsigned budget)
{
    struct comm_peer *peer = &packet->peer->common;
    unsigned count = 0;
    while (count < budget && packet->at < packet->bytes && !peer->down) {
        struct ucx_frame *frame = (struct ucx_frame *)(packet->data + packet->at);
        uint32_t left = packet->bytes - packet->at;
        if (left < sizeof *frame ||
            MT_ALIGN_UP(UCX_INFO_BYTES(frame->info), 8u) > left - sizeof *frame ||
            UCX_INFO_KIND(frame->info) > COMM_FRAME_END) {
            comm_peer_broken(&ucx->common, peer);
            break;
        }
        packet->at += (uint32_t)sizeof *frame + MT_ALIGN_UP(UCX_INFO_BYTES(frame->info), 8u);
        comm_receive(&ucx->common, peer, &frame->header, UCX_INFO_BYTES(frame->info),
                     UCX_INFO_KIND(frame->info));
        count++;
    }
    return count;
}

static void take_leave(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    peer->has_left = true;
    if (peer->endpoint && base_list_is_empty(&peer->failed)) {
        struct ucx_packet *packet = ucx_packet_get(ucx, peer, UCX_KIND_LEFT);
        if (packet) {
            ucx_peer_drop(ucx, peer);
            ucx_packet_send(ucx, packet);
        }
    }
}

static unsigned deliver_packet(struct comm_ucx *ucx, struct ucx_packet *packet, unsigned budget)
{
    uint32_t kind = head_of(packet)->kind;
    if (kind == UCX_KIND_FRAMES) {
        return deliver_frames(ucx, packet, budget);
    }
    if (kind == UCX_KIND_LEAVE && packet->bytes == packet->at) {
        take_leave(ucx, packet->peer);
    } else {
        comm_peer_broken(&ucx->common, &packet->peer->common);
    }
    packet->at = packet->bytes;
    return 0;
}

MT_HOT unsigned ucx_deliver(struct comm_ucx *ucx, unsigned budget)
{
    unsigned count = 0;
    while (count < budget && !base_list_is_empty(&ucx->inbox)) {
        struct ucx_packet *packet = MT_CONTAINER(ucx->inbox.next, struct ucx_packet, link);
        count += deliver_packet(ucx, packet, budget - count);
        if (packet->at >= packet->bytes || packet->peer->common.down) {
            ucx->inbox_count--;
            ucx_packet_put(ucx, packet);
        }
    }
    return count;
}
