"""Recorded graphs over hosts: test_graphs.py GRAPHS HEAT MANTA [SEED].

Under each launcher a graph gives the bytes that plain tasks give; when ranks or hosts die in the middle of a launch it
still does. The seed of a run is printed.
"""
import os
import random
import re
import signal
import sys
import tempfile
import time

from cluster import Cluster, check, need_cluster
import runs

graphs, heat, manta = (os.path.abspath(path) for path in sys.argv[1:4])
seed = int(sys.argv[4]) if len(sys.argv) > 4 else int(time.time())
dice = random.Random(seed)
HOSTS = 4
LIVE_ON = ["-K0", "--no-kill"]
cluster = None


def right(run):
    check(run.code == 0 and run.out == "right\n", f"ended with {run.code}", run)


def under_srun():
    for nodes, tasks in ((3, 3), (4, 8)):
        right(cluster.srun([graphs], nodes=nodes, tasks=tasks))


def under_mpirun():
    right(cluster.mpirun([graphs], nodes=4, tasks=8))
    right(cluster.mpirun([graphs], nodes=3, tasks=3, within="hosts"))


def check_heat(run):
    """What tasks and graph say, each with its name before it, is the same; returns that."""
    found = re.fullmatch(r"tasks: (\S+)\ngraph: (\S+)\n", run.out)
    check(run.code == 0 and found and found[1] == found[2], f"ended with {run.code}", run)
    return found[1]


def heat_is_the_same_everywhere():
    program = [heat, "4", "16", "50"]
    sums = {check_heat(cluster.srun(program, nodes=1, tasks=1)), check_heat(cluster.srun(program, nodes=3, tasks=6)),
            check_heat(cluster.mpirun(program, nodes=4, tasks=4))}
    check(len(sums) == 1, f"it depends on the hosts: {sums}")


def check_survives(run, deaths):
    run.wait(90)
    check(run.out.splitlines()[-1:] == ["right"], "the bytes are not right", run)
    check(f"{deaths} of 8 ranks died" in run.err, f"not {deaths} died", run)
    cluster.check_quiet(30)


def a_rank_ends_itself_in_a_round():
    with tempfile.TemporaryDirectory() as folder:
        run = cluster.spawn(cluster.srun_command([graphs, f"{folder}/died"], 4, 8, LIVE_ON))
        check_survives(run, 1)
        check(os.listdir(folder) == ["died"], "nobody died", run)
        check(" 1 launches of graphs begun again" in run.err, "the launch is not told of", run)


def start_slow():
    run = cluster.spawn(cluster.srun_command([graphs, "slow"], 4, 8, LIVE_ON))
    run.wait_for("running")
    return run


def kill(victim):
    check(runs.send(cluster.ranks(graphs)[victim][1], signal.SIGKILL), f"there is no rank {victim}")


def a_rank_is_killed_in_a_launch():
    for _ in range(2):
        run = start_slow()
        time.sleep(dice.uniform(0, 1.5))
        kill(dice.randrange(1, 8))
        check_survives(run, 1)


def three_are_killed_one_after_the_other():
    run = start_slow()
    for victim in dice.sample(range(1, 8), 3):
        time.sleep(dice.uniform(0, 1))
        kill(victim)
    check_survives(run, 3)


def all_ranks_of_a_host_are_killed():
    run = start_slow()
    time.sleep(dice.uniform(0, 1.5))
    for _, pid in cluster.ranks(graphs, ["n2"]).values():
        os.kill(pid, signal.SIGKILL)
    check_survives(run, 2)


def a_rank_is_killed_under_manta_run_by_mpirun():
    run = cluster.spawn(["salloc", "--quiet", *cluster.request(4, 8), "env", "MANTA_SILENCE=20s", manta, "run", "-n", "8",
                         "--launcher", "mpirun", graphs, "slow"])
    run.wait_for("running")
    time.sleep(dice.uniform(0, 1.5))
    kill(dice.randrange(1, 8))
    check_survives(run, 1)
    check(run.code == 0, f"ended with {run.code}", run)


print(f"seed {seed}")
need_cluster()
if os.environ.get("TEST_HAS_UCX") == "0":
    print("skipped: this build is for one node (no UCX)")
    sys.exit(runs.SKIP)
with Cluster(HOSTS) as cluster:
    runs.main([under_srun, under_mpirun, heat_is_the_same_everywhere, a_rank_ends_itself_in_a_round,
               a_rank_is_killed_in_a_launch, three_are_killed_one_after_the_other, all_ranks_of_a_host_are_killed,
               a_rank_is_killed_under_manta_run_by_mpirun])
