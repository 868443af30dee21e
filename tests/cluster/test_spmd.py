"""manta_init in programs with a main and MPI of their own, over hosts: test_spmd.py SPMD.

Under each launcher, over MPI_COMM_WORLD and over communicators of the program, beside its own MPI calls and from its
own threads.
"""
import os
import signal
import sys

from cluster import Cluster, check, need_cluster
import runs

spmd = os.path.abspath(sys.argv[1])
MODES = ([], ["dup"], ["split"], ["sub"], ["plain"])
cluster = None


def ok(run):
    check(run.code == 0 and run.out == "ok\n" and run.err == "", f"{run.command} ended with {run.code}", run)


def behaviour_89_under_srun():
    for mode in MODES:
        ok(cluster.srun([spmd, *mode], nodes=4, tasks=8))
    ok(cluster.srun([spmd, "split"], nodes=3, tasks=3))


def behaviour_89_under_mpirun_in_an_allocation():
    for mode in MODES:
        ok(cluster.mpirun([spmd, *mode], nodes=4, tasks=8))


def behaviour_89_under_mpirun_over_hosts():
    ok(cluster.mpirun([spmd, "sub"], nodes=3, tasks=6, within="hosts"))


def a_death_ends_it():
    """Under an srun that lets the others live."""
    cluster.check_quiet()
    run = cluster.spawn(cluster.srun_command([spmd, "until"], 4, 8, ["-K0", "--no-kill"]))
    run.wait_for("running")
    check(runs.send(cluster.ranks(spmd)[5][1], signal.SIGKILL), "there is no rank 5", run)
    run.wait(60)
    check(run.code != 0 and run.err.count(" ended: ") >= 1, f"ended with {run.code}", run)
    cluster.check_quiet(30)


need_cluster()
if os.environ.get("TEST_HAS_UCX") == "0":
    print("skipped: this build is for one node (no UCX)")
    sys.exit(runs.SKIP)
with Cluster(4) as cluster:
    runs.main([behaviour_89_under_srun, behaviour_89_under_mpirun_in_an_allocation, behaviour_89_under_mpirun_over_hosts,
               a_death_ends_it])
