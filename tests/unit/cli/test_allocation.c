/* What Slurm says about an allocation. */
#include "cli/allocation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void run_length_form_is_read(void **state)
{
    const struct {
        const char *text;
        uint32_t total, least;
    } rows[] = {{"4", 4, 4}, {"72(x2),36", 180, 36}, {"24(x2)", 48, 24}, {"1,2(x3),8", 15, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t total = 0, least = 0;
        assert_true(allocation_read_cpus(rows[i].text, &total, &least));
        assert_int_equal(total, rows[i].total);
        assert_int_equal(least, rows[i].least);
    }
}

static void what_is_no_run_length_form_is_refused(void **state)
{
    const char *const texts[] = {
        "",  "x",     "4,", "4(x2", "4(x)", "4(2)",   "(x2)",         "-4",
        "0", "4(x0)", ",4", "4 ",   "4x2",  "4(x2)5", "4294967295,1", "99999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint32_t total = 77, least = 77;
        assert_false(allocation_read_cpus(texts[i], &total, &least));
        assert_int_equal(total, 77);
    }
}

static void without_slurm_it_is_this_machine(void **state)
{
    const char *const environment[] = {"PATH=/bin", "SLURM_JOB_CPUS_PER_NODE=99", NULL};
    struct allocation here = allocation_find(environment, 8, 16);
    assert_false(here.is_slurm);
    assert_int_equal(here.nodes, 1);
    assert_int_equal(here.cores, 8);
    assert_int_equal(here.node_cores, 8);
    assert_int_equal(here.threads, 2);
}

static void slurms_threads_are_counted_as_cores(void **state)
{
    const char *const environment[] = {"SLURM_JOB_ID=7",        "SLURM_JOB_CPUS_PER_NODE=16(x2),8",
                                       "SLURM_JOB_NUM_NODES=3", "SLURM_NTASKS=10",
                                       "SLURM_CPUS_PER_TASK=4", NULL};
    struct allocation there = allocation_find(environment, 8, 16);
    assert_true(there.is_slurm);
    assert_int_equal(there.nodes, 3);
    assert_int_equal(there.cores, 20);
    assert_int_equal(there.node_cores, 4);
    assert_int_equal(there.tasks, 10);
    assert_int_equal(there.cpus_per_task, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_length_form_is_read),
        cmocka_unit_test(what_is_no_run_length_form_is_refused),
        cmocka_unit_test(without_slurm_it_is_this_machine),
        cmocka_unit_test(slurms_threads_are_counted_as_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
