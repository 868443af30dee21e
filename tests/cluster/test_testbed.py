"""The virtual cluster itself: hosts are hosts, faults are faults, nothing is left: test_testbed.py HELLO_MPI."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import cluster
from cluster import HERE, SLOW, Cluster, Failed, all_pids, check, need_cluster
import runs

hello = os.path.abspath(sys.argv[1])
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 6818), 1)"
RECEIVE = ("import socket; s = socket.create_server(('', 7000)); print('listening', flush=True); c = s.accept()[0]\n"
           "while c.recv(65536): pass")
SEND = ("import socket, time; s = socket.create_connection(('n0', 7000)); start = time.monotonic()\n"
        "s.sendall(bytes(2000000)); s.shutdown(1); s.recv(1); print(time.monotonic() - start)")
START = ("import cluster; c = cluster.Cluster(2); print('making', flush=True)\n"
         "c.start(); print('up', flush=True); input()")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def machine():
    """What all of the machine sees, but for processes."""
    with open("/proc/mounts") as file:
        mounts = file.read()
    links = re.findall(r"^\d+: (\S+):", output("ip", "link"), re.M)
    names = {name for folder in ("/tmp", "/dev/shm", tempfile.gettempdir()) for name in os.listdir(folder)}
    return {"mounts": mounts, "links": links, "netns": output("ip", "netns"),
            "files": {name for name in names if re.search(r"\b(n\d|head)\b|slurm|munge|pmix", name)}}


def processes_of(folder):
    """Those that were started for a cluster or within it."""
    found = []
    for pid in all_pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if folder.encode() in file.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def check_gone(folder, before, seconds=0):
    end = time.monotonic() + seconds * SLOW
    while os.path.exists(folder) or processes_of(folder):
        check(time.monotonic() < end, f"left behind: {folder} {processes_of(folder)}")
        time.sleep(0.05)
    after = machine()
    for what, was in before.items():
        check(after[what] == was, f"other {what} than before: {after[what]}, not {was}")


def lines_of(run, count):
    found = re.findall(r"^(\d+) of (\d+) on (\S+), (\d+)$", run.out, re.M)
    check(run.code == 0 and len(found) == count, f"ended with {run.code}", run)
    sums = {(int(size), int(total)) for _, size, _, total in found}
    check(sums == {(count, count * (count - 1) // 2)}, "other sums", run)
    return sorted((int(rank), host) for rank, _, host, _ in found)


def hosts_are_hosts():
    for index, host in enumerate(shared.hosts):
        seen = shared.run_on(host, ["sh", "-c", "hostname; ip -4 -o address show eth0; ls -A /dev/shm; "
                                    "touch /dev/shm/mine; ls -A /dev/shm; getent hosts n2; hostname >$TMPDIR/mine"])
        lines = seen.out.split("\n")
        check(lines[0] == host and f"10.77.0.{index + 1}/24" in lines[1] and
              lines[2:4] == ["mine", "10.77.0.3       n2"], f"{host} is another", seen)
    for host in shared.hosts:
        seen = shared.run_on(host, ["sh", "-c", "cat $TMPDIR/mine; ps -e -o args="])
        check(seen.out.startswith(host + "\n") and seen.out.count("slurmd\n") == 1, "sees other hosts", seen)
    links = [f"/proc/self/ns/{kind}" for kind in ("ipc", "mnt", "net", "pid", "uts")]
    everybody = ["head", *shared.hosts]
    spaces = [space for host in everybody for space in shared.run_on(host, ["readlink", *links]).out.split()]
    check(len(set(spaces)) == len(links) * len(everybody), f"shared namespaces: {spaces}")


def srun_starts_mpi_on_all_hosts():
    placed = lines_of(shared.srun([hello], nodes=4, tasks=8), 8)
    check(placed == [(rank, f"n{rank // 2}") for rank in range(8)], f"placed as {placed}")


def mpirun_starts_mpi_on_all_hosts():
    for within in ("allocation", "hosts"):
        placed = lines_of(shared.mpirun([hello], nodes=4, tasks=8, within=within), 8)
        check(placed == [(rank, f"n{rank // 2}") for rank in range(8)], f"placed as {placed} within {within}")


def codes_and_environment_come_through():
    check(shared.srun(["sh", "-c", "exit 7"]).code == 7, "srun lost the code")
    check(shared.run_on("n1", ["sh", "-c", "exit $CODE"], env={"CODE": "9"}).code == 9, "run_on lost the code")
    check(shared.run_on("n1", ["sh", "-c", "kill -9 $$"]).code == 137, "run_on lost the signal")


def signals_are_as_a_login_shell_has_them():
    for command in (["cat", "/proc/self/status"], shared.srun_command(["cat", "/proc/self/status"])):
        seen = shared.run_on("head", command)
        masks = re.findall(r"^(?:SigBlk|SigIgn):\s(\w+)", seen.out, re.M)
        check(masks == ["0" * 16] * 2, "signals are blocked or ignored", seen)


def batch_job_runs():
    script = shared.write("job.sh", "#!/bin/sh\nhostname\necho \"$1\"\nexit 3\n")
    job = shared.sbatch(script, "word")
    check(job.wait() == 3 and job.output() == "n0\nword\n", f"printed {job.output()!r}")


def run_that_hangs_is_ended():
    try:
        shared.srun(["sleep", "100"], nodes=4, timeout=1)
        raise Failed("nobody ended it")
    except Failed as failure:
        check("did not end in" in str(failure), f"another failure: {failure}")
    shared.check_quiet()
    shared.wait_idle()


def reaches(host, target):
    return shared.run_on(host, [sys.executable, "-c", CONNECT, target]).code == 0


def cut_host_is_unreachable_and_comes_back():
    shared.cut("n2")
    check(not reaches("head", "n2") and not reaches("n2", "n1"), "cut, but reached")
    check(reaches("n3", "n1"), "others are cut off")
    shared.mend("n2")
    check(reaches("head", "n2") and reaches("n2", "n1"), "mended, but not reached")


def transfer_seconds():
    receiver = shared.spawn([sys.executable, "-c", RECEIVE], "n0")
    receiver.wait_for("listening")
    sent = shared.run_on("n1", [sys.executable, "-c", SEND])
    receiver.wait()
    check(sent.code == 0 and receiver.code == 0, "not sent", sent)
    return float(sent.out)


def slow_host_is_slow_until_it_is_not():
    for slowed in ("n0", "n1"):
        shared.slow(slowed, "20mbit")
        seconds = transfer_seconds()
        shared.slow(slowed, None)
        check(0.5 < seconds < 5 * SLOW, f"2 MB at 20 Mbit/s through {slowed} in {seconds} s")
    fast = transfer_seconds()
    check(fast < 0.5 * SLOW, f"2 MB in {fast} s without a limit")


def killed_host_is_gone_and_comes_back():
    victim = shared.spawn(["sleep", "100"], "n3")
    while not shared.processes("n3"):
        time.sleep(0.02)
    shared.kill_host("n3")
    check(victim.wait(5).code == 137 and not reaches("head", "n3"), "n3 is not dead")
    check(reaches("head", "n2"), "n2 died too")
    shared.revive("n3")
    lines_of(shared.srun([hello], nodes=4, tasks=4), 4)


def two_clusters_at_once():
    before = machine()
    with Cluster(hosts=2) as other:
        folder = other.folder
        mine = shared.spawn(shared.srun_command([hello], nodes=2, tasks=4))
        lines_of(other.srun([hello], nodes=2, tasks=4), 4)
        lines_of(mine.wait(), 4)
        other.cut("n0")
        check(reaches("head", "n0"), "another cluster's cable")
    check_gone(folder, before)
    check(shared.states()["n0"] == "idle", f"the end of one ended the other: {shared.states()}")


def killed_when(moment, delay, number):
    """A process makes a cluster and gets a signal: what is left in the end? The folders there were at that moment."""
    before = machine()
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen([sys.executable, "-c", START], cwd=HERE, env={**os.environ, "TMPDIR": place},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = ""
        while line != moment:
            line = process.stdout.readline().strip()
            check(line, "did not start")
        time.sleep(delay)
        folders = os.listdir(place)
        process.send_signal(number)
        process.communicate()
        end = time.monotonic() + 10 * SLOW
        while os.listdir(place) or processes_of(place):
            check(time.monotonic() < end, f"left behind: {os.listdir(place)} {processes_of(place)}")
            time.sleep(0.05)
        check_gone(place + "/none", before)
    return folders


def nothing_outlives_the_process_that_made_it():
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        check(len(killed_when("up", 0, number)) == 1, "there was no cluster")


def interrupted_start_leaves_nothing():
    found = 0
    for delay in (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        for number in (signal.SIGKILL, signal.SIGINT):
            found += len(killed_when("making", delay, number))
    check(found > 3, "no start was interrupted")


def failed_start_tells_why_and_leaves_nothing():
    before = machine()
    for conf, told in (({"SelectType": "select/nonsense"}, "nonsense"),
                       ({"SlurmctldParametrs": "x"}, "SlurmctldParametrs")):
        failing = Cluster(2, conf=conf)
        try:
            failing.start()
            raise Failed("it did start")
        except Failed as failure:
            check(told in str(failure), f"not told: {failure}")
        check_gone(failing.folder, before)


def used_cluster_leaves_nothing():
    folder = shared.folder
    forgotten = shared.spawn(["sh", "-c", "sleep 100 & setsid sleep 100 & wait"], "n1")
    shared.run_on("n1", ["sh", "-c", "ipcmk -M 4096; mount -t tmpfs none /mnt"])
    while len(shared.processes("n1")) < 3:
        time.sleep(0.02)
    shared.stop()
    check(forgotten.process.wait(5) != 0, "outlived its cluster")
    check_gone(folder, at_first)


def without_root_packages_or_namespaces_it_is_skipped_with_the_reason():
    os.seteuid(65534)
    reason = cluster.why_not()
    os.seteuid(0)
    check("only root" in reason, f"not as root: {reason}")
    path, cluster.PATH = cluster.PATH, "/nonexistent"
    reason = cluster.why_not()
    cluster.PATH = path
    check("no unshare, nsenter" in reason and "tools/bootstrap.sh test" in reason, f"without packages: {reason}")
    confined = subprocess.run(["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c",
                               "import cluster; cluster.need_cluster()"], cwd=HERE, capture_output=True, text=True)
    check(confined.returncode == runs.SKIP and "skipped: no namespaces" in confined.stdout and
          "not permitted" in confined.stdout, f"ended with {confined.returncode}: {confined.stdout}{confined.stderr}")


def people_start_use_and_stop_one():
    with tempfile.TemporaryDirectory() as place:
        def say(*words, code=0, **more):
            done = subprocess.run([sys.executable, cluster.__file__, *words], capture_output=True, text=True,
                                  env={**os.environ, "TMPDIR": place, "SHELL": "/bin/sh"}, **more)
            check(done.returncode == code, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}")
            return done.stdout
        say("stop", code=1)
        check("2 hosts" in say("start", "--hosts", "2"), "did not say what it made")
        say("start", code=1)
        check(sorted(say("run", "srun", "-N2", "hostname").split()) == ["n0", "n1"], "other hosts")
        say("run", "sh", "-c", "exit 5", code=5)
        check(say("shell", input="hostname; sinfo -h -o %D; exit\n").split() == ["head", "2"], "another shell")
        say("stop")
        check(not os.listdir(place) and not processes_of(place), f"left: {os.listdir(place)} {processes_of(place)}")
        check(say("shell", "--hosts", "3", input="sinfo -h -o %D\n").split() == ["3"], "another shell")
        check(not os.listdir(place) and not processes_of(place), f"left: {os.listdir(place)} {processes_of(place)}")


need_cluster()
at_first = machine()
with Cluster() as shared:
    runs.main([hosts_are_hosts, srun_starts_mpi_on_all_hosts, mpirun_starts_mpi_on_all_hosts,
               codes_and_environment_come_through, signals_are_as_a_login_shell_has_them, batch_job_runs,
               run_that_hangs_is_ended, cut_host_is_unreachable_and_comes_back, slow_host_is_slow_until_it_is_not,
               killed_host_is_gone_and_comes_back, two_clusters_at_once, nothing_outlives_the_process_that_made_it,
               interrupted_start_leaves_nothing, failed_start_tells_why_and_leaves_nothing,
               without_root_packages_or_namespaces_it_is_skipped_with_the_reason, people_start_use_and_stop_one,
               used_cluster_leaves_nothing])
