#include "core/stored.h"

const void *stored_data(struct rank *rank, const struct location *place)
{
    uint32_t index = comm_node_index(rank->comm, place->rank);
    struct store_tag tag = {.parent = place->parent, .position = place->position};
    if (!rank->options.store || index == COMM_ELSEWHERE) {
        return NULL;
    }
    struct store_place at = {index, place->offset};
    const void *data = MT_UNLIKELY(rank->down[place->rank]) /* it may be gone */
                           ? store_find(rank->options.store, at.index, at.place, &tag, place->bytes)
                           : store_at(rank->options.store, at.index, at.place);
    bool is_spoiled = store_has_disk(rank->options.store) &&
                      store_get_state(rank->options.store, at) == STORE_SPOILED;
    return is_spoiled ? NULL : data;
}

bool stored_is_gone(struct rank *rank, const struct location *place)
{
    struct store_place at = {comm_node_index(rank->comm, place->rank), place->offset};
    struct store_tag tag = {.parent = place->parent, .position = place->position};
    return rank->options.store && at.index != COMM_ELSEWHERE &&
           (!store_find(rank->options.store, at.index, at.place, &tag, place->bytes) ||
            store_get_state(rank->options.store, at) == STORE_SPOILED);
}
