/* The slab: indices are unique while they live, records never move, the last given is the first
 * taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/slab.h"
#include "manta/error.h"

#include <string.h>

#define MANY (3 * BASE_SLAB_CHUNK_RECORDS + 5)

struct record {
    uint64_t words[3];
};

static void zero_is_never_given_out_and_indices_are_dense(void **state)
{
    struct base_slab slab;
    base_slab_init(&slab, sizeof(struct record));
    assert_false(base_slab_is_known(&slab, 0));
    assert_false(base_slab_is_known(&slab, 1));
    for (uint32_t i = 1; i <= MANY; i++) {
        assert_int_equal(base_slab_take(&slab), i);
        assert_int_equal(slab.live, i);
    }
    assert_false(base_slab_is_known(&slab, 0));
    assert_true(base_slab_is_known(&slab, MANY));
    assert_false(base_slab_is_known(&slab, MANY + 1));
    base_slab_fini(&slab);
    assert_int_equal(slab.live, 0);
}

static void records_never_move_and_do_not_overlap(void **state)
{
    static struct record *where[MANY + 1];
    struct base_slab slab;
    base_slab_init(&slab, sizeof(struct record));
    for (uint32_t i = 1; i <= MANY; i++) {
        uint32_t index = base_slab_take(&slab);
        where[index] = base_slab_at(&slab, index);
        assert_int_equal((uintptr_t)where[index] % 8, 0);
        memset(where[index], (int)(index % 251), sizeof(struct record));
    }
    for (uint32_t i = 1; i <= MANY; i++) {
        struct record expected;
        memset(&expected, (int)(i % 251), sizeof expected);
        assert_ptr_equal(base_slab_at(&slab, i), where[i]);
        assert_memory_equal(where[i], &expected, sizeof expected);
    }
    base_slab_fini(&slab);
}

static void a_cache_line_record_starts_on_a_cache_line(void **state)
{
    struct base_slab slab;
    base_slab_init(&slab, 2 * MT_CACHE_LINE);
    for (uint32_t i = 0; i < 2 * BASE_SLAB_CHUNK_RECORDS; i++) {
        assert_int_equal((uintptr_t)base_slab_at(&slab, base_slab_take(&slab)) % MT_CACHE_LINE, 0);
    }
    base_slab_fini(&slab);
}

static void the_last_given_is_the_first_taken(void **state)
{
    struct base_slab slab;
    uint32_t index[10];
    base_slab_init(&slab, 4);
    for (int i = 0; i < 10; i++) {
        index[i] = base_slab_take(&slab);
    }
    for (int i = 0; i < 10; i++) {
        base_slab_give(&slab, index[i]);
    }
    for (int i = 9; i >= 0; i--) {
        assert_int_equal(base_slab_take(&slab), index[i]);
    }
    base_slab_fini(&slab);
}

static void random_takes_and_gives_keep_indices_unique(void **state)
{
    static uint8_t is_live[MANY + 1];
    static uint32_t live[MANY];
    uint32_t count = 0;
    uint64_t random = 3;
    struct base_slab slab;
    base_slab_init(&slab, sizeof(struct record));
    for (int i = 0; i < 100000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t draw = (uint32_t)(random >> 33);
        if (count == 0 || (count < MANY && draw % 100 < 52)) {
            uint32_t index = base_slab_take(&slab);
            assert_true(index > 0 && index <= MANY && !is_live[index]);
            is_live[index] = 1;
            live[count++] = index;
        } else {
            uint32_t victim = draw % count;
            is_live[live[victim]] = 0;
            base_slab_give(&slab, live[victim]);
            live[victim] = live[--count];
        }
        assert_int_equal(slab.live, count);
    }
    base_slab_fini(&slab);
}

static void running_out_of_memory_gives_zero_and_harms_nothing(void **state)
{
    uint64_t before = base_alloc_live();
    for (uint64_t k = 1; k <= 7; k++) {
        struct base_slab slab;
        uint32_t taken = 0, refused = 0;
        base_slab_init(&slab, 16);
        base_alloc_fail_at(k);
        while (taken < 5 * BASE_SLAB_CHUNK_RECORDS) {
            uint32_t index = base_slab_take(&slab);
            refused += index == 0;
            taken += index != 0;
            assert_true(index == 0 || index == taken);
        }
        assert_int_equal(slab.live, taken);
        assert_int_equal(refused, 1);
        base_alloc_fail_at(0);
        base_slab_fini(&slab);
    }
    assert_int_equal(base_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_is_never_given_out_and_indices_are_dense),
        cmocka_unit_test(records_never_move_and_do_not_overlap),
        cmocka_unit_test(a_cache_line_record_starts_on_a_cache_line),
        cmocka_unit_test(the_last_given_is_the_first_taken),
        cmocka_unit_test(random_takes_and_gives_keep_indices_unique),
        cmocka_unit_test(running_out_of_memory_gives_zero_and_harms_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
