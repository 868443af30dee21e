/*
 * What the spawner tells its rank.
 *
 * A packet goes out at once if there is room; otherwise it waits in a list, whose length is
 * bounded by what the rank has asked for. An answer that cannot be kept ends the spawner:
 * the rank then reports what was under way as lost, which is better than silence.
 */
#include "spawn/spawner.h"

#include "base/alloc.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct waiting {
    struct base_list node;
    int fd; /* owned; -1 */
    size_t size;
    char bytes[];
};

static void watch_room(struct spawner *spawner, bool is_wanted)
{
    struct epoll_event event = {.events = EPOLLIN | (is_wanted ? EPOLLOUT : 0),
                                .data.ptr = &spawner->socket_source};
    epoll_ctl(spawner->epoll, EPOLL_CTL_MOD, spawner->socket, &event);
}

static void keep(struct spawner *spawner, const struct iovec *pieces, int count, int fd)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += pieces[i].iov_len;
    }
    struct waiting *waiting = base_alloc(sizeof *waiting + size);
    if (!waiting) {
        spawner_end(spawner);
    }
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len) {
            memcpy(waiting->bytes + waiting->size, pieces[i].iov_base, pieces[i].iov_len);
        }
        waiting->size += pieces[i].iov_len;
    }
    waiting->fd = fd >= 0 ? dup(fd) : -1;
    if (fd >= 0 && waiting->fd < 0) {
        spawner_end(spawner);
    }
    if (base_list_is_empty(&spawner->answers)) {
        watch_room(spawner, true);
    }
    base_list_push_back(&spawner->answers, &waiting->node);
}

void answer(struct spawner *spawner, const struct iovec *pieces, int count, int fd)
{
    const int fds[2] = {fd, -1};
    int code = base_list_is_empty(&spawner->answers)
                   ? channel_send(spawner->socket, pieces, count, fds)
                   : MANTA_E_AGAIN;
    if (code == MANTA_E_AGAIN) {
        keep(spawner, pieces, count, fd);
    } else if (code != MANTA_OK) {
        spawner_end(spawner);
    }
}

bool answers_flush(struct spawner *spawner)
{
    while (!base_list_is_empty(&spawner->answers)) {
        struct waiting *first = MT_CONTAINER(spawner->answers.next, struct waiting, node);
        const int fds[2] = {first->fd, -1};
        struct iovec piece = {first->bytes, first->size};
        int code = channel_send(spawner->socket, &piece, 1, fds);
        if (code != MANTA_OK) {
            return code == MANTA_E_AGAIN;
        }
        base_list_remove(&first->node);
        if (first->fd >= 0) {
            close(first->fd);
        }
        base_free(first);
    }
    watch_room(spawner, false);
    return true;
}
