/*
 * Bytes that are lent: long parts of messages, sent from where they lie to where they belong.
 *
 * Each is one active message of UCX whose header is packet head, wire header and the sink's words,
 * and whose data UCX moves by rendezvous: the receiver says where to, and over TCP they are read
 * from the socket into their place. They are not numbered with packets and keep no order to them.
 *
 * The receiver's sink is asked for the place inside of UCX's callback, because UCX 1.13 loses
 * descriptors that are answered later; the sink neither sends nor waits there. What has
 * landed, and loans that UCX has done with, are noted in lists, and poll tells the sink.
 *
 * When a peer dies, its endpoint is closed by force, which completes what was under way. What UCX
 * has not completed when the last closing is over it never will: nothing moves between the two any
 * more. It is told as over, and its record is kept for the callback that does not come.
 */
#include "base/alloc.h"
#include "comm/ucx.h"

struct ucx_loan {
    struct base_list link;
    struct ucx_peer *peer;
    struct comm_loan *loan;
    bool is_given_up;
    struct ucx_lent_head head; /* UCX reads it until the end */
};

struct ucx_landing {
    struct base_list link;
    struct ucx_peer *peer;
    struct comm_lent lent;
    void *place;
    bool is_whole, is_given_up;
};

/* ---- Out ------------------------------------------------------------------------------------ */

static void loan_over(struct comm_ucx *ucx, struct ucx_loan *loan, ucs_status_t status)
{
    base_list_remove(&loan->link);
    if (loan->is_given_up) {
        base_free(loan);
        return;
    }
    base_list_push_back(&ucx->returned, &loan->link);
    if (status != UCS_OK) {
        ucx_peer_fail(ucx, loan->peer);
    }
}

static void on_sent(void *request, ucs_status_t status, void *user_data)
{
    struct ucx_loan *loan = user_data;
    ucp_request_free(request);
    loan_over(loan->peer->ucx, loan, status);
}

static bool is_open(const struct comm_ucx *ucx, const struct ucx_peer *peer)
{
    return peer->endpoint && peer->is_connected && !peer->has_left && !ucx->is_ending &&
           base_list_is_empty(&peer->failed) && base_list_is_empty(&peer->waiting);
}

bool ucx_lend(struct comm *comm, struct comm_peer *common, const struct comm_lent *lent,
              struct comm_loan *comm_loan)
{
    struct comm_ucx *ucx = ucx_of(comm);
    struct ucx_peer *peer = ucx_peer_of(common);
    struct ucx_loan *loan = is_open(ucx, peer) ? base_alloc(sizeof *loan) : NULL;
    if (!loan) {
        return false;
    }
    loan->peer = peer;
    loan->loan = comm_loan;
    loan->head.head = (struct ucx_head){
        .session = peer->session_out, .from = comm->rank, .kind = (uint32_t)UCX_KIND_FRAMES};
    loan->head.header = lent->header;
    memcpy(loan->head.words, lent->head, sizeof loan->head.words);
    base_list_init(&loan->link);
    base_list_push_back(&ucx->lending, &loan->link);
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                                                 UCP_OP_ATTR_FIELD_USER_DATA |
                                                 UCP_OP_ATTR_FIELD_FLAGS,
                                 .flags = UCP_AM_SEND_FLAG_RNDV,
                                 .cb.send = on_sent,
                                 .user_data = loan};
    ucs_status_ptr_t request = ucp_am_send_nbx(peer->endpoint, UCX_LENT_ID, &loan->head,
                                               sizeof loan->head, lent->data, lent->bytes, &param);
    if (!UCS_PTR_IS_PTR(request)) {
        loan_over(ucx, loan, UCS_PTR_STATUS(request));
    }
    return true;
}

/* ---- In ------------------------------------------------------------------------------------- */

static void landing_over(struct comm_ucx *ucx, struct ucx_landing *landing, bool is_whole)
{
    base_list_remove(&landing->link);
    if (landing->is_given_up) {
        base_free(landing);
        return;
    }
    landing->is_whole = is_whole;
    base_list_push_back(&ucx->landed, &landing->link);
}

static void on_landed(void *request, ucs_status_t status, size_t length, void *user_data)
{
    struct ucx_landing *landing = user_data;
    ucp_request_free(request);
    landing_over(landing->peer->ucx, landing, status == UCS_OK);
}

/* Who sent it, if its session is right. */
static struct ucx_peer *sender_of(struct comm_ucx *ucx, const struct ucx_head *head)
{
    struct comm_peer *common = head->from < ucx->common.size && head->from != ucx->common.rank
                                   ? comm_peer_find(&ucx->common, head->from)
                                   : NULL;
    struct ucx_peer *peer = common ? ucx_peer_of(common) : NULL;
    return peer && peer->accepted && peer->session_in == head->session ? peer : NULL;
}

static struct ucx_landing *make_landing(struct comm_ucx *ucx, struct ucx_peer *peer,
                                        const struct ucx_lent_head *head, size_t bytes)
{
    const struct comm_sink *sink = &ucx->common.sink;
    struct ucx_landing *landing = base_alloc(sizeof *landing);
    if (!landing) {
        ucx_peer_fail(ucx, peer); /* a message is lost */
        return NULL;
    }
    base_list_init(&landing->link);
    landing->peer = peer;
    landing->lent.header = head->header;
    landing->lent.bytes = bytes;
    memcpy(landing->lent.head, head->words, sizeof landing->lent.head);
    landing->place =
        sink->place ? sink->place(sink->owner, peer->common.rank, &landing->lent) : NULL;
    if (!landing->place) {
        base_free(landing);
        return NULL;
    }
    base_list_push_back(&ucx->landing, &landing->link);
    return landing;
}

static void land(struct comm_ucx *ucx, struct ucx_landing *landing, void *data, bool is_here)
{
    ucp_request_param_t param = {.op_attr_mask =
                                     UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                                 .cb.recv_am = on_landed,
                                 .user_data = landing};
    ucs_status_ptr_t request = NULL;
    if (is_here) {
        memcpy(landing->place, data, landing->lent.bytes);
    } else {
        request =
            ucp_am_recv_data_nbx(ucx->worker, data, landing->place, landing->lent.bytes, &param);
    }
    if (!UCS_PTR_IS_PTR(request)) {
        landing_over(ucx, landing, UCS_PTR_STATUS(request) == UCS_OK);
        if (UCS_PTR_IS_ERR(request)) {
            ucx_peer_fail(ucx, landing->peer);
        }
    }
}

ucs_status_t ucx_on_lent(void *arg, const void *header, size_t header_bytes, void *data,
                         size_t bytes, const ucp_am_recv_param_t *param)
{
    struct comm_ucx *ucx = arg;
    struct ucx_lent_head head;
    struct ucx_peer *peer = NULL;
    if (header_bytes == sizeof head) {
        memcpy(&head, header, sizeof head);
        peer = sender_of(ucx, &head.head);
    }
    if (!peer) {
        ucx->refused++;
        return UCS_OK;
    }
    struct ucx_landing *landing =
        peer->common.down || ucx->is_ending ? NULL : make_landing(ucx, peer, &head, bytes);
    if (landing) {
        land(ucx, landing, data, !(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV));
    }
    return UCS_OK;
}

/* ---- Telling -------------------------------------------------------------------------------- */

static void give_up_loans(struct comm_ucx *ucx)
{
    const struct comm_sink *sink = &ucx->common.sink;
    BASE_LIST_EACH(&ucx->lending, link)
    {
        struct ucx_loan *loan = MT_CONTAINER(link, struct ucx_loan, link);
        if (loan->peer->common.down) {
            base_list_remove(&loan->link);
            base_list_push_back(&ucx->loans_given_up, &loan->link);
            loan->is_given_up = true;
            sink->returned(sink->owner, loan->loan);
        }
    }
}

static void give_up_landings(struct comm_ucx *ucx)
{
    const struct comm_sink *sink = &ucx->common.sink;
    BASE_LIST_EACH(&ucx->landing, link)
    {
        struct ucx_landing *landing = MT_CONTAINER(link, struct ucx_landing, link);
        if (landing->peer->common.down) {
            base_list_remove(&landing->link);
            base_list_push_back(&ucx->landings_given_up, &landing->link);
            landing->is_given_up = true;
            sink->landed(sink->owner, landing->peer->common.rank, &landing->lent, landing->place,
                         false);
        }
    }
}

unsigned ucx_deliver_lent(struct comm_ucx *ucx)
{
    const struct comm_sink *sink = &ucx->common.sink;
    struct base_list *link;
    unsigned count = 0;
    for (; (link = base_list_pop_front(&ucx->landed)); count++) {
        struct ucx_landing *landing = MT_CONTAINER(link, struct ucx_landing, link);
        comm_count_landed(&ucx->common, &landing->lent);
        sink->landed(sink->owner, landing->peer->common.rank, &landing->lent, landing->place,
                     landing->is_whole && !landing->peer->common.down);
        base_free(landing);
    }
    for (; (link = base_list_pop_front(&ucx->returned)); count++) {
        struct ucx_loan *loan = MT_CONTAINER(link, struct ucx_loan, link);
        sink->returned(sink->owner, loan->loan);
        base_free(loan);
    }
    if (!ucx->closing && base_list_is_empty(&ucx->broken)) {
        give_up_loans(ucx);
        give_up_landings(ucx);
    }
    return count;
}

void ucx_lent_fini(struct comm_ucx *ucx)
{
    struct base_list *lists[] = {&ucx->lending, &ucx->returned, &ucx->loans_given_up}, *link;
    struct base_list *landings[] = {&ucx->landing, &ucx->landed, &ucx->landings_given_up};
    for (unsigned i = 0; i < MT_COUNT(lists); i++) {
        while ((link = base_list_pop_front(lists[i]))) {
            base_free(MT_CONTAINER(link, struct ucx_loan, link));
        }
    }
    for (unsigned i = 0; i < MT_COUNT(landings); i++) {
        while ((link = base_list_pop_front(landings[i]))) {
            base_free(MT_CONTAINER(link, struct ucx_landing, link));
        }
    }
}
