/*
 * A disk in the simulator: what is written is there, later, unless it is told to fail.
 */
#ifndef TESTS_SIM_PRETEND_DISK_H
#define TESTS_SIM_PRETEND_DISK_H

#include "comm/sim.h"
#include "store/disk.h"

struct pretend_disk_options {
    uint64_t delay_max_ns;   /* of a read or write; 0: there is no disk */
    uint64_t room_bytes;     /* of each rank; 0: any */
    uint32_t fail_percent;   /* of the writes */
    uint32_t damage_percent; /* of the reads */
};

struct pretend_disk;

/* One rank's face of its node's disk, which is the file. The descriptor is duplicated. */
struct pretend_disk *pretend_disk_create(struct sim *sim, uint32_t rank, int fd,
                                         const struct pretend_disk_options *options);
void pretend_disk_destroy(struct pretend_disk *disk); /* accepts NULL */
const struct store_disk *pretend_disk_face(const struct pretend_disk *disk);

#endif
