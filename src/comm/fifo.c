/*
 * A list of chunks, each filled from its beginning and emptied from its beginning.
 * A chunk that holds nothing any more is forgotten as a whole; when it is the only
 * one it is rewound instead.
 */
#include "comm/fifo.h"

#include "base/alloc.h"

#define CHUNK_BYTES 16384

struct comm_fifo_chunk {
    struct comm_fifo_chunk *next;
    uint32_t capacity, begin, end; /* bytes */
    MT_ALIGNED(16) uint8_t records[];
};

static uint32_t record_bytes(uint32_t body_bytes)
{
    return MT_ALIGN_UP((uint32_t)sizeof(struct comm_record) + body_bytes, 16u);
}

static struct comm_fifo_chunk *chunk_create(struct comm_fifo *fifo, uint32_t bytes)
{
    struct comm_fifo_chunk *chunk = fifo->spare;
    if (chunk && bytes <= chunk->capacity) {
        fifo->spare = NULL;
        return chunk;
    }
    uint32_t capacity = MT_MAX(bytes, CHUNK_BYTES - (uint32_t)sizeof *chunk);
    chunk = base_alloc(sizeof *chunk + capacity);
    if (chunk) {
        chunk->capacity = capacity;
    }
    return chunk;
}

static void chunk_forget(struct comm_fifo *fifo, struct comm_fifo_chunk *chunk)
{
    if (fifo->spare || chunk->capacity > CHUNK_BYTES) {
        base_free(chunk);
        return;
    }
    chunk->begin = chunk->end = 0;
    chunk->next = NULL;
    fifo->spare = chunk;
}

void comm_fifo_fini(struct comm_fifo *fifo)
{
    for (struct comm_fifo_chunk *chunk = fifo->first, *next; chunk; chunk = next) {
        next = chunk->next;
        base_free(chunk);
    }
    base_free(fifo->spare);
    *fifo = (struct comm_fifo){0};
}

struct comm_record *comm_fifo_push(struct comm_fifo *fifo, uint32_t body_bytes)
{
    uint32_t bytes = record_bytes(body_bytes);
    struct comm_fifo_chunk *chunk = fifo->last;
    if (MT_UNLIKELY(!chunk || chunk->capacity - chunk->end < bytes)) {
        chunk = chunk_create(fifo, bytes);
        if (!chunk) {
            return NULL;
        }
        *(fifo->last ? &fifo->last->next : &fifo->first) = chunk;
        fifo->last = chunk;
    }
    struct comm_record *record = (struct comm_record *)(chunk->records + chunk->end);
    chunk->end += bytes;
    fifo->count++;
    record->body_bytes = body_bytes;
    record->sent_bytes = 0;
    return record;
}

struct comm_record *comm_fifo_front(const struct comm_fifo *fifo)
{
    return fifo->count ? (struct comm_record *)(fifo->first->records + fifo->first->begin) : NULL;
}

void comm_fifo_pop(struct comm_fifo *fifo)
{
    struct comm_fifo_chunk *chunk = fifo->first;
    chunk->begin += record_bytes(comm_fifo_front(fifo)->body_bytes);
    fifo->count--;
    if (chunk->begin < chunk->end) {
        return;
    }
    fifo->first = chunk->next;
    if (!fifo->first) {
        fifo->last = NULL;
    }
    chunk_forget(fifo, chunk);
}
