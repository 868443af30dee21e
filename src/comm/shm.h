/*
 * The layout of a node's shared segment. Private to comm and its tests.
 *
 *   head page | one control block per rank | one board per rank | one ring per ordered pair
 *
 * All zero at first, and zero is a valid state: no message, nobody polls any ring,
 * nobody sleeps. So untouched pairs cost address space, no memory.
 *
 * A ring is 256 lines of 64 bytes behind two lines of control. A message takes whole
 * lines, in a row, never around the end: its head line has the sequence word, a word
 * of frame kind and length, the wire header and the first 32 bytes of body; the rest
 * of the body follows. Hence up to 32 bytes of body cost exactly one cache line.
 *
 * The line at position p (counted in lines, for ever, modulo 2^32) is published by
 * storing p | 1 in its sequence word. Never 0, and never what the word held before:
 * a head line of an earlier lap holds a smaller p | 1, a continuation line was set to
 * 0 by the reader, a line skipped at the end is one of these from before.
 */
#ifndef COMM_SHM_H
#define COMM_SHM_H

#include "comm/ops.h"

#define SHM_MAGIC UINT64_C(0x6d616e7461736831)
#define SHM_RING_LINES 256u
/* The reader publishes its position each time it has gone so far. */
#define SHM_HEAD_STEP (SHM_RING_LINES / 2)
/*
 * The longest frame. With its pad it needs at most 2 * 64 - 1 lines, and a reader
 * that has consumed all leaves at most 127 unpublished: it always comes to fit. A writer that waits
 * for room is woken by it, so rarely: it then has room for some frames, and the reader for a while
 * to do.
 */
#define SHM_FRAME_LINES 64u
#define SHM_BODY_INLINE 32u
#define SHM_FRAGMENT_BYTES (SHM_FRAME_LINES * MT_CACHE_LINE - SHM_BODY_INLINE)

/* info: kind in the upper 4 bits, bytes of body (of a pad: lines) in the lower 28. */
#define SHM_INFO(kind, bytes) ((uint32_t)(kind) << 28 | (bytes))
#define SHM_INFO_KIND(info) ((info) >> 28)
#define SHM_INFO_BYTES(info) ((info)&0x0fffffffu)
#define SHM_KIND_PAD (COMM_FRAME_END + 1)

struct shm_line {
    _Atomic uint32_t sequence; /* writer publishes (release); reader clears continuation lines */
    uint32_t info;
    struct wire_header header;
    uint8_t body[SHM_BODY_INLINE];
};
_Static_assert(sizeof(struct shm_line) == MT_CACHE_LINE, "one small message, one line");

struct shm_ring {
    /* Written by the reader. */
    MT_ALIGNED(MT_CACHE_LINE) _Atomic uint32_t head; /* lines consumed, published lazily */
    _Atomic uint32_t polled; /* 1: the reader looks at every turn; 0: ring its bell */
    /* Set by the writer before it sleeps on a full ring, cleared by the reader that rings. */
    MT_ALIGNED(MT_CACHE_LINE) _Atomic uint32_t waits;
    MT_ALIGNED(MT_CACHE_LINE) struct shm_line lines[SHM_RING_LINES];
};

enum shm_bell { SHM_BELL_SILENT, SHM_BELL_RUNG, SHM_BELL_AWAITED };

struct shm_control {
    MT_ALIGNED(MT_CACHE_LINE) _Atomic uint32_t bell; /* enum shm_bell; the futex */
    _Atomic uint32_t asleep; /* 1: whoever sets a doorbell bit rings the bell too */
    /* Not 0: the sleeper polls a datagram socket of this name, and the bell is a datagram. */
    _Atomic uint64_t bell_socket;
    /* Bit per rank that wrote to a ring not polled, or made room for a waiting writer. */
    MT_ALIGNED(MT_CACHE_LINE) _Atomic uint64_t doorbell[];
};

struct shm_segment {
    uint64_t magic;
    uint32_t ranks;
};

size_t comm_shm_control_offset(uint32_t ranks, uint32_t rank);
size_t comm_shm_board_offset(uint32_t ranks, uint32_t rank);
size_t comm_shm_ring_offset(uint32_t ranks, uint32_t reader, uint32_t writer);

/* An end over a segment that is mapped already and outlives it. */
int comm_shm_attach(const struct base_host *host, void *segment, uint32_t rank, uint32_t ranks,
                    struct comm **ret_comm);

/* The futex in the control block. A sleep ends by a bell, a deadline, or a signal. */
void comm_shm_ring_bell(struct shm_control *control);
void comm_shm_await_bell(struct shm_control *control, uint64_t deadline_ns);

/*
 * For an end that sleeps at more than this bell (route.c): before any message, makes the
 * socket, under a random name not 0, owned by the caller. Then a sleep is: begin (false: the
 * bell has rung), poll the socket among others, end.
 */
int comm_shm_make_bell(struct shm_control *control, uint64_t name, int *ret_socket) MT_CHECKED;
bool comm_shm_begin_poll(struct shm_control *control);
void comm_shm_end_poll(struct shm_control *control, int socket);
/* Of an end over shm. */
struct shm_control *comm_shm_control(struct comm *comm);

#endif
