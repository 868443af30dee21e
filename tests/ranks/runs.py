"""For the tests of whole jobs: starts a program alone or on ranks, waits, and looks at what is left.

Every test is a script: runs.main(checks) runs its checks in order and says which one did not hold.
Times are bounds for a job that hangs, never a measure of speed: TEST_SLOW in the environment
multiplies them (sanitizers).
"""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SLOW = float(os.environ.get("TEST_SLOW", "1"))
HOST = socket.gethostname()
SKIP = 77
# A sanitizer's own handler has the last word about a fault, with a code of its own.
FAULT_CODES = {128 + signal.SIGSEGV} if SLOW == 1 else {128 + signal.SIGSEGV, 99}


class Failed(Exception):
    pass


def check(condition, text, run=None):
    if not condition:
        said = f"\n--- out\n{run.out[-3000:]}\n--- err\n{run.err[-3000:]}" if run else ""
        raise Failed(f"{text}{said}")


def environment(extra, uses_mpi):
    env = {name: value for name, value in os.environ.items()
           if not re.match(r"(MANTA|OMPI|PMIX?|SLURM|PRTE|ORTE)_", name) or name == "MANTA_MPI_LIBRARY"}
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    env.update(extra)
    if uses_mpi and "ASAN_OPTIONS" in env:
        # MPI leaks from components that it has unloaded: no suppression can name them.
        env["ASAN_OPTIONS"] += ":detect_leaks=0"
    return env


class Printed:
    """What a process prints, in files, so that nobody waits for a pipe: self.files, its output and its errors."""

    def read(self, index):
        with open(self.files[index].name, errors="replace") as file:
            return file.read()

    @property
    def out(self):
        return self.read(0)

    @property
    def err(self):
        return self.read(1)


class Job(Printed):
    """A started program; ranks 0: without a launcher."""

    uses_mpi = False  # even without a launcher
    launcher_options = []
    open_jobs = []

    def __init__(self, ranks, *program, **extra_env):
        self.tmp = tempfile.mkdtemp(prefix="ranks-")
        self.files = [open(os.path.join(self.tmp, name), "w+") for name in ("out", "err")]
        self.scratch = os.path.join(self.tmp, "scratch")
        os.mkdir(self.scratch)
        command = list(program)
        if ranks:
            command = ["mpirun", "--oversubscribe", "--bind-to", "none", *self.launcher_options, "-n",
                       str(ranks)] + command
        self.exe = os.path.realpath(program[0])
        self.before = leftovers()
        self.start = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.files[0],
                                        stderr=self.files[1],
                                        env=environment({"TMPDIR": self.scratch, **extra_env},
                                                        ranks > 0 or self.uses_mpi))
        self.code = None
        Job.open_jobs.append(self)

    def pids(self):
        """Of the ranks, not of the launcher."""
        return [pid for pid in running(self.exe) if pid != self.process.pid or self.process.args[0] != "mpirun"]

    def pid_of(self, rank):
        """Of a rank that lives, None otherwise."""
        wanted = b"OMPI_COMM_WORLD_RANK=%d" % rank
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        return pid
            except OSError:
                pass  # it has just ended
        return None

    def wait_for(self, text, seconds=30):
        end = time.monotonic() + seconds * SLOW
        while text not in self.out:
            check(self.process.poll() is None, f"ended before it printed {text!r}", self)
            check(time.monotonic() < end, f"did not print {text!r}", self)
            time.sleep(0.01)

    def wait(self, seconds=60):
        """The exit code, a signal's as a shell gives it. A job that does not end is killed and fails the test."""
        try:
            code = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            dump = "; ".join(describe(pid) for pid in self.pids())
            self.kill()
            raise Failed(f"did not end in {seconds * SLOW:.0f} s: {self.process.args}: {dump}\n"
                         f"--- out\n{self.out[-2000:]}\n--- err\n{self.err[-2000:]}")
        self.code = 128 - code if code < 0 else code
        self.seconds = time.monotonic() - self.start
        return self

    def kill(self):
        for pid in self.pids():
            send(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def check_clean(self, allowed=()):
        """Nothing of this job is left but the launcher's names that `allowed` has (see kinds)."""
        end = time.monotonic() + 5 * SLOW
        while True:
            processes, names = self.pids(), leftovers() - self.before
            own = [name for name in names if kind(name) not in allowed]
            own += [name for name in listing(self.scratch) if kind(name) not in allowed]
            if not processes and not own:
                break
            if time.monotonic() > end:
                own = [name for name in own if not is_in_use(name)]
                if not processes and not own:
                    break
                raise Failed(f"left behind: {[describe(pid) for pid in processes]} {own}\n--- err\n{self.err[-2000:]}")
            time.sleep(0.02)

    def left_kinds(self):
        """What the launcher itself leaves."""
        time.sleep(0.3)
        return {kind(name) for name in (leftovers() - self.before) | set(listing(self.scratch))}

    def close(self):
        Job.open_jobs.remove(self)
        self.kill()
        for file in self.files:
            file.close()
        shutil.rmtree(self.tmp, ignore_errors=True)


def send(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def running(exe):
    pids = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if os.readlink(path + "/exe") == exe:
                pids.append(int(path[6:]))
        except OSError:
            pass
    return pids


def describe(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read()[:60]
    except OSError:
        return f"{pid} gone"


def listing(folder):
    return [os.path.join(path, name) for path, folders, files in os.walk(folder) for name in folders + files]


def kind(name):
    """A name without what changes from run to run."""
    return re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", os.path.basename(name))


def sockets():
    """Abstract ones of Manta: name to inodes."""
    names = {}
    with open("/proc/net/unix") as file:
        for line in file:
            if " @manta-" in line:
                names.setdefault(line.split()[-1], []).append(line.split()[-2])
    return names


def leftovers():
    """Names that outlive processes: shared memory, temporary files of Manta, abstract sockets."""
    return set(glob.glob("/dev/shm/*")) | set(glob.glob("/tmp/*manta-*")) | set(sockets())


def is_in_use(name):
    """By a process that lives: another job's, when this one's are gone."""
    inodes = {f"socket:[{inode}]" for inode in sockets().get(name, [])}
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes | {name} for fd in glob.glob(path + "/fd/*")):
                return True
            with open(path + "/maps") as file:
                if name in file.read():
                    return True
        except OSError:
            pass
    return False


def run(ranks, *program, seconds=60, **extra_env):
    """Start to end, checked for what is left."""
    job = Job(ranks, *program, **extra_env).wait(seconds)
    job.check_clean()
    result = Result(job)
    job.close()
    return result


class Result:
    def __init__(self, job):
        self.code, self.out, self.err, self.seconds = job.code, job.out, job.err, job.seconds


def need_mpirun():
    if not shutil.which("mpirun"):
        print("skipped: no mpirun")
        sys.exit(SKIP)


def main(checks):
    failures = 0
    for one in checks:
        try:
            one()
            print(f"ok       {one.__name__}", flush=True)
        except Failed as failure:
            failures += 1
            for job in list(Job.open_jobs):
                job.close()
            print(f"FAILED   {one.__name__}: {failure}", flush=True)
    sys.exit(1 if failures else 0)
