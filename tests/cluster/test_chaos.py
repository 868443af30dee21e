"""Jobs on virtual hosts while ranks, hosts and cables come and go: test_chaos.py ENDURE REPORT LENGTH.

LENGTH is `short` or `long`. What happens when is drawn from a seed (MANTA_SEED), which is printed. A job ends
right, or, where what was killed cannot be replaced (rank 0, or any rank before the start is over), with a
line that says why and a code that is not 0, and always within a bound. After each job nothing of it is left on any
host. What was done and what came of it are lines of REPORT, and a table at the end.
"""
import os
import random
import re
import signal
import sys
import time

from cluster import Cluster, check, need_cluster
from report import Report, seed
import runs

endure = os.path.abspath(sys.argv[1])
number = seed()
dice, report = random.Random(number), Report(sys.argv[2], number)
is_long = sys.argv[3] == "long"
KILLS_FOR_S = 180 if is_long else 60
TRIES = 40 if is_long else 4
HOSTS, RANKS = 4, 8
KILLED = 128 + signal.SIGKILL
BOUND = 90
RETRIES = "100"
# A start that waits for somebody who will not come ends by this.
LAUNCH_TIMEOUT = {"MANTA_LAUNCH_TIMEOUT": "15s"}
RIGHT = "running\nright\n"
# Manta's lines and the launchers': who it was and what became of him.
CLEAR = re.compile(r"manta: .*(rank \d+|ranks|MANTA_E_)|task \d+: Killed|exited on signal 9|STEP .* CANCELLED|"
                   r"rank \d+ on \S+ \(process")
cluster = None


def start(rounds, nodes=HOSTS, stop_ms=0):
    options = ["-K0", "--no-kill"]
    return cluster.spawn(cluster.srun_command([endure, str(rounds), RETRIES, str(stop_ms)], nodes, RANKS, options),
                         env=LAUNCH_TIMEOUT)


def kill(rank, number=signal.SIGKILL):
    """Its process, if there is (still) one."""
    _, pid = cluster.ranks(endure).get(rank, (None, None))
    return pid is not None and runs.send(pid, number)


def check_nothing_left(run, hosts=None):
    cluster.check_quiet(30)
    left = {host: cluster.names_left(host) for host in hosts or cluster.hosts}
    check(not any(left.values()), f"left behind: {left}", run)


def finish(scene, run, injected, may_fail=False):
    """The job's end, whatever it is; the word for it."""
    run.wait(BOUND)
    outcome = "right"
    if run.out != RIGHT:
        check(may_fail, "the work did not come out right", run)
        check(run.code != 0, "nothing came out right, and it says success", run)
        check(CLEAR.search(run.err), "nobody says why", run)
        outcome = "told why"
    check_nothing_left(run)
    report.add(scene, injected, outcome, run)
    return outcome


def behaviour_61_a_rank_is_killed_every_second():
    """Until one or two are left; then the next job."""
    end = time.monotonic() + KILLS_FOR_S
    while time.monotonic() < end:
        run, injected = start(170), []
        run.wait_for("running")
        for victim in dice.sample(range(1, RANKS), dice.choice((RANKS - 2, RANKS - 1))):
            time.sleep(1)
            if kill(victim):
                injected.append(f"kill {victim}")
        finish("a rank killed every second", run, injected)
        check(injected, "the job was over before anybody was killed")


def await_told(run, ranks):
    end = time.monotonic() + 30
    while not all(f"rank {rank} on" in run.err for rank in ranks):
        check(time.monotonic() < end, f"nobody notices the loss of ranks {ranks}", run)
        time.sleep(0.05)


def a_host_is_cut_off_and_its_ranks_leave_before_it_is_back():
    run = start(60)
    run.wait_for("running")
    cluster.cut("n3")
    try:
        await_told(run, (6, 7))
        end = time.monotonic() + 30
        while cluster.ranks(endure, ["n3"]):
            check(time.monotonic() < end, "ranks that are cut off stay", run)
            time.sleep(0.1)
    finally:
        cluster.mend("n3")
    finish("host cut off, back after its ranks left", run, ["cut n3"])
    check(run.code in (0, 1), f"ended with {run.code}", run)


def a_host_is_cut_off_and_back_at_any_moment():
    """Before anybody notices, or while they do."""
    for _ in range(3 if is_long else 1):
        run = start(60)
        run.wait_for("running")
        cluster.cut("n3")
        try:
            time.sleep(dice.uniform(0.1, 4))
        finally:
            cluster.mend("n3")
        finish("host cut off, back at any moment", run, ["cut n3"])
        check(run.code in (0, 1), f"ended with {run.code}", run)


def a_whole_host_is_killed():
    """Its processes, or like a power failure; Slurm hears of it later than Manta."""
    for power_failure in (False, True):
        run = start(60)
        run.wait_for("running")
        time.sleep(dice.uniform(0, 1))
        if power_failure:
            cluster.cut("n2")
        cluster.kill_host("n2")
        run.wait_for("right", 60)
        # As a site's health check does; by itself Slurm takes half a minute.
        cluster.on("head", "scontrol", "update", "nodename=n2", "state=down", "reason=killed")
        cluster.boot("n2")
        finish("host killed", run, ["power failure of n2" if power_failure else "all of n2 killed"])
        check(run.code in (0, 1, KILLED), f"ended with {run.code}", run)
        cluster.wait_idle()


def rank_0_is_killed():
    """It cannot be replaced: all others end, under each launcher."""
    options = ["--mca", "orte_abort_on_non_zero_status", "0"]
    commands = [cluster.srun_command([endure, "1000", RETRIES], HOSTS, RANKS, ["-K0", "--no-kill"]),
                cluster.mpirun_command([endure, "1000", RETRIES], HOSTS, RANKS, options)]
    for command in commands:
        run = cluster.spawn(command)
        run.wait_for("running")
        time.sleep(dice.uniform(0, 1))
        check(kill(0), "there is no rank 0", run)
        await_told(run, (0,))
        end = time.monotonic() + 30
        while cluster.ranks(endure):
            check(time.monotonic() < end, "ranks outlive rank 0", run)
            time.sleep(0.1)
        if "mpirun" in command:
            run.kill()  # this mpirun lingers: docs/launchers.md
        run.wait(BOUND)
        check(run.code != 0 and "right" not in run.out, "reported success", run)
        check_nothing_left(run)
        report.add("rank 0 killed", ["kill 0"], "told why", run)


def killed_at_start_up(nodes):
    for _ in range(TRIES):
        run, victim = start(3, nodes=nodes), dice.randrange(RANKS)
        time.sleep(dice.uniform(0, 1.5))
        while not kill(victim) and not run.ended():
            time.sleep(0.01)
        finish(f"killed at start-up, {nodes} hosts", run, [f"kill {victim}"], may_fail=True)


def await_right_closely(run):
    """Without a pause, for what follows lasts milliseconds."""
    end = time.monotonic() + BOUND
    while "right" not in run.out:
        check(not run.ended() and time.monotonic() < end, "does not come to its end", run)


def killed_at_shutdown(nodes):
    """Until as many were hit as wanted; srun's code tells a rank that was killed from one that had ended."""
    hits, tries = 0, 0
    while hits < TRIES and tries < 3 * TRIES:
        tries += 1
        run, victim = start(25, nodes=nodes, stop_ms=dice.choice((0, 200, 200))), dice.randrange(RANKS)
        run.wait_for("running")
        _, pid = cluster.ranks(endure).get(victim, (None, None))
        await_right_closely(run)
        time.sleep(dice.choice((0, dice.uniform(0, 0.1))))
        is_sent = pid and runs.send(pid, signal.SIGKILL)
        is_hit = is_sent and run.wait(BOUND).code == KILLED
        finish(f"killed at shutdown, {nodes} hosts", run, [f"kill {victim}"] if is_hit else [])
        hits += bool(is_hit)
    print(f"         {hits} hits in {tries} tries")
    check(hits, "nobody was still there to be killed")


def at_start_up_over_hosts():
    killed_at_start_up(HOSTS)


def at_start_up_on_one_node():
    killed_at_start_up(1)


def at_shutdown_over_hosts():
    killed_at_shutdown(HOSTS)


def at_shutdown_on_one_node():
    killed_at_shutdown(1)


def stop_for_a_while(victim, injected):
    seconds = round(dice.choice((dice.uniform(0, 0.5), dice.uniform(0, 5))), 2)
    if kill(victim, signal.SIGSTOP):
        injected.append(f"stop {victim} for {seconds} s")
        time.sleep(seconds)
        kill(victim, signal.SIGCONT)


def ranks_are_stopped_and_go_on():
    """Those who are away for too long are taken for dead; rank 0 too, and then the job ends."""
    for _ in range(6 if is_long else 2):
        run, injected = start(80), []
        run.wait_for("running")
        for _ in range(3):
            time.sleep(dice.uniform(0, 0.5))
            stop_for_a_while(dice.randrange(RANKS), injected)
        stops_first = any(word.startswith("stop 0 ") for word in injected)
        finish("ranks stopped and continued", run, injected, may_fail=stops_first)
        check(injected, "the job was over before anybody was stopped")


need_cluster()
if os.environ.get("TEST_HAS_UCX") == "0":
    print("skipped: this build is for one node (no UCX)")
    sys.exit(runs.SKIP)
with Cluster(HOSTS, cpus=RANKS) as cluster:
    try:
        wanted = sys.argv[4:]
        scenes = [behaviour_61_a_rank_is_killed_every_second, a_host_is_cut_off_and_its_ranks_leave_before_it_is_back,
                  a_host_is_cut_off_and_back_at_any_moment, a_whole_host_is_killed, rank_0_is_killed,
                  at_start_up_over_hosts, at_start_up_on_one_node, at_shutdown_over_hosts,
                  at_shutdown_on_one_node, ranks_are_stopped_and_go_on]
        runs.main([scene for scene in scenes if not wanted or scene.__name__ in wanted])
    finally:
        report.table()
