"""Ranks die and the job goes on: everything comes out right, what was redone is told, nothing is left.

    test_recovery.py ENDURE TRIES [SEED]

Under an mpirun that lets the others live when a process dies. The seed of a run is printed; the same one
kills the same ranks after the same times.
"""
import random
import re
import signal
import sys
import time

import runs

program, tries = sys.argv[1], int(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
dice = random.Random(seed)
RANKS = 4
ROUNDS = 6
BOUND = 60
KILLED = 128 + signal.SIGKILL


def start():
    job = runs.Job(RANKS, program, str(ROUNDS))
    job.wait_for("running")
    return job


def kill(job, rank):
    pid = job.pid_of(rank)
    return pid if pid and runs.send(pid, signal.SIGKILL) else None


def check_right(job, dead):
    """The launcher may report the killed process, whatever the others say."""
    job.wait(BOUND)
    runs.check(job.out == "running\nright\n", "the work did not come out right", job)
    runs.check(job.code in (0, KILLED), f"ended with {job.code}", job)
    for rank, pid in dead.items():
        runs.check(re.search(rf"rank {rank} on {re.escape(runs.HOST)} \(process {pid}\) was killed by signal 9", job.err),
                   f"nobody names rank {rank}", job)
    if dead:
        runs.check(re.search(rf"{len(dead)} of {RANKS} ranks died; \d+ tasks were run again", job.err),
                   "what was redone is not told", job)
    job.check_clean()
    job.close()


def behaviour_79_one_rank_is_killed_at_any_moment():
    for _ in range(tries):
        job = start()
        time.sleep(dice.uniform(0, 0.5))
        victim = dice.randrange(1, RANKS)
        pid = kill(job, victim)
        runs.check(pid or "right" in job.out, f"there is no rank {victim}", job)
        check_right(job, {victim: pid} if pid and f"process {pid}" in job.err else {})


def all_but_the_driver_are_killed_one_after_the_other():
    job, dead = start(), {}
    for victim in dice.sample(range(1, RANKS), RANKS - 1):
        time.sleep(dice.uniform(0, 0.1))
        pid = kill(job, victim)
        if pid:
            dead[victim] = pid
    job.wait(BOUND)
    check_right(job, {rank: pid for rank, pid in dead.items() if f"process {pid}" in job.err})


def all_but_the_driver_are_killed_at_once():
    job = start()
    time.sleep(dice.uniform(0, 0.1))
    dead = {rank: kill(job, rank) for rank in range(1, RANKS)}
    check_right(job, dead)


def the_drivers_death_ends_the_job():
    job = start()
    pid = kill(job, 0)
    job.wait(8)  # with recovery the launcher's own code says nothing
    runs.check("right" not in job.out, "went on without the driver", job)
    runs.check(re.search(rf"rank 0 on {re.escape(runs.HOST)} \(process {pid}\) was killed by signal 9 \(Killed\)( while it ran [\w, ]+)?; the job ends", job.err),
               f"nobody names rank 0, process {pid}", job)
    job.check_clean()
    job.close()


print(f"seed {seed}")
runs.need_mpirun()
runs.Job.uses_mpi = True
runs.Job.launcher_options = ["--enable-recovery"]
runs.main([behaviour_79_one_rank_is_killed_at_any_moment, all_but_the_driver_are_killed_one_after_the_other,
           all_but_the_driver_are_killed_at_once, the_drivers_death_ends_the_job])
