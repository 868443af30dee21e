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

/* Slots of what is made here are the bodies' alone; a value comes once a round, an input once. */
static void test_a_value_is_admitted_once_and_only_where_it_is_made_elsewhere(void **state)
{
    size_t size;
    uint8_t *bytes = make_part(&size);
    struct part *part;
    uint32_t inputs = 0, mirrors = 0;
    assert_int_equal(part_create(bytes, size, find, &part), MANTA_OK);
    base_free(bytes);
    assert_int_equal(part->made, 6);
    for (int launch = 0; launch < 2; launch++) {
        part_begin(part);
        for (uint32_t value = 0; value < part->head.values + 2; value++) {
            bool is_elsewhere = value >= part->made && value < part->head.values;
            assert_int_equal(part_admit(part, value, 0), is_elsewhere);
            assert_false(part_admit(part, value, 0));
            assert_false(part_admit(part, value, PART_DEPTH - 1));
            assert_false(part_admit(part, value, UINT32_MAX));
            bool is_mirror = part_admit(part, value, 1);
            mirrors += is_mirror;
            inputs += is_elsewhere && !is_mirror;
        }
    }
    assert_int_equal(inputs, 2);
    assert_int_equal(mirrors, 2);
    part_destroy(part);
}

/* Rows of a part, to be damaged. */
static struct part_node *nodes_of(uint8_t *bytes)
{
    return (struct part_node *)(bytes + MT_ALIGN_UP(sizeof(struct part_head), 16u));
}

static struct plan_bind *binds_of(uint8_t *bytes)
{
    const struct part_head *head = (const struct part_head *)bytes;
    uint8_t *values =
        (uint8_t *)nodes_of(bytes) + MT_ALIGN_UP(head->nodes * sizeof(struct part_node), 16u);
    return (struct plan_bind *)(values +
                                MT_ALIGN_UP(head->values * sizeof(struct part_value), 16u));
}

static void refuse_with(uint32_t *place, uint32_t lie, const uint8_t *bytes, size_t size)
{
    struct part *part;
    uint32_t truth = *place;
    *place = lie;
    assert_int_equal(part_create(bytes, size, find, &part), MANTA_E_TYPE);
    *place = truth;
}

static void test_a_part_whose_rows_overlap_is_refused(void **state)
{
    size_t size;
    uint8_t *bytes = make_part(&size);
    struct part_node *nodes = nodes_of(bytes);
    struct plan_bind *binds = binds_of(bytes);
    refuse_with(&nodes[1].first_value, 0, bytes, size);
    refuse_with(&nodes[1].first_bind, 0, bytes, size);
    refuse_with(&nodes[0].values, 3, bytes, size);
    assert_int_equal(binds[0].kind, BIND_INPUT);
    refuse_with(&binds[0].value, 1, bytes, size); /* an input that is made here */
    assert_int_equal(binds[3].kind, BIND_OUTV);
    refuse_with(&binds[3].value, 0, bytes, size); /* two outputs in one place */
    refuse_with(&binds[3].value, 5, bytes, size); /* another node's */
    assert_int_equal(binds[1].kind, BIND_VAL);
    refuse_with(&binds[1].value, 4, bytes, size); /* not where the body may read it */
    base_free(bytes);
}

/* As in a damaged part, whatever it says of who waits for whom: that is worked out again. */
static void test_who_waits_for_what_is_not_believed(void **state)
{
    size_t size;
    uint8_t *bytes = make_part(&size);
    struct part *part;
    nodes_of(bytes)[1].need = nodes_of(bytes)[1].need_first = 0;
    nodes_of(bytes)[0].need = 77;
    assert_int_equal(part_create(bytes, size, find, &part), MANTA_OK);
    assert_int_equal(part->nodes[0].need, 1);
    assert_int_equal(part->nodes[0].need_first, 0);
    assert_int_equal(part->nodes[1].need, 1);
    assert_int_equal(part->nodes[1].need_first, 1);
    assert_int_equal(part->nexts[part->values[part->nodes[0].first_value].first_next], 1);
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
        cmocka_unit_test(test_a_value_is_admitted_once_and_only_where_it_is_made_elsewhere),
        cmocka_unit_test(test_a_part_whose_rows_overlap_is_refused),
        cmocka_unit_test(test_who_waits_for_what_is_not_believed),
        cmocka_unit_test(test_each_allocation_may_fail_and_nothing_is_left),
    };
    return cmocka_run_group_tests_name("graph plan", tests, NULL, NULL);
}
