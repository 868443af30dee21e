/*
 * Open-addressing hash map from a 16-byte key to a pointer. Expected O(1); linear
 * probing, at most half full, deletion by backward shift (no tombstones). Growing
 * is the only allocation. Iteration order depends only on the history of calls, so
 * simulated runs replay.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct base_key {
    uint64_t high, low;
};

struct base_map_slot {
    struct base_key key;
    void *value; /* NULL: free */
};

struct base_map {
    struct base_map_slot *slots; /* NULL until the first insertion */
    uint32_t mask, count;
};

/* A zeroed map is empty. */
void base_map_fini(struct base_map *map);
void *base_map_find(const struct base_map *map, struct base_key key);
/* Room for `count` entries in all: their insertions do not fail. MANTA_OK or MANTA_E_NOMEM. */
int base_map_reserve(struct base_map *map, uint64_t count) MT_CHECKED;
/* value must not be NULL; replaces what was there. MANTA_OK or MANTA_E_NOMEM. */
int base_map_insert(struct base_map *map, struct base_key key, void *value) MT_CHECKED;
/* The removed value, NULL if there was none. */
void *base_map_remove(struct base_map *map, struct base_key key);
/* For loops: *at starts at 0; false at the end. The map must not change meanwhile. */
bool base_map_next(const struct base_map *map, uint32_t *at, struct base_key *ret_key,
                   void **ret_value);

/* A good 64-bit mixer (bijective). */
static inline uint64_t base_mix64(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

#endif
