"""A cluster of virtual hosts with a real Slurm on one machine, for tests and for people.

    with Cluster(hosts=4, cpus=4) as cluster:
        cluster.srun(["./program"], nodes=4, tasks=8)

    python3 tests/cluster/cluster.py shell [--hosts N]      a cluster until the shell ends
    python3 tests/cluster/cluster.py start | stop           one that stays
    python3 tests/cluster/cluster.py run COMMAND...         on the head of that one

A host is a set of namespaces: its own network, processes, mounts, IPC and name, with slurmd and
munged in it; so two ranks on two hosts share no memory, no signals, no loopback. The hosts' cables
end in a bridge on the head, where slurmctld runs and from where everything is launched. All of it
lives in the namespaces of one process, the keeper (keeper.py), which lives as long as the process
that made the Cluster: what the machine itself sees are processes and one folder in $TMPDIR or /tmp.
That is why two clusters never meet although both have the same names and addresses, and why nothing
is left however a test ends.

Every host has its own /dev/shm, /etc/hosts and temporary folder (`local` in the cluster's folder,
mounted anew on each host); all other files are shared, like the home folders of a real cluster.
"""
import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "ranks"))

from proc import all_pids, children, command_line, first_of_namespace, pid_namespace, status
from runs import SKIP, SLOW, Failed, Printed, check, send
from slurm_conf import slurm_conf

PREFIX = "virtual-cluster-"
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
COMMANDS = ["unshare", "nsenter", "mount", "ip", "munged", "slurmctld", "slurmd", "srun", "salloc", "sbatch",
            "scancel", "sinfo"]
TRIAL = ("ip link add switch type bridge && ip link add link0 type veth peer name link1 && "
         "mount -t tmpfs none /dev/shm && mount --bind /etc/hosts /etc/hosts")
CAGE = os.path.join(HERE, "cage.sh")
KEEPER = os.path.join(HERE, "keeper.py")
HOST_SCRIPT = os.path.join(HERE, "host.sh")
# Files of MPI and PMIx, whose owner was killed before it could remove them.
LAUNCHERS = re.compile(r"ompi\.|pmix|vader_segment|sm_segment|prte|psec|gds|dstor|osc_rdma|slurm", re.IGNORECASE)
LIST_NAMES = "find /dev/shm \"$TMPDIR\" -mindepth 1; grep -ao '@manta-.*' /proc/net/unix"
NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid"]


def why_not():
    """Why there can be no cluster on this machine, or None."""
    if os.geteuid() != 0:
        return "only root can make network namespaces and start slurmd"
    missing = [name for name in COMMANDS if not shutil.which(name, path=PATH)]
    if missing:
        return f"no {', '.join(missing)}; `sh tools/bootstrap.sh test` installs them"
    trial = subprocess.run(["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", TRIAL],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, env={"PATH": PATH})
    if trial.returncode:
        return f"no namespaces, bridges or mounts here: {trial.stderr.strip()}"
    return None


def clean_environment():
    """Ours, without what is about other jobs."""
    return {name: value for name, value in os.environ.items()
            if not re.match(r"(MANTA|OMPI|PMIX?|SLURM|PRTE|ORTE|UCX)_", name) or name in ("MANTA_MPI_LIBRARY", "MANTA_UCX_LIBRARY")}


def need_cluster():
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(SKIP)


class Run(Printed):
    """A command that was started on a host."""

    def __init__(self, cluster, host, command, env, name):
        base = os.path.join(cluster.folder, "runs", name)
        self.cluster, self.name, self.command = cluster, name, command
        self.code = None
        self.start = time.monotonic()
        self.files = [open(base + ending, "w") for ending in (".out", ".err")]
        with self.files[0] as out, self.files[1] as err:
            self.process = subprocess.Popen(cluster.enter(host, command), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, env=cluster.environment(env), start_new_session=True)

    @property
    def err(self):
        """Without what srun tells when the job before still has its hosts."""
        return re.sub(r"srun: job \d+ (queued and|has been allocated).*\n", "", self.read(1))

    def ended(self):
        return self.process.poll() is not None

    def wait_for(self, text, seconds=30):
        """Until it has printed this to standard output."""
        end = time.monotonic() + seconds * SLOW
        while text not in self.out:
            check(not self.ended(), f"{self.command} ended before it printed {text!r}", self)
            check(time.monotonic() < end, f"{self.command} did not print {text!r}", self)
            time.sleep(0.02)

    def wait(self, seconds=60):
        """Until its end; `code` is then as a shell gives it. What does not end is killed and fails the test."""
        try:
            code = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"did not end in {seconds * SLOW:.0f} s: {self.command}\n"
                         f"--- out\n{self.out[-2000:]}\n--- err\n{self.err[-2000:]}")
        self.code = 128 - code if code < 0 else code
        self.seconds = time.monotonic() - self.start
        return self

    def kill(self):
        """It and, if it was a launcher, its job: srun's tasks are no children of srun."""
        if not self.ended():
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(1)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        subprocess.run(self.cluster.enter("head", ["scancel", "--name", self.name]), stdin=subprocess.DEVNULL,
                       capture_output=True, env=self.cluster.environment({}))


class Cluster:
    """hosts are n0, n1, ...; cpus is what Slurm believes each to have. `conf`: more settings of slurm.conf, by name.
    With `stays` it outlives this process, until somebody stops it."""

    def __init__(self, hosts=4, cpus=4, conf=None, stays=False):
        self.hosts = [f"n{index}" for index in range(hosts)]
        self.cpus, self.conf, self.stays = cpus, conf or {}, stays
        self.folder = self.keeper = self.process = None
        self.runs = 0
        self.firsts = {}  # by host: its process 1, as the keeper and as the machine number it

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Until every host is idle."""
        try:
            self.make_folder()
            self.furnish_folder()
            self.start_keeper()
            self.wait_idle()
            for host in self.hosts:
                self.pid(host)  # remembers it
        except BaseException:
            self.stop()
            raise

    def make_folder(self):
        self.process = subprocess.Popen(
            ["sh", CAGE, os.path.join(tempfile.gettempdir(), PREFIX + "XXXXXXXX"), sys.executable, KEEPER,
             "stay" if self.stays else "leave", str(len(self.hosts))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if self.stays else None,
            text=True, start_new_session=True, env={**clean_environment(), "PATH": PATH})
        self.folder = self.process.stdout.readline().strip()
        if not self.folder:
            raise Failed("the cluster got no folder")

    def furnish_folder(self):
        for name in ("local", "log", "pid", "runs"):
            os.mkdir(os.path.join(self.folder, name))
        self.write("hosts", "127.0.0.1 localhost\n10.77.0.254 head\n" +
                   "".join(f"10.77.0.{index + 1} {host}\n" for index, host in enumerate(self.hosts)))
        self.write("slurm.conf", slurm_conf(self.folder, len(self.hosts), self.cpus, self.conf))
        self.write("cgroup.conf", "CgroupAutomount=no\n")
        # Without this a rank sometimes leaves MPI_Init before others are ready for its messages: docs/launchers.md.
        self.write("mpi.conf", "PMIxCollFence=ring\n")
        self.write("munge.key", os.urandom(64).hex())
        os.chmod(os.path.join(self.folder, "munge.key"), 0o400)
        shutil.copy(os.path.join(HERE, "agent.sh"), self.folder)

    def write(self, name, text):
        """A file in the cluster's folder, which all hosts see; its path."""
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start_keeper(self):
        self.process.stdin.write("start\n")
        self.process.stdin.flush()
        if self.stays:
            self.process.stdin.close()
        said = self.process.stdout.readline().strip()
        if said != "started":
            raise Failed(f"the cluster did not start: {said}{self.logs()}")
        self.keeper = first_of_namespace(self.process.pid)
        self.write("keeper", str(self.keeper))

    def logs(self):
        """The last lines of every daemon's log."""
        text = ""
        for path in sorted(glob.glob(os.path.join(self.folder, "log", "*.log"))):
            with open(path, errors="replace") as file:
                text += f"\n--- {os.path.basename(path)}\n{file.read()[-1500:]}"
        return text

    def states(self):
        """Slurm's word for each host: {"n0": "idle", ...}."""
        try:
            run = subprocess.run(self.enter("head", ["sinfo", "-h", "-N", "-o", "%N %T"]), stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, env=self.environment({}), timeout=3 * SLOW)
        except subprocess.TimeoutExpired:
            return {}
        return dict(line.split() for line in run.stdout.splitlines())

    def wait_idle(self, hosts=None, seconds=30):
        hosts = hosts or self.hosts
        end = time.monotonic() + seconds * SLOW
        while True:
            states = self.states()
            if all(states.get(host) == "idle" for host in hosts):
                return
            runs = any(command_line(pid)[:1] == ["slurmctld"] for pid in children(self.keeper))
            if not runs or time.monotonic() > end:
                raise Failed(f"{f'hosts are not idle: {states}' if runs else 'slurmctld has ended'}{self.logs()}")
            time.sleep(0.1)

    def stop(self):
        """Returns when no process, mount, link or file of the cluster is left. May be called at any time."""
        if self.process:
            self.process.stdin.close()
        if self.stays and self.keeper:
            send(self.keeper, signal.SIGTERM)
        try:
            self.wait_gone(5 * SLOW)
        except Failed:
            # The kernel then ends all the others.
            if self.keeper:
                send(self.keeper, signal.SIGKILL)
            self.wait_gone(30 * SLOW)
        if self.process:
            self.process.stdout.close()
        self.process = self.keeper = None

    def wait_gone(self, seconds):
        """Until the cage has ended, which removes the folder last; it is a child only of who started it."""
        end = time.monotonic() + seconds
        while self.process.poll() is None if self.process else self.folder and os.path.exists(self.folder):
            check(time.monotonic() < end, f"the cluster in {self.folder} does not end")
            time.sleep(0.01)

    def pid(self, host):
        """Of the host's process 1, as the machine numbers it."""
        if host == "head":
            return self.keeper
        with open(os.path.join(self.folder, "pid", host)) as file:
            inner = file.read()
        known, first = self.firsts.get(host, (None, None))
        if known == inner and len(status(first, "NSpid")) == 3:
            return first
        end = time.monotonic() + 5 * SLOW
        while True:
            for child in children(self.keeper):
                if status(child, "NSpid")[1:] == [inner]:
                    for first in children(child):
                        if len(status(first, "NSpid")) == 3:
                            self.firsts[host] = (inner, first)
                            return first
            check(time.monotonic() < end, f"{host} is not running")
            time.sleep(0.02)

    def enter(self, host, command, folder=None):
        """The command that runs another one on a host, or on the head."""
        return ["nsenter", "--target", str(self.pid(host)), *NAMESPACES, "env", "-C", folder or self.folder, *command]

    def environment(self, extra):
        env = clean_environment()
        env.update(PATH=PATH, SLURM_CONF=os.path.join(self.folder, "slurm.conf"), CLUSTER_FOLDER=self.folder,
                   TMPDIR=os.path.join(self.folder, "local", "tmp"),
                   OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        env.update(extra or {})
        return env

    def spawn(self, command, host="head", env=None):
        """Starts a command; a Run."""
        self.runs += 1
        return Run(self, host, command, env, f"run-{self.runs}")

    def run_on(self, host, command, env=None, timeout=60):
        """A command on a host, start to end; a Run."""
        return self.spawn(command, host, env).wait(timeout)

    def request(self, nodes, tasks):
        """What srun and salloc are asked for: as many tasks on each node if that is possible."""
        even = [f"--ntasks-per-node={tasks // nodes}"] if tasks % nodes == 0 else []
        return [f"--job-name=run-{self.runs + 1}", f"--nodes={nodes}", f"--ntasks={tasks}", *even, "--time=10"]

    def srun_command(self, command, nodes=1, tasks=None, options=()):
        return ["srun", "--mpi=pmix", *self.request(nodes, tasks or nodes), *options, *command]

    def srun(self, command, nodes=1, tasks=None, options=(), env=None, timeout=60):
        return self.run_on("head", self.srun_command(command, nodes, tasks, options), env, timeout)

    def mpirun_command(self, command, nodes=1, tasks=None, options=(), within="allocation"):
        """`within` an allocation, where mpirun asks Slurm for its hosts; or over `hosts`, where an agent of ours does
        what ssh does elsewhere."""
        tasks = tasks or nodes
        mpirun = ["mpirun", "--bind-to", "none", "-n", str(tasks), *options]
        if within == "allocation":
            return ["salloc", "--quiet", *self.request(nodes, tasks), *mpirun, *command]
        slots = -(-tasks // nodes)
        return [*mpirun, "--host", ",".join(f"{host}:{slots}" for host in self.hosts[:nodes]), "--mca", "plm", "rsh",
                "--mca", "plm_rsh_agent", f"sh {self.folder}/agent.sh", "--mca", "plm_rsh_no_tree_spawn", "1", *command]

    def mpirun(self, command, nodes=1, tasks=None, options=(), within="allocation", env=None, timeout=60):
        return self.run_on("head", self.mpirun_command(command, nodes, tasks, options, within), env, timeout)

    def sbatch(self, script, *arguments, options=(), env=None):
        """Submits a script; a Job."""
        run = self.run_on("head", ["sbatch", "--parsable", *options, script, *arguments], env)
        check(run.code == 0, f"sbatch {script} was refused", run)
        return Job(self, run.out.strip())

    def cut(self, host):
        """Pulls the cable: what is sent to the host or by it is lost without a word."""
        self.on("head", "ip", "link", "set", "to-" + host, "down")

    def mend(self, host):
        self.on("head", "ip", "link", "set", "to-" + host, "up")

    def slow(self, host, rate):
        """Limits the host's cable in both directions, for instance to "10mbit"; None takes that away."""
        limit = ["tbf", "rate", rate, "burst", "64kb", "latency", "100ms"] if rate else []
        for end, device in (("head", "to-" + host), (host, "eth0")):
            self.on(end, "tc", "qdisc", "replace" if rate else "del", "dev", device, "root", *limit)

    def on(self, host, *command):
        run = self.run_on(host, command)
        check(run.code == 0, f"{command} on {host} failed", run)

    def kill_host(self, host):
        """All its processes at once. Its kernel still says goodbye to its peers: cut it first for a power failure."""
        first = self.pid(host)
        above = status(first, "PPid")[0]
        send(first, signal.SIGKILL)
        while status(above, "State"):
            time.sleep(0.02)

    def boot(self, host):
        """Starts a killed host again."""
        self.process.stdin.write(host + "\n")
        self.process.stdin.flush()

    def revive(self, host):
        """The same, and waits until Slurm has it back."""
        self.boot(host)
        self.wait_idle([host])

    def processes(self, host):
        """What runs on a host, less its own daemons: {pid as the machine numbers it: command line}."""
        own = pid_namespace(self.pid(host))
        lines = {pid: command_line(pid) for pid in all_pids() if pid_namespace(pid) == own}
        return {pid: line for pid, line in lines.items() if line and not is_daemon(line)}

    def ranks(self, program, hosts=None):
        """{rank: (host, pid as the machine numbers it)} of a program; it is the program itself, not a shell. Quick, for
        those who have to hit a moment."""
        found, exe = {}, os.path.realpath(program)
        names = {pid_namespace(self.pid(host)): host for host in hosts or self.hosts}
        for pid in all_pids():
            try:
                host = names.get(pid_namespace(pid)) if os.readlink(f"/proc/{pid}/exe") == exe else None
                if not host:
                    continue
                with open(f"/proc/{pid}/environ", "rb") as file:
                    env = b"\0" + file.read()
            except OSError:
                continue  # it has just ended
            # Open MPI's daemons are tasks of Slurm's themselves.
            numbers = re.findall(rb"\0OMPI_COMM_WORLD_RANK=(\d+)", env) or re.findall(rb"\0SLURM_PROCID=(\d+)", env)
            if numbers:
                found[int(numbers[0])] = (host, pid)
        return found

    def names_left(self, host):
        """Names on a host that outlive processes, in memory, in the temporary folder and of sockets, less those that
        are MPI's own."""
        listing = self.run_on(host, ["sh", "-c", LIST_NAMES])
        return [name for name in listing.out.splitlines() if not LAUNCHERS.search(name)]

    def check_quiet(self, seconds=10):
        """Within some seconds nothing runs on any host but its daemons."""
        end = time.monotonic() + seconds * SLOW
        while True:
            left = {host: self.processes(host) for host in self.hosts}
            if not any(left.values()):
                return
            check(time.monotonic() < end, f"still running: {left}")
            time.sleep(0.1)


def is_daemon(line):
    return (line[0] in ("munged", "slurmd", "slurmctld", ": slurmscriptd") or line[0].startswith("slurmstepd:") or
            line == ["sleep", "3600"] or HOST_SCRIPT in line or KEEPER in line)


class Job:
    """A batch job."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number

    def show(self):
        """What scontrol says of it: {"JobState": "RUNNING", ...}."""
        run = self.cluster.run_on("head", ["scontrol", "--oneliner", "show", "job", self.number])
        check(run.code == 0, f"no job {self.number}", run)
        return dict(word.split("=", 1) for word in run.out.split() if "=" in word)

    def wait_for(self, *states, seconds=60):
        """Until it is in one of these states."""
        end = time.monotonic() + seconds * SLOW
        while True:
            shown = self.show()
            if shown["JobState"] in states:
                return shown
            check(time.monotonic() < end, f"job {self.number} is {shown}")
            time.sleep(0.1)

    def wait(self, seconds=60):
        """Until its end; its exit code, a signal's as a shell gives it."""
        shown = self.wait_for("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY",
                              seconds=seconds)
        code, number = shown["ExitCode"].split(":")
        return int(code) or (128 + int(number) if number != "0" else 0)

    def output(self):
        """What it has printed so far."""
        try:
            with open(self.show()["StdOut"], errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""


def running():
    """The cluster that `start` left running, if there is one."""
    for path in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*", "stays")):
        cluster = Cluster(stays=True)
        cluster.folder = os.path.dirname(path)
        with open(os.path.join(cluster.folder, "keeper")) as file:
            cluster.keeper = int(file.read())
        if cluster.folder in command_line(cluster.keeper):
            return cluster
    return None


def enter_and_wait(cluster, command):
    code = subprocess.run(cluster.enter("head", command, os.getcwd()), env=cluster.environment({})).returncode
    return 128 - code if code < 0 else code


def start(options):
    if running():
        sys.exit("cluster: one is running; `stop` ends it")
    cluster = Cluster(options.hosts, options.cpus, stays=True)
    cluster.start()
    cluster.write("stays", "")
    print(f"{options.hosts} hosts in {cluster.folder}")


def stop(_):
    cluster = running()
    if not cluster:
        sys.exit("cluster: none is running")
    cluster.stop()


def run(options):
    cluster = running()
    if not cluster:
        sys.exit("cluster: none is running; `start` makes one")
    sys.exit(enter_and_wait(cluster, options.command))


def shell(options):
    command = [os.environ.get("SHELL", "/bin/sh"), "-i"]
    cluster = running()
    if cluster:
        sys.exit(enter_and_wait(cluster, command))
    with Cluster(options.hosts, options.cpus) as cluster:
        sys.exit(enter_and_wait(cluster, command))


def main():
    parser = argparse.ArgumentParser(description="A virtual Slurm cluster on this machine.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for action, text in ((shell, "a shell on the head; in a cluster of its own if none is running"),
                         (start, "start a cluster that stays"), (stop, "stop it"), (run, "run a command on its head")):
        one = actions.add_parser(action.__name__, help=text)
        one.set_defaults(action=action)
        if action in (shell, start):
            one.add_argument("--hosts", type=int, default=4)
            one.add_argument("--cpus", type=int, default=4, help="that each host says to have")
        if action is run:
            one.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    need_cluster()
    options.action(options)


if __name__ == "__main__":
    main()
