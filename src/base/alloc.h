/*
 * Allocation with accounting and injected failure. Everything in the library goes
 * through here, so a test can fail the k-th allocation of a run, and shutdown can
 * assert that nothing is left. Zeroed memory; sizes in bytes; NULL when out.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include "base/compiler.h"

#include <stdint.h>

void *base_alloc(size_t size) MT_CHECKED; /* zeroed */
void *base_alloc_aligned(size_t alignment,
                         size_t size) MT_CHECKED; /* zeroed; alignment a power of two */
void *base_realloc(void *old, size_t old_size,
                   size_t new_size) MT_CHECKED; /* growth is zeroed; old stays on failure */
void base_free(void *memory);                   /* accepts NULL */
/* Whole pages, huge ones where the system has them; zeroed, touched only when used. bytes at free
 * as at allocation. */
void *base_alloc_pages(size_t bytes) MT_CHECKED;
void base_free_pages(void *memory, size_t bytes); /* accepts NULL */

/* Allocations alive now, in this process. */
uint64_t base_alloc_live(void);
/* The k-th allocation from now on (1: the next) returns NULL, once; 0: none does. */
void base_alloc_fail_at(uint64_t k);
/* How many allocations were asked for since the last base_alloc_fail_at. */
uint64_t base_alloc_asked(void);

#endif
