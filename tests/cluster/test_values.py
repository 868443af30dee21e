"""Large values over four hosts: test_values.py VALUES SPILL.

A broadcast reaches each node once, values outlive the host that they lay on, and what does not fit goes to
each host's own disk.
"""
import os
import re
import signal
import sys

from cluster import Cluster, check, need_cluster
import runs

values, spill = (os.path.abspath(path) for path in sys.argv[1:3])
HOSTS = 4


def a_broadcast_reaches_each_node_once():
    run = cluster.srun([values, "broadcast"], nodes=4, tasks=8)
    found = re.fullmatch(r"copies((?: \d+){8})\n", run.out)
    check(run.code == 0 and found, f"ended with {run.code}", run)
    copies = [int(count) for count in found[1].split()]
    nodes = [sum(copies[2 * node:2 * node + 2]) for node in range(HOSTS)]
    check(nodes == [0, 1, 1, 1], f"copies by node: {nodes}", run)


def values_outlive_their_host():
    run = cluster.spawn(cluster.srun_command([values, "lost"], 4, 8, ["-K0", "--no-kill"]))
    run.wait_for("made")
    for _, pid in cluster.ranks(values, ["n2"]).values():
        os.kill(pid, signal.SIGKILL)
    run.wait(90)
    check(run.out == "made\nright\n", "the values are not right", run)
    check("2 of 8 ranks died" in run.err, "nobody died", run)


def what_does_not_fit_goes_to_disks_of_the_hosts():
    directory = "/var/tmp"
    run = cluster.srun(["env", "MANTA_STORE=24M", f"MANTA_SPILL={directory}", "MANTA_LOG_LEVEL=3", spill], nodes=2, tasks=4)
    check(run.code == 0 and run.out == "right\n", f"ended with {run.code}", run)
    spilling = set(re.findall(r"rank (\d) spilled", run.err))
    check(spilling & {"0", "1"} and spilling & {"2", "3"}, f"spilled on {spilling}", run)


need_cluster()
if os.environ.get("TEST_HAS_UCX") == "0":
    print("skipped: built without UCX, which values between hosts need")
    sys.exit(77)
with Cluster(HOSTS) as cluster:
    runs.main([a_broadcast_reaches_each_node_once, values_outlive_their_host, what_does_not_fit_goes_to_disks_of_the_hosts])
