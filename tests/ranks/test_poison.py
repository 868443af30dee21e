"""A task that kills its rank costs the job that task and that rank, and both are named.

    test_poison.py POISON
"""
import re
import signal
import sys

import runs

program = sys.argv[1]
RANKS = 6
SIGNALS = {128 + signal.SIGSEGV, 128 + signal.SIGABRT}


def only_what_kills_its_ranks_fails():
    """Rank 0 is spared, so what it happens to run comes out right: a few jobs, until both were to blame."""
    blamed = set()
    for _ in range(8):
        job = runs.Job(RANKS, program)
        job.wait(60)
        runs.check(job.out.endswith("right\n"), "something else failed too", job)
        runs.check(job.code in {0, *SIGNALS, *runs.FAULT_CODES}, f"ended with {job.code}", job)
        for what, became in re.findall(r"(element|task): (.*)", job.out):
            runs.check(became in ("spared", "E_CRASH, attempt 2, blamed"), f"{what}: {became}", job)
            blamed |= {what} if "blamed" in became else set()
        deaths = re.findall(r"rank \d+ on .* \(process \d+\) was killed by signal .*while it ran (\w+)", job.err)
        runs.check(len(deaths) == len(re.findall(r"rank \d+ on .* was killed by signal", job.err)) and
                   set(deaths) <= {"element", "deadly"}, f"what they ran is not named: {deaths}", job)
        job.check_clean()
        job.close()
        if blamed == {"element", "task"}:
            return
    runs.check(False, f"never both to blame, only {blamed}")


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.Job.launcher_options = ["--enable-recovery"]
runs.main([only_what_kills_its_ranks_fails])
