/* Plans and parts alone: where nodes go, what a part refuses to be made of, and running without
 * memory. */
#include "base/alloc.h"
#include "graph/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RANKS = 4, HASH = 77 };

static int run_nothing(const manta_slot *slots)
{
    return MANTA_OK;
}

/* in x, val c, out y, outv z; and in-out x. */
static const manta_param params[] = {
    {.kind = MANTA_KIND_IN, .size = 8, .align = 8, .type = "uint64_t", .name = "x"},
    {.kind = MANTA_KIND_VAL, .size = 8, .align = 8, .type = "uint64_t", .name = "c"},
    {.kind = MANTA_KIND_OUT, .size = 8, .align = 8, .type = "uint64_t", .name = "y"},
    {.kind = MANTA_KIND_OUTV, .size = 8, .align = 8, .type = "uint64_t", .name = "z"}};
static const manta_param changed[] = {
    {.kind = MANTA_KIND_INOUT, .size = 8, .align = 8, .type = "uint64_t", .name = "x"}};
static manta_function work = {
    .name = "work", .param_count = 4, .params = params, .run = run_nothing};
static manta_function change = {
    .name = "change", .param_count = 1, .params = changed, .run = run_nothing};

static uint32_t hash_of(const manta_function *function)
{
    return function == &work ? HASH : HASH + 1;
}

static manta_function *find(uint32_t hash)
{
    return hash == HASH ? &work : hash == HASH + 1 ? &change : NULL;
}

static manta_function *find_none(uint32_t hash)
{
    return NULL;
}

static manta_ref add(struct plan *plan, manta_ref x, uint32_t rank)
{
    uint64_t c = 5;
    manta_ref refs[2];
    const manta_options options = {.rank = rank};
    const manta_slot args[] = {{&x, 1}, {&c, 1}, {NULL, 0}, {NULL, 0}};
    plan_add(plan, &work, &options, args, refs);
    return refs[0];
}

static manta_ref add_change(struct plan *plan, manta_ref x)
{
    manta_ref ref;
    const manta_options options = {0};
    const manta_slot args[] = {{&x, 1}};
    plan_add(plan, &change, &options, args, &ref);
    return ref;
}

/* Eight columns of two nodes, the first reading the input, which the last feeds; one is placed. */
static void make_plan(struct plan *plan, manta_pattern pattern)
{
    plan_init(plan, UINT64_C(3) << 62, 0, RANKS, pattern);
    manta_ref input = plan_input(plan, 8), end = {0};
    for (uint32_t i = 0; i < 8; i++) {
        end = add_change(plan, add(plan, input, i == 7 ? MANTA_ON(2) : 0));
    }
    plan_feed(plan, end, input);
    plan_output(plan, end);
    (void)plan_check(plan);
}

static void test_nodes_go_by_rank_then_to_what_they_read_then_by_the_pattern(void **state)
{
    static const uint32_t blocks[] = {0, 0, 1, 1, 2, 2, 3, 2}, cyclic[] = {0, 1, 2, 3, 0, 1, 2, 2};
    static const uint8_t down[RANKS] = {0};
    for (int is_cyclic = 0; is_cyclic < 2; is_cyclic++) {
        struct plan plan;
        struct plan_cut cut;
        make_plan(&plan, is_cyclic ? MANTA_CYCLIC : MANTA_BLOCKS);
        assert_int_equal(plan_cut(&plan, down, hash_of, &cut), MANTA_OK);
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(cut.rank_of[2 * i], is_cyclic ? cyclic[i] : blocks[i]);
            assert_int_equal(cut.rank_of[2 * i + 1], cut.rank_of[2 * i]);
        }
        plan_cut_fini(&cut);
        plan_fini(&plan);
    }
}

static void test_nodes_of_the_dead_go_to_the_next_who_lives(void **state)
{
    static const uint8_t down[RANKS] = {0, 0, 1, 1};
    struct plan plan;
    struct plan_cut cut;
    make_plan(&plan, MANTA_BLOCKS);
    assert_int_equal(plan_cut(&plan, down, hash_of, &cut), MANTA_OK);
    assert_int_equal(cut.rank_of[4], 1);
    assert_int_equal(cut.rank_of[8], 0);
    assert_int_equal(cut.rank_of[14], 0);
    assert_non_null(cut.parts[0]);
    assert_null(cut.parts[2]);
    plan_cut_fini(&cut);
    plan_fini(&plan);
}

/* The part of rank 0, alone. */
static uint8_t *make_part(size_t *ret_size)
{
    static const uint8_t down[RANKS] = {0};
    struct plan plan;
    struct plan_cut cut;
    make_plan(&plan, MANTA_CYCLIC);
    assert_int_equal(plan_cut(&plan, down, hash_of, &cut), MANTA_OK);
    uint8_t *bytes = cut.parts[0];
    *ret_size = cut.part_bytes[0];
    cut.parts[0] = NULL;
    plan_cut_fini(&cut);
    plan_fini(&plan);
    return bytes;
}

static void test_a_part_of_damaged_bytes_is_refused_or_sound(void **state)
{
    size_t size;
    uint8_t *bytes = make_part(&size);
    struct part *part;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(part_create(bytes, i, find, &part), MANTA_E_TYPE);
    }
    assert_int_equal(part_create(bytes, size, find_none, &part), MANTA_E_VERSION);
    for (size_t i = 0; i < size * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        if (part_create(bytes, size, find, &part) == MANTA_OK) {
            part_destroy(part);
        }
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_int_equal(part_create(bytes, size, find, &part), MANTA_OK);
    part_destroy(part);
    base_free(bytes);
}

static int plan_and_part(void)
{
    static const uint8_t down[RANKS] = {0};
    struct plan plan;
    struct plan_cut cut = {0};
    struct part *part = NULL;
    make_plan(&plan, MANTA_BLOCKS);
    int code = plan.code;
    if (code == MANTA_OK) {
        code = plan_cut(&plan, down, hash_of, &cut);
    }
    if (code == MANTA_OK) {
        code = part_create(cut.parts[2], cut.part_bytes[2], find, &part);
    }
    part_destroy(part);
    plan_cut_fini(&cut);
    plan_fini(&plan);
    return code;
}

static void test_each_allocation_may_fail_and_nothing_is_left(void **state)
{
    base_alloc_fail_at(0);
    assert_int_equal(plan_and_part(), MANTA_OK);
    uint64_t count = base_alloc_asked();
    assert_true(count > 20);
    for (uint64_t i = 1; i <= count; i++) {
        base_alloc_fail_at(i);
        assert_int_equal(plan_and_part(), MANTA_E_NOMEM);
        assert_int_equal(base_alloc_live(), 0);
    }
    base_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_go_by_rank_then_to_what_they_read_then_by_the_pattern),
        cmocka_unit_test(test_nodes_of_the_dead_go_to_the_next_who_lives),
        cmocka_unit_test(test_a_part_of_damaged_bytes_is_refused_or_sound),
        cmocka_unit_test(test_each_allocation_may_fail_and_nothing_is_left),
    };
    return cmocka_run_group_tests_name("graph plan", tests, NULL, NULL);
}
