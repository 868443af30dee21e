/* A start that fails for want of memory, at any allocation, is told and leaves nothing; the next
 * one works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"

#include <manta/manta.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static char said[2048];

static void collect(void *arg, int level, const char *line)
{
    strncpy(said, line, sizeof said - 1);
}

static const manta_config config = {.log = collect, .workers = 2};

static int count_in(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    while (readdir(folder)) {
        count++;
    }
    closedir(folder);
    return count;
}

static void a_communicator_without_mpi_is_refused(void **state)
{
    int comm = 0; /* what it is does not matter */
    manta_config with = config;
    with.mpi_comm = &comm;
    assert_int_equal(manta_init(&with), MANTA_E_INVALID);
    assert_non_null(strstr(said, "manta_config.mpi_comm was given, but MPI is not initialized"));
    assert_int_equal(manta_fini(), MANTA_E_STATE);
}

static void every_allocation_may_fail(void **state)
{
    assert_int_equal(manta_init(&config), MANTA_OK);
    assert_int_equal(manta_fini(), MANTA_OK);
    uint64_t live = base_alloc_live();
    int files = count_in("/proc/self/fd"), failed = 0, code;
    for (uint64_t k = 1;; k++) {
        said[0] = 0;
        base_alloc_fail_at(k);
        code = manta_init(&config);
        uint64_t asked = base_alloc_asked();
        base_alloc_fail_at(0);
        if (code == MANTA_OK) {
            code = manta_fini();
            assert_int_equal(code, MANTA_OK);
        } else {
            assert_true(code < 0);
            assert_true(said[0] != 0);
            failed++;
        }
        assert_int_equal(base_alloc_live(), live);
        assert_int_equal(count_in("/proc/self/fd"), files);
        if (asked < k) {
            break; /* none was left to fail */
        }
    }
    assert_true(failed > 10);
}

static void bad_variable_fails_the_start_with_its_name(void **state)
{
    setenv("MANTA_SPIN", "quick", 1);
    assert_int_equal(manta_init(&config), MANTA_E_INVALID);
    assert_non_null(strstr(said, "MANTA_SPIN=quick"));
    assert_int_equal(manta_last_error()->code, MANTA_E_INVALID);
    assert_non_null(strstr(manta_last_error()->text, "MANTA_SPIN=quick"));
    unsetenv("MANTA_SPIN");
}

static void calls_out_of_order_are_refused(void **state)
{
    manta_world world;
    assert_non_null(strstr(manta_last_error()->text, "does not run in this process"));
    assert_int_equal(manta_fini(), MANTA_E_STATE);
    assert_string_equal(manta_last_error()->text, "manta_fini without manta_init");
    assert_int_equal(manta_world_get(&world), MANTA_E_STATE);
    assert_int_equal(manta_init(&config), MANTA_OK);
    assert_int_equal(manta_last_error()->code, MANTA_OK);
    assert_int_equal(manta_init(&config), MANTA_E_STATE);
    assert_non_null(strstr(manta_last_error()->text, "runs already in this process"));
    assert_int_equal(manta_world_get(&world), MANTA_OK);
    assert_int_equal(world.size, 1);
    assert_int_equal(world.workers, 2);
    assert_int_equal(manta_fini(), MANTA_OK);
    assert_int_equal(manta_world_get(&world), MANTA_E_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(bad_variable_fails_the_start_with_its_name),
        cmocka_unit_test(a_communicator_without_mpi_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
