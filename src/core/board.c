#include "core/board.h"

#include <stdio.h>

enum { NAMES_MAX = 3 };

struct board {
    _Atomic uint64_t slots_used; /* 0: nothing is known */
    uint64_t unused[7];
    struct board_slot slots[];
};
_Static_assert(sizeof(struct board_slot) == MT_CACHE_LINE, "a line for each worker");
_Static_assert(sizeof(struct board) == MT_CACHE_LINE, "and none is shared with the count");

#define SLOTS_MAX ((COMM_BOARD_BYTES - sizeof(struct board)) / sizeof(struct board_slot))

void board_open(struct rank *rank)
{
    struct board *board = comm_board(rank->comm, rank->number);
    bool fits = board && rank->worker_count <= SLOTS_MAX;
    for (uint32_t i = 0; i < rank->worker_count; i++) {
        rank->workers[i].slot = fits ? &board->slots[i] : &rank->workers[i].unread_slot;
    }
    if (fits) {
        atomic_store_explicit(&board->slots_used, rank->worker_count, memory_order_relaxed);
    }
}

static const struct board *read_board(struct rank *rank, uint32_t dead, uint64_t *ret_count)
{
    const struct board *board = comm_board(rank->comm, dead);
    uint64_t count = board ? atomic_load_explicit(&board->slots_used, memory_order_relaxed) : 0;
    *ret_count = MT_MIN(count, SLOTS_MAX); /* the dead may have written anything */
    return board;
}

static bool shows(const struct board_slot *slot, const struct task *task)
{
    return atomic_load_explicit(&slot->parent, memory_order_relaxed) == task->parent &&
           atomic_load_explicit(&slot->position, memory_order_relaxed) == task->position;
}

bool board_is_lit(struct rank *rank, uint32_t of)
{
    uint64_t count;
    (void)read_board(rank, of, &count);
    return count != 0;
}

bool board_blames(struct rank *rank, uint32_t dead, const struct task *task)
{
    uint64_t count;
    const struct board *board = read_board(rank, dead, &count);
    bool is_shown = false;
    for (uint64_t i = 0; i < count && !is_shown; i++) {
        is_shown = shows(&board->slots[i], task);
    }
    return is_shown;
}

bool board_is_active(struct rank *rank, uint32_t of)
{
    uint64_t count;
    const struct board *board = read_board(rank, of, &count);
    bool is_active = false;
    for (uint64_t i = 0; i < count && !is_active; i++) {
        is_active = atomic_load_explicit(&board->slots[i].parent, memory_order_relaxed) != 0;
    }
    return is_active;
}

bool board_find_element(struct rank *rank, uint32_t dead, const struct task *map, uint64_t begin,
                        uint64_t count, uint64_t *ret_index)
{
    uint64_t slots;
    const struct board *board = read_board(rank, dead, &slots);
    for (uint64_t i = 0; i < slots; i++) {
        const struct board_slot *slot = &board->slots[i];
        uint64_t index = atomic_load_explicit(&slot->index, memory_order_relaxed);
        if (shows(slot, map) && index - begin < count) {
            *ret_index = index;
            return true;
        }
    }
    return false;
}

/* ---- For the log ---------------------------------------------------------------------------- */

static const char *name_of(const struct board_slot *slot)
{
    uint32_t hash = atomic_load_explicit(&slot->function, memory_order_relaxed);
    bool is_running = atomic_load_explicit(&slot->parent, memory_order_relaxed) != 0;
    const manta_function *function = is_running ? registry_find(hash) : NULL;
    return function ? function->name : NULL;
}

void core_describe_last(struct rank *rank, uint32_t dead, char *text, size_t size)
{
    uint64_t count;
    const struct board *board = read_board(rank, dead, &count);
    size_t at = 0;
    uint32_t named = 0;
    text[0] = 0;
    for (uint64_t i = 0; i < count && named < NAMES_MAX && at < size; i++) {
        const char *name = name_of(&board->slots[i]);
        if (name) {
            at += (size_t)snprintf(text + at, size - at, "%s%s", named++ ? ", " : " while it ran ",
                                   name);
        }
    }
}
