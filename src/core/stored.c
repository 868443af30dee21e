#include "core/stored.h"

const void *stored_data(struct rank *rank, const struct location *place)
{
    uint32_t index = comm_node_index(rank->comm, place->rank);
    return rank->options.store && index != COMM_ELSEWHERE
               ? store_at(rank->options.store, index, place->offset)
               : NULL;
}
