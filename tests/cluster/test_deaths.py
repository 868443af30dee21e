"""What Manta makes of a death under each launcher: test_deaths.py ENDURE MANTA.

A rank dies, or a host is cut off, while a program of manta_run works; whether the job goes on and with which
code it ends are lines of docs/launchers.md, its second table, as are scenes of test_hosts.py and test_chaos.py.
And however a job ends, nothing of it is left.
"""
import os
import random
import signal
import sys
import time

from cluster import SLOW, Cluster, check, need_cluster
import runs

endure, manta = (os.path.abspath(path) for path in sys.argv[1:3])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
dice = random.Random(seed)
HOSTS = 4
KILLED = 128 + signal.SIGKILL
BOUND = 90
RECOVERY = ["--enable-recovery"]
GO_ON = ["-K0", "--no-kill"]
# Nobody but the victim is to count as dead, however busy the machine is.
PATIENT = {"MANTA_SILENCE": "20s"}
cluster = None


def mpirun(nodes, *options):
    if nodes > 1:
        return cluster.mpirun_command([endure, "60"], nodes, 4, options)
    return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "4", *options, endure, "60"]


def manta_run(nodes):
    return ["salloc", "--quiet", *cluster.request(nodes, 4), manta, "run", endure, "60"]


def start(command, env=None):
    """mpirun is started on its host if it has only that one."""
    run = cluster.spawn(command, "n0" if command[0] == "mpirun" else "head", env or PATIENT)
    run.wait_for("running")
    return run


def kill_one(run):
    victim = dice.randrange(1, 4)
    host, pid = cluster.ranks(endure)[victim]
    os.kill(pid, signal.SIGKILL)
    return f"rank {victim} on {host}"


def check_right(run, codes, deaths=1):
    check(run.out == "running\nright\n", "the work did not come out right", run)
    check(f"{deaths} of 4 ranks died" in run.err, "what was redone is not told", run)
    check(run.code in codes, f"ended with {run.code}", run)
    cluster.check_quiet()


def plain_mpirun_ends_the_job_and_names_the_rank():
    for nodes in (1, 2):
        run = start(mpirun(nodes))
        victim = kill_one(run)
        run.wait(BOUND)
        check(run.out == "running\n", "went on", run)
        check(run.code == KILLED, f"ended with {run.code}", run)
        check(victim in run.err, f"nobody names {victim}", run)
        cluster.check_quiet()


def mpirun_with_recovery_goes_on():
    run = start(mpirun(1, *RECOVERY))
    kill_one(run)
    check_right(run.wait(BOUND), {0})


def mpirun_with_recovery_over_hosts_goes_on_and_lingers():
    """It does not notice that its job is over; that it might on another day is no fault."""
    run = start(mpirun(2, *RECOVERY))
    kill_one(run)
    run.wait_for("right", BOUND)
    end = time.monotonic() + 30 * SLOW
    while cluster.ranks(endure):
        check(time.monotonic() < end, "ranks stay", run)
        time.sleep(0.1)
    time.sleep(0.5)
    lingered = not run.ended()
    run.kill()
    run.wait(BOUND)
    check_right(run, {run.code} if lingered else {0})


def srun_on_one_node_goes_on():
    run = start(cluster.srun_command([endure, "60"], 1, 4, GO_ON))
    kill_one(run)
    check_right(run.wait(BOUND), {KILLED})


def manta_run_on_one_node_goes_on():
    run = start(manta_run(1))
    kill_one(run)
    check_right(run.wait(BOUND), {0})


def manta_run_survives_a_host_that_is_cut_off():
    run = start(manta_run(4), {"MANTA_SILENCE": "2s"})
    cluster.cut("n3")
    try:
        end = time.monotonic() + 30 * SLOW
        while "rank 3 on n3" not in run.err or cluster.ranks(endure, ["n3"]):
            check(time.monotonic() < end, "nobody notices, or the rank stays", run)
            time.sleep(0.1)
    finally:
        cluster.mend("n3")
    check_right(run.wait(BOUND), {0})


# ---- The end that is none of the job's own ---------------------------------------------------------------------

def await_nothing_left(run, hosts):
    """Within five seconds."""
    end = time.monotonic() + 5 * SLOW
    while True:
        left = {host: [*cluster.ranks(endure, [host]), *cluster.names_left(host)] for host in hosts}
        if not any(left.values()):
            return
        check(time.monotonic() < end, f"left behind: {left}", run)


def behaviour_80_nothing_outlives_a_job_that_is_cancelled():
    run = start(cluster.srun_command([endure, "1000"], HOSTS, 8, GO_ON))
    cluster.on("head", "scancel", "--name", run.name)
    await_nothing_left(run, cluster.hosts)
    run.wait(BOUND)
    check(run.code != 0 and "right" not in run.out, f"ended with {run.code}", run)


def behaviour_80_nothing_is_left_where_all_ranks_were_killed():
    """There and then, while the job goes on elsewhere."""
    run = start(cluster.srun_command([endure, "60"], HOSTS, 8, GO_ON))
    for _, pid in cluster.ranks(endure, ["n2"]).values():
        os.kill(pid, signal.SIGKILL)
    await_nothing_left(run, ["n2"])
    check(not run.ended(), "the job was over", run)
    run.wait(BOUND)
    check(run.out == "running\nright\n" and run.code == KILLED, f"ended with {run.code}", run)
    await_nothing_left(run, cluster.hosts)


print(f"seed {seed}")
need_cluster()
if os.environ.get("TEST_HAS_UCX") == "0":
    print("skipped: this build is for one node (no UCX)")
    sys.exit(runs.SKIP)
with Cluster(HOSTS) as cluster:
    runs.main([plain_mpirun_ends_the_job_and_names_the_rank, mpirun_with_recovery_goes_on,
               mpirun_with_recovery_over_hosts_goes_on_and_lingers, srun_on_one_node_goes_on,
               manta_run_on_one_node_goes_on, manta_run_survives_a_host_that_is_cut_off,
               behaviour_80_nothing_outlives_a_job_that_is_cancelled,
               behaviour_80_nothing_is_left_where_all_ranks_were_killed])
