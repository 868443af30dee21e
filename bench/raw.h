/*
 * The raw limits: what two threads can do at all over shared memory, hand-written and
 * over comm's own rings.
 *
 * Both sides run on the very threads that the measured job uses: the driver of rank 0
 * calls raw_ping and raw_stream, while the answering side is a task on rank 1. So limit and
 * measurement have the same cores, binding and clock. The memory is a memfd of rank 0
 * that the task opens by process and descriptor.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <manta/manta.h>

/* Above this round trip the two threads sit on separate cores, below it on siblings of one. */
#define RAW_SEPARATE_NS 150

/* One round trip of a 64-byte slot with its sequence number inside, mean over `rounds`. */
int raw_ping(uint32_t rounds, double *ret_ns);
/* The same over comm/shm: a message of a no-op's size there, one of its result's size back. */
int raw_comm_ping(uint32_t rounds, double *ret_ns);
/* `count` such pairs, up to 1024 on the way: ns per pair. */
int raw_comm_stream(uint32_t count, double *ret_ns);

const char *raw_placement(double round_trip_ns);

/* A word in shared memory that tasks on other ranks see. */
struct raw_page {
    int32_t process, descriptor;
    void *memory;
    size_t bytes;
};
int raw_page_create(struct raw_page *page, size_t bytes);
void raw_page_destroy(struct raw_page *page);
/* For the other side. NULL: it cannot be. */
void *raw_page_map(int32_t process, int32_t descriptor, size_t bytes);
void raw_page_unmap(void *memory, size_t bytes);

#endif
