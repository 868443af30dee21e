"""A recorded graph over real ranks: right on any number, through a death, and an error that names the node.

    test_graphs.py GRAPHS
"""
import os
import signal
import sys
import tempfile

import runs

program = sys.argv[1]


def check_says(job, wanted, codes=(0,), told=""):
    job.wait(60)
    runs.check(job.out == wanted + "\n" and job.code in codes and told in job.err, f"ended with {job.code}", job)
    job.check_clean()
    job.close()


def alone_and_on_ranks_it_gives_what_a_loop_gives():
    for ranks in (0, 1, 2, 4):
        check_says(runs.Job(ranks, program), "right")


def a_rank_dies_in_a_launch_and_the_others_run_it_again():
    for ranks in (2, 4, 4):
        with tempfile.TemporaryDirectory() as folder:
            check_says(runs.Job(ranks, program, f"{folder}/died"), "right", (0, 128 + signal.SIGKILL),
                       " 1 launches of graphs begun again")
            runs.check(os.listdir(folder) == ["died"], "nobody died")


def a_node_that_fails_is_named():
    for ranks in (0, 2):
        check_says(runs.Job(ranks, program, "fails"), "node 7 (advance), round 700: as asked")


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.Job.launcher_options = ["--enable-recovery"]
runs.main([alone_and_on_ranks_it_gives_what_a_loop_gives, a_rank_dies_in_a_launch_and_the_others_run_it_again,
           a_node_that_fails_is_named])
