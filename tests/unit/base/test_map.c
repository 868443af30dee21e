/* The map against a naive model: random operations on few keys, so that every key is often
 * inserted, replaced and removed and the probe runs wrap around the end; then growth, failure and
 * replay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/map.h"
#include "manta/error.h"

#include <stdlib.h>
#include <string.h>

#define KEYS 200

static uint64_t random_state;
static char targets[4096];

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

/* Keys that differ in one half only, in both, and the zero key. */
static struct base_key key_of(uint32_t i)
{
    return (struct base_key){.high = i % 3 == 0 ? 0 : i, .low = i % 3 == 1 ? 0 : i};
}

static void assert_same(const struct base_map *map, void *const *model)
{
    uint32_t count = 0, seen = 0, at = 0;
    struct base_key key;
    void *value;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(base_map_find(map, key_of(i)), model[i]);
        count += model[i] != NULL;
    }
    while (base_map_next(map, &at, &key, &value)) {
        assert_ptr_equal(base_map_find(map, key), value);
        seen++;
    }
    assert_int_equal(seen, count);
    assert_int_equal(map->count, count);
}

static void run_random(struct base_map *map, uint32_t steps, uint32_t keys)
{
    void *model[KEYS] = {0};
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t k = next_random(keys);
        if (next_random(100) < 55) {
            void *value = &targets[next_random(sizeof targets)];
            assert_int_equal(base_map_insert(map, key_of(k), value), MANTA_OK);
            model[k] = value;
        } else {
            assert_ptr_equal(base_map_remove(map, key_of(k)), model[k]);
            model[k] = NULL;
        }
        if (i % 16 == 0) {
            assert_same(map, model);
        }
    }
    assert_same(map, model);
}

static void random_operations_match_a_naive_model(void **state)
{
    static const uint32_t key_counts[] = {3, 10, 12, 24, 48, KEYS};
    uint64_t before = base_alloc_live();
    for (size_t i = 0; i < MT_COUNT(key_counts); i++) {
        struct base_map map = {0};
        random_state = i + 1;
        run_random(&map, 20000, key_counts[i]);
        base_map_fini(&map);
        assert_null(base_map_find(&map, key_of(1)));
    }
    assert_int_equal(base_alloc_live(), before);
}

static void an_empty_map_answers_without_memory(void **state)
{
    struct base_map map = {0};
    struct base_key key;
    void *value;
    uint32_t at = 0;
    assert_null(base_map_find(&map, key_of(5)));
    assert_null(base_map_remove(&map, key_of(5)));
    assert_false(base_map_next(&map, &at, &key, &value));
    base_map_fini(&map);
}

static void a_hundred_thousand_keys_stay_at_most_half_full(void **state)
{
    struct base_map map = {0};
    for (uint64_t i = 1; i <= 100000; i++) {
        struct base_key key = {.high = i << 40, .low = i};
        assert_int_equal(base_map_insert(&map, key, (void *)(uintptr_t)i), MANTA_OK);
        assert_true((uint64_t)map.count * 2 <= (uint64_t)map.mask + 1);
    }
    for (uint64_t i = 1; i <= 100000; i++) {
        struct base_key key = {.high = i << 40, .low = i};
        assert_int_equal((uintptr_t)base_map_find(&map, key), i);
    }
    base_map_fini(&map);
}

static void what_is_reserved_needs_no_more_memory(void **state)
{
    struct base_map map = {0};
    assert_int_equal(base_map_insert(&map, key_of(0), targets), MANTA_OK);
    assert_int_equal(base_map_reserve(&map, 1001), MANTA_OK);
    base_alloc_fail_at(1);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(base_map_insert(&map, (struct base_key){i, 7}, targets), MANTA_OK);
    }
    base_alloc_fail_at(0);
    base_map_fini(&map);
}

static void a_failed_growth_leaves_the_map_as_it_was(void **state)
{
    struct base_map map = {0};
    base_alloc_fail_at(1);
    assert_int_equal(base_map_insert(&map, key_of(1), targets), MANTA_E_NOMEM);
    assert_int_equal(map.count, 0);
    base_alloc_fail_at(0);
    uint32_t i = 0;
    for (; i < 8; i++) {
        assert_int_equal(base_map_insert(&map, key_of(i), &targets[i]), MANTA_OK);
    }
    base_alloc_fail_at(1);
    assert_int_equal(base_map_insert(&map, key_of(i), targets), MANTA_E_NOMEM);
    base_alloc_fail_at(0);
    assert_int_equal(map.count, 8);
    assert_null(base_map_find(&map, key_of(i)));
    while (i-- > 0) {
        assert_ptr_equal(base_map_find(&map, key_of(i)), &targets[i]);
    }
    base_map_fini(&map);
}

static void replacing_in_a_full_table_needs_no_memory(void **state)
{
    struct base_map map = {0};
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(base_map_insert(&map, key_of(i), &targets[i]), MANTA_OK);
    }
    base_alloc_fail_at(0);
    assert_int_equal(base_map_insert(&map, key_of(3), &targets[99]), MANTA_OK);
    assert_int_equal(base_alloc_asked(), 0);
    assert_ptr_equal(base_map_find(&map, key_of(3)), &targets[99]);
    assert_int_equal(map.count, 8);
    base_map_fini(&map);
}

static void the_same_history_gives_the_same_order(void **state)
{
    struct base_map maps[2] = {{0}, {0}};
    struct base_key keys[2];
    void *values[2];
    uint32_t at[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        random_state = 7;
        run_random(&maps[i], 3000, KEYS);
    }
    while (base_map_next(&maps[0], &at[0], &keys[0], &values[0])) {
        assert_true(base_map_next(&maps[1], &at[1], &keys[1], &values[1]));
        assert_memory_equal(&keys[0], &keys[1], sizeof keys[0]);
        assert_ptr_equal(values[0], values[1]);
    }
    assert_false(base_map_next(&maps[1], &at[1], &keys[1], &values[1]));
    base_map_fini(&maps[0]);
    base_map_fini(&maps[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_a_naive_model),
        cmocka_unit_test(an_empty_map_answers_without_memory),
        cmocka_unit_test(a_hundred_thousand_keys_stay_at_most_half_full),
        cmocka_unit_test(what_is_reserved_needs_no_more_memory),
        cmocka_unit_test(a_failed_growth_leaves_the_map_as_it_was),
        cmocka_unit_test(replacing_in_a_full_table_needs_no_memory),
        cmocka_unit_test(the_same_history_gives_the_same_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
