"""SIGTERM and SIGUSR2, to a rank and to the launcher: test_signals.py CONDUCT."""
import signal
import sys
import time

import runs

program = sys.argv[1]
CODE = 128 + signal.SIGTERM
BOUND = 5


def ended(job, codes):
    start = time.monotonic()
    job.wait(BOUND)
    seconds = time.monotonic() - start
    runs.check(job.code in codes, f"ended with {job.code} after {seconds} s", job)
    job.check_clean()
    job.close()


def started(ranks, *arguments, **env):
    job = runs.Job(ranks, program, *arguments, **env)
    job.wait_for("running")
    return job


def term_ends_it_alone():
    for what in ("spin", "busy"):
        job = started(0, what)
        job.process.send_signal(signal.SIGTERM)
        ended(job, {CODE})


def term_ends_what_does_not_listen():
    job = started(0, "stubborn", MANTA_STOP_TIMEOUT="300ms")
    job.process.send_signal(signal.SIGTERM)
    ended(job, {CODE})


def term_to_any_rank_ends_all():
    for what in ("spin", "busy"):
        for which in range(3):
            job = started(3, what)
            runs.send(sorted(job.pids())[which], signal.SIGTERM)
            ended(job, {CODE})


def term_needs_no_force():
    """Whoever waits is woken, wherever it sleeps: nobody is left to the time that is given to bodies."""
    runs.Job.launcher_options = ["--enable-recovery"]  # else mpirun kills who does not end; its own code is 0 then
    for _ in range(15):
        job = started(4, "spin", MANTA_STOP_TIMEOUT="60s")
        for pid in sorted(job.pids()):
            runs.send(pid, signal.SIGTERM)
        ended(job, {0, CODE})
    runs.Job.launcher_options = []


def term_to_the_launcher_ends_all():
    job = started(3, "spin")
    job.process.send_signal(signal.SIGTERM)
    ended(job, range(1, 256)) # mpirun has a code of its own for that


def end_of_the_launcher_ends_all():
    for what in ("spin", "stubborn"):
        job = started(3, what)
        job.process.kill()
        job.wait(BOUND)
        end = time.monotonic() + BOUND * runs.SLOW
        while job.pids():
            runs.check(time.monotonic() < end, "ranks outlive their launcher", job)
            time.sleep(0.02)
        job.close()


def usr2_reports_and_goes_on():
    job = started(0, "spin")
    job.process.send_signal(signal.SIGUSR2)
    end = time.monotonic() + BOUND * runs.SLOW
    while "submitted" not in job.err:
        runs.check(time.monotonic() < end and job.process.poll() is None, "no report", job)
        time.sleep(0.02)
    runs.check(f"rank 0 on {runs.HOST}: live: 1 tasks" in job.err, "another report", job)
    job.process.send_signal(signal.SIGTERM)
    ended(job, {CODE})


runs.need_mpirun()
runs.main([term_ends_it_alone, term_ends_what_does_not_listen, term_to_any_rank_ends_all, term_needs_no_force,
           term_to_the_launcher_ends_all, end_of_the_launcher_ends_all, usr2_reports_and_goes_on])
