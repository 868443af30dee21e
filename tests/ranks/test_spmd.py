"""manta_init inside a program with its own main and MPI: test_spmd.py SPMD."""
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


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.main([behaviour_89_beside_the_programs_mpi_and_handlers, with_an_mpi_of_its_own,
           behaviour_89_over_a_communicator_of_the_program])
