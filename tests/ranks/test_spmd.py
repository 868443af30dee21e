"""manta_init inside a program with its own main and MPI: test_spmd.py SPMD."""
import signal
import sys

import runs

program = sys.argv[1]


def lives(*arguments):
    for count in (0, 1, 2, 4):
        result = runs.run(count, program, *arguments)
        runs.check(result.code == 0 and result.out == "ok\n" and result.err == "",
                   f"ended with {result.code} on {count} ranks", result)


def behaviour_89_beside_the_programs_mpi_and_handlers():
    lives()


def with_an_mpi_of_its_own():
    lives("plain")


def behaviour_89_over_a_communicator_of_the_program():
    for mode in ("dup", "split", "sub"):
        lives(mode)


def a_death_ends_it():
    """Also under an mpirun that lets the others live: they hear of it from Manta."""
    runs.Job.launcher_options = ["--enable-recovery"]
    for victim in (0, 2):
        job = runs.Job(4, program, "until")
        job.wait_for("running")
        runs.check(runs.send(job.pid_of(victim), signal.SIGKILL), f"there is no rank {victim}", job)
        job.wait(30)
        for rank in {0, 1, 2, 3} - {victim}:
            runs.check(f"rank {rank}: " in job.err and f"rank {rank} ended: " in job.err, f"rank {rank} went on", job)
        job.close()
    runs.Job.launcher_options = []


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.main([behaviour_89_beside_the_programs_mpi_and_handlers, with_an_mpi_of_its_own,
           behaviour_89_over_a_communicator_of_the_program, a_death_ends_it])
