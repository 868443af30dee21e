/*
 * Messages waiting in this process's memory, in order: the overflow of a full way,
 * and what a rank sends to itself. Records are contiguous and never move, so one may
 * be filled in place after push and read in place until pop, while others are
 * pushed. Chunks are kept for reuse: no allocation in the steady state. A zeroed
 * fifo is empty.
 */
#ifndef COMM_FIFO_H
#define COMM_FIFO_H

#include "base/compiler.h"
#include "wire/wire.h"

struct comm_fifo_chunk;

struct comm_fifo {
    struct comm_fifo_chunk *first, *last;
    struct comm_fifo_chunk *spare; /* one chunk of the usual size, or NULL */
    uint32_t count;
};

struct comm_record {
    uint32_t body_bytes;
    uint32_t sent_bytes; /* of the body, in fragments */
    struct wire_header header;
    uint8_t body[];
};

void comm_fifo_fini(struct comm_fifo *fifo);
/* A record at the end, header and body unset; NULL when memory is out. */
struct comm_record *comm_fifo_push(struct comm_fifo *fifo, uint32_t body_bytes) MT_CHECKED;
/* The oldest record; NULL when empty. */
struct comm_record *comm_fifo_front(const struct comm_fifo *fifo);
void comm_fifo_pop(struct comm_fifo *fifo);

#endif
