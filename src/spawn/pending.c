/*
 * The requests of a rank that have not been answered.
 *
 * One is in one of three lists: queued (no room in the socket, or no spawner that has said it
 * is there), sent, or doomed (its answer is known here). A handle is an index and a
 * generation, so an answer that comes late finds nobody. Nothing is given to a spawner that
 * has not reported: so what such a one takes with it has certainly not begun.
 */
#include "base/alloc.h"
#include "spawn/channel.h"
#include "spawn/rank.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

uint64_t pending_token(const struct pending *pending)
{
    return (uint64_t)pending->generation << 32 | pending->index;
}

struct pending *pending_find(struct spawn *spawn, uint64_t token)
{
    uint32_t index = (uint32_t)token;
    struct pending *pending =
        base_slab_is_known(&spawn->requests, index) ? base_slab_at(&spawn->requests, index) : NULL;
    return pending && pending->list != IN_NONE && pending->generation == token >> 32 ? pending
                                                                                     : NULL;
}

struct pending *pending_take(struct spawn *spawn, const struct spawn_done *done)
{
    uint32_t index = base_slab_take(&spawn->requests);
    struct pending *pending = index ? base_slab_at(&spawn->requests, index) : NULL;
    if (pending) {
        *pending = (struct pending){
            .generation = pending->generation + 1, .index = index, .done = *done, .file = -1};
        base_list_init(&pending->node);
    }
    return pending;
}

static void drop_bytes(struct pending *pending)
{
    base_free(pending->bytes);
    if (pending->file >= 0) {
        close(pending->file);
    }
    pending->bytes = NULL;
    pending->file = -1;
}

void pending_give(struct spawn *spawn, struct pending *pending)
{
    drop_bytes(pending);
    base_list_remove(&pending->node);
    pending->list = IN_NONE;
    base_slab_give(&spawn->requests, pending->index);
}

static void move(struct spawn *spawn, struct pending *pending, enum list list)
{
    struct base_list *const lists[] = {
        [IN_QUEUE] = &spawn->queue, [IN_SENT] = &spawn->sent, [IN_DOOM] = &spawn->doomed};
    base_list_remove(&pending->node);
    base_list_push_back(lists[list], &pending->node);
    pending->list = list;
}

void pending_doom(struct spawn *spawn, struct pending *pending, enum spawn_end end, int code)
{
    uint64_t one = 1;
    drop_bytes(pending);
    pending->end = end;
    pending->code = code;
    move(spawn, pending, IN_DOOM);
    (void)!write(spawn->kick, &one, sizeof one);
}

void pending_doom_all(struct spawn *spawn, struct base_list *list, enum spawn_end end, int code)
{
    while (!base_list_is_empty(list)) {
        pending_doom(spawn, MT_CONTAINER(list->next, struct pending, node), end, code);
    }
}

/* ---- Sending: under the lock */

static void watch_room(struct spawn *spawn)
{
    bool is_wanted = spawn->is_ready && (!base_list_is_empty(&spawn->queue) || spawn->has_kills);
    struct epoll_event event = {.events = EPOLLIN | (is_wanted ? EPOLLOUT : 0)};
    if (spawn->socket >= 0 && is_wanted != spawn->is_watching_room) {
        epoll_ctl(spawn->epoll, EPOLL_CTL_MOD, spawn->socket, &event);
        spawn->is_watching_room = is_wanted;
    }
}

static int send_queued(struct spawn *spawn, const struct pending *pending)
{
    struct iovec piece = {pending->bytes, pending->size};
    return pending->file >= 0 ? channel_send_file(spawn->socket, pending->file, pending->size)
                              : channel_send(spawn->socket, &piece, 1, NULL);
}

static bool send_kill(struct spawn *spawn, struct pending *pending)
{
    struct request_head head = {.magic = MESSAGE_MAGIC,
                                .kind = REQUEST_KILL,
                                .token = pending_token(pending),
                                .grace_ns = pending->kill_grace_ns};
    struct iovec piece = {&head, sizeof head};
    pending->has_kill = channel_send(spawn->socket, &piece, 1, NULL) == MANTA_E_AGAIN;
    return !pending->has_kill;
}

/* After the requests: a kill must not be there before what it is to end. */
static void send_kills(struct spawn *spawn)
{
    if (!spawn->has_kills || !spawn->is_ready || !base_list_is_empty(&spawn->queue)) {
        return;
    }
    spawn->has_kills = false;
    BASE_LIST_EACH(&spawn->sent, node)
    {
        struct pending *pending = MT_CONTAINER(node, struct pending, node);
        if (pending->has_kill && !send_kill(spawn, pending)) {
            spawn->has_kills = true;
            break;
        }
    }
}

/* A socket whose other end is gone keeps the queue: the next spawner gets it. */
void pending_flush(struct spawn *spawn)
{
    while (spawn->is_ready && !base_list_is_empty(&spawn->queue)) {
        struct pending *first = MT_CONTAINER(spawn->queue.next, struct pending, node);
        if (send_queued(spawn, first) != MANTA_OK) {
            break;
        }
        drop_bytes(first);
        move(spawn, first, IN_SENT);
    }
    send_kills(spawn);
    watch_room(spawn);
}

static int keep_pieces(struct pending *pending, const struct iovec *pieces, int count)
{
    char *at = pending->bytes = base_alloc(pending->size);
    if (!at) {
        return MANTA_E_NOMEM;
    }
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len) {
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
            at += pieces[i].iov_len;
        }
    }
    return MANTA_OK;
}

int pending_post(struct spawn *spawn, struct pending *pending, const struct iovec *pieces,
                 int count)
{
    for (int i = 0; i < count; i++) {
        pending->size += pieces[i].iov_len;
    }
    if (pending->size > CHANNEL_INLINE_MAX) {
        pending->file = channel_file(pieces, count);
        if (pending->file < 0) {
            return pending->file;
        }
    } else if (spawn->is_ready && base_list_is_empty(&spawn->queue) &&
               channel_send(spawn->socket, pieces, count, NULL) == MANTA_OK) {
        move(spawn, pending, IN_SENT);
        return MANTA_OK;
    } else if (keep_pieces(pending, pieces, count) != MANTA_OK) {
        return MANTA_E_NOMEM;
    }
    move(spawn, pending, IN_QUEUE);
    pending_flush(spawn);
    return MANTA_OK;
}
