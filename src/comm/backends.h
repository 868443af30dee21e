/* comm's makers of ends. Each returns 0 and an owned end, or a MANTA_E_ code. */
#ifndef COMM_BACKENDS_H
#define COMM_BACKENDS_H

#include "comm/comm.h"

/* A world of one: rank 0 of 1, messages to itself only. */
int comm_create_alone(const struct base_host *host, struct comm **ret_comm);

/*
 * The shared segment of a node: one control block per rank and one ring per ordered
 * pair, all sparse, in a memfd that dies with its last user. The creator passes the
 * descriptor to the others (boot does that); each maps it and makes its end.
 */
size_t comm_shm_segment_bytes(uint32_t ranks);
/* A memfd, close-on-exec, of fixed size; behind comm's own bytes there are `extra` zero ones. */
int comm_shm_segment_create(uint32_t ranks, uint64_t extra, int *ret_fd);
/* Maps the segment and makes rank's end; fd may be closed afterwards. Messages to itself go through
 * self. */
int comm_create_shm(const struct base_host *host, int fd, uint32_t rank, uint32_t ranks,
                    struct comm **ret_comm);
/*
 * One end over two: `shm` for the ranks of the own node, `far` for all others. node_ranks
 * maps the node's indices to ranks of the world; copied. Takes both ends, also when it
 * fails, and destroys them with itself.
 */
int comm_create_routed(struct comm *shm, const uint32_t *node_ranks, struct comm *far,
                       struct comm **ret_comm);

#endif
