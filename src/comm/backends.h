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
int comm_shm_segment_create(uint32_t ranks, int *ret_fd); /* sealed memfd, close-on-exec */
/* Maps the segment and makes rank's end; fd may be closed afterwards. Messages to itself go through
 * self. */
int comm_create_shm(const struct base_host *host, int fd, uint32_t rank, uint32_t ranks,
                    struct comm **ret_comm);
/* From any thread, when the process learns of a death: makes the next progress mark the peer down,
 * and wakes. */
void comm_shm_report_death(struct comm *comm, uint32_t peer);

#ifdef HAVE_UCX

#define COMM_SECRET_BYTES 32

/*
 * Where the ranks are found: entry r says which bytes are rank r's address, and in which
 * incarnation it has it. No pointers inside: one table may serve all ranks of a node.
 */
struct comm_ucx_entry {
    uint64_t incarnation;
    uint32_t offset, bytes; /* in comm_ucx_table.bytes; the own entry is not used */
};
struct comm_ucx_table {
    const uint8_t *bytes;
    const struct comm_ucx_entry *entries; /* one per rank */
};

struct comm_ucx_options {
    const struct base_host *host;
    uint32_t rank, ranks;
    uint64_t incarnation;  /* of this rank, as the others' tables have it; later ones are greater */
    const uint8_t *secret; /* COMM_SECRET_BYTES, the same on all ranks of the job; copied */
    const char *interface; /* whose address the others connect to; NULL: the first that is up */
    const char *devices;   /* directory that lists RDMA devices; NULL: the system's */
    bool expects_rdma;     /* TCP is worth a warning even where no RDMA device is active */
};

/* How frames reach a peer. */
struct comm_ucx_way {
    char transport[16], device[32]; /* "tcp", "eth0"; empty as long as no frame was sent */
    bool is_rdma;
};

/*
 * Ranks on any hosts, over UCX. The order is: create, exchange addresses, set_table, use.
 * The environment's UCX_ variables win over what is chosen here. Destroying lingers, for
 * at most a second or two, until the living peers have all that was flushed. What UCX
 * itself holds of an end (some 20 descriptors) stays until the process ends.
 */
int comm_create_ucx(const struct comm_ucx_options *options, struct comm **ret_comm);
/* Owned by the end. */
const void *comm_ucx_address(const struct comm *comm, size_t *ret_bytes);
/* Borrowed until the end is destroyed. Nothing is received before. */
void comm_ucx_set_table(struct comm *comm, const struct comm_ucx_table *table);
/* As comm_shm_report_death. */
void comm_ucx_report_death(struct comm *comm, uint32_t peer);
/* False: there is no way to the peer yet. Under the baton. */
bool comm_ucx_way(const struct comm *comm, uint32_t peer, struct comm_ucx_way *ret_way);
/*
 * True once in the life of an end: a peer is reached by TCP though RDMA was to be expected.
 * The text says which peer, which way, and what to look at.
 */
bool comm_ucx_take_warning(struct comm *comm, char *text, size_t text_bytes);
/* Packets that were thrown away because their sender did not prove that it belongs here. */
uint64_t comm_ucx_refused(const struct comm *comm);

/*
 * One end over two: `shm` for the ranks of the own node, `ucx` for all others. node_ranks
 * maps the node's indices to ranks of the world; copied. Takes both ends, also when it
 * fails, and destroys them with itself.
 */
int comm_create_routed(struct comm *shm, const uint32_t *node_ranks, struct comm *ucx,
                       struct comm **ret_comm);
/* As comm_shm_report_death, of any rank of the world. */
void comm_routed_report_death(struct comm *comm, uint32_t peer);
/* The end over UCX below, for its address, table, ways and warnings. */
struct comm *comm_routed_ucx(struct comm *comm);

#endif

#endif
