/*
 * The board: what each worker of a rank is running, in memory that the other ranks of its
 * node can read when it is dead (comm_board).
 *
 * A death costs each task that was sent to the dead rank its run, but only one can have
 * been the cause: the one a worker was in. Those, and no others, lose one of their
 * retries, and the error record and the log can say what the rank was doing when it died.
 *
 * A board is dark for who is on another node, or if the rank has more workers than it has
 * slots; and what runs in a process of its own is on none. A task costs nothing there to
 * be lost for the first time. From then on it is watched: who takes it says so before the
 * body begins (BEGUN, exec_tell_begun), and of a part of a map, before its first index, and
 * sends each result before the next index begins. Those whose owner has heard that, and not of the
 * end, have lost one of their retries when the rank dies. So a task that never began loses
 * none, however often it is lost, and one of which ranks die is out after one death more than
 * elsewhere; but for a rank that dies so early that the word does not get through, for which a
 * bound is set (BOARD_DARK_MAX). What is never lost tells nothing.
 *
 * A slot has one writer, its worker, and a cache line of its own; it is read only after
 * the writer's death. What shows is the innermost body: one that waits on a stack put
 * aside, or below another on the same stack, is not what the worker was in.
 */
#ifndef CORE_BOARD_H
#define CORE_BOARD_H

#include "core/rank.h"
#include "core/registry.h"

/* After so many runs a task that was lost again where nobody can see why counts as begun. */
enum { BOARD_DARK_MAX = 16 };

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

/* Whether this rank can read that one's board. */
bool board_is_lit(struct rank *rank, uint32_t of);

/* Whether the dead rank, whose board can be read, was in this task. */
bool board_blames(struct rank *rank, uint32_t dead, const struct task *task);

/* Whether a worker of that rank, on this node, is in a body that does not wait. */
bool board_is_active(struct rank *rank, uint32_t of);

/* The element of a map, among `count` from `begin` on, that the dead rank was in; false: in
 * none. */
bool board_find_element(struct rank *rank, uint32_t dead, const struct task *map, uint64_t begin,
                        uint64_t count, uint64_t *ret_index);

#endif
