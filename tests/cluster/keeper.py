"""Process 1 of a virtual cluster, and its head: keeper.py stay|leave HOSTS DIR.

cage.sh starts it in namespaces of its own (processes, network, mounts, IPC, host name). All
there is of the cluster are processes below this one, links between network namespaces that only
they hold, and mounts that only they see: when it ends, for whatever reason, the kernel takes all
of that away. So nothing here cleans up.

With `leave` it lives until its standard input ends, which is the life of the process that started
it, however that dies; with `stay`, until SIGTERM. A line on its input names a host to start again.
"""
import os
import select
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = "10.77.0.254"


def address(host):
    return f"10.77.0.{int(host[1:]) + 1}"


def log(folder, name):
    return open(os.path.join(folder, "log", name + ".log"), "ab")


def start_head(folder):
    with log(folder, "head") as out:
        for command in (["ip", "link", "set", "lo", "up"],
                        ["ip", "link", "add", "switch", "type", "bridge"],
                        ["ip", "address", "add", HEAD + "/24", "dev", "switch"],
                        ["ip", "link", "set", "switch", "up"],
                        ["sh", os.path.join(HERE, "host.sh"), "head", folder, "head", HEAD]):
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode:
                raise RuntimeError(f"{' '.join(command)} failed")
        return subprocess.Popen(["slurmctld", "-i", "-D"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def start_host(folder, host):
    with log(folder, host) as out:
        process = subprocess.Popen(["unshare", "--net", "sh", os.path.join(HERE, "host.sh"), "wire", folder, host,
                                    address(host)], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    path = os.path.join(folder, "pid", host)
    with open(path + ".new", "w") as file:
        file.write(str(process.pid))
    os.rename(path + ".new", path)
    return process


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def keep(folder, stays, processes):
    """Adopts and buries processes, and starts hosts again, until it is told to end."""
    awake, bell = os.pipe()
    for end in (awake, bell):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(bell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        reap()
        ready = select.select([awake] if stays else [awake, 0], [], [])[0]
        if awake in ready:
            os.read(awake, 4096)
        if 0 in ready:
            words = os.read(0, 4096).decode().split()
            if not words:
                return
            for host in words:
                processes[host] = start_host(folder, host)


def main():
    if os.getpid() != 1:
        sys.exit("keeper.py: only cage.sh starts this, as process 1 of a namespace")
    stays, count, folder = sys.argv[1] == "stay", int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        processes = {"head": start_head(folder)}
        for index in range(count):
            processes[f"n{index}"] = start_host(folder, f"n{index}")
    except RuntimeError as failure:
        print(failure, flush=True)
        sys.exit(1)
    print("started", flush=True)
    keep(folder, stays, processes)


main()
