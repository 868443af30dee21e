/*
 * UCX's side of an end: context, worker, listener, endpoints.
 *
 * Each end listens on an ephemeral port, and its address is that of its listener. Whoever
 * has something to send makes an endpoint, with the first packet, and the other side gets one
 * too (a door). A hello that comes by a door makes it the way back, and the receiver answers
 * with a hello of its own at once. So two ends have one connection, over which TCP's
 * acknowledgements ride on the answers, which is a third of a round trip. When both call at
 * the same time there are two, each used one way. All are in error mode PEER. UCX reports a
 * broken endpoint from inside its progress; that is only noted, and the endpoint closed by force
 * from poll, which completes what was under way on it. That the endpoint to a peer breaks is the
 * peer's death, unless it said that it leaves; that a door breaks which is no way back says
 * nothing.
 *
 * Why listeners and not workers' addresses, which would be simpler: between those, UCX
 * matches the two directions to one connection, and up to 1.13 an assertion (removed in
 * 1.14) aborts the process when a peer dies, or the worker ends, while that goes on with an
 * answer still to be sent. A peer that is killed while it connects would take others
 * with it. Nothing of the kind was found with listeners (tests: deaths), but when they, or
 * what they made, end at the wrong moment. Hence two rules. An endpoint that is still
 * connecting is not closed before UCX has given it up, but abandoned. And worker and
 * listener, once an end listens, are left to the process's end: who connects while a
 * listener is destroyed crashes UCX's own thread. Nobody moves them on any more, so nothing
 * of theirs calls back.
 *
 * Who calls many peers at once calls them a few at a time: a storm of connections overruns
 * queues on the way, and UCX 1.13 aborts now and then when one of its own is reset.
 *
 * Shared-memory transports are left out unless UCX_TLS says otherwise: ranks of a node
 * have rings of their own; UCX 1.13 either refuses them in mode PEER or notices a death only
 * by its keepalive; and a sender killed at the wrong moment blocks their queues for ever.
 *
 * TCP connects without blocking, because the host at the other end may be gone, and all
 * this happens under the rank's baton. The setting is spelt without its transport's name
 * in 1.13, which knows it only so.
 *
 * Loading UCX sets handlers for SIGSEGV and its like, and for SIGHUP. They are the
 * program's; they are put back before main unless the user asked UCX for them.
 */
#include "base/alloc.h"
#include "comm/ucx.h"
#include "manta/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <ucs/debug/debug.h>

/* Exported by UCX, but in none of its installed headers. */
void ucs_debug_disable_signals(void);

__attribute__((constructor)) static void give_signals_back(void)
{
    if (!getenv("UCX_HANDLE_ERRORS")) {
        ucs_debug_disable_signals();
    }
}

/* What the user has in the environment wins. */
static void prefer(ucp_config_t *config, const char *variable, const char *key, const char *value)
{
    if (!getenv(variable)) {
        (void)ucp_config_modify(config, key, value);
    }
}

static int create_context(struct comm_ucx *ucx)
{
    ucp_config_t *config;
    ucx_log_be_quiet();
    if (ucp_config_read(NULL, NULL, &config) != UCS_OK) {
        return MANTA_E_SYSTEM;
    }
    if (!getenv("UCX_TLS")) {
        prefer(config, "UCX_TCP_CONN_NB", "CONN_NB", "y");
    }
    prefer(config, "UCX_TLS", "TLS", "^shm");
    ucp_params_t params = {.field_mask =
                               UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS,
                           .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
                           .estimated_num_eps = ucx->common.size};
    ucs_status_t status = ucp_init(&params, config, &ucx->context);
    ucp_config_release(config);
    return status == UCS_OK ? 0 : MANTA_E_SYSTEM;
}

static int create_worker(struct comm_ucx *ucx)
{
    ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE |
                                                UCP_WORKER_PARAM_FIELD_FLAGS,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE,
                                  .flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK};
    if (ucp_worker_create(ucx->context, &params, &ucx->worker) != UCS_OK) {
        return MANTA_E_SYSTEM;
    }
    ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                      UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = UCX_AM_ID,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = ucx_on_packet,
        .arg = ucx};
    ucp_am_handler_param_t lent = {.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                                                 UCP_AM_HANDLER_PARAM_FIELD_CB |
                                                 UCP_AM_HANDLER_PARAM_FIELD_ARG,
                                   .id = UCX_LENT_ID,
                                   .cb = ucx_on_lent,
                                   .arg = ucx};
    if (ucp_worker_set_am_recv_handler(ucx->worker, &handler) != UCS_OK ||
        ucp_worker_set_am_recv_handler(ucx->worker, &lent) != UCS_OK ||
        ucp_worker_get_efd(ucx->worker, &ucx->worker_fd) != UCS_OK) {
        return MANTA_E_SYSTEM;
    }
    return 0;
}

static void break_endpoint(struct ucx_peer *peer, ucp_ep_h endpoint, ucs_status_t status)
{
    if (peer->endpoint == endpoint) {
        if (!peer->is_connected) {
            ucx_way_missing(peer->ucx, peer, ucs_status_string(status));
        }
        peer->is_broken = true;
        ucx_peer_fail(peer->ucx, peer);
    }
}

static void on_door_error(void *arg, ucp_ep_h endpoint, ucs_status_t status)
{
    struct ucx_door *door = arg;
    if (door->is_used) {
        break_endpoint(door->peer, endpoint, status);
        return;
    }
    if (door->peer) {
        door->peer->door = NULL;
    }
    base_list_remove(&door->link);
    base_list_push_back(&door->ucx->broken, &door->link);
}

static void on_knock(ucp_conn_request_h request, void *arg)
{
    struct comm_ucx *ucx = arg;
    struct ucx_door *door = ucx->is_ending ? NULL : base_alloc(sizeof *door);
    if (!door) {
        (void)ucp_listener_reject(ucx->listener, request);
        return;
    }
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST |
                                            UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                            UCP_EP_PARAM_FIELD_ERR_HANDLER,
                              .conn_request = request,
                              .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                              .err_handler = {.cb = on_door_error, .arg = door}};
    door->ucx = ucx;
    base_list_init(&door->link);
    if (ucp_ep_create(ucx->worker, &params, &door->endpoint) != UCS_OK) {
        base_free(door);
        return;
    }
    base_list_push_back(&ucx->doors, &door->link);
}

static int create_listener(struct comm_ucx *ucx)
{
    struct sockaddr_storage address;
    int rc = ucx_address_find(ucx->interface, &address);
    if (rc) {
        return rc;
    }
    ucp_listener_params_t params = {
        .field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER,
        .sockaddr = {.addr = (struct sockaddr *)&address, .addrlen = ucx_address_bytes(&address)},
        .conn_handler = {.cb = on_knock, .arg = ucx}};
    ucp_listener_attr_t attributes = {.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR};
    if (ucp_listener_create(ucx->worker, &params, &ucx->listener) != UCS_OK ||
        ucp_listener_query(ucx->listener, &attributes) != UCS_OK) {
        return MANTA_E_SYSTEM;
    }
    ucx->address = attributes.sockaddr;
    return 0;
}

int ucx_worker_init(struct comm_ucx *ucx)
{
    int rc = create_context(ucx);
    if (!rc) {
        rc = create_worker(ucx);
    }
    return rc ? rc : create_listener(ucx);
}

void ucx_worker_fini(struct comm_ucx *ucx)
{
    if (ucx->listener) {
        return; /* see the essay */
    }
    if (ucx->worker) {
        ucp_worker_destroy(ucx->worker);
    }
    if (ucx->context) {
        ucp_cleanup(ucx->context);
    }
}

void ucx_peer_fail(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    if (!peer->common.down && base_list_is_empty(&peer->failed)) {
        base_list_push_back(&ucx->failed, &peer->failed);
    }
}

static void on_error(void *arg, ucp_ep_h endpoint, ucs_status_t status)
{
    break_endpoint(arg, endpoint, status);
}

static ucs_status_t create_endpoint(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    if (peer->door) {
        base_list_remove(&peer->door->link);
        peer->door->is_used = true;
        peer->endpoint = peer->door->endpoint;
        return UCS_OK;
    }
    const struct comm_ucx_entry *entry = &ucx->table->entries[peer->common.rank];
    if (!entry->bytes) {
        return UCS_ERR_INVALID_ADDR;
    }
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR |
                      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER,
        .sockaddr = {.addr = (const struct sockaddr *)(ucx->table->bytes + entry->offset),
                     .addrlen = entry->bytes},
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = on_error, .arg = peer}};
    return ucp_ep_create(ucx->worker, &params, &peer->endpoint);
}

void ucx_peer_note_door(struct comm_ucx *ucx, struct ucx_peer *peer, ucp_ep_h endpoint)
{
    BASE_LIST_EACH(&ucx->doors, node)
    {
        struct ucx_door *door = MT_CONTAINER(node, struct ucx_door, link);
        if (door->endpoint == endpoint && !door->peer) {
            door->peer = peer;
            peer->door = door;
            return;
        }
    }
}

static void put_hello(struct comm_ucx *ucx, struct ucx_peer *peer, struct ucx_packet *packet)
{
    struct ucx_hello hello = {.from = ucx->common.rank,
                              .to = peer->common.rank,
                              .incarnation = ucx->incarnation,
                              .session = peer->session_out};
    ucx_hello_sign(&hello, ucx->secret);
    memcpy(packet->data + packet->bytes, &hello, sizeof hello);
    packet->bytes += sizeof hello;
}

int ucx_peer_connect(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    peer->session_out = ucx->common.host->random(ucx->common.host->self);
    struct ucx_packet *hello = ucx_packet_get(ucx, peer, UCX_KIND_HELLO);
    if (!hello) {
        return MANTA_E_NOMEM;
    }
    ucs_status_t status = create_endpoint(ucx, peer);
    if (status != UCS_OK) {
        peer->endpoint = NULL;
        ucx_packet_put(ucx, hello);
        ucx_way_missing(ucx, peer, ucs_status_string(status));
        ucx_peer_fail(ucx, peer);
        return MANTA_E_RANK;
    }
    peer->is_connecting = true;
    ucx->connecting++;
    put_hello(ucx, peer, hello);
    ucx_packet_send(ucx, hello);
    return 0;
}

void ucx_peer_end_connecting(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    ucx->connecting -= peer->is_connecting;
    peer->is_connecting = false;
}

static void on_closed(void *request, ucs_status_t status, void *user_data)
{
    struct comm_ucx *ucx = user_data;
    ucp_request_free(request);
    ucx->closing--;
}

static void close_endpoint(struct comm_ucx *ucx, ucp_ep_h endpoint)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                                                 UCP_OP_ATTR_FIELD_FLAGS |
                                                 UCP_OP_ATTR_FIELD_USER_DATA,
                                 .flags = UCP_EP_CLOSE_FLAG_FORCE,
                                 .cb.send = on_closed,
                                 .user_data = ucx};
    ucx->closing++;
    if (!UCS_PTR_IS_PTR(ucp_ep_close_nbx(endpoint, &param))) {
        ucx->closing--;
    }
}

static void abandon(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    ucx->outstanding -= peer->outstanding;
    peer->outstanding = 0;
    peer->is_abandoned = true;
}

/* What comes in by a connection that is no way back. */
static void shut_door(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    struct ucx_door *door = peer->door;
    if (door && !door->is_used) {
        door->peer = NULL;
        peer->door = NULL;
        base_list_remove(&door->link);
        base_list_push_back(&ucx->broken, &door->link);
    }
}

void ucx_peer_disconnect(struct comm_ucx *ucx, struct ucx_peer *peer)
{
    shut_door(ucx, peer);
    ucx_peer_drop(ucx, peer);
    ucx_peer_end_connecting(ucx, peer);
    if (!peer->endpoint) {
        return;
    }
    if (peer->is_connected || peer->is_broken) {
        close_endpoint(ucx, peer->endpoint);
    } else {
        abandon(ucx, peer);
    }
    peer->endpoint = NULL;
}

void ucx_close_broken(struct comm_ucx *ucx)
{
    struct base_list *node;
    while ((node = base_list_pop_front(&ucx->broken))) {
        struct ucx_door *door = MT_CONTAINER(node, struct ucx_door, link);
        close_endpoint(ucx, door->endpoint);
        base_free(door);
    }
}
