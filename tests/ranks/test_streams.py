"""Streams between real ranks, read by every rank from every rank; and through deaths of both ends.

    test_streams.py STREAMS
"""
import os
import signal
import sys
import tempfile

import runs

program = sys.argv[1]


def check_right(job, bound, codes=(0,)):
    job.wait(bound)
    runs.check(job.out == "right\n" and job.code in codes, f"ended with {job.code}", job)
    job.check_clean()
    job.close()


def alone_and_on_ranks_every_item_comes_once_and_in_order():
    for ranks in (0, 1, 2, 4):
        check_right(runs.Job(ranks, program), 60)


def source_and_reader_die_and_every_item_comes_once():
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            check_right(runs.Job(4, program, f"{folder}/died"), 60, (0, 128 + signal.SIGKILL))
            runs.check(sorted(os.listdir(folder)) == ["died.reader", "died.source"], f"died: {os.listdir(folder)}")


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.Job.launcher_options = ["--enable-recovery"]
runs.main([alone_and_on_ranks_every_item_comes_once_and_in_order, source_and_reader_die_and_every_item_comes_once])
