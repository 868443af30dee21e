/*
 * Private to spill.c and spill_disk.c: the records, and the thread's side.
 *
 * The thread takes one job after the other, in their order, does it without the baton, and ends it
 * under the baton. Order matters: what is freed is discarded on the disk before another block
 * at the same place is written there.
 */
#ifndef CORE_SPILL_DISK_H
#define CORE_SPILL_DISK_H

#include "core/room.h"
#include "core/spill.h"

#define BATCH_MAX 64

enum block_state { BLOCK_HERE, BLOCK_ASKED, BLOCK_WRITTEN, BLOCK_AWAY, BLOCK_COMING };

struct block {
    struct base_list link; /* by last use, while it is here; else in none */
    struct location of;
    struct store_place at;
    uint64_t bytes; /* of its pages */
    uint8_t state;
    uint8_t is_busy;  /* the thread reads or writes it */
    uint8_t is_freed; /* meanwhile: it goes when the thread is done */
    struct base_list wants;
    struct room_wait room; /* COMING, and not busy: for its pages */
};

struct batch {
    uint32_t serial, count;
    uint32_t missing; /* answers */
    struct block *blocks[BATCH_MAX];
    uint8_t is_read[BATCH_MAX];
};

struct spill {
    struct rank *rank;
    struct base_map blocks; /* by share and place */
    struct base_list here;
    uint64_t here_bytes, leaving_bytes; /* leaving: asked about, or being written */
    uint64_t wanted_bytes;              /* beyond those */
    struct batch batch;                 /* count 0: none */
    uint8_t *asked;                     /* by rank: its answer is missing */
    struct base_list early;             /* of struct spill_want: of shares to be inherited */
    uint32_t failures;                  /* writes, since the last that did not fail */
    uint64_t retry_ns;
    int trouble; /* it has failed too often to be waited for */

    struct base_thread thread;
    struct base_park park;
    uint8_t has_thread, is_asleep, is_ending;
    struct base_list jobs; /* first: the one in hand */
    uint32_t job_count;
};

/* Begin one. False: memory is out, or there is no thread. */
bool spill_begin_write(struct spill *spill, struct block *const *blocks, uint32_t count);
bool spill_begin_read(struct spill *spill, struct block *block);
void spill_begin_discard(struct spill *spill, struct store_extent extent);

/* They have ended; in spill.c. */
void spill_written(struct spill *spill, struct block *block, int code, uint64_t sum);
void spill_write_failed(struct spill *spill, int code);
void spill_read(struct spill *spill, struct block *block, int code);

#endif
