/*
 * The directory of a scope maps positions to task records by pages of 256, so a ref of the
 * running task is found by two loads, and a million submissions in a row touch the
 * directory sequentially. A page whose last record is gone is freed. Scopes of other parents are
 * found by id in a hash map; they are in it from their first submission until the last child's
 * record is gone. Then whoever owns the run is told (GONE), if its RESULT had said that children
 * live.
 */
#include "core/scope.h"

#include "core/map.h"
#include "core/message.h"
#include "core/pin.h"
#include "core/put.h"
#include "core/recover.h"
#include "core/registry.h"
#include "core/stream.h"
#include "core/task.h"

#define POSITION_MAX (UINT32_MAX - 1)

static struct base_key scope_key(uint64_t id)
{
    return (struct base_key){id, UINT64_MAX};
}

static void init_rest(struct scope *scope)
{
    scope->lost_on = UINT32_MAX;
    base_list_init(&scope->maps);
    base_list_init(&scope->offers);
    base_list_init(&scope->refused);
    base_list_init(&scope->lookups);
}

static int become_findable(struct rank *rank, struct scope *scope)
{
    if (!scope->is_mapped) {
        if (base_map_insert(&rank->scopes, scope_key(scope->id), scope) != 0) {
            return MANTA_E_NOMEM;
        }
        scope->is_mapped = 1;
    }
    return MANTA_OK;
}

void scope_init_root(struct rank *rank, struct scope *scope)
{
    *scope = (struct scope){.id = CORE_ROOT_BIT | rank->number, .is_root = 1, .is_mapped = 1};
    init_rest(scope);
    base_list_push_back(&rank->roots, &scope->roots);
}

struct scope *scope_create_root(struct rank *rank)
{
    struct scope *scope = base_alloc(sizeof *scope);
    if (!scope) {
        return NULL;
    }
    scope->id = CORE_ROOT_BIT | (uint64_t)++rank->root_serial << 32 | rank->number;
    scope->is_root = 1;
    init_rest(scope);
    if (become_findable(rank, scope) != 0) {
        base_free(scope);
        return NULL;
    }
    base_list_push_back(&rank->roots, &scope->roots);
    return scope;
}

bool scope_is_used_up(const struct scope *scope)
{
    return scope->is_root && scope->next_position > POSITION_MAX / 2 && !scope->block_count;
}

struct scope *scope_of_run(struct rank *rank, struct run *run)
{
    if (run->scope) {
        return run->scope;
    }
    struct scope *scope = base_alloc(sizeof *scope);
    if (!scope) {
        return NULL;
    }
    scope->id = run->id;
    scope->run = run;
    scope->owner = run->owner;
    scope->owner_token = run->token;
    scope->run_parent = run->parent;
    scope->run_position = run->position;
    init_rest(scope);
    run->scope = scope;
    rank->scopes_live++;
    return scope;
}

struct scope *scope_find(struct rank *rank, uint64_t id)
{
    if (id == rank->root.id) {
        return &rank->root;
    }
    return base_map_find(&rank->scopes, scope_key(id));
}

int scope_make_findable(struct rank *rank, struct scope *scope)
{
    return become_findable(rank, scope);
}

static int grow_pages(struct scope *scope, uint32_t pages)
{
    uint32_t capacity = scope->page_count ? scope->page_count : 1;
    while (capacity < pages) {
        capacity *= 2;
    }
    if (capacity != scope->page_count) {
        struct scope_page **more =
            base_realloc(scope->pages, scope->page_count * sizeof *more, capacity * sizeof *more);
        if (!more) {
            return MANTA_E_NOMEM;
        }
        scope->pages = more;
        scope->page_count = capacity;
    }
    return MANTA_OK;
}

static int make_pages(struct scope *scope, uint32_t first, uint32_t last)
{
    if (last >= scope->page_count && grow_pages(scope, last + 1) != 0) {
        return MANTA_E_NOMEM;
    }
    for (uint32_t page = first; page <= last; page++) {
        if (!scope->pages[page] && !(scope->pages[page] = base_alloc(sizeof **scope->pages))) {
            return MANTA_E_NOMEM;
        }
    }
    return MANTA_OK;
}

int scope_reserve(struct rank *rank, struct scope *scope, uint32_t count, uint32_t *ret_position)
{
    uint32_t position = scope->next_position;
    if (position > POSITION_MAX - count) {
        return MANTA_E_LIMIT;
    }
    uint32_t first = position / SCOPE_PAGE, last = (position + count - 1) / SCOPE_PAGE;
    if (MT_UNLIKELY(last >= scope->page_count || !scope->pages[first] || !scope->pages[last]) &&
        make_pages(scope, first, last) != 0) {
        return MANTA_E_NOMEM;
    }
    if (MT_UNLIKELY(become_findable(rank, scope) != 0)) {
        return MANTA_E_NOMEM;
    }
    scope->next_position += count;
    *ret_position = position;
    return MANTA_OK;
}

int scope_reserve_range(struct rank *rank, struct scope *scope, uint64_t count,
                        uint32_t *ret_position)
{
    if (count > POSITION_MAX - scope->next_position) {
        return MANTA_E_LIMIT;
    }
    if (become_findable(rank, scope) != 0) {
        return MANTA_E_NOMEM;
    }
    *ret_position = scope->next_position;
    scope->next_position += (uint32_t)count;
    return MANTA_OK;
}

void scope_enter(struct scope *scope, uint32_t position, uint32_t count, uint32_t task_index)
{
    for (uint32_t i = position; i < position + count; i++) {
        struct scope_page *page = scope->pages[i / SCOPE_PAGE];
        page->task[i % SCOPE_PAGE] = task_index;
        page->live++;
    }
    scope->children++;
}

static void free_scope(struct rank *rank, struct scope *scope)
{
    if (scope->is_mapped) {
        base_map_remove(&rank->scopes, scope_key(scope->id));
    }
    recover_forget_scope(rank, scope);
    for (uint32_t i = 0; i < scope->page_count; i++) {
        base_free(scope->pages[i]);
    }
    base_free(scope->pages);
    base_free(scope->holds);
    base_free(scope->blocks);
    if (!scope->is_root) {
        rank->scopes_live--;
        base_free(scope);
    }
}

static void tell_gone(struct rank *rank, const struct scope *scope, uint32_t owner, uint32_t token)
{
    struct wire_header about = {
        .parent = scope->run_parent, .position = scope->run_position, .token = token};
    if (!rank->down[owner]) {
        message_send(rank, owner, MESSAGE_GONE, about, NULL, 0);
    }
}

/* All that keep their records for the children's sake. */
static void tell_owners_gone(struct rank *rank, struct scope *scope)
{
    if (scope->told_owner) {
        tell_gone(rank, scope, scope->owner, scope->owner_token);
    }
    scope->told_owner = 0;
    while (scope->others) {
        struct scope_owner *other = scope->others;
        scope->others = other->next;
        tell_gone(rank, scope, other->rank, other->token);
        base_free(other);
    }
}

void scope_change_owner(struct rank *rank, struct scope *scope, uint32_t owner, uint32_t token)
{
    struct scope_owner *other;
    if (scope->owner == owner && scope->owner_token == token) {
        return;
    }
    if (scope->told_owner && !rank->down[scope->owner] && (other = base_alloc(sizeof *other))) {
        *other = (struct scope_owner){scope->others, scope->owner, scope->owner_token};
        scope->others = other;
    }
    scope->told_owner = 0;
    scope->owner = owner;
    scope->owner_token = token;
}

static void free_if_over(struct rank *rank, struct scope *scope)
{
    if (!scope->is_ended || scope->children || scope->is_root) {
        return;
    }
    tell_owners_gone(rank, scope);
    free_scope(rank, scope);
}

void scope_leave(struct rank *rank, struct scope *scope, uint32_t position, uint32_t count)
{
    for (uint32_t i = position; i < position + count; i++) {
        struct scope_page **page = &scope->pages[i / SCOPE_PAGE];
        (*page)->task[i % SCOPE_PAGE] = 0;
        if (--(*page)->live == 0 && i / SCOPE_PAGE < scope->next_position / SCOPE_PAGE) {
            base_free(*page);
            *page = NULL;
        }
    }
    scope->children--;
    free_if_over(rank, scope);
}

void scope_leave_map(struct rank *rank, struct scope *scope, struct map *map)
{
    base_list_remove(&map->link);
    scope->children--;
    free_if_over(rank, scope);
}

struct task *scope_next_child(struct rank *rank, const struct scope *scope, uint32_t *at)
{
    while (*at < scope->next_position && *at / SCOPE_PAGE < scope->page_count) {
        if (!scope->pages[*at / SCOPE_PAGE]) {
            *at = (*at / SCOPE_PAGE + 1) * SCOPE_PAGE;
            continue;
        }
        struct task *task = scope_child(rank, scope, (*at)++);
        if (task && task->position + 1 == *at) {
            return task;
        }
    }
    return NULL;
}

bool scope_resolve(struct rank *rank, struct scope *scope, uint32_t position,
                   struct target *ret_target)
{
    struct task *task = scope_child(rank, scope, position);
    if (task) {
        *ret_target = (struct target){&task->object, position - task->position, -1};
        return true;
    }
    BASE_LIST_EACH(&scope->maps, link)
    {
        struct map *map = MT_CONTAINER(link, struct map, link);
        uint32_t first = map->task->position;
        if (position >= first && position - first <= map->count) {
            *ret_target = (struct target){&map->task->object, 0, (int64_t)(position - first) - 1};
            return true;
        }
    }
    return false;
}

int scope_hold(struct scope *scope, manta_ref ref, struct object *object)
{
    if (scope->hold_count == scope->hold_capacity) {
        uint32_t capacity = scope->hold_capacity ? scope->hold_capacity * 2 : 8;
        struct scope_hold *more = base_realloc(scope->holds, scope->hold_capacity * sizeof *more,
                                               capacity * sizeof *more);
        if (!more) {
            return MANTA_E_NOMEM;
        }
        scope->holds = more;
        scope->hold_capacity = capacity;
    }
    if (object->kind == OBJECT_BORROW) {
        object_borrow(object)->held_at = scope->hold_count;
    }
    object->scope_holds++;
    scope->holds[scope->hold_count++] = (struct scope_hold){ref, object};
    return MANTA_OK;
}

static bool is_same(manta_ref a, manta_ref b)
{
    return a.parent == b.parent && a.position == b.position;
}

static bool is_hold_of(const struct scope *scope, uint32_t i, manta_ref ref)
{
    return i < scope->hold_count && scope->holds[i].object && is_same(scope->holds[i].ref, ref);
}

/*
 * A scope may hold thousands of refs, so it is searched (the newest first: what was got last is
 * dropped first as a rule) only if the object does not say that no scope holds it, or at which
 * place it is. After a death a ref may mean another object than the one that is held.
 */
static struct scope_hold *find_hold(struct rank *rank, struct scope *scope, manta_ref ref,
                                    const struct object *object)
{
    if (!rank->has_moved && (!object || !object->scope_holds)) {
        return NULL;
    }
    uint32_t i = object && object->kind == OBJECT_BORROW
                     ? MT_CONTAINER(object, const struct borrow, object)->held_at
                     : scope->hold_count;
    if (is_hold_of(scope, i, ref)) {
        return &scope->holds[i];
    }
    for (i = scope->hold_count; i-- > 0;) {
        if (is_hold_of(scope, i, ref)) {
            return &scope->holds[i];
        }
    }
    return NULL;
}

static void end_hold(struct rank *rank, struct object *object)
{
    if (object) {
        object->scope_holds--;
        object_drop(rank, object);
    }
}

/* Elements of a map go with it: their target's output is 0, which a map never drops by itself. */
static bool is_held(const struct task *task, uint32_t output)
{
    return task->flags & TASK_HELD && !(task->dropped >> output & 1);
}

static struct task *find_held_child(struct rank *rank, struct scope *scope, manta_ref ref)
{
    struct target target = {.element = -1};
    if (ref.parent != scope->id || !scope_resolve(rank, scope, ref.position, &target)) {
        return NULL;
    }
    struct task *task = object_task(target.object);
    return is_held(task, target.output) ? task : NULL;
}

bool scope_holds(struct rank *rank, struct scope *scope, manta_ref ref, const struct object *object)
{
    return find_held_child(rank, scope, ref) || find_hold(rank, scope, ref, object);
}

static MT_NOINLINE struct target find_any(struct rank *rank, struct scope *scope, manta_ref ref,
                                          bool is_own)
{
    struct target target = {.element = -1};
    if (!is_own || scope->may_be_borrowed || !scope_resolve(rank, scope, ref.position, &target)) {
        target = target_find(rank, ref);
    }
    if (is_own && target.object && target.object->kind != OBJECT_BORROW &&
        !is_held(object_task(target.object), target.output) &&
        !find_hold(rank, scope, ref, target.object)) {
        target.object = NULL;
    }
    return target;
}

struct target scope_target(struct rank *rank, struct scope *scope, manta_ref ref)
{
    bool is_own = scope && ref.parent == scope->id;
    struct task *task =
        is_own && !scope->may_be_borrowed ? scope_child(rank, scope, ref.position) : NULL;
    if (MT_LIKELY(task && is_held(task, ref.position - task->position))) {
        return (struct target){&task->object, ref.position - task->position, -1};
    }
    return find_any(rank, scope, ref, is_own);
}

static void drop_child(struct rank *rank, struct task *task)
{
    task->flags &= (uint16_t)~TASK_HELD;
    object_drop(rank, &task->object);
}

/* One output's ref; the task goes with the last. */
static void drop_output(struct rank *rank, struct task *task, uint32_t output)
{
    uint32_t dropped = task->dropped | 1u << output;
    task->dropped = dropped & 0xfff;
    if (dropped == (1u << task->outputs) - 1) {
        drop_child(rank, task);
    }
}

bool scope_drop(struct rank *rank, struct scope *scope, manta_ref ref)
{
    struct task *task = find_held_child(rank, scope, ref);
    struct scope_hold *hold;
    pin_end_views(rank, scope, &ref);
    if (task && task->flags & TASK_IS_MAP && ref.position != task->position) {
        return true; /* an element goes with its map */
    }
    if (task) {
        drop_output(rank, task, ref.position - task->position);
        return true;
    }
    hold = scope->hold_count ? find_hold(rank, scope, ref, target_find(rank, ref).object) : NULL;
    if (!hold) {
        return false;
    }
    struct object *object = hold->object;
    hold->object = NULL;
    while (scope->hold_count && !scope->holds[scope->hold_count - 1].object) {
        scope->hold_count--;
    }
    end_hold(rank, object);
    return true;
}

static void drop_children_from(struct rank *rank, struct scope *scope, uint32_t position)
{
    struct task *child;
    for (uint32_t at = position; (child = scope_next_child(rank, scope, &at));) {
        if (child->flags & TASK_HELD) {
            drop_child(rank, child);
        }
    }
    BASE_LIST_EACH(&scope->maps, link)
    {
        struct task *task = MT_CONTAINER(link, struct map, link)->task;
        if (task->position >= position && task->flags & TASK_HELD) {
            drop_child(rank, task);
        }
    }
}

static void drop_holds_from(struct rank *rank, struct scope *scope, uint32_t first)
{
    while (scope->hold_count > first) {
        end_hold(rank, scope->holds[--scope->hold_count].object);
    }
}

void scope_drop_children(struct rank *rank, struct scope *scope)
{
    pin_end_views(rank, scope, NULL);
    drop_children_from(rank, scope, 0);
}

void scope_drop_all(struct rank *rank, struct scope *scope)
{
    pin_end_views(rank, scope, NULL);
    put_end_scope(rank, scope, 0);
    if (MT_UNLIKELY(scope->inboxes != NULL)) {
        inbox_close_all(rank, scope);
    }
    drop_children_from(rank, scope, 0);
    drop_holds_from(rank, scope, 0);
}

int scope_block_begin(struct scope *scope)
{
    if (scope->block_count == scope->block_capacity) {
        uint32_t capacity = scope->block_capacity ? scope->block_capacity * 2 : 8;
        uint32_t *more = base_realloc(scope->blocks, scope->block_capacity * sizeof *more,
                                      capacity * sizeof *more);
        if (!more) {
            return MANTA_E_NOMEM;
        }
        scope->blocks = more;
        scope->block_capacity = capacity;
    }
    scope->blocks[scope->block_count++] = scope->next_position;
    scope->blocks[scope->block_count++] = scope->hold_count;
    return MANTA_OK;
}

int scope_block_end(struct rank *rank, struct scope *scope)
{
    if (!scope->block_count) {
        return MANTA_E_STATE;
    }
    uint32_t holds = scope->blocks[--scope->block_count];
    uint32_t position = scope->blocks[--scope->block_count];
    pin_end_views_from(rank, scope, position);
    for (uint32_t i = holds; i < scope->hold_count; i++) {
        pin_end_views(rank, scope, &scope->holds[i].ref);
    }
    put_end_scope(rank, scope, scope->block_count + 1);
    drop_children_from(rank, scope, position);
    drop_holds_from(rank, scope, MT_MIN(holds, scope->hold_count));
    return MANTA_OK;
}

void scope_end(struct rank *rank, struct scope *scope)
{
    const struct run *run = scope->run;
    scope->has_run = !run || (!run->is_spoiled && (run->state == RUN_RUNNING || run->cancelled));
    scope->run = NULL;
    scope->is_ended = 1;
    if (MT_UNLIKELY(!base_list_is_empty(&scope->lookups) || !base_list_is_empty(&scope->offers))) {
        recover_fail_lookups(rank, scope);
    }
    free_if_over(rank, scope);
}

void scope_fini_roots(struct rank *rank)
{
    struct base_list *link;
    while ((link = base_list_pop_front(&rank->roots))) {
        struct scope *scope = MT_CONTAINER(link, struct scope, roots);
        free_scope(rank, scope);
        if (scope != &rank->root) {
            base_free(scope);
        }
    }
}
