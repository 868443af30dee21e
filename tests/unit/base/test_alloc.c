/* Allocation: zeroed memory, exact counts, and one refused request per armed failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"

#include <pthread.h>
#include <string.h>

/* The sanitizers' allocators abort on impossible sizes unless told not to. */
MT_EXPORT const char *__asan_default_options(void);
MT_EXPORT const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void assert_zero(const char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(memory[i], 0);
    }
}

static void memory_comes_zeroed_and_aligned(void **state)
{
    uint64_t before = base_alloc_live();
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        char *memory = base_alloc_aligned(alignment, 300);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % alignment, 0);
        assert_zero(memory, 300);
        memset(memory, 0xff, 300);
        base_free(memory);
    }
    char *memory = base_alloc(1000);
    assert_zero(memory, 1000);
    base_free(memory);
    assert_int_equal(base_alloc_live(), before);
}

static void realloc_keeps_content_and_zeroes_growth(void **state)
{
    char *memory = base_realloc(NULL, 0, 10);
    memset(memory, 'x', 10);
    memory = base_realloc(memory, 10, 5000);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(memory[i], 'x');
    }
    assert_zero(memory + 10, 4990);
    memory = base_realloc(memory, 5000, 3);
    assert_memory_equal(memory, "xxx", 3);
    base_free(memory);
}

static void every_allocation_is_counted_once(void **state)
{
    uint64_t before = base_alloc_live();
    void *a = base_alloc(0);
    void *b = base_alloc_aligned(64, 0);
    void *c = base_realloc(NULL, 0, 8);
    void *d = base_alloc_pages(1 << 21);
    memset(d, 1, 1 << 21);
    assert_int_equal(base_alloc_live(), before + 4);
    c = base_realloc(c, 8, 80);
    assert_int_equal(base_alloc_live(), before + 4);
    base_free(NULL);
    assert_int_equal(base_alloc_live(), before + 4);
    base_free(a);
    base_free(b);
    base_free(c);
    base_free_pages(d, 1 << 21);
    base_free_pages(NULL, 1 << 21);
    assert_int_equal(base_alloc_live(), before);
}

static void only_the_kth_request_is_refused(void **state)
{
    uint64_t before = base_alloc_live();
    for (uint64_t k = 1; k <= 5; k++) {
        base_alloc_fail_at(k);
        for (uint64_t i = 1; i <= 8; i++) {
            void *memory = base_alloc(16);
            assert_int_equal(memory == NULL, i == k);
            base_free(memory);
        }
        assert_int_equal(base_alloc_asked(), 8);
    }
    base_alloc_fail_at(0);
    assert_int_equal(base_alloc_asked(), 0);
    assert_int_equal(base_alloc_live(), before);
}

static void every_entry_can_be_refused_and_realloc_keeps_the_old(void **state)
{
    uint64_t before = base_alloc_live();
    base_alloc_fail_at(1);
    assert_null(base_alloc_aligned(64, 64));
    base_alloc_fail_at(1);
    assert_null(base_alloc_pages(1 << 21));
    base_alloc_fail_at(1);
    assert_null(base_realloc(NULL, 0, 8));
    char *memory = base_alloc(8);
    memcpy(memory, "keep me", 8);
    base_alloc_fail_at(1);
    assert_null(base_realloc(memory, 8, 1 << 20));
    base_alloc_fail_at(0);
    assert_string_equal(memory, "keep me");
    base_free(memory);
    assert_int_equal(base_alloc_live(), before);
}

static void an_impossible_size_is_null_and_not_counted(void **state)
{
    uint64_t before = base_alloc_live();
    volatile size_t huge = SIZE_MAX / 2 - 4096;
    assert_null(base_alloc(huge));
    assert_null(base_alloc_aligned(64, huge));
    assert_int_equal(base_alloc_live(), before);
}

static void *churn(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        void *memory = base_alloc(32);
        base_free(memory);
    }
    return NULL;
}

static void counts_are_exact_with_several_threads(void **state)
{
    pthread_t threads[4];
    uint64_t before = base_alloc_live();
    base_alloc_fail_at(0);
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, churn, NULL);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(base_alloc_asked(), 80000);
    assert_int_equal(base_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_zeroed_and_aligned),
        cmocka_unit_test(realloc_keeps_content_and_zeroes_growth),
        cmocka_unit_test(every_allocation_is_counted_once),
        cmocka_unit_test(only_the_kth_request_is_refused),
        cmocka_unit_test(every_entry_can_be_refused_and_realloc_keeps_the_old),
        cmocka_unit_test(an_impossible_size_is_null_and_not_counted),
        cmocka_unit_test(counts_are_exact_with_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
