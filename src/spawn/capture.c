/* Pipes, tails, and the way to the log; see capture.h. */
#include "spawn/capture.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

int capture_open(struct capture *capture, uint32_t tail_bytes, int *ret_write_end)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    /* Only this end: the child's must wait when the pipe is full. */
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *capture = (struct capture){.pipe = ends[0], .tail_bytes = tail_bytes};
    *ret_write_end = ends[1];
    return 0;
}

static void keep_tail(struct capture *capture, const char *bytes, size_t size)
{
    uint32_t room = capture->tail_bytes;
    if (!room || (!capture->tail && !(capture->tail = base_alloc(room)))) {
        return;
    }
    size_t skipped = size > room ? size - room : 0;
    for (size_t done = skipped; done < size;) {
        size_t at = (capture->bytes + done) % room, part = MT_MIN(size - done, room - at);
        memcpy(capture->tail + at, bytes + done, part);
        done += part;
    }
}

static void keep(struct capture *capture, const struct capture_sink *sink, const char *bytes,
                 size_t size)
{
    uint64_t room =
        sink->bytes_max ? sink->bytes_max - MT_MIN(sink->bytes_max, capture->bytes) : UINT64_MAX;
    size_t logged = 0;
    keep_tail(capture, bytes, size);
    capture->bytes += size;
    if (sink->log->data < 0) {
        return;
    }
    if (room) {
        struct spawn_log_part part = sink->part;
        part.bytes = (uint32_t)MT_MIN(size, room);
        part.time_ns = base_since_1970_ns();
        logged = log_append(sink->log, &part, bytes);
    }
    capture->lost += size - logged;
}

bool capture_read(struct capture *capture, const struct capture_sink *sink)
{
    static char bytes[READ_BYTES]; /* the spawner has one thread */
    ssize_t got = read(capture->pipe, bytes, sizeof bytes);
    if (got > 0) {
        keep(capture, sink, bytes, (size_t)got);
        return true;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* A process that left the group can still write: no more is taken than a pipe holds. */
void capture_finish(struct capture *capture, const struct capture_sink *sink)
{
    enum { PIPE_MOST = 1 << 20 };
    if (capture->pipe < 0) {
        return;
    }
    for (uint64_t before = capture->bytes, last = before - 1;
         capture->bytes != last && capture->bytes - before < PIPE_MOST;) {
        last = capture->bytes;
        if (!capture_read(capture, sink)) {
            break;
        }
    }
    close(capture->pipe);
    capture->pipe = -1;
}

uint32_t capture_tail(const struct capture *capture, struct iovec ret_pieces[2])
{
    uint32_t room = capture->tail_bytes;
    ret_pieces[0] = ret_pieces[1] = (struct iovec){NULL, 0};
    if (!capture->tail) {
        return 0;
    }
    if (capture->bytes <= room) {
        ret_pieces[0] = (struct iovec){capture->tail, capture->bytes};
        return (uint32_t)capture->bytes;
    }
    uint32_t at = (uint32_t)(capture->bytes % room);
    ret_pieces[0] = (struct iovec){capture->tail + at, room - at};
    ret_pieces[1] = (struct iovec){capture->tail, at};
    return room;
}

void capture_fini(struct capture *capture)
{
    if (capture->pipe >= 0) {
        close(capture->pipe);
    }
    base_free(capture->tail);
    *capture = (struct capture){.pipe = -1};
}
