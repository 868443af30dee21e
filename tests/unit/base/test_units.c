/* Quantities in words: the unit fits, and no number is written with an exponent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/units.h"

#include <string.h>

static void durations_have_the_unit_that_fits(void **state)
{
    assert_string_equal(base_duration(0).text, "0 s");
    assert_string_equal(base_duration(1).text, "1 ns");
    assert_string_equal(base_duration(1500).text, "1.5 us");
    assert_string_equal(base_duration(9990000).text, "9.99 ms");
    assert_string_equal(base_duration(10000000).text, "0.01 s");
    assert_string_equal(base_duration(200000000).text, "0.2 s");
    assert_string_equal(base_duration(90000000000).text, "90 s");
    assert_string_equal(base_duration(86400000000000).text, "86400 s");
}

static void sizes_have_the_unit_that_fits(void **state)
{
    assert_string_equal(base_size(0).text, "0 B");
    assert_string_equal(base_size(1).text, "1 B");
    assert_string_equal(base_size(1536).text, "1.5 KiB");
    assert_string_equal(base_size(64 << 20).text, "64 MiB");
    assert_string_equal(base_size(UINT64_C(1010) << 20).text, "1010 MiB");
    assert_string_equal(base_size(UINT64_C(3) << 30).text, "3 GiB");
}

static void no_number_has_an_exponent(void **state)
{
    for (uint64_t power = 1; power; power <<= 1) {
        for (uint64_t i = 0; i < 8; i++) {
            assert_null(strstr(base_duration(power - 1 + i * power / 8).text, "e"));
            assert_null(strstr(base_size(power - 1 + i * power / 8).text, "e"));
        }
    }
    assert_string_equal(base_duration(999700).text, "1000 us");
    assert_string_equal(base_duration(UINT64_MAX).text, "18446744074 s");
    assert_string_equal(base_size(UINT64_MAX).text, "16777216 TiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(durations_have_the_unit_that_fits),
                                       cmocka_unit_test(sizes_have_the_unit_that_fits),
                                       cmocka_unit_test(no_number_has_an_exponent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
