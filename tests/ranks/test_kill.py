"""SIGKILL of a random rank at any moment: the job ends within seconds and nothing is left.

    test_kill.py CONDUCT EMPTY_MPI TRIES [SEED]

The seed of a run is printed; the same one kills the same ranks after the same times.
"""
import random
import re
import signal
import sys
import time

import runs

program, empty, tries = sys.argv[1], sys.argv[2], int(sys.argv[3])
seed = int(sys.argv[4]) if len(sys.argv) > 4 else int(time.time())
dice = random.Random(seed)
RANKS = 4
BOUND = 8
launchers = set()


def kill_one(job):
    pids = sorted(job.pids())
    return pids and runs.send(dice.choice(pids), signal.SIGKILL)


def learn_what_the_launcher_leaves():
    """An empty MPI program, at its end and killed while it starts."""
    for delay in (None, 0.05, 0.1, 0.2):
        job = runs.Job(RANKS, empty)
        if delay:
            time.sleep(delay)
            kill_one(job)
        job.wait()
        launchers.update(job.left_kinds())
        job.close()


def finish(job, was_killed, allowed_codes):
    job.wait(BOUND)
    runs.check(job.code in allowed_codes or (was_killed and job.code != 0), f"ended with {job.code}", job)
    job.check_clean(launchers)
    job.close()


def at_start_up():
    job = runs.Job(RANKS, program, "spin")
    time.sleep(dice.uniform(0, 0.5))
    while not kill_one(job):
        runs.check(job.process.poll() is None, "ended by itself", job)
    finish(job, True, ())


def while_it_runs(what):
    job = runs.Job(RANKS, program, what)
    job.wait_for("running")
    time.sleep(dice.uniform(0, 0.2))
    pid = dice.choice(sorted(job.pids()))
    runs.send(pid, signal.SIGKILL)
    job.wait(BOUND)
    runs.check(job.code != 0, "reported success", job)
    told = re.search(rf"rank \d on {re.escape(runs.HOST)} \(process {pid}\) was killed by signal 9", job.err)
    runs.check(told, "nobody names the rank that died", job)
    finish(job, True, ())


def at_shutdown():
    job = runs.Job(RANKS, program, "brief")
    job.wait_for("running")
    time.sleep(dice.uniform(0, 0.1))
    finish(job, kill_one(job), (0,))


def killed_ranks_leave_nothing():
    for _ in range(tries):
        at_start_up()
        while_it_runs("spin")
        while_it_runs("busy")
        while_it_runs("stubborn")
        at_shutdown()


def exit_in_a_task_is_a_death():
    job = runs.Job(RANKS, program, "exit", "3").wait(BOUND)
    runs.check(job.code != 0, "reported success", job)
    runs.check(re.search(rf"rank {RANKS - 1} on .* ended with code 3 before the job was over", job.err), "not told", job)
    job.check_clean(launchers)
    job.close()


runs.need_mpirun()
print(f"seed {seed}", flush=True)
runs.main([learn_what_the_launcher_leaves, killed_ranks_leave_nothing, exit_in_a_task_is_a_death])
