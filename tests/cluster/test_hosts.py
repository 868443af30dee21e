"""Jobs over several hosts: test_hosts.py CHECK ENDURE MANTA OBJECTS POISON [SEED].

What works on one node works between nodes under each launcher; ranks die, hosts die, are cut off and
come back, and the work still comes out right. The seed of a run is printed.
"""
import os
import random
import re
import signal
import sys
import time

from cluster import Cluster, check, need_cluster
import runs

check_program, endure, manta, objects, poison = (os.path.abspath(path) for path in sys.argv[1:6])
seed = int(sys.argv[6]) if len(sys.argv) > 6 else int(time.time())
dice = random.Random(seed)
HOSTS = 4
KILLED = 128 + signal.SIGKILL
cluster = None


def ok(run, text="ok"):
    """Open MPI complains now and then that an agent of its own has ended already when it is put in a group."""
    said = re.sub(r".*plm:rsh: Warning: setpgid.*\n", "", run.err)
    check(run.code == 0 and run.out == f"{text}\n" and said == "", f"ended with {run.code}", run)


def under_srun():
    for nodes, tasks in ((2, 2), (4, 4), (2, 8), (4, 8)):
        ok(cluster.srun([check_program], nodes=nodes, tasks=tasks))


def under_mpirun_in_an_allocation():
    ok(cluster.mpirun([check_program], nodes=2, tasks=2))
    ok(cluster.mpirun([check_program], nodes=4, tasks=8))


def under_mpirun_over_hosts():
    ok(cluster.mpirun([check_program], nodes=3, tasks=6, within="hosts"))


def large_values_go_from_host_to_host():
    """Two ranks on each of two hosts, then one on each of four."""
    for nodes, tasks in ((2, 4), (4, 4)):
        ok(cluster.srun([objects], nodes=nodes, tasks=tasks), "right")


def pid_of(rank, program):
    return cluster.ranks(program)[rank][1]


def start(rounds=60):
    """8 ranks under srun that lets the others live; ranks 0 and 1 are on n0."""
    run = cluster.spawn(cluster.srun_command([endure, str(rounds)], 4, 8, ["-K0", "--no-kill"]))
    run.wait_for("running")
    return run


def survive_under_manta_run(*options):
    """In an allocation of four hosts; the code is the driver's. Nobody else is to count as dead, however busy."""
    command = ["salloc", "--quiet", *cluster.request(4, 8), "env", "MANTA_SILENCE=20s", manta, "run", "-n", "8", *options, endure, "30"]
    run = cluster.spawn(command)
    run.wait_for("running")
    victim = dice.randrange(1, 8)
    os.kill(pid_of(victim, endure), signal.SIGKILL)
    check_right(run, 1)
    check(run.code == 0, f"ended with {run.code}", run)


def behaviour_79_under_manta_run_by_srun():
    survive_under_manta_run()


def behaviour_79_under_manta_run_by_mpirun():
    survive_under_manta_run("--launcher", "mpirun")


def one_allocation_serves_launches_of_all_kinds_and_a_death_in_between():
    steps = [f"srun --mpi=pmix {check_program}", f"mpirun --bind-to none {check_program}",
             f"{manta} run {endure} 30", f"srun --mpi=pmix {check_program}"]
    script = "; ".join(f"{step}; echo code $?" for step in steps)
    run = cluster.spawn(["salloc", "--quiet", *cluster.request(2, 4), "env", "MANTA_SILENCE=20s", "sh", "-c", script])
    run.wait_for("running")
    os.kill(pid_of(dice.randrange(1, 4), endure), signal.SIGKILL)
    run.wait(90)
    check(run.out == "ok\ncode 0\n" * 2 + "running\nright\ncode 0\n" + "ok\ncode 0\n", "not all runs came out right", run)
    check(run.err.count("ranks died") == 1 and "1 of 4 ranks died" in run.err, "not one death", run)
    check(run.code == 0, f"ended with {run.code}", run)
    cluster.check_quiet()


def misbinding_in_an_allocation_is_named():
    """The hosts' cores are this machine's: with one there is nothing to bind wrongly."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("skipped  misbinding_in_an_allocation_is_named: this machine has one core")
        return
    salloc = ["salloc", "--quiet", *cluster.request(2, 4), manta, "run"]
    run = cluster.run_on("head", [*salloc, "taskset", "-c", str(cores[0]), check_program])
    check(run.code == 0 and run.out == "ok\n", f"ended with {run.code}", run)
    check("2 ranks on n0 are bound to the same 1 core" in run.err, "misbinding is not named", run)
    run = cluster.run_on("head", [*salloc, check_program])
    check(run.code == 0 and "warning" not in run.err, "warns without a reason", run)


def check_right(run, deaths):
    run.wait(90)
    check(run.out == "running\nright\n", "the work did not come out right", run)
    check(re.search(rf"{deaths} of 8 ranks died; \d+ tasks were run again", run.err), "what was redone is not told", run)
    left = cluster.ranks(endure)
    check(not left, f"left behind: {left}", run)


def host_of(rank):
    return f"n{rank // 2}"


def behaviour_79_a_rank_on_another_host_is_killed():
    for _ in range(3):
        run, victim = start(), dice.randrange(1, 8)
        time.sleep(dice.uniform(0, 0.5))
        pid = pid_of(victim, endure)
        os.kill(pid, signal.SIGKILL)
        check_right(run, 1)
        check(run.code == KILLED, f"ended with {run.code}", run)
        check(f"rank {victim} on {host_of(victim)} (process" in run.err, f"nobody names rank {victim}", run)


def ranks_are_killed_one_after_the_other():
    """As many as a task may lose that had begun on each of them."""
    run = start()
    for victim in dice.sample(range(1, 8), 3):
        time.sleep(dice.uniform(0, 0.1))
        os.kill(pid_of(victim, endure), signal.SIGKILL)
    check_right(run, 3)


def only_what_kills_its_ranks_fails():
    """One rank on each host, so nobody sees what it died in: the first time costs nothing, and then only what had
    begun is to blame. Three ranks die of an element that may be lost twice, and rank 0 does the rest."""
    run = cluster.srun([poison, "away"], nodes=HOSTS, options=["-K0", "--no-kill"])
    check(run.out == "element: E_CRASH, attempt 2, blamed\ntask: spared\nright\n", "not as it was told to", run)
    check("3 of 4 ranks died" in run.err, "not as many died", run)


def a_whole_host_is_killed():
    run = start(rounds=30)
    time.sleep(dice.uniform(0, 0.2))
    for _, pid in cluster.ranks(endure, ["n2"]).values():
        os.kill(pid, signal.SIGKILL)
    check_right(run, 2)
    check(run.code == KILLED, f"ended with {run.code}", run)


def a_stopped_rank_on_another_host_is_fenced_and_leaves():
    run = start()
    pid = pid_of(3, endure)
    os.kill(pid, signal.SIGSTOP)
    start_s = time.monotonic()
    while "rank 3 on n1" not in run.err:
        check(time.monotonic() < start_s + 20, "nobody notices a stopped rank", run)
        time.sleep(0.02)
    print(f"         told {time.monotonic() - start_s:.2f} s after the stop")
    os.kill(pid, signal.SIGCONT)
    check_right(run, 1)
    check(re.search(r"manta: rank 3 on n1 said nothing for .*: it counts as dead, the others do its work, and ends", run.err),
          "it is not told why it is out", run)
    check(run.code == 1, f"ended with {run.code}", run)
    check("rank 0 on n0" not in run.err, "it takes rank 0 for dead", run)


def a_host_is_cut_off_and_comes_back():
    run = start()
    cluster.cut("n3")
    try:
        end = time.monotonic() + 20
        while not all(f"rank {rank} on n3" in run.err for rank in (6, 7)):
            check(time.monotonic() < end, "nobody notices a cut cable", run)
            time.sleep(0.05)
    finally:
        cluster.mend("n3")
    check_right(run, 2)
    check(run.code in (0, 1), f"ended with {run.code}", run)


def a_build_for_one_node_says_what_is_missing():
    run = cluster.srun([check_program], nodes=2, tasks=2)
    check(run.code != 0 and "build Manta with UCX" in run.err, f"ended with {run.code}", run)


def a_host_without_the_plugin_is_named():
    command = ["sh", "-c", f"[ $SLURMD_NODENAME = n0 ] || export MANTA_UCX_LIBRARY=/nowhere.so; exec {check_program}"]
    run = cluster.srun(command, nodes=2, tasks=2)
    check(run.code != 0, "started without a transport", run)
    for part in ("rank 1 on n1 cannot load libmanta_ucx.so", "/nowhere.so", "MANTA_UCX_LIBRARY"):
        check(part in run.err, f"'{part}' is not told", run)
    check(run.err.count("cannot load") == 1, "told more than once", run)


def each_rank_tells_how_it_reaches_the_others():
    run = cluster.srun(["env", "MANTA_LOG_LEVEL=3", check_program], nodes=2, tasks=4)
    check(run.code == 0, f"ended with {run.code}", run)
    for rank in range(4):
        here, there = ("n0", "n1") if rank < 2 else ("n1", "n0")
        check(re.search(rf"rank {rank} on {here} (reaches|has not called) \d ranks? on {there}, from rank", run.err),
              f"rank {rank} does not tell its ways", run)
        check(f"rank {rank} on {here} reaches 1 rank here by shared memory" in run.err,
              f"rank {rank} does not tell how it reaches its own node", run)
    check(re.search(r"rank 0 on n0 reaches [12] ranks? on n1, from rank [23], by tcp over \w+", run.err),
          "rank 0 does not say by what", run)


def sigusr2_tells_ways_while_the_job_runs():
    run = start()
    os.kill(pid_of(0, endure), signal.SIGUSR2)
    run.wait(90)
    check(run.out == "running\nright\n", "the report disturbs the job", run)
    check(re.search(r"rank 0 on n0 reaches \d ranks? on n1, from rank [23], by tcp over", run.err), "no ways", run)


def tcp_where_rdma_was_expected_is_warned_about_once():
    run = cluster.srun(["env", "MANTA_EXPECT_RDMA=on", check_program], nodes=4, tasks=8)
    check(run.code == 0 and run.out == "ok\n", f"ended with {run.code}", run)
    check(run.err.count("although RDMA was expected") == 1, "not warned about exactly once", run)


print(f"seed {seed}")
need_cluster()
with Cluster(HOSTS) as cluster:
    if os.environ.get("TEST_HAS_UCX") == "0":
        runs.main([a_build_for_one_node_says_what_is_missing])
    runs.main([a_host_without_the_plugin_is_named, each_rank_tells_how_it_reaches_the_others,
               sigusr2_tells_ways_while_the_job_runs, tcp_where_rdma_was_expected_is_warned_about_once,
               under_srun, under_mpirun_in_an_allocation, under_mpirun_over_hosts, large_values_go_from_host_to_host,
               one_allocation_serves_launches_of_all_kinds_and_a_death_in_between, misbinding_in_an_allocation_is_named,
               behaviour_79_under_manta_run_by_srun, behaviour_79_under_manta_run_by_mpirun,
               behaviour_79_a_rank_on_another_host_is_killed, ranks_are_killed_one_after_the_other,
               only_what_kills_its_ranks_fails, a_whole_host_is_killed, a_stopped_rank_on_another_host_is_fenced_and_leaves,
               a_host_is_cut_off_and_comes_back])
