/* Hooks: in order, until one fails, at most sixteen per moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launch/hook.h"

#include <string.h>

static char calls[64];
static int fail_with;

static int note(void *arg)
{
    strcat(calls, arg);
    return 0;
}

static int refuse(void *arg)
{
    return fail_with;
}

static void hooks_run_in_order_until_one_fails(void **state)
{
    static char a[] = "a", b[] = "b";
    assert_int_equal(hooks_run(MANTA_AT_START), 0);
    assert_int_equal(manta_hook(MANTA_AT_START, note, a), MANTA_OK);
    assert_int_equal(manta_hook(MANTA_AT_START, refuse, NULL), MANTA_OK);
    assert_int_equal(manta_hook(MANTA_AT_START, note, b), MANTA_OK);
    assert_int_equal(hooks_run(MANTA_AT_START), 0);
    assert_string_equal(calls, "ab");
    fail_with = 12;
    assert_int_equal(hooks_run(MANTA_AT_START), 12);
    assert_string_equal(calls, "aba");
}

static void bad_hooks_are_refused(void **state)
{
    assert_int_equal(manta_hook(MANTA_AT_STOP, NULL, NULL), MANTA_E_INVALID);
    assert_non_null(strstr(manta_last_error()->text, "is NULL"));
    assert_int_equal(manta_hook((manta_moment)7, refuse, NULL), MANTA_E_INVALID);
    assert_non_null(strstr(manta_last_error()->text, "moment is 7"));
    for (int i = 0; i < 16; i++) {
        assert_int_equal(manta_hook(MANTA_AT_STOP, refuse, NULL), MANTA_OK);
    }
    assert_int_equal(manta_hook(MANTA_AT_STOP, refuse, NULL), MANTA_E_LIMIT);
    assert_int_equal(manta_hook(MANTA_AT_STOP, refuse, NULL), MANTA_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_run_in_order_until_one_fails),
        cmocka_unit_test(bad_hooks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
