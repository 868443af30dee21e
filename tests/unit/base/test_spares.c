/* Spare records: zeroed when they are wanted so, the last given is the first taken, no more than
 * said are kept, and none is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/spares.h"

enum { MOST = 3, BYTES = 80 };

static bool are_spares_kept(void)
{
    struct base_spares spares;
    base_spares_init(&spares, BYTES, MOST);
    return spares.most == MOST;
}

static void a_record_that_comes_back_is_zeroed_and_aligned(void **state)
{
    struct base_spares spares;
    static const uint8_t zeros[BYTES];
    base_spares_init(&spares, BYTES, MOST);
    for (int i = 0; i < 3; i++) {
        uint8_t *record = base_spares_take(&spares);
        assert_non_null(record);
        assert_int_equal((uintptr_t)record % 16, 0);
        assert_memory_equal(record, zeros, BYTES);
        memset(record, 0xff, BYTES);
        base_spares_give(&spares, record);
    }
    base_spares_fini(&spares);
}

static void the_last_given_is_the_first_taken_and_the_rest_go_back(void **state)
{
    uint64_t before = base_alloc_live();
    struct base_spares spares;
    void *records[MOST + 2];
    if (!are_spares_kept()) {
        skip();
    }
    base_spares_init(&spares, BYTES, MOST);
    for (size_t i = 0; i < MT_COUNT(records); i++) {
        records[i] = base_spares_take(&spares);
    }
    for (size_t i = 0; i < MT_COUNT(records); i++) {
        base_spares_give(&spares, records[i]);
    }
    assert_int_equal(spares.count, MOST);
    assert_int_equal(base_alloc_live(), before + MOST);
    for (size_t i = MOST; i-- > 0;) {
        assert_ptr_equal(base_spares_take_raw(&spares), records[i]);
    }
    for (size_t i = 0; i < MOST; i++) {
        base_spares_give(&spares, records[i]);
    }
    base_spares_fini(&spares);
    assert_int_equal(base_alloc_live(), before);
}

static void without_memory_there_is_none(void **state)
{
    struct base_spares spares;
    base_spares_init(&spares, BYTES, MOST);
    base_alloc_fail_at(1);
    assert_null(base_spares_take(&spares));
    base_alloc_fail_at(0);
    base_spares_fini(&spares);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_comes_back_is_zeroed_and_aligned),
        cmocka_unit_test(the_last_given_is_the_first_taken_and_the_rest_go_back),
        cmocka_unit_test(without_memory_there_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
