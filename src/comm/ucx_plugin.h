/*
 * What libmanta_ucx gives, and what it is given: ends over UCX for a library that does not link
 * UCX, because UCX brings twenty libraries, hooks into memory management and signal handlers that
 * a job on one node has no use for. launch loads it when ranks are on several hosts.
 *
 * The plugin has comm's code for UCX and nothing else of Manta's: memory and the common part of an
 * end are the library's, which passes them as functions, so there is one allocator, one count of
 * what lives and one comm in a process. Both sides know comm's structs; a plugin of another build
 * would not, and is refused.
 */
#ifndef COMM_UCX_PLUGIN_H
#define COMM_UCX_PLUGIN_H

#include "comm/ops.h"
#include "comm/ucx_end.h"

#define UCX_PLUGIN_SYMBOL "manta_ucx_plugin"
/* Another layout of what is shared is another version. */
#define UCX_PLUGIN_VERSION                                                                         \
    ((uint32_t)(1u << 24 | sizeof(struct comm) << 12 | sizeof(struct comm_peer) << 4 |             \
                sizeof(struct comm_ops) / 8 % 16))

/* Named as what they stand for. */
struct ucx_host {
    void *(*base_alloc)(size_t size);
    void *(*base_alloc_aligned)(size_t alignment, size_t size);
    void (*base_free)(void *memory);
    int (*comm_init)(struct comm *comm, const struct comm_ops *ops, const struct base_host *host,
                     uint32_t rank, uint32_t size);
    void (*comm_destroy)(struct comm *comm);
    void (*comm_mark_down)(struct comm *comm, uint32_t peer);
    struct comm_peer *(*comm_peer_get)(struct comm *comm, uint32_t rank);
    void (*comm_peer_broken)(struct comm *comm, struct comm_peer *peer);
    void (*comm_receive_fragment)(struct comm *comm, struct comm_peer *peer,
                                  const struct wire_header *header, uint32_t bytes,
                                  enum comm_frame frame);
};

/* See comm/ucx_end.h. */
struct ucx_plugin {
    uint32_t version; /* UCX_PLUGIN_VERSION */
    /* Before any end is made; borrowed for ever. */
    void (*start)(const struct ucx_host *host);
    int (*create)(const struct comm_ucx_options *options, struct comm **ret_comm);
    const void *(*address)(const struct comm *comm, size_t *ret_bytes);
    void (*set_table)(struct comm *comm, const struct comm_ucx_table *table);
    bool (*way)(const struct comm *comm, uint32_t peer, struct comm_ucx_way *ret_way);
    bool (*take_warning)(struct comm *comm, char *text, size_t text_bytes);
};

#endif
