"""Launches that cannot work are refused within seconds, once, with the right command.

test_wrong_launch.py CONDUCT LEFT RIGHT
"""
import sys

import runs

conduct, left, right = sys.argv[1:4]
BOUND = 2


def refused(parts, **env):
    result = runs.run(0, conduct, "hooks", **env)
    runs.check(result.code == 1 and result.out == "", f"ended with {result.code}", result)
    runs.check(result.seconds < BOUND * runs.SLOW, f"took {result.seconds} s", result)
    for part in parts:
        runs.check(part in result.err, f"{part!r} is not there", result)
    runs.check(result.err.count("E_LAUNCH") == 1, "not told once", result)


def behaviour_84_srun_without_pmix_is_named():
    refused(["srun --mpi=pmix -n 4", "mpirun -n 4"], SLURM_STEP_ID="0", SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="4")


def behaviour_84_srun_with_pmi2_is_named():
    refused(["srun --mpi=pmix -n 2"], SLURM_STEP_ID="0", SLURM_PROCID="0", SLURM_NTASKS="2", PMI_RANK="0")


def mpiexec_of_another_mpi():
    refused(["another MPI", "mpirun -n 4"], PMI_SIZE="4", PMI_RANK="0", PMI_FD="9")


def behaviour_84_singletons_of_mpirun_are_noticed():
    refused(["started 4 processes", "a world of 1", "mpirun -n 4"], OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="0")


def missing_plugin():
    refused(["cannot load libmanta_mpi.so", "MANTA_MPI_LIBRARY"], OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK="0",
            MANTA_MPI_LIBRARY="/nonexistent/libmanta_mpi.so")


def others_of_a_wrong_launch_are_silent():
    result = runs.run(0, conduct, "hooks", SLURM_STEP_ID="0", SLURM_PROCID="3", SLURM_STEP_NUM_TASKS="4")
    runs.check(result.code == 1 and result.out == "" and result.err == "", f"ended with {result.code}", result)


def allocation_without_a_step_is_no_launcher():
    result = runs.run(0, conduct, "hooks", SLURM_JOB_ID="7", SLURM_PROCID="0", SLURM_NTASKS="4")
    runs.check(result.code == 0 and "start 0 of 1" in result.out, f"ended with {result.code}", result)


def alone_when_told_so():
    result = runs.run(0, conduct, "hooks", OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="0", MANTA_ALONE="on")
    runs.check(result.code == 0 and "start 0 of 1" in result.out, f"ended with {result.code}", result)


def alone_never_loads_mpi():
    result = runs.run(0, conduct, "code", "0", LD_DEBUG="files")
    runs.check(result.code == 0 and "libmanta.so" in result.err and "libmpi" not in result.err, "it does", result)


def ranks_of_different_programs_are_refused():
    job = runs.Job(2, left, ":", "-n", "1", right).wait(30)
    runs.check(job.code == 1, f"ended with {job.code}", job)
    for part in ("weigh(val int64_t[8], out double[8]) at", "rank 2 has weigh(val float[4], out double[8]) at",
                 "differs.c:5", "differs.c:7", "E_VERSION"):
        runs.check(job.err.count(part) == 1, f"{part!r} is not there once", job)
    job.check_clean()
    job.close()


def a_rank_that_never_comes_is_not_awaited_for_ever():
    """MPI_Init waits for it without an end."""
    script = '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || exec sleep 200; exec "$0" hooks'
    job = runs.Job(2, "sh", "-c", script, conduct, MANTA_LAUNCH_TIMEOUT="1s").wait(30)
    runs.check(job.code == 1, f"ended with {job.code}", job)
    runs.check(job.err.count("did not bring the ranks together in time (MANTA_LAUNCH_TIMEOUT)") == 1, "not told", job)
    job.close()


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.main([behaviour_84_srun_without_pmix_is_named, behaviour_84_srun_with_pmi2_is_named, mpiexec_of_another_mpi,
           behaviour_84_singletons_of_mpirun_are_noticed, missing_plugin, others_of_a_wrong_launch_are_silent,
           allocation_without_a_step_is_no_launcher, alone_when_told_so, alone_never_loads_mpi,
           ranks_of_different_programs_are_refused, a_rank_that_never_comes_is_not_awaited_for_ever])
