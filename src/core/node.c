#include "core/node.h"

/* Each rank goes in behind its node's lowest. */
static uint32_t *make_rings(const struct rank *rank)
{
    uint32_t *next = base_alloc(rank->size * sizeof *next);
    for (uint32_t i = 0; next && i < rank->size; i++) {
        uint32_t lowest = rank_node(rank, i);
        next[i] = i == lowest ? i : next[lowest];
        next[lowest] = i;
    }
    return next;
}

uint32_t node_next(struct rank *rank, uint32_t of)
{
    if (!rank->node_next) {
        rank->node_next = make_rings(rank);
    }
    return rank->node_next ? rank->node_next[of] : of;
}

uint32_t node_agent(struct rank *rank, struct base_key of)
{
    uint64_t best = 0;
    uint32_t agent = rank->number, at = rank->number;
    do {
        uint64_t weight = base_mix64(of.high ^ base_mix64(of.low + ((uint64_t)at << 32)));
        if (!rank->down[at] && weight >= best) {
            best = weight;
            agent = at;
        }
        at = node_next(rank, at);
    } while (at != rank->number);
    return agent;
}

uint32_t node_rank_at(const struct rank *rank, uint32_t index)
{
    for (uint32_t i = rank_node(rank, rank->number); i < rank->size; i++) {
        if (comm_node_index(rank->comm, i) == index) {
            return i;
        }
    }
    return UINT32_MAX;
}
