/*
 * libmanta_ucx: comm's ends over UCX, for launch to load. See comm/ucx_plugin.h.
 *
 * The functions below are those of base and comm that the code for UCX calls. They have the names
 * it knows, are seen by nobody else, and pass on to the library's. None is on the way of a message
 * that fits in one frame.
 */
#include "comm/ucx_plugin.h"

#include "base/alloc.h"

static const struct ucx_host *library;

void *base_alloc(size_t size)
{
    return library->base_alloc(size);
}

void *base_alloc_aligned(size_t alignment, size_t size)
{
    return library->base_alloc_aligned(alignment, size);
}

void base_free(void *memory)
{
    library->base_free(memory);
}

int comm_init(struct comm *comm, const struct comm_ops *ops, const struct base_host *host,
              uint32_t rank, uint32_t size)
{
    return library->comm_init(comm, ops, host, rank, size);
}

void comm_destroy(struct comm *comm)
{
    library->comm_destroy(comm);
}

void comm_mark_down(struct comm *comm, uint32_t peer)
{
    library->comm_mark_down(comm, peer);
}

struct comm_peer *comm_peer_get(struct comm *comm, uint32_t rank)
{
    return library->comm_peer_get(comm, rank);
}

void comm_peer_broken(struct comm *comm, struct comm_peer *peer)
{
    library->comm_peer_broken(comm, peer);
}

void comm_receive_fragment(struct comm *comm, struct comm_peer *peer,
                           const struct wire_header *header, uint32_t bytes, enum comm_frame frame)
{
    library->comm_receive_fragment(comm, peer, header, bytes, frame);
}

static void start(const struct ucx_host *host)
{
    library = host;
}

MT_EXPORT extern const struct ucx_plugin manta_ucx_plugin;

const struct ucx_plugin manta_ucx_plugin = {
    .version = UCX_PLUGIN_VERSION,
    .start = start,
    .create = comm_create_ucx,
    .address = comm_ucx_address,
    .set_table = comm_ucx_set_table,
    .way = comm_ucx_way,
    .take_warning = comm_ucx_take_warning,
};
