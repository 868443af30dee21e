/* The command line of manta run; what is refused, and how, is in tests/ranks/test_run.py too. */
#include "cli/options.h"

#include "base/alloc.h"

#include <manta/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define W(word) (char *)word

static void defaults_hold_and_the_program_keeps_its_own_options(void **state)
{
    struct options options;
    char text[512];
    char *argv[] = {W("run"), W("./p"), W("-n"), W("9"), W("--help"), NULL};
    assert_int_equal(options_read(5, argv, &options, text, sizeof text), MANTA_OK);
    assert_int_equal(options.ranks, 0);
    assert_int_equal(options.launch_by, LAUNCH_AUTO);
    assert_int_equal(options.binding, BINDING_NONE);
    assert_int_equal(options.recovery, RECOVERY_KEEP_GOING);
    assert_int_equal(options.timeout_ns, 0);
    assert_false(options.wants_help);
    assert_ptr_equal(options.program, argv + 1);
    options_fini(&options);
}

static void every_option_reaches_its_field(void **state)
{
    struct options options;
    char text[512];
    char *argv[] = {W("run"),
                    W("-n4"),
                    W("--hosts"),
                    W("a:2,b"),
                    W("--launcher"),
                    W("srun"),
                    W("--bind"),
                    W("core"),
                    W("--timeout=2m"),
                    W("--grace"),
                    W("5"),
                    W("--no-recovery"),
                    W("--launcher-args"),
                    W(" -x  y "),
                    W("--launcher-args=-z"),
                    W("--verbose"),
                    W("--"),
                    W("-program"),
                    NULL};
    assert_int_equal(options_read(18, argv, &options, text, sizeof text), MANTA_OK);
    assert_int_equal(options.ranks, 4);
    assert_int_equal(options.host_count, 2);
    assert_string_equal(options.hosts[0].name, "a");
    assert_int_equal(options.hosts[0].ranks, 2);
    assert_int_equal(options.hosts[1].ranks, 1);
    assert_int_equal(options.launch_by, LAUNCH_SRUN);
    assert_int_equal(options.binding, BINDING_CORE);
    assert_true(options.timeout_ns == UINT64_C(120000000000));
    assert_true(options.grace_ns == UINT64_C(5000000000));
    assert_int_equal(options.recovery, RECOVERY_NONE);
    assert_int_equal(options.launcher_arg_count, 3);
    assert_string_equal(options.launcher_args[1], "y");
    assert_string_equal(options.launcher_args[2], "-z");
    assert_null(options.launcher_args[3]);
    assert_string_equal(options.program[0], "-program");
    options_fini(&options);
}

static void wrong_values_change_nothing_and_leave_nothing(void **state)
{
    const char *const words[] = {"-n=",
                                 "-n-1",
                                 "-n1x",
                                 "-n99999999999999999999",
                                 "--hosts=",
                                 "--hosts=,",
                                 "--hosts=a:0",
                                 "--hosts=:3",
                                 "--hosts=-x",
                                 "--bind=",
                                 "--launcher=",
                                 "--timeout=",
                                 "--timeout=s",
                                 "--timeout=-1",
                                 "--timeout=99999999999999999999999",
                                 "--grace=1ms",
                                 "-x",
                                 "---",
                                 "--keep-going=1"};
    uint64_t live = base_alloc_live();
    for (size_t i = 0; i < MT_COUNT(words); i++) {
        struct options options = {.ranks = 77};
        char text[512] = "";
        char *argv[] = {W("run"), (char *)words[i], W("p"), NULL};
        assert_int_equal(options_read(3, argv, &options, text, sizeof text), MANTA_E_INVALID);
        assert_non_null(strstr(text, "expected"));
        assert_int_equal(options.ranks, 77);
        assert_int_equal(base_alloc_live(), live);
    }
}

static void memory_that_is_out_is_told(void **state)
{
    uint64_t live = base_alloc_live();
    for (uint64_t k = 1; k <= 3; k++) {
        struct options options;
        char text[512] = "", *argv[] = {W("run"), W("p"), NULL};
        base_alloc_fail_at(k);
        assert_int_equal(options_read(2, argv, &options, text, sizeof text), MANTA_E_NOMEM);
        assert_non_null(strstr(text, "memory"));
        assert_int_equal(base_alloc_live(), live);
    }
    base_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_and_the_program_keeps_its_own_options),
        cmocka_unit_test(every_option_reaches_its_field),
        cmocka_unit_test(wrong_values_change_nothing_and_leave_nothing),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
