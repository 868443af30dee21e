"""The scripts of slurm/, as a person submits them: test_batch.py SLURM CHECK CONDUCT SWEEP."""
import os
import sys
import time

from cluster import SLOW, Cluster, check, need_cluster
import runs

slurm, program, conduct, sweep = (os.path.abspath(path) for path in sys.argv[1:5])

POINTS = 48


def submit(script, *arguments, options=()):
    return cluster.sbatch(os.path.join(slurm, script), *arguments, options=options)


def ends_with(job, code, text):
    ended, output = job.wait(), job.output()
    check(ended == code and text in output, f"{job.show()['JobState']}, ended with {ended}, printed {output!r}")


def single_node_job_runs():
    ends_with(submit("job.sbatch", program, "4"), 0, "ok\n")


def single_node_job_ends_with_the_drivers_code():
    ends_with(submit("job.sbatch", conduct, "code", "7"), 7, "")


def scripts_without_a_program_say_what_they_want():
    for script, first in (("job", "PROGRAM"), ("nodes", "PROGRAM"), ("sweep", "SWEEP"), ("requeue", "PROGRAM")):
        job = submit(script + ".sbatch")
        code = job.wait()
        check(code != 0 and f"usage: sbatch {script}.sbatch {first}" in job.output(), f"{code}: {job.output()!r}")


def is_for_one_node(scene):
    if os.environ.get("TEST_HAS_UCX") == "0":
        print(f"skipped  {scene}: built without UCX, which hosts need")
        return True
    return False


def job_on_several_nodes_runs():
    if is_for_one_node("job_on_several_nodes_runs"):
        return
    job = submit("nodes.sbatch", program, "8")
    code = job.wait()
    check(code == 0 and job.output() == "ok\n", f"ended with {code}, printed {job.output()!r}")


def sweep_uses_all_nodes_and_goes_on_where_it_was():
    if is_for_one_node("sweep_uses_all_nodes_and_goes_on_where_it_was"):
        return
    points = cluster.write("points.csv", "n\n" + "".join(f"{n}\n" for n in range(POINTS)))
    results = os.path.join(cluster.folder, "results.csv")
    words = [sweep, points, results, "sh", "-c", "sleep 0.5; echo $(uname -n)-{n}"]
    ends_with(submit("sweep.sbatch", *words), 0, f"{POINTS} points: 0 done before, {POINTS} done now, 0 failed\n")
    with open(results) as file:
        rows = [line.split(",") for line in file.read().splitlines()[1:]]
    hosts = {row[3].split("-")[0] for row in rows}
    check({int(row[0]) for row in rows} == set(range(POINTS)) and len(rows) == POINTS, f"not each point once: {rows}")
    check(all(row[1] == "ok" and row[3].split("-")[1] == row[0] for row in rows), f"not its own values: {rows}")
    check(hosts == {"n0", "n1", "n2", "n3"}, f"only on {hosts}")
    ends_with(submit("sweep.sbatch", *words), 0, f"{POINTS} points: {POINTS} done before, 0 done now, 0 failed\n")


def warned_job_is_stopped_and_queued_again():
    first_only = 'if [ -z "${SLURM_RESTART_COUNT:-}" ]; then exec "$0" spin; else exec "$0" code 0; fi'
    job = submit("requeue.sbatch", "sh", "-c", first_only, conduct)
    end = time.monotonic() + 30 * SLOW
    while "running" not in job.output():
        check(time.monotonic() < end, f"does not run: {job.output()!r}")
        time.sleep(0.1)
    cluster.run_on("head", ["scancel", "--batch", "--signal=USR2", job.number])
    job.wait_for("PENDING")
    # Slurm lets a job that comes back wait for two minutes; within the same second it refuses to start it.
    time.sleep(2)
    cluster.run_on("head", ["scontrol", "update", f"JobId={job.number}", "StartTime=now"])
    ends_with(job, 0, "requeue: run 1 was stopped with code 143")
    check(job.show()["Restarts"] == "1", "other restarts")


def job_that_ended_is_not_queued_again():
    job = submit("requeue.sbatch", conduct, "code", "5")
    ends_with(job, 5, "")
    check(job.show()["Restarts"] == "0", "started again")


def nothing_is_left_on_the_hosts():
    cluster.check_quiet()


need_cluster()
with Cluster(hosts=4, cpus=4) as cluster:
    runs.main([single_node_job_runs, single_node_job_ends_with_the_drivers_code,
               scripts_without_a_program_say_what_they_want, job_on_several_nodes_runs,
               sweep_uses_all_nodes_and_goes_on_where_it_was, warned_job_is_stopped_and_queued_again,
               job_that_ended_is_not_queued_again, nothing_is_left_on_the_hosts])
