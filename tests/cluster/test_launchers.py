"""Who survives when a rank is killed by SIGKILL, under each launcher: test_launchers.py SURVIVORS.

These are the launchers' own guarantees, without Manta; docs/launchers.md has them as a table, and
each line here is a line there. Where a launcher ends differently from run to run, only what holds
always is asserted.
"""
import os
import sys
import time

from cluster import SLOW, Cluster, check, need_cluster
import runs

survivors = os.path.abspath(sys.argv[1])
RANKS = {1: 4, 2: 4, 4: 4}  # by nodes
VICTIM = 3  # of two nodes: it and rank 2 are on n1; of four: alone on n3
LONG = 30  # seconds for a launcher to end the others
ABORT_OFF = ["--mca", "orte_abort_on_non_zero_status", "0"]
RECOVERY = ["--enable-recovery"]
KEEP_GOING = ["--kill-on-bad-exit=0", "--no-kill"]


class Outcome:
    def __init__(self, run, folder, ranks):
        self.run = run
        self.notes = {}
        for rank in range(ranks):
            with open(os.path.join(folder, str(rank))) as file:
                self.notes[rank] = file.read().split()

    def with_note(self, note):
        return {rank for rank, notes in self.notes.items() if note in notes}


def outcome(command, mode, ranks, seconds=2, lingers=False):
    """Starts the program by `command`; with `lingers` the launcher may outlive it, and is ended then."""
    folder = os.path.join(cluster.folder, f"notes-{cluster.runs}")
    os.mkdir(folder)
    host = "n0" if command[0] == "mpirun" and "--host" not in command else "head"
    run = cluster.spawn([*command, survivors, mode, str(VICTIM), str(seconds), folder], host)
    if lingers:
        end = time.monotonic() + 30 * SLOW
        last = "finalized" if mode == "keep" else "survived"
        while not run.ended() and len(notes_of(folder, last)) < ranks - 1 and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)
        lingered = not run.ended()
        run.kill()
        run.code = None if lingered else run.wait().code
    else:
        run.wait(60)
    check(len(os.listdir(folder)) == ranks, f"not all ranks started: {os.listdir(folder)}", run)
    return Outcome(run, folder, ranks)


def notes_of(folder, note):
    found = []
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as file:
            found += [name] if note in file.read() else []
    return found


def all_die(codes, command, nodes=1):
    for mode in ("keep", "release"):
        seen = outcome(command(nodes), mode, RANKS[nodes], LONG)
        check(not seen.with_note("survived"), f"{mode}: {seen.notes} survive", seen.run)
        check(seen.run.code in codes, f"{mode}: ended with {seen.run.code}", seen.run)


def others_live(codes, command, nodes=1, modes=("keep", "release"), lingers=False):
    for mode in modes:
        seen = outcome(command(nodes), mode, RANKS[nodes], lingers=lingers)
        others = set(range(RANKS[nodes])) - {VICTIM}
        check(seen.with_note("survived") == others, f"{mode}: {seen.notes}", seen.run)
        check(mode == "release" or seen.with_note("finalized") == others, f"not finalized: {seen.notes}", seen.run)
        check(seen.run.code in codes, f"{mode}: ended with {seen.run.code}", seen.run)


def mpirun(*options):
    def command(nodes):
        if nodes == 1:
            return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(RANKS[1]), *options]
        return cluster.mpirun_command([], nodes, RANKS[nodes], options)
    return command


def srun(*options):
    return lambda nodes: cluster.srun_command([], nodes, RANKS[nodes], options)


def plain_mpirun_ends_all():
    for nodes in (1, 2):
        all_die({137}, mpirun(), nodes)


def mpirun_that_does_not_abort_lets_the_others_live():
    for nodes in (1, 2):
        others_live({137, None}, mpirun(*ABORT_OFF), nodes, lingers=True)


def mpirun_with_recovery_lets_the_others_live_and_succeeds():
    others_live({0}, mpirun(*RECOVERY))


def mpirun_with_recovery_over_nodes_lets_the_others_live_and_lingers():
    others_live({0, None}, mpirun(*RECOVERY), 2, lingers=True)


def srun_that_kills_on_bad_exit_ends_all():
    for nodes in (1, 2):
        all_die({137, 143}, srun("--kill-on-bad-exit=1"), nodes)


def srun_cancels_the_step_of_a_dead_rank_that_kept_mpi():
    for nodes in (1, 2):
        seen = outcome(srun(*KEEP_GOING)(nodes), "keep", RANKS[nodes], LONG)
        check(not seen.with_note("survived"), f"{seen.notes} survive", seen.run)
        check(seen.run.code == 137, f"ended with {seen.run.code}", seen.run)


def srun_does_not_see_the_death_of_a_rank_alone_on_its_node():
    seen = outcome(srun(*KEEP_GOING)(4), "keep", RANKS[4])
    check(seen.with_note("survived") == {0, 1, 2}, f"{seen.notes}", seen.run)
    check(seen.run.code != 0, "reported success", seen.run)
    others_live({137}, srun(*KEEP_GOING), 4, ("release",))


def srun_lets_the_others_live_once_mpi_is_released():
    for nodes in (1, 2):
        others_live({137}, srun(*KEEP_GOING), nodes, ("release",))


def nothing_is_left_on_the_hosts():
    cluster.check_quiet()


need_cluster()
with Cluster(hosts=4, cpus=4) as cluster:
    runs.main([plain_mpirun_ends_all, mpirun_that_does_not_abort_lets_the_others_live,
               mpirun_with_recovery_lets_the_others_live_and_succeeds,
               mpirun_with_recovery_over_nodes_lets_the_others_live_and_lingers,
               srun_that_kills_on_bad_exit_ends_all, srun_cancels_the_step_of_a_dead_rank_that_kept_mpi,
               srun_does_not_see_the_death_of_a_rank_alone_on_its_node,
               srun_lets_the_others_live_once_mpi_is_released, nothing_is_left_on_the_hosts])
