/*
 * The maker of ends over UCX, and what can be asked of them. It is not part of libmanta but of
 * libmanta_ucx, which launch loads (comm/ucx_plugin.h); tests link it as it is.
 */
#ifndef COMM_UCX_END_H
#define COMM_UCX_END_H

#include "comm/comm.h"

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
    char transport[16], device[32]; /* "tcp", "eth0" */
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
/* False: there has been no way to the peer yet. From any thread, as long as the end lives. */
bool comm_ucx_way(const struct comm *comm, uint32_t peer, struct comm_ucx_way *ret_way);
/*
 * True once in the life of an end: a peer is reached by TCP though RDMA was to be expected.
 * The text says which peer, which way, and what to look at. By one thread at a time, any.
 */
bool comm_ucx_take_warning(struct comm *comm, char *text, size_t text_bytes);
/* Packets that were thrown away because their sender did not prove that it belongs here. */
uint64_t comm_ucx_refused(const struct comm *comm);

#endif
