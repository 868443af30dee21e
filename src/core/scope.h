/* Scopes: what one run, or a rank's root, has submitted and which refs of others it holds. */
#ifndef CORE_SCOPE_H
#define CORE_SCOPE_H

#include "core/object.h"

void scope_init_root(struct rank *rank, struct scope *scope);
/* A root scope for another thread, or for one that has used up its positions. Lives until the rank
 * ends. NULL: memory is out. */
struct scope *scope_create_root(struct rank *rank);
/* So few positions are left that the next block of work should begin in a new root. */
bool scope_is_used_up(const struct scope *scope);
/* The run's scope, made on first use. NULL: memory is out. */
struct scope *scope_of_run(struct rank *rank, struct run *run);
/* Puts it where scope_find looks. */
int scope_make_findable(struct rank *rank, struct scope *scope);
/* Another rank owns the run now. The one before keeps its record too for as long as children live:
 * if this rank dies, it may be the only one left that can have them made again. */
void scope_change_owner(struct rank *rank, struct scope *scope, uint32_t owner, uint32_t token);
/* By id; NULL when this rank runs or owns no such parent. */
struct scope *scope_find(struct rank *rank, uint64_t id);

/* Reserves `count` positions and room in the directory for them. MANTA_OK, MANTA_E_NOMEM,
 * MANTA_E_LIMIT. */
int scope_reserve(struct rank *rank, struct scope *scope, uint32_t count, uint32_t *ret_position);
/* The same without directory entries, for maps. */
int scope_reserve_range(struct rank *rank, struct scope *scope, uint64_t count,
                        uint32_t *ret_position);
void scope_enter(struct scope *scope, uint32_t position, uint32_t count, uint32_t task_index);
/* A child's record goes. May free the scope. */
void scope_leave(struct rank *rank, struct scope *scope, uint32_t position, uint32_t count);
void scope_leave_map(struct rank *rank, struct scope *scope, struct map *map);
bool scope_resolve(struct rank *rank, struct scope *scope, uint32_t position,
                   struct target *ret_target);
/* For loops over the children's records, each once: *at starts at a position; NULL at the end.
 * Records may go meanwhile. */
struct task *scope_next_child(struct rank *rank, const struct scope *scope, uint32_t *at);
/* The child's record at a position, NULL when there is none. */
static inline struct task *scope_child(struct rank *rank, const struct scope *scope,
                                       uint32_t position)
{
    uint32_t page = position / SCOPE_PAGE;
    uint32_t index = page < scope->page_count && scope->pages[page]
                         ? scope->pages[page]->task[position % SCOPE_PAGE]
                         : 0;
    return index ? base_slab_at(&rank->tasks, index) : NULL;
}

/* Takes over one hold that the caller has on the object. */
int scope_hold(struct scope *scope, manta_ref ref, struct object *object);
/* Ends the scope's hold on a ref. False: it has none. */
bool scope_drop(struct rank *rank, struct scope *scope, manta_ref ref);
bool scope_holds(struct rank *rank, struct scope *scope, manta_ref ref,
                 const struct object *object);
/* What a ref names for a caller in `scope`: as target_find, but not what the scope itself made and
 * has dropped. */
struct target scope_target(struct rank *rank, struct scope *scope, manta_ref ref);

int scope_block_begin(struct scope *scope);
int scope_block_end(struct rank *rank, struct scope *scope);

/* Drops its hold on what it submitted; on everything. */
void scope_drop_children(struct rank *rank, struct scope *scope);
void scope_drop_all(struct rank *rank, struct scope *scope);
/* The run has ended: frees the scope as soon as no child's record is left. */
void scope_end(struct rank *rank, struct scope *scope);
/* At the very end: every child's record is gone. */
void scope_fini_roots(struct rank *rank);

#endif
