#include "core/near.h"

#include "core/dispatch.h"
#include "core/node.h"
#include "core/object.h"
#include "core/task.h"

/* What lies on one node. */
struct heap_of {
    uint32_t node, rank; /* rank: where the first of it is */
    uint64_t bytes;
};

struct heaps {
    uint32_t count;
    struct heap_of of[MANTA_PARAM_MAX];
};

static void add(struct heaps *heaps, uint32_t node, const struct location *place)
{
    uint32_t i = 0;
    while (i < heaps->count && heaps->of[i].node != node) {
        i++;
    }
    if (i == heaps->count) {
        heaps->of[heaps->count++] = (struct heap_of){.node = node, .rank = place->rank};
    }
    heaps->of[i].bytes += place->bytes;
}

static void add_argument(struct rank *rank, struct heaps *heaps, manta_ref ref)
{
    struct target target = target_find(rank, ref);
    struct content content = target_content(&target);
    if (content.place && content.place->rank < rank->size) {
        add(heaps, rank_node(rank, content.place->rank), content.place);
    }
}

/* Anybody on another node than that one, if there is room for a task. */
static struct peer *choose_elsewhere(struct rank *rank, uint32_t crowded, struct peer *peer)
{
    for (uint32_t i = 1; i <= rank->size; i++) {
        uint32_t at = (peer->number + i) % rank->size;
        if (rank_node(rank, at) != rank_node(rank, crowded) && !comm_is_down(rank->comm, at)) {
            struct peer *far = peer_get(rank, at);
            if (far && sched_window_bears(&far->window[LANE_WORKERS])) {
                return far;
            }
        }
    }
    return peer;
}

void near_note(struct rank *rank, struct task *task)
{
    if (MT_UNLIKELY(task->flags & TASK_MOVED)) {
        task->flags |= TASK_NEAR;
        return;
    }
    struct heaps heaps = {0};
    const struct heap_of *best = NULL;
    struct pack_refs refs = task_refs(task);
    manta_ref ref;
    while (pack_next_ref(&refs, &ref)) {
        if (pack_is_value(refs.param)) {
            add_argument(rank, &heaps, ref);
        }
    }
    for (uint32_t i = 0; i < heaps.count; i++) {
        best = !best || heaps.of[i].bytes > best->bytes ? &heaps.of[i] : best;
    }
    task->flags &= (uint16_t)~TASK_NEAR;
    if (best) {
        task->flags |= TASK_NEAR;
        task->exec_rank = best->rank;
    }
}

struct peer *near_choose(struct rank *rank, const struct task *task, struct peer *peer)
{
    uint32_t best = task->exec_rank, at = best;
    if (MT_UNLIKELY(task->flags & TASK_MOVED)) {
        bool is_crowded = rank_node(rank, peer->number) == rank_node(rank, best);
        return is_crowded ? choose_elsewhere(rank, best, peer) : peer;
    }
    if (rank_node(rank, peer->number) == rank_node(rank, best)) {
        return peer;
    }
    do {
        struct peer *near = comm_is_down(rank->comm, at) ? NULL : peer_get(rank, at);
        if (near && sched_window_bears(&near->window[LANE_WORKERS])) {
            return near;
        }
        at = node_next(rank, at);
    } while (at != best);
    return peer;
}
