#include "core/request.h"

#include "core/dispatch.h"
#include "core/object.h"

enum { ENTRIES_MAX = 128 }; /* of a REQUEST: they fit in a frame of comm/shm */

static struct message_request describe(const struct borrow *borrow)
{
    return (struct message_request){.parent = borrow->ref.parent,
                                    .position = borrow->ref.position,
                                    .instance = borrow->instance,
                                    .what = borrow->requests |
                                            (borrow->is_redirected ? REQUEST_REDIRECTED : 0)};
}

/* It has been sent, or need not be. */
static void end(struct rank *rank, struct peer *peer, struct borrow *borrow)
{
    base_list_remove(&borrow->request);
    peer->request_count--;
    if (borrow->requests & REQUEST_LET_GO) {
        base_spares_give(&rank->spare_borrows, borrow);
    } else {
        borrow->requests = 0;
    }
}

static void send_batch(struct rank *rank, struct peer *peer)
{
    uint32_t count = MT_MIN(peer->request_count, (uint32_t)ENTRIES_MAX);
    uint8_t *out = message_begin(rank, peer->number, MESSAGE_REQUEST, &(struct wire_header){0},
                                 count * sizeof(struct message_request));
    for (; count; count--) {
        struct borrow *borrow = MT_CONTAINER(peer->requests.next, struct borrow, request);
        struct message_request entry = describe(borrow);
        if (out) {
            wire_put_bytes(&out, &entry, sizeof entry);
        }
        end(rank, peer, borrow);
    }
    if (out) {
        message_end(rank);
    }
}

void request_flush(struct rank *rank, struct peer *peer)
{
    while (peer->request_count) {
        send_batch(rank, peer);
    }
}

void request_drop_all(struct rank *rank, struct peer *peer)
{
    while (peer->request_count) {
        end(rank, peer, MT_CONTAINER(peer->requests.next, struct borrow, request));
    }
}

static void enlist(struct rank *rank, struct peer *peer, struct borrow *borrow)
{
    base_list_push_back(&peer->requests, &borrow->request);
    if (++peer->request_count == ENTRIES_MAX) {
        request_flush(rank, peer);
    } else {
        dispatch_note_batch(rank, peer);
    }
}

void request_add(struct rank *rank, struct borrow *borrow, uint32_t what)
{
    struct peer *peer = peer_get(rank, borrow->ref.owner);
    if (!peer) {
        comm_mark_down(rank->comm, borrow->ref.owner);
        return;
    }
    borrow->requests |= (uint8_t)what;
    if (base_list_is_empty(&borrow->request)) {
        enlist(rank, peer, borrow);
    }
}

void request_add_now(struct rank *rank, struct borrow *borrow, uint32_t what)
{
    request_add(rank, borrow, what);
    if (borrow->requests) {
        request_flush(rank, rank->peers[borrow->ref.owner]);
    }
}

void request_cancel(struct rank *rank, struct borrow *borrow)
{
    if (borrow->requests) {
        end(rank, rank->peers[borrow->ref.owner], borrow);
    }
}

void request_let_go(struct rank *rank, struct borrow *borrow)
{
    struct peer *peer = peer_get(rank, borrow->ref.owner);
    request_cancel(rank, borrow);
    if (peer) {
        borrow->requests = REQUEST_LET_GO;
        enlist(rank, peer, borrow);
    } else {
        comm_mark_down(rank->comm, borrow->ref.owner);
        base_spares_give(&rank->spare_borrows, borrow);
    }
}

void answers_add(struct rank *rank, struct answers *answers, const struct message_request *request,
                 uint32_t what, const struct content *content)
{
    struct message_answer answer = {.parent = request->parent,
                                    .position = request->position,
                                    .what = (uint16_t)what,
                                    .bytes = content ? (uint16_t)content->bytes : 0};
    if (content) {
        answer.what |= ANSWER_VALUE | (content->is_typed ? ANSWER_TYPED : 0);
    }
    if (answers->bytes + sizeof answer + answer.bytes > sizeof answers->data) {
        answers_send(rank, answers);
    }
    uint8_t *out = answers->data + answers->bytes;
    wire_put_bytes(&out, &answer, sizeof answer);
    if (answer.bytes) {
        wire_put_bytes(&out, content->data, answer.bytes);
    }
    answers->bytes += (uint32_t)(sizeof answer + answer.bytes);
}

void answers_send(struct rank *rank, struct answers *answers)
{
    if (answers->bytes) {
        message_send(rank, answers->to, MESSAGE_ANSWER, (struct wire_header){0}, answers->data,
                     answers->bytes);
        answers->bytes = 0;
    }
}
