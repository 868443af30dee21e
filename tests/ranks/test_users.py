"""Eight jobs of two users at once on one node: test_users.py OWNED LIBMANTA LIBMANTA_MPI REPORT TIMES.

Each comes out right and meets no task of another; one of each user's loses a rank. Meanwhile a third user
calls every socket of theirs that he can see and says hello with a wrong secret. Needs root, to be these users.
The seed (MANTA_SEED) is printed; what was done and what came of it are lines of REPORT, and a table.
"""
import array
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from report import Report, seed
import runs

USERS = (20001, 20002)
INTRUDER = 20003
JOBS, RANKS = 8, 3
BOUND = 90
LAUNCHERS = re.compile(r"ompi\.|pmix|vader_segment|sm_segment|gds|dstor", re.IGNORECASE)
# Only Manta listens then, of all that is in a rank.
NO_TCP = ["--mca", "btl", "self,vader"]
NEAR_HELLO = struct.pack("<QII32s", 0x6D616E746168656C, 1, 0, bytes(range(32)))
FAR_HELLO = struct.pack("<QII16s", 0x6D616E74616A6F69, 1, 1, bytes(16))


def furnish(folder, owned, libmanta, libmanta_mpi):
    """What the users need, where they can read it; the program's path."""
    os.chmod(folder, 0o755)
    for name in ("tests/ranks", "src"):
        os.makedirs(os.path.join(folder, name))
    program = shutil.copy(owned, os.path.join(folder, "tests/ranks/owned"))
    shutil.copy(libmanta, os.path.join(folder, "src/libmanta.so.0"))
    shutil.copy(libmanta_mpi, os.path.join(folder, "src/libmanta_mpi.so"))
    for user in USERS:
        os.mkdir(os.path.join(folder, str(user)), 0o700)
        os.chown(os.path.join(folder, str(user)), user, user)
    return program


class Owned(runs.Printed):
    """One of the jobs."""

    def __init__(self, folder, program, number):
        self.user, self.number = USERS[number % 2], number
        self.files = [open(os.path.join(folder, f"{number}.{name}"), "w") for name in ("out", "err")]
        home = os.path.join(folder, str(self.user))
        session = tempfile.mkdtemp(dir=folder)  # two mpirun of one user fail now and then in making one
        os.chown(session, self.user, self.user)
        env = runs.environment({"OWNED_NUMBER": str(number), "HOME": home, "TMPDIR": home}, True)
        env.pop("MANTA_MPI_LIBRARY", None)
        command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "mpirun",
                   "--oversubscribe", "--bind-to", "none", "--enable-recovery", "--mca", "orte_tmpdir_base", session,
                   *NO_TCP, "-n", str(RANKS), program, "10", "100"]
        self.start = time.monotonic()
        self.process = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=self.files[0],
                                        stderr=self.files[1], env=env)

    def wait(self):
        try:
            self.code = self.process.wait(max(1, BOUND * runs.SLOW - (time.monotonic() - self.start)))
        except subprocess.TimeoutExpired:
            raise runs.Failed(f"job {self.number} did not end\n--- out\n{self.out}\n--- err\n{self.err[-2000:]}")
        self.seconds = time.monotonic() - self.start

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        for file in self.files:
            file.close()


def words_of(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def lose_a_rank(job, program, dice):
    """One that is not rank 0, once the job runs; the words for it."""
    end = time.monotonic() + 60 * runs.SLOW
    while "running" not in job.out and job.process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    rank = dice.randrange(1, RANKS)
    wanted = {b"OWNED_NUMBER=%d" % job.number, b"OMPI_COMM_WORLD_RANK=%d" % rank}
    for pid in runs.running(program):
        if wanted <= set(words_of(pid)):
            return [f"kill {rank} of {job.number}"] if runs.send(pid, signal.SIGKILL) else []
    return []


# ---- The third user ----

def inodes_of(program):
    found = set()
    for pid in runs.running(program):
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{name}")
                if link.startswith("socket:["):
                    found.add(link[8:-1])
        except OSError:
            pass
    return found


def ports(program):
    own, found = inodes_of(program), []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path) as file:
            for line in file.readlines()[1:]:
                words = line.split()
                if words[3] == "0A" and words[9] in own:
                    found.append(int(words[1].rsplit(":", 1)[1], 16))
    return found


def call(family, kind, address, hello):
    """0: nobody there; 1: refused; 2: it got something, which must not be."""
    with socket.socket(family, kind) as line:
        line.settimeout(5)
        try:
            line.connect(address)
        except OSError:
            return 0
        try:
            line.send(hello)
            said, control, *_ = line.recvmsg(4096, socket.CMSG_SPACE(array.array("i").itemsize * 8))
        except OSError:
            return 1
        return 2 if said or control else 1


def intrude(program, say):
    """Until it is killed. As root it finds where to call, and calls as somebody else."""
    called = set()
    while True:
        targets = [(socket.AF_UNIX, socket.SOCK_SEQPACKET, "\0" + name[1:], NEAR_HELLO) for name in runs.sockets()]
        targets += [(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port), FAR_HELLO) for port in ports(program)]
        os.seteuid(INTRUDER)
        for target in targets:
            if target not in called:
                result = call(*target)
                called |= {target} if result else set()
                os.write(say, b"%d" % result if result else b"")
        os.seteuid(0)


def start_intruder(program):
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            intrude(program, say)
        finally:
            os._exit(1)
    os.close(say)
    return pid, hear


def end_intruder(pid, hear):
    """What its calls came to."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    runs.check(os.WIFSIGNALED(status), "the intruder ended by itself")
    with os.fdopen(hear) as file:
        return file.read()


# ---- The test ----

def check_nothing_left(program, before, folder):
    end = time.monotonic() + 10 * runs.SLOW
    while True:
        names = [name for name in runs.leftovers() - before if not runs.is_in_use(name)]
        for user in USERS:
            names += runs.listing(os.path.join(folder, str(user)))
        left = runs.running(program) + [name for name in names if not LAUNCHERS.search(name)]
        if not left:
            return
        runs.check(time.monotonic() < end, f"left behind: {left}")
        time.sleep(0.05)


def judge(job, injected, report):
    job.wait()
    runs.check(job.out == f"running\nright {job.number}\n", f"job {job.number} did not come out right", job)
    runs.check(job.code == 0 or injected, f"job {job.number} ended with {job.code}", job)
    runs.check(bool(re.search(r"rank \d", job.err)) == bool(injected), f"job {job.number} hears of others' deaths", job)
    report.add("eight jobs of two users", injected, "right", job, user=job.user)


def behaviour_81_eight_jobs_of_two_users_at_once(program, report, dice, folder):
    before = runs.leftovers()
    pid, hear = start_intruder(program)
    jobs = [Owned(folder, program, number) for number in range(JOBS)]
    try:
        losers = [dice.choice(jobs[0::2]), dice.choice(jobs[1::2])]
        injected = {job.number: lose_a_rank(job, program, dice) for job in losers}
        for job in jobs:
            judge(job, injected.get(job.number, []), report)
    finally:
        results = end_intruder(pid, hear)
        for job in jobs:
            job.end()
    report.add("calls of a third user", ["call"] * len(results), "refused")
    runs.check("2" not in results, "a foreign user was answered")
    check_nothing_left(program, before, folder)


def main():
    owned, libmanta, libmanta_mpi, path, times = sys.argv[1:6]
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("skipped: only root can start jobs of two users (with setpriv)")
        sys.exit(runs.SKIP)
    runs.need_mpirun()
    number = seed()
    dice, report = random.Random(number), Report(path, number)

    def two_users():
        for _ in range(int(times)):
            with tempfile.TemporaryDirectory(prefix="users-") as folder:
                program = furnish(folder, owned, libmanta, libmanta_mpi)
                behaviour_81_eight_jobs_of_two_users_at_once(program, report, dice, folder)

    try:
        runs.main([two_users])
    finally:
        report.table()


main()
