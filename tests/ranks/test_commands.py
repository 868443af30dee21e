"""Commands and isolated tasks in whole jobs: what they can be told, how they end, and that nothing of them is left
when ranks, spawners or the job die.

    test_commands.py COMMANDS MANTA RANKS...

A process of a job is known by its environment: TMPDIR is the job's own folder.
"""
import glob
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import runs

program, manta, counts = sys.argv[1], sys.argv[2], [int(count) for count in sys.argv[3:]]
COUNT = 10000 if runs.SLOW == 1 else 500


def marked(job):
    """Processes with the job's mark that are no ranks: commands, what they started, spawners."""
    mark, found = f"TMPDIR={job.scratch}".encode(), []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def check_gone(job):
    end = time.monotonic() + 5 * runs.SLOW
    while marked(job):
        runs.check(time.monotonic() < end, f"left: {[runs.describe(pid) for pid in marked(job)]}", job)
        time.sleep(0.02)


def finish(job, code=0):
    job.wait(120)
    if code is not None:
        runs.check(job.code == code, f"ended with {job.code}", job)
    check_gone(job)
    job.check_clean({"out#", "tries#"})
    out = job.out
    job.close()
    return out


def behaviour_88_commands_have_all_that_a_shell_gives_them():
    for ranks in counts:
        runs.check("right" in finish(runs.Job(ranks, program, "features")), f"with {ranks} ranks")


def check_isolated(what):
    for ranks in counts:
        runs.check("right" in finish(runs.Job(ranks, program, what)), f"with {ranks} ranks")


def behaviour_86_a_task_in_an_endless_loop_is_ended_and_tried_again():
    check_isolated("limits")


def behaviour_87_a_task_that_dies_is_an_error_record_and_its_rank_lives():
    check_isolated("deaths")


def behaviour_88_many_short_ones_make_two_files():
    with tempfile.TemporaryDirectory() as folder:
        out = finish(runs.Job(2, program, "sweep", str(COUNT), MANTA_COMMAND_LOG=os.path.join(folder, "log")))
        runs.check("on 2 ranks\nright\n" in out, f"not right: {out}")
        files = sorted(os.listdir(folder))
        runs.check(files == [f"log.{runs.HOST}.data", f"log.{runs.HOST}.index"], f"made {files}")


def bursts_with_pauses_come_to_their_end():
    runs.check("right" in finish(runs.Job(0, program, "bursts", "30", MANTA_COMMANDS="4096")), "not right")


def isolated_tasks_are_ended_however_early():
    runs.check("right" in finish(runs.Job(0, program, "at_once", "60", MANTA_COMMANDS="1")), "not right")


def ask_manta(*words):
    done = subprocess.run([manta, "output", *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def manta_output_reads_the_log_back():
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log")
        runs.check("right" in finish(runs.Job(2, program, "features", MANTA_COMMAND_LOG=log)), "not right")
        code, out, err = ask_manta(f"{log}.{runs.HOST}")
        lines = [line.split() for line in out.splitlines()]
        runs.check(code == 0 and lines and all(len(line) == 5 for line in lines), f"listed {code} {out} {err}")
        runs.check({line[3] for line in lines} == {"0", "1"}, f"not of both ranks: {out}")
        words = {ask_manta(f"{log}.{runs.HOST}", line[0], line[2])[1] for line in lines}
        runs.check({"one\ntwo\n", "bad\n", "from a task\n"} <= words, f"printed {sorted(words)[:20]}")
        code, out, err = ask_manta(log, "1", "both")
        runs.check(code == 2 and "got 'both' for the stream" in err, f"{code} {err}")
        for size in (100, 4096):
            for suffix in ("index", "data"):
                with open(f"{folder}/garbage.{suffix}", "wb") as file:
                    file.write(random.Random(size).randbytes(size))
            code, out, err = ask_manta(f"{folder}/garbage")
            runs.check(code == 125 and not out and "garbage.index is no log of commands" in err, f"{code} {out} {err}")
        for wrong in ([], ["a", "b", "c", "d"], [log, "1", "both"], [log], [f"{log}.{runs.HOST}", "77"]):
            code, out, err = ask_manta(*wrong)
            runs.check(code in (2, 125) and err.startswith("manta output: ") and not out, f"{wrong}: {code} {out} {err}")


def a_log_that_cannot_be_made_fails_the_commands_and_says_why():
    job = runs.Job(0, program, "sweep", "1", MANTA_COMMAND_LOG="/nowhere/log").wait()
    runs.check(job.code == 1 and "/nowhere/log" in job.err, f"ended with {job.code}", job)
    job.close()


def a_commands_rank_is_killed_and_all_of_them_come_out_right():
    runs.Job.launcher_options = ["--enable-recovery"]
    job = runs.Job(4, program, "work", "60")
    job.wait_for("running")
    time.sleep(0.3)
    pid = job.pid_of(2)
    runs.send(pid, signal.SIGKILL)
    out = finish(job, None)
    runs.Job.launcher_options = []
    runs.check("right" in out, f"not all came out right: {out}")


def a_spawner_is_killed_and_all_of_its_commands_run_again():
    job = runs.Job(2, program, "work", "40")
    job.wait_for("running")
    time.sleep(0.3)
    ranks = {job.pid_of(0), job.pid_of(1)}
    spawners = [pid for pid in job.pids() if pid not in ranks]
    runs.check(len(spawners) == 2, f"{len(spawners)} spawners for 2 ranks", job)
    runs.send(spawners[0], signal.SIGKILL)
    runs.check("right" in finish(job), "not all came out right")


def a_rank_that_could_not_start_its_spawner_starts_it_when_it_can():
    runs.check("right" in finish(runs.Job(0, program, "starved")), "not right")


def the_newest_is_ended_when_memory_runs_short():
    """What the kernel says of the node's memory is a file of ours."""
    with open("/proc/meminfo") as file:
        real = file.read()
    with tempfile.TemporaryDirectory() as folder:
        for name, kib in (("plenty", 8 << 20), ("now", 8 << 20), ("little", 1024)):
            with open(os.path.join(folder, name), "w") as file:
                file.write(re.sub(r"(MemTotal: *)\d+", rf"\g<1>{16 << 20}",
                                  re.sub(r"(MemAvailable: *)\d+", rf"\g<1>{kib}", real)))
        job = runs.Job(0, program, "pressed", folder, MANTA_COMMANDS="4")
        job.wait()
        if job.code == runs.SKIP:
            print(f"skipped  {job.out.strip()}")
            return
        with open(os.path.join(folder, "order")) as file:
            order = file.read().split()
        runs.check(order[:3] == ["old", "young", "young"], f"began in the order {order}", job)
        text = r"only 1 MiB of 16 GiB of the node's memory are left: rank 0 ends its newest command to run it again"
        runs.check(re.search(text, job.err) and "MANTA_MEMORY_RESERVE" in job.err, "it does not say why", job)
        runs.check("right" in finish(job), "not right")


def nothing_is_left_when_the_driver_ends_first():
    for ranks in counts:
        runs.check("right" in finish(runs.Job(ranks, program, "leave")), f"with {ranks} ranks")


def nothing_is_left_when_the_job_is_ended(number=signal.SIGTERM):
    job = runs.Job(2, program, "hang")
    job.wait_for("running")
    runs.check(len(marked(job)) > 6, "no commands run", job)
    job.process.send_signal(number)
    finish(job, None)


def nothing_is_left_when_all_ranks_are_killed_at_once():
    job = runs.Job(2, program, "hang")
    job.wait_for("running")
    for rank in (0, 1):
        runs.send(job.pid_of(rank), signal.SIGKILL)
    finish(job, None)


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.main([behaviour_88_commands_have_all_that_a_shell_gives_them,
           behaviour_86_a_task_in_an_endless_loop_is_ended_and_tried_again,
           behaviour_87_a_task_that_dies_is_an_error_record_and_its_rank_lives,
           behaviour_88_many_short_ones_make_two_files, bursts_with_pauses_come_to_their_end,
           isolated_tasks_are_ended_however_early, manta_output_reads_the_log_back,
           a_log_that_cannot_be_made_fails_the_commands_and_says_why,
           a_commands_rank_is_killed_and_all_of_them_come_out_right,
           a_spawner_is_killed_and_all_of_its_commands_run_again,
           a_rank_that_could_not_start_its_spawner_starts_it_when_it_can,
           the_newest_is_ended_when_memory_runs_short, nothing_is_left_when_the_driver_ends_first,
           nothing_is_left_when_the_job_is_ended, nothing_is_left_when_all_ranks_are_killed_at_once])
