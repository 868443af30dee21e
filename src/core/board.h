/*
 * The board: what each worker of a rank is running, in memory that the other ranks of its
 * node can read when it is dead (comm_board).
 *
 * A death costs each task that was sent to the dead rank its run, but only one can have
 * been the cause: the one a worker was in. Those, and no others, lose one of their
 * retries, and the error record and the log can say what the rank was doing when it died.
 * Of a rank on another node, or with more workers than a board has slots, nothing is
 * known, and every task that was there counts as having run.
 *
 * A slot has one writer, its worker, and a cache line of its own; it is read only after
 * the writer's death. What shows is the innermost body: one that waits on a stack put
 * aside, or below another on the same stack, is not what the worker was in.
 */
#ifndef CORE_BOARD_H
#define CORE_BOARD_H

#include "core/rank.h"
#include "core/registry.h"

/* Before the workers start. */
void board_open(struct rank *rank);

/* NULL: none, it looks for work. */
static inline void board_show(struct worker *worker, const struct run *run)
{
    struct board_slot *slot = worker->slot;
    atomic_store_explicit(&slot->parent, run ? run->parent : 0, memory_order_relaxed);
    if (run) {
        atomic_store_explicit(&slot->position, run->position, memory_order_relaxed);
        atomic_store_explicit(&slot->function, function_hash(run->function), memory_order_relaxed);
        atomic_store_explicit(&slot->index, run->map_index, memory_order_relaxed);
    }
}

/* The element of a map that is next. */
static inline void board_show_index(struct worker *worker, uint64_t index)
{
    atomic_store_explicit(&worker->slot->index, index, memory_order_relaxed);
}

/* Whether the dead rank was in this task, as far as anybody knows. */
bool board_blames(struct rank *rank, uint32_t dead, const struct task *task);

/* Whether a worker of that rank, on this node, is in a body that does not wait. */
bool board_is_active(struct rank *rank, uint32_t of);

/* The element of a map, among `count` from `begin` on, that the dead rank was in. MANTA_OK;
 * MANTA_E_NOTFOUND: in none; MANTA_E_LOST: nobody knows. */
int board_find_element(struct rank *rank, uint32_t dead, const struct task *map, uint64_t begin,
                       uint64_t count, uint64_t *ret_index);

#endif
