/*
 * The C library's allocator behind three counters.
 *
 * `live` counts what was given out and not taken back; shutdown asserts that it is
 * where it was at the start. `asked` numbers the requests since the last
 * base_alloc_fail_at, so that a test counts the allocations of a run once and then
 * repeats the run, failing each in turn: the k-th request is refused exactly once,
 * because its number comes only once. All three are relaxed atomics: they order
 * nothing, and any thread may allocate. Nothing on a hot path does.
 */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static _Atomic uint64_t live_count;
static _Atomic uint64_t asked_count;
static _Atomic uint64_t failing_request; /* 0: none */

static int is_refused(void)
{
    uint64_t number = atomic_fetch_add_explicit(&asked_count, 1, memory_order_relaxed) + 1;
    return MT_UNLIKELY(number == atomic_load_explicit(&failing_request, memory_order_relaxed));
}

static void *counted(void *memory)
{
    if (MT_LIKELY(memory != NULL)) {
        atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
    }
    return memory;
}

void *base_alloc(size_t size)
{
    return is_refused() ? NULL : counted(calloc(1, MT_MAX(size, 1u)));
}

void *base_alloc_aligned(size_t alignment, size_t size)
{
    void *memory;
    if (is_refused()) {
        return NULL;
    }
    if (alignment <= _Alignof(max_align_t)) {
        memory = malloc(MT_MAX(size, 1u));
    } else if (posix_memalign(&memory, alignment, MT_MAX(size, 1u)) != 0) {
        memory = NULL;
    }
    if (memory) {
        memset(memory, 0, size);
    }
    return counted(memory);
}

void *base_realloc(void *old, size_t old_size, size_t new_size)
{
    if (!old) {
        return base_alloc(new_size);
    }
    char *memory = is_refused() ? NULL : realloc(old, MT_MAX(new_size, 1u));
    if (memory && new_size > old_size) {
        memset(memory + old_size, 0, new_size - old_size);
    }
    return memory;
}

void base_free(void *memory)
{
    if (memory) {
        atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
        free(memory);
    }
}

/* A mapping is cut to size from one that is a huge page longer, so that it begins on a huge page.
 */
void *base_alloc_pages(size_t bytes)
{
    size_t mapped = bytes + HUGE_PAGE_BYTES;
    char *all = is_refused() ? MAP_FAILED
                             : mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        return NULL;
    }
    char *memory = (char *)MT_ALIGN_UP((uintptr_t)all, (uintptr_t)HUGE_PAGE_BYTES);
    size_t before = (size_t)(memory - all), after = mapped - before - bytes;
    if (before) {
        munmap(all, before);
    }
    if (after) {
        munmap(memory + bytes, after);
    }
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return counted(memory);
}

void base_free_pages(void *memory, size_t bytes)
{
    if (memory) {
        atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
        munmap(memory, bytes);
    }
}

uint64_t base_alloc_live(void)
{
    return atomic_load_explicit(&live_count, memory_order_relaxed);
}

void base_alloc_fail_at(uint64_t k)
{
    atomic_store_explicit(&failing_request, 0, memory_order_relaxed);
    atomic_store_explicit(&asked_count, 0, memory_order_relaxed);
    atomic_store_explicit(&failing_request, k, memory_order_relaxed);
}

uint64_t base_alloc_asked(void)
{
    return atomic_load_explicit(&asked_count, memory_order_relaxed);
}
