#include "core/stored.h"

#include "core/context.h"

const void *stored_data(struct rank *rank, const struct location *place)
{
    uint32_t index = comm_node_index(rank->comm, place->rank);
    struct store_tag tag = {.parent = place->parent, .position = place->position};
    if (!rank->options.store || index == COMM_ELSEWHERE) {
        return NULL;
    }
    return MT_UNLIKELY(rank->down[place->rank]) /* it may be gone */
               ? store_find(rank->options.store, index, place->offset, &tag, place->bytes)
               : store_at(rank->options.store, index, place->offset);
}

int stored_refuse(struct context *context, int code, uint64_t bytes)
{
    struct store_stats stats = store_get_stats(context->rank->options.store);
    return context_fail(context, code,
                        code == MANTA_E_NOMEM
                            ? "%llu bytes were asked for, and the machine has no more memory; the "
                              "node's store holds %llu of at most %llu bytes"
                            : "%llu bytes were asked for; the node's store holds %llu of at most "
                              "%llu bytes: drop refs, or give it more (MANTA_STORE)",
                        (unsigned long long)bytes, (unsigned long long)stats.held_bytes,
                        (unsigned long long)stats.bound_bytes);
}
