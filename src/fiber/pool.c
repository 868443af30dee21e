/*
 * Stacks, mapped once and used again.
 *
 *     map                    low                                  high        end
 *      | guard, no access     | stack, grows down                  | struct    |
 *
 * The fiber's own record lies at the top of its stack, in the page that the first
 * call touches anyway: a parked task costs one page. The guard is wider than a page,
 * because a function may put an array on the stack and touch its far end first;
 * address space is free. A new fiber starts with the floating-point control of the
 * thread that made the pool, not of whichever task happened to cause its creation.
 *
 * Released stacks go to the front of the warm list and are taken from there: the last
 * used is the one still in the cache. Of more than WARM_MOST the longest unused moves
 * to the cold list, its memory offered back to the kernel (lazily: it costs only if
 * memory gets short). Nothing is unmapped before the pool ends.
 *
 * The lock covers a few list operations and no system call, so its waiters poll. The
 * guard is looked up through the running fiber of the faulting thread: no table, no
 * lock, nothing that a signal handler may not do.
 */
#include "base/alloc.h"
#include "base/host.h"
#include "fiber/context.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEAST_STACK_BYTES ((size_t)16 << 10)
#define GUARD_BYTES ((size_t)64 << 10)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define WARM_MOST 128u
#define POLLS_BEFORE_YIELD 100

struct fiber_pool {
    struct fiber_origin origin;
    size_t stack_bytes, guard_bytes, page_bytes;
    uint32_t limit;
    atomic_flag lock;
    struct base_list warm, cold; /* guard: lock */
    uint32_t warm_count;         /* guard: lock */
    _Atomic uint32_t in_use;     /* written under the lock */
};

static void lock(struct fiber_pool *pool)
{
    for (int polls = 0; atomic_flag_test_and_set_explicit(&pool->lock, memory_order_acquire);) {
        base_cpu_relax();
        if (++polls >= POLLS_BEFORE_YIELD) {
            base_host_real.yield(base_host_real.self);
        }
    }
}

static void unlock(struct fiber_pool *pool)
{
    atomic_flag_clear_explicit(&pool->lock, memory_order_release);
}

static void add_in_use(struct fiber_pool *pool, uint32_t change)
{
    uint32_t count = atomic_load_explicit(&pool->in_use, memory_order_relaxed);
    atomic_store_explicit(&pool->in_use, count + change, memory_order_relaxed);
}

struct fiber_pool *fiber_pool_create(size_t stack_bytes, uint32_t limit)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (stack_bytes > SIZE_MAX / 4) {
        return NULL;
    }
    struct fiber_pool *pool = base_alloc(sizeof *pool);
    if (!pool) {
        return NULL;
    }
    pool->page_bytes = page_bytes;
    pool->stack_bytes = MT_ALIGN_UP(MT_MAX(stack_bytes, LEAST_STACK_BYTES), page_bytes);
    pool->guard_bytes = MT_ALIGN_UP(GUARD_BYTES, page_bytes);
    pool->limit = limit ? limit : UINT32_MAX;
    atomic_flag_clear(&pool->lock);
    base_list_init(&pool->warm);
    base_list_init(&pool->cold);
    fiber_origin_read(&pool->origin);
    return pool;
}

static struct fiber *map_stack(struct fiber_pool *pool)
{
    size_t bytes = pool->guard_bytes + pool->stack_bytes;
    char *map = mmap(NULL, bytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    char *low = map + pool->guard_bytes;
    if (mprotect(low, pool->stack_bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(map, bytes);
        return NULL;
    }
    if (pool->stack_bytes >= HUGE_PAGE_BYTES) {
        madvise(low, pool->stack_bytes, MADV_NOHUGEPAGE);
    }
    size_t record_bytes = MT_ALIGN_UP(sizeof(struct fiber), (size_t)MT_CACHE_LINE);
    struct fiber *fiber = (struct fiber *)(map + bytes - record_bytes);
    fiber->pool = pool;
    fiber->low = low;
    fiber->high = (char *)fiber;
    fiber->guard_bytes = pool->guard_bytes;
    base_list_init(&fiber->link);
    return fiber;
}

static void unmap_all(struct fiber_pool *pool, struct base_list *list)
{
    struct base_list *node;
    while ((node = base_list_pop_front(list)) != NULL) {
        struct fiber *fiber = MT_CONTAINER(node, struct fiber, link);
        fiber_context_forget(fiber);
        munmap(fiber->low - pool->guard_bytes, pool->guard_bytes + pool->stack_bytes);
    }
}

void fiber_pool_destroy(struct fiber_pool *pool)
{
    if (!pool) {
        return;
    }
    assert(fiber_pool_in_use(pool) == 0);
    unmap_all(pool, &pool->warm);
    unmap_all(pool, &pool->cold);
    base_free(pool);
}

uint32_t fiber_pool_in_use(const struct fiber_pool *pool)
{
    return atomic_load_explicit(&pool->in_use, memory_order_relaxed);
}

/* Counts one more in use. NULL with *ret_may_map: within the limit, but no stack is free. */
static struct fiber *take_free(struct fiber_pool *pool, bool *ret_may_map)
{
    struct base_list *node = NULL;
    lock(pool);
    *ret_may_map = fiber_pool_in_use(pool) < pool->limit;
    if (*ret_may_map) {
        add_in_use(pool, 1);
        node = base_list_pop_front(&pool->warm);
        pool->warm_count -= node != NULL;
        node = node ? node : base_list_pop_front(&pool->cold);
    }
    unlock(pool);
    return node ? MT_CONTAINER(node, struct fiber, link) : NULL;
}

static struct fiber *map_counted(struct fiber_pool *pool)
{
    int saved_errno = errno;
    struct fiber *fiber = map_stack(pool);
    if (!fiber) {
        lock(pool);
        add_in_use(pool, UINT32_MAX);
        unlock(pool);
    }
    errno = saved_errno;
    return fiber;
}

struct fiber *fiber_create(struct fiber_pool *pool, void (*entry)(void *arg), void *arg)
{
    bool may_map;
    struct fiber *fiber = take_free(pool, &may_map);
    if (!fiber && may_map) {
        fiber = map_counted(pool);
    }
    if (fiber) {
        fiber->entry = entry;
        fiber->arg = arg;
        fiber_set_name(fiber, NULL);
        fiber_context_prepare(fiber, &pool->origin);
    }
    return fiber;
}

/* All but the page with the record and the top of the stack. */
static void cool(struct fiber_pool *pool, struct fiber *fiber)
{
    int saved_errno = errno;
    uintptr_t end = (uintptr_t)fiber->high & ~(uintptr_t)(pool->page_bytes - 1);
    madvise(fiber->low, end - (uintptr_t)fiber->low, MADV_FREE);
    errno = saved_errno;
    lock(pool);
    base_list_push_front(&pool->cold, &fiber->link);
    unlock(pool);
}

void fiber_release(struct fiber *fiber)
{
    if (!fiber) {
        return;
    }
    struct fiber_pool *pool = fiber->pool;
    struct base_list *coldest = NULL;
    fiber_context_drop(fiber);
    lock(pool);
    base_list_push_front(&pool->warm, &fiber->link);
    add_in_use(pool, UINT32_MAX);
    if (++pool->warm_count > WARM_MOST) {
        coldest = pool->warm.prev;
        base_list_remove(coldest);
        pool->warm_count--;
    }
    unlock(pool);
    if (coldest) {
        cool(pool, MT_CONTAINER(coldest, struct fiber, link));
    }
}

void fiber_set_name(struct fiber *fiber, const char *name)
{
    atomic_store_explicit(&fiber->name, name, memory_order_relaxed);
}

bool fiber_guard_hit(const void *address, const char **ret_name)
{
    const struct fiber *fiber = fiber_current();
    const char *at = address;
    if (!fiber || at >= fiber->low || at < fiber->low - fiber->guard_bytes) {
        return false;
    }
    const char *name = atomic_load_explicit(&fiber->name, memory_order_relaxed);
    *ret_name = name ? name : "(no task)";
    return true;
}
