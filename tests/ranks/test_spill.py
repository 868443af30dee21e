"""A store that is ten times too small: all is read as it was made, from real files, and nothing is left.

    test_spill.py SPILL
"""
import os
import subprocess
import sys
import tempfile

import runs

program = sys.argv[1]


def ten_times_the_store_comes_out_right():
    for ranks in (0, 1, 2, 4):
        job = runs.Job(ranks, program, MANTA_STORE="16m", MANTA_LOG_LEVEL="3")
        job.wait(120)
        runs.check(job.out == "right\n" and job.code == 0, f"ended with {job.code}", job)
        runs.check("rank 0 spilled" in job.err, "nothing was spilled", job)
        job.check_clean()
        job.close()


def bad_directories_fail_the_start_and_say_so():
    with tempfile.NamedTemporaryFile() as file:
        for directory, text in (("/nowhere/at/all", "No such file"), (file.name, "is not a directory")):
            for ranks in (0, 2):
                job = runs.Job(ranks, program, MANTA_STORE="16m", MANTA_SPILL=directory)
                job.wait(30)
                runs.check(job.code == 1 and "MANTA_SPILL" in job.err and text in job.err and not job.out,
                           f"ended with {job.code}", job)
                job.check_clean()
                job.close()


def what_is_memory_is_used_only_by_name_and_with_a_warning():
    job = runs.Job(0, program, MANTA_STORE="16m", MANTA_SPILL="/dev/shm")
    job.wait(60)
    runs.check(job.code == 0 and job.out == "right\n" and "/dev/shm is tmpfs" in job.err, f"ended with {job.code}", job)
    job.check_clean()
    job.close()
    job = runs.Job(0, program, MANTA_STORE="16m", TMPDIR="/dev/shm", MANTA_LOG_LEVEL="3")
    job.wait(60)
    runs.check(job.code == 0 and "tmpfs" not in job.err, f"ended with {job.code}", job)
    job.close()


def without_a_disk_what_does_not_fit_is_refused_after_a_while():
    job = runs.Job(0, program, "full", MANTA_STORE="16m", MANTA_SPILL="off", MANTA_STORE_PATIENCE="200ms")
    job.wait(60)
    runs.check(job.code == 0 and "right\n" in job.out and "nothing can be spilled" in job.out, f"ended with {job.code}",
               job)
    job.close()


def a_full_disk_is_an_error_and_loses_nothing():
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "test", folder],
                          stderr=subprocess.DEVNULL).returncode:
            print("skipped: a small file system cannot be mounted")
            return
        try:
            job = runs.Job(0, program, "full", MANTA_STORE="16m", MANTA_SPILL=folder)
            job.wait(60)
            runs.check(job.code == 0 and "right\n" in job.out and "the disk for spilling is full" in job.out,
                       f"ended with {job.code}", job)
            job.close()
        finally:
            subprocess.run(["umount", folder], check=True)


def a_job_that_is_killed_leaves_no_file():
    for ranks in (0, 2):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            job = runs.Job(ranks, program, "wait", MANTA_STORE="16m", MANTA_SPILL=folder)
            job.wait_for("spilled", 60)
            held = {os.readlink(f"/proc/{pid}/fd/{fd}") for pid in job.pids() for fd in os.listdir(f"/proc/{pid}/fd")
                    if os.path.lexists(f"/proc/{pid}/fd/{fd}")}
            runs.check(any(folder in name for name in held), "no file is open there", job)
            runs.check(os.listdir(folder) == [], "a file has a name", job)
            job.kill()
            runs.check(os.listdir(folder) == [], "a file is left", job)
            job.close()


runs.need_mpirun()
runs.Job.uses_mpi = True
runs.main([ten_times_the_store_comes_out_right, bad_directories_fail_the_start_and_say_so,
           what_is_memory_is_used_only_by_name_and_with_a_warning,
           without_a_disk_what_does_not_fit_is_refused_after_a_while, a_full_disk_is_an_error_and_loses_nothing,
           a_job_that_is_killed_leaves_no_file])
