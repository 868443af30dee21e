/*
 * The captured output of one stream of one child: a pipe, how much came, and its end.
 *
 * The tail is a ring that is allocated with the first byte, so that the many children that
 * say nothing cost a pipe and no more.
 */
#ifndef SPAWN_CAPTURE_H
#define SPAWN_CAPTURE_H

#include "spawn/log.h"

#include <sys/uio.h>

struct capture {
    int pipe; /* read end; -1: closed, or not captured */
    char *tail;
    uint32_t tail_bytes;
    uint64_t bytes, lost; /* that came; of these not in the log */
};

struct capture_sink {
    const struct log_writer *log;
    struct spawn_log_part part; /* whose output it is */
    uint64_t bytes_max;         /* that the log keeps; 0: all */
};

/* Makes the pipe; the caller closes the write end. 0, or -1 and errno. */
int capture_open(struct capture *capture, uint32_t tail_bytes, int *ret_write_end);
/* Takes what is there, at most one read. False at the end, when nobody can write any more. */
bool capture_read(struct capture *capture, const struct capture_sink *sink);
/* Takes all that is there now and closes the pipe. */
void capture_finish(struct capture *capture, const struct capture_sink *sink);
/* The tail in two pieces, the older first. Returns how many bytes. */
uint32_t capture_tail(const struct capture *capture, struct iovec ret_pieces[2]);
void capture_fini(struct capture *capture);

#endif
