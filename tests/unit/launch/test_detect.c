/* Launchers are told apart by their variables, the more specific one first; wrong ones are
 * explained. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launch/detect.h"

#include <string.h>

static struct launcher detect(const char *a, const char *b, const char *c, const char *d,
                              const char *e)
{
    const char *environment[] = {"HOME=/", a, b, c, d, e, NULL};
    return launcher_detect(environment);
}

static void no_variables_no_launcher(void **state)
{
    struct launcher launcher = detect("OMPI_COMM_WORLD_SIZEX=3", NULL, NULL, NULL, NULL);
    assert_int_equal(launcher.kind, LAUNCHER_NONE);
    assert_int_equal(launcher.size, 0);
    assert_true(launcher.rank == LAUNCHER_RANK_UNKNOWN);
}

static void mpirun_is_told_by_its_variables(void **state)
{
    struct launcher launcher =
        detect("OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=2", "PMIX_RANK=2", NULL, NULL);
    assert_int_equal(launcher.kind, LAUNCHER_OPEN_MPI);
    assert_int_equal(launcher.size, 4);
    assert_int_equal(launcher.rank, 2);
    assert_true(launcher.has_pmix);
}

static void mpirun_inside_a_slurm_step_is_mpirun(void **state)
{
    struct launcher launcher = detect("SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=2",
                                      "OMPI_COMM_WORLD_SIZE=8", "OMPI_COMM_WORLD_RANK=7");
    assert_int_equal(launcher.kind, LAUNCHER_OPEN_MPI);
    assert_int_equal(launcher.size, 8);
}

static void mpiexec_inside_a_slurm_step_is_mpiexec(void **state)
{
    struct launcher launcher = detect("SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=2",
                                      "PMI_SIZE=6", "PMI_RANK=5");
    assert_int_equal(launcher.kind, LAUNCHER_PMI);
    assert_int_equal(launcher.size, 6);
    assert_int_equal(launcher.rank, 5);
}

static void slurm_step_is_srun_and_an_allocation_is_not(void **state)
{
    struct launcher launcher =
        detect("SLURM_STEP_ID=0", "SLURM_PROCID=1", "SLURM_STEP_NUM_TASKS=3", NULL, NULL);
    assert_int_equal(launcher.kind, LAUNCHER_SLURM);
    assert_int_equal(launcher.size, 3);
    assert_int_equal(launcher.rank, 1);
    launcher = detect("SLURM_STEPID=0", "SLURM_PROCID=1", "SLURM_NTASKS=5", NULL, NULL);
    assert_int_equal(launcher.size, 5);
    launcher = detect("SLURM_JOB_ID=4", "SLURM_PROCID=0", "SLURM_NTASKS=3", NULL, NULL);
    assert_int_equal(launcher.kind, LAUNCHER_NONE);
}

static void pmix_alone_gives_a_rank_and_no_size(void **state)
{
    struct launcher launcher = detect("PMIX_RANK=3", NULL, NULL, NULL, NULL);
    assert_int_equal(launcher.kind, LAUNCHER_PMIX);
    assert_int_equal(launcher.rank, 3);
    assert_int_equal(launcher.size, 0);
}

static void nonsense_numbers_are_no_launcher(void **state)
{
    static const char *const nonsense[] = {"PMI_SIZE=",   "PMI_SIZE=-3",
                                           "PMI_SIZE=3x", "PMI_SIZE= 3",
                                           "PMI_SIZE=0",  "PMI_SIZE=99999999999999999999"};
    for (size_t i = 0; i < MT_COUNT(nonsense); i++) {
        assert_int_equal(detect(nonsense[i], NULL, NULL, NULL, NULL).kind, LAUNCHER_NONE);
    }
}

static void suits(struct launcher launcher, bool is_open_mpi, const char *command)
{
    char text[400] = "";
    bool does = launcher_suits(&launcher, is_open_mpi, "Some MPI 1", text, sizeof text);
    assert_int_equal(does, command == NULL);
    if (command) {
        assert_non_null(strstr(text, command));
        assert_non_null(strstr(text, "Some MPI 1"));
    }
}

static void open_mpi_needs_pmix(void **state)
{
    suits(detect("PMI_SIZE=4", "PMI_RANK=0", NULL, NULL, NULL), true, "mpirun -n 4 PROGRAM");
    suits(detect("SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_NTASKS=4", NULL, NULL), true,
          "srun --mpi=pmix -n 4");
    suits(detect("SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_NTASKS=4", "PMIX_RANK=0", NULL), true,
          NULL);
    suits(detect("OMPI_COMM_WORLD_SIZE=4", NULL, NULL, NULL, NULL), true, NULL);
    suits(detect("PMIX_RANK=0", NULL, NULL, NULL, NULL), true, NULL);
    suits(detect("A=b", NULL, NULL, NULL, NULL), true, NULL);
}

static void others_refuse_mpirun_of_open_mpi_only(void **state)
{
    suits(detect("OMPI_COMM_WORLD_SIZE=4", NULL, NULL, NULL, NULL), false, "mpiexec -n 4 PROGRAM");
    suits(detect("PMI_SIZE=4", "PMI_RANK=0", NULL, NULL, NULL), false, NULL);
    suits(detect("SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_NTASKS=4", NULL, NULL), false, NULL);
}

static void singletons_are_noticed(void **state)
{
    char text[400];
    struct launcher launcher = detect("OMPI_COMM_WORLD_SIZE=4", NULL, NULL, NULL, NULL);
    assert_true(launcher_agrees(&launcher, 4, "M", text, sizeof text));
    assert_false(launcher_agrees(&launcher, 1, "M", text, sizeof text));
    assert_non_null(strstr(text, "started 4 processes, but M sees a world of 1; run: mpirun -n 4"));
    launcher = detect("SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_NTASKS=2", NULL, NULL);
    assert_false(launcher_agrees(&launcher, 1, "M", text, sizeof text));
    assert_non_null(strstr(text, "srun --mpi=pmix -n 2"));
    launcher = detect("PMIX_RANK=0", NULL, NULL, NULL, NULL);
    assert_true(launcher_agrees(&launcher, 9, "M", text, sizeof text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_variables_no_launcher),
        cmocka_unit_test(mpirun_is_told_by_its_variables),
        cmocka_unit_test(mpirun_inside_a_slurm_step_is_mpirun),
        cmocka_unit_test(mpiexec_inside_a_slurm_step_is_mpiexec),
        cmocka_unit_test(slurm_step_is_srun_and_an_allocation_is_not),
        cmocka_unit_test(pmix_alone_gives_a_rank_and_no_size),
        cmocka_unit_test(nonsense_numbers_are_no_launcher),
        cmocka_unit_test(open_mpi_needs_pmix),
        cmocka_unit_test(others_refuse_mpirun_of_open_mpi_only),
        cmocka_unit_test(singletons_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
