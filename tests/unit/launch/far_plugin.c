/* In the place of libmanta_ucx for test_far.c: ends without a network, whose address is their
 * incarnation. */
#include "comm/ucx_plugin.h"

#include <manta/error.h>

struct end {
    struct comm common;
    uint64_t incarnation;
};

static const struct ucx_host *library;

static void start(const struct ucx_host *host)
{
    library = host;
}

static void destroy(struct comm *comm)
{
}

static int create(const struct comm_ucx_options *options, struct comm **ret_comm)
{
    static const struct comm_ops ops = {.peer_bytes = sizeof(struct comm_peer), .destroy = destroy};
    struct end *end = library->base_alloc(sizeof *end);
    if (!end) {
        return MANTA_E_NOMEM;
    }
    if (library->comm_init(&end->common, &ops, options->host, options->rank, options->ranks) != 0) {
        library->base_free(end);
        return MANTA_E_NOMEM;
    }
    end->incarnation = options->incarnation;
    *ret_comm = &end->common;
    return MANTA_OK;
}

static const void *address(const struct comm *comm, size_t *ret_bytes)
{
    *ret_bytes = sizeof(uint64_t);
    return &((const struct end *)comm)->incarnation;
}

static void set_table(struct comm *comm, const struct comm_ucx_table *table)
{
}

MT_EXPORT extern const struct ucx_plugin manta_ucx_plugin;
const struct ucx_plugin manta_ucx_plugin = {.version = UCX_PLUGIN_VERSION,
                                            .start = start,
                                            .create = create,
                                            .address = address,
                                            .set_table = set_table};
