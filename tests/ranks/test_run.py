"""`manta run`: the driver's code whatever the launcher returns, and nothing that lingers.

    test_run.py MANTA CONDUCT ENDURE [without-signals]

Jobs are started by it on this host, alone and under mpirun.
"""
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import runs

manta, conduct, endure = sys.argv[1:4]
TERMINATED = 128 + signal.SIGTERM
KILLED = 128 + signal.SIGKILL
BOUND = 12
LINGERING = ["--no-recovery", "--launcher-args", "--mca orte_abort_on_non_zero_status 0"]


class Run(runs.Job):
    """`manta run ARGUMENTS`; its ranks are the processes of `program`."""

    uses_mpi = True

    def __init__(self, *arguments, program=conduct, **env):
        super().__init__(0, manta, "run", *arguments, **env)
        self.exe = os.path.realpath(program)

    def launchers(self):
        """Children of manta run."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]


def ended(job, codes, seconds=BOUND):
    job.wait(seconds)
    runs.check(job.code in codes, f"ended with {job.code} after {job.seconds:.1f} s, not {codes}", job)
    job.check_clean()
    result = runs.Result(job)
    job.close()
    return result


def run(*arguments, codes=(0,), seconds=BOUND, **env):
    return ended(Run(*arguments, **env), set(codes), seconds)


def started(*arguments, **env):
    job = Run(*arguments, **env)
    job.wait_for("running")
    return job


def says(result, *texts):
    for text in texts:
        runs.check(text in result.err, f"does not say {text!r}", result)


def the_drivers_code_is_returned():
    for code in (0, 7, 255):
        run("-n", "2", conduct, "code", str(code), codes=[code])
        run("--launcher", "none", conduct, "code", str(code), codes=[code])
    says(run("-n", "3", conduct, "failed", codes=[1]), "the driver failed", "always fails")
    run("-n", "2", conduct, "hooks", "5", codes=[1])


def verbose_tells_the_command_and_no_secret():
    job = started("-n", "2", "--verbose", conduct, "spin")
    with open(f"/proc/{job.launchers()[0]}/cmdline") as file:
        line = file.read()
    with open(f"/proc/{job.launchers()[0]}/environ") as file:
        value = re.search(r"MANTA_RUN=(127\.0\.0\.1:\d+:([0-9a-f]{64}))\0", file.read())
    runs.check(value, "the launcher has no way to manta run in its environment", job)
    job.process.send_signal(signal.SIGTERM)
    result = ended(job, {TERMINATED})
    says(result, "2 ranks on", "mpirun -n 2", "-x MANTA_RUN", "the job's code is 143")
    runs.check(value[2] not in line + result.err + result.out, "the secret is visible", result)


def variables_reach_the_ranks_and_are_checked_first():
    says(run("-n", "2", conduct, "code", "0", codes=[2], MANTA_STOP_TIMEOUT="soon"), "MANTA_STOP_TIMEOUT", "soon")
    says(run("-n", "2", "--verbose", conduct, "code", "0", MANTA_STOP_TIMEOUT="300ms"), "-x MANTA_STOP_TIMEOUT")


def a_killed_rank_is_survived():
    job = started("-n", "4", endure, "6", program=endure)
    pid = job.pid_of(2)
    runs.check(pid and runs.send(pid, signal.SIGKILL), "there is no rank 2", job)
    result = ended(job, {0}, 60)
    runs.check(result.out == "running\nright\n", "the work did not come out right", result)
    says(result, "1 of 4 ranks died")


def a_killed_driver_is_no_success():
    job = started("-n", "3", conduct, "spin")
    pid = job.pid_of(0)
    runs.send(pid, signal.SIGKILL)
    says(ended(job, {KILLED, 1}), "rank 0", "before the driver had", "killed by signal 9")


def a_lingering_launcher_is_ended():
    job = started("-n", "4", *LINGERING, endure, "3", program=endure)
    launcher = job.launchers()[0]
    runs.send(job.pid_of(3), signal.SIGKILL)
    result = ended(job, {0}, 60)
    runs.check("right" in result.out, "the work did not come out right", result)
    says(result, "the driver has ended, and mpirun has not; it is ended now")
    runs.check(not os.path.exists(f"/proc/{launcher}"), "mpirun is still there", result)


def time_is_limited():
    for what in ("spin", "stubborn"):
        says(run("-n", "2", "--timeout", "1", conduct, what, codes=[124]), "--timeout")
    says(run("--launcher", "none", "--timeout=1s", conduct, "spin", codes=[124]), "--timeout")
    run("-n", "2", "--timeout", "1h", conduct, "code", "3", codes=[3])


def signals_are_passed_on():
    for what in ("spin", "stubborn"):
        for number in (signal.SIGTERM, signal.SIGINT):
            job = started("-n", "3", conduct, what)
            job.process.send_signal(number)
            ended(job, {TERMINATED, 128 + number})
    job = started("--launcher", "none", conduct, "spin")
    job.process.send_signal(signal.SIGTERM)
    ended(job, {TERMINATED})


def usr2_reports_and_goes_on():
    job = started("-n", "2", conduct, "spin")
    job.process.send_signal(signal.SIGUSR2)
    end = time.monotonic() + BOUND * runs.SLOW
    while "submitted" not in job.err:
        runs.check(time.monotonic() < end and job.process.poll() is None, "no report", job)
        time.sleep(0.02)
    job.process.send_signal(signal.SIGTERM)
    ended(job, {TERMINATED})


def nothing_outlives_a_killed_manta_run():
    for arguments in (["-n", "3"], ["--launcher", "none"]):
        job = started(*arguments, conduct, "spin")
        launcher = job.launchers()[0]
        job.process.kill()
        job.wait(BOUND)
        end = time.monotonic() + BOUND * runs.SLOW
        while job.pids() or os.path.exists(f"/proc/{launcher}"):
            runs.check(time.monotonic() < end, "ranks or the launcher outlive manta run", job)
            time.sleep(0.02)
        job.close()


def sleepers(seconds):
    found = []
    for pid in runs.running(os.path.realpath("/bin/sleep")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                found += [pid] if f"\0{seconds}\0" in file.read() else []
        except OSError:
            pass
    return found


def what_ranks_leave_running_is_ended():
    seconds = 80000 + os.getpid() % 10000
    for arguments in (["-n", "2"], ["--launcher", "none"]):
        says(run(*arguments, "sh", "-c", f"{shlex.quote(conduct)} code 4; code=$?; "
                 f"sleep {seconds} </dev/null >/dev/null 2>&1 & exit $code", codes=[4]), "still there")
        runs.check(not sleepers(seconds), f"{sleepers(seconds)} are still there")


def a_rank_that_does_something_after_the_driver_has_its_grace():
    script = f"{shlex.quote(conduct)} code 6; sleep 4; echo late"
    result = run("-n", "2", "sh", "-c", script, codes=[6], seconds=20)
    runs.check(result.out == "late\nlate\n", "was not let to its end", result)
    result = run("-n", "2", "--grace", "1", "sh", "-c", script, codes=[6], seconds=20)
    says(result, "has not; it is ended now")
    runs.check("late" not in result.out, "has had more than its grace", result)


def misbinding_is_named():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("no two cores to bind to")
        return
    result = run("-n", "2", "taskset", "-c", str(cores[0]), conduct, "code", "0")
    says(result, "2 ranks on", "bound to the same 1 core", "--bind none")
    result = run("-n", "2", conduct, "code", "0")
    runs.check("warning" not in result.err, "warns without a reason", result)
    result = run("-n", "2", "--bind", "core", conduct, "code", "0")
    runs.check("warning" not in result.err, "warns without a reason", result)
    result = run("-n", str(2 * len(cores)), conduct, "code", "0")
    runs.check("warning" not in result.err, "warns although there are too few cores", result)


def other_programs_have_the_launchers_code():
    says(run("-n", "2", "true"), "no rank reported")
    says(run("-n", "2", "--no-recovery", "false", codes=[1]), "no rank reported: 1 is mpirun's code")
    run("--launcher", "none", "sh", "-c", "kill -9 $$", codes=[KILLED])


def standard_streams_are_the_programs():
    for arguments in (["-n", "2", "--no-recovery"], ["--launcher", "none"]):
        done = subprocess.run([manta, "run", *arguments, "cat"], input="hello\n", capture_output=True, text=True,
                              env=runs.environment({}, True), timeout=BOUND * runs.SLOW)
        runs.check(done.stdout == "hello\n" and done.returncode == 0, f"{done}")


def what_cannot_be_executed_is_named():
    says(run("-n", "2", "no-such-program", codes=[127]), "'no-such-program' in PATH", "./")
    says(run("-n", "2", "./no-such-program", codes=[127]), "'./no-such-program'", "expected")
    says(run("-n", "2", "/tmp", codes=[126]), "/tmp is a directory", "the program in it")
    with tempfile.NamedTemporaryFile(prefix="plain-") as plain:
        says(run("-n", "2", plain.name, codes=[126]), plain.name, "chmod +x")
        says(run(plain.name, "--launcher", "none", codes=[126]), plain.name)


def options_that_cannot_be_are_explained():
    for arguments, texts in (
            (["-n", "0", "x"], ["-n got '0'", "expected a number of ranks"]),
            (["-n", "many", "x"], ["-n got 'many'", "from 1 to 1000000"]),
            (["-n"], ["-n got nothing", "expected a number"]),
            (["--hosts", "a:,b", "x"], ["--hosts got 'a:,b'", "n1:2,n2:2"]),
            (["--launcher", "slurm", "x"], ["--launcher got 'slurm'", "auto, mpirun, srun or none"]),
            (["--bind", "socket", "x"], ["--bind got 'socket'", "core or none"]),
            (["--timeout", "1x", "x"], ["--timeout got '1x'", "like 90, 90s"]),
            (["--timeout", "0", "x"], ["--timeout got '0'", "from 1 second on"]),
            (["--verbose=yes", "x"], ["--verbose got 'yes'", "expected no value"]),
            (["--np", "4", "x"], ["unknown option '--np'", "expected one of -n", "--launcher-args"]),
            (["-n", "4"], ["got no program", "manta run -n 4 ./program"]),
            (["--launcher", "none", "-n", "2", "true"], ["one process", "--launcher mpirun"]),
    ):
        result = run(*arguments, codes=[2])
        says(result, *texts)
        runs.check(result.err.count("\n") == 1, "more than one line", result)


def a_place_among_ranks_is_refused():
    says(run("-n", "2", conduct, "code", "0", codes=[2], OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="1"),
         "one of 4 processes", "manta run -n 4")


def launchers_that_are_not_there_are_named():
    with tempfile.TemporaryDirectory() as folder:
        says(run("-n", "2", conduct, "code", "0", codes=[125], PATH=folder), "PATH has none", "--launcher none")
        says(run("--launcher", "srun", conduct, codes=[125], PATH=folder), "PATH has no srun", "--launcher mpirun")
        run(conduct, "code", "5", codes=[5], PATH=folder)
        fake = os.path.join(folder, "mpirun")
        with open(fake, "w") as file:
            file.write("#!/bin/sh\necho HYDRA build details:\n")
        os.chmod(fake, 0o755)
        says(run("-n", "2", conduct, codes=[125], PATH=f"{folder}:/usr/bin:/bin"), "is not Open MPI's", "HYDRA")


def help_and_version_are_told():
    for arguments, code, text in ((["help"], 0, "run"), (["help", "run"], 0, "--launcher-args"), (["run", "--help"], 0, "--grace"),
                                  (["version"], 0, "manta 0."), ([], 2, "manta help"), (["walk"], 2, "'walk'")):
        done = subprocess.run([manta, *arguments], capture_output=True, text=True, timeout=BOUND * runs.SLOW)
        runs.check(done.returncode == code and text in done.stdout + done.stderr, f"{done}")


SIGNALS = [signals_are_passed_on, usr2_reports_and_goes_on, nothing_outlives_a_killed_manta_run]

runs.need_mpirun()
runs.main([the_drivers_code_is_returned, verbose_tells_the_command_and_no_secret,
           variables_reach_the_ranks_and_are_checked_first, a_killed_rank_is_survived, a_killed_driver_is_no_success,
           a_lingering_launcher_is_ended, time_is_limited, *(SIGNALS if len(sys.argv) == 4 else []),
           what_ranks_leave_running_is_ended, a_rank_that_does_something_after_the_driver_has_its_grace,
           misbinding_is_named, other_programs_have_the_launchers_code, standard_streams_are_the_programs,
           what_cannot_be_executed_is_named, options_that_cannot_be_are_explained, a_place_among_ranks_is_refused,
           launchers_that_are_not_there_are_named, help_and_version_are_told])
