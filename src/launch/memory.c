#include "launch/memory.h"

#include "comm/backends.h"

#include <manta/error.h>
#include <stdio.h>
#include <unistd.h>

static int choose_bound(const struct settings *settings, const struct topo *topo,
                        uint64_t *ret_bound, char *text, size_t text_size)
{
    uint64_t limit = topo_memory_limit_bytes(topo);
    if (settings->store_bytes > limit) {
        snprintf(
            text, text_size,
            "MANTA_STORE asks for %llu bytes, but this process may use at most %llu (the least "
            "of the machine's memory, its control groups and ulimit -v)",
            (unsigned long long)settings->store_bytes, (unsigned long long)limit);
        return MANTA_E_LIMIT;
    }
    *ret_bound = settings->store_bytes ? settings->store_bytes : limit / 10 * 3;
    return MANTA_OK;
}

int memory_create(const struct settings *settings, const struct topo *topo, uint32_t node_ranks,
                  int *ret_fd, char *text, size_t text_size)
{
    uint64_t bound;
    int fd, code = choose_bound(settings, topo, &bound, text, text_size);
    if (code != MANTA_OK) {
        return code;
    }
    if (comm_shm_segment_create(node_ranks, store_bytes(node_ranks, bound), &fd) != MANTA_OK) {
        snprintf(text, text_size, "cannot make the shared segment (memfd_create): check ulimit -f");
        return MANTA_E_SYSTEM;
    }
    if (store_format(fd, comm_shm_segment_bytes(node_ranks), node_ranks, bound) != MANTA_OK) {
        snprintf(text, text_size, "cannot write to the shared segment");
        close(fd);
        return MANTA_E_SYSTEM;
    }
    *ret_fd = fd;
    return MANTA_OK;
}

int memory_open_store(int fd, uint32_t index, uint32_t node_ranks, struct store **ret_store,
                      char *text, size_t text_size)
{
    struct store_options options = {fd, comm_shm_segment_bytes(node_ranks), index, node_ranks};
    int code = store_open(&options, ret_store);
    if (code != MANTA_OK) {
        snprintf(text, text_size, "cannot map the node's store: check ulimit -v");
    }
    return code;
}
