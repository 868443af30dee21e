"""Large values: read where they lie by every rank, with nothing left behind.

    test_objects.py OBJECTS
"""
import signal
import sys

import runs

program = sys.argv[1]


def values_come_out_right(ranks):
    job = runs.Job(ranks, program)
    job.wait(60)
    runs.check(job.out == "right\n" and job.code == 0, f"ended with {job.code}", job)
    job.check_clean()
    job.close()


def alone_and_on_ranks_values_come_out_right():
    for ranks in (0, 1, 2, 4):
        values_come_out_right(ranks)


def a_store_that_the_machine_cannot_have_is_refused_at_the_start():
    job = runs.Job(0, program, MANTA_STORE="900000g")
    job.wait(20)
    runs.check(job.code == 1 and "MANTA_STORE asks for" in job.err and "may use at most" in job.err,
               f"ended with {job.code}", job)
    job.check_clean()
    job.close()


def a_small_store_is_enough_for_one_after_the_other():
    job = runs.Job(2, program, MANTA_STORE="100m")
    job.wait(60)
    runs.check(job.out == "right\n" and job.code == 0, f"ended with {job.code}", job)
    job.close()


def writing_to_an_input_is_a_fault_that_names_the_task():
    job = runs.Job(0, program, "stray")
    job.wait(20)
    runs.check(job.code in {-signal.SIGSEGV, 128 + signal.SIGSEGV, *runs.FAULT_CODES}, f"ended with {job.code}", job)
    job.close()


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.main([alone_and_on_ranks_values_come_out_right, a_store_that_the_machine_cannot_have_is_refused_at_the_start,
           a_small_store_is_enough_for_one_after_the_other, writing_to_an_input_is_a_fault_that_names_the_task])
