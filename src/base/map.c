/*
 * The hash map: one array of slots, its size a power of two, linear probing.
 *
 * Invariant: between the home slot of a key (its hash, masked) and the slot that
 * holds it no slot is free. A search may therefore stop at the first free slot, and a
 * removal must close its gap: it walks on from the hole and moves back every entry
 * whose home does not lie behind the hole, until a free slot ends the run. At most
 * half of the slots are taken, so runs stay short, also for keys that are not there, and always
 * end.
 */
#include "base/map.h"

#include "base/alloc.h"
#include "manta/error.h"

#define FIRST_SLOTS 16u
#define MOST_SLOTS (UINT32_C(1) << 31)

static uint32_t home_of(const struct base_map *map, struct base_key key)
{
    return (uint32_t)base_mix64(key.low ^ base_mix64(key.high + 0x9e3779b97f4a7c15u)) & map->mask;
}

static bool same_key(struct base_key a, struct base_key b)
{
    return a.low == b.low && a.high == b.high;
}

/* Where the key is, or the free slot where it belongs. */
static uint32_t seek(const struct base_map *map, struct base_key key)
{
    uint32_t at = home_of(map, key);
    while (map->slots[at].value && !same_key(map->slots[at].key, key)) {
        at = (at + 1) & map->mask;
    }
    return at;
}

void base_map_fini(struct base_map *map)
{
    base_free(map->slots);
    *map = (struct base_map){0};
}

void *base_map_find(const struct base_map *map, struct base_key key)
{
    return map->count ? map->slots[seek(map, key)].value : NULL;
}

static bool has_room(const struct base_map *map, uint64_t count)
{
    return map->slots && count * 2 <= (uint64_t)map->mask + 1;
}

static int resize(struct base_map *map, uint64_t size)
{
    struct base_map bigger = {.mask = (uint32_t)(size - 1), .count = map->count};
    if (size > MOST_SLOTS) {
        return MANTA_E_NOMEM;
    }
    bigger.slots = base_alloc(size * sizeof *bigger.slots);
    if (!bigger.slots) {
        return MANTA_E_NOMEM;
    }
    for (uint64_t i = 0; map->slots && i <= map->mask; i++) {
        if (map->slots[i].value) {
            bigger.slots[seek(&bigger, map->slots[i].key)] = map->slots[i];
        }
    }
    base_free(map->slots);
    *map = bigger;
    return MANTA_OK;
}

int base_map_reserve(struct base_map *map, uint64_t count)
{
    uint64_t size = map->slots ? (uint64_t)map->mask + 1 : FIRST_SLOTS;
    while (count * 2 > size && size <= MOST_SLOTS) {
        size *= 2;
    }
    return has_room(map, count) ? MANTA_OK : resize(map, size);
}

int base_map_insert(struct base_map *map, struct base_key key, void *value)
{
    uint32_t at = map->slots ? seek(map, key) : 0;
    if (map->slots && map->slots[at].value) {
        map->slots[at].value = value;
        return MANTA_OK;
    }
    if (!has_room(map, (uint64_t)map->count + 1)) {
        int code = base_map_reserve(map, (uint64_t)map->count + 1);
        if (code) {
            return code;
        }
        at = seek(map, key);
    }
    map->slots[at] = (struct base_map_slot){key, value};
    map->count++;
    return MANTA_OK;
}

static void close_gap(struct base_map *map, uint32_t hole)
{
    for (uint32_t at = (hole + 1) & map->mask; map->slots[at].value; at = (at + 1) & map->mask) {
        uint32_t home = home_of(map, map->slots[at].key);
        uint32_t from_home = (at - home) & map->mask, from_hole = (at - hole) & map->mask;
        if (from_home >= from_hole) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].value = NULL;
}

void *base_map_remove(struct base_map *map, struct base_key key)
{
    if (!map->slots) {
        return NULL;
    }
    uint32_t at = seek(map, key);
    void *value = map->slots[at].value;
    if (value) {
        close_gap(map, at);
        map->count--;
    }
    return value;
}

bool base_map_next(const struct base_map *map, uint32_t *at, struct base_key *ret_key,
                   void **ret_value)
{
    for (; map->slots && *at <= map->mask; (*at)++) {
        const struct base_map_slot *slot = &map->slots[*at];
        if (slot->value) {
            *ret_key = slot->key;
            *ret_value = slot->value;
            (*at)++;
            return true;
        }
    }
    return false;
}
