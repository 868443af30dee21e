/*
 * What reads the result of a command takes no other value for one. (That any block which describes
 * a command is read within its bounds is tests/fuzz/command_fuzz.c's.)
 */
#include <manta/manta.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void no_value_is_taken_for_a_result_that_is_none(void **state)
{
    manta_command_result result;
    uint8_t bytes[200];
    for (size_t size = 0; size <= sizeof bytes; size++) {
        memset(bytes, (int)size, sizeof bytes);
        assert_int_equal(manta_command_read(bytes, size, &result), MANTA_E_TYPE);
    }
    assert_int_equal(manta_command_read(NULL, 5, &result), MANTA_E_INVALID);
    assert_int_equal(manta_command_read(bytes, 5, NULL), MANTA_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_value_is_taken_for_a_result_that_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
