"""The systems that people would use instead: each a process that measures a point when it is asked to.

It answers lines "rate N" and "roundtrip N" with a number: tasks per second of one submitter that submits N no-ops and
gets all results, and microseconds of the median of N submits and gets, done in another process. One runs at a time,
because the idle daemons of one disturb another's microseconds: for each point all are started, asked and ended
in an order that changes. All have the same cores. What cannot be installed or started has a reason instead of points.
"""
import os
import subprocess
import sys
import textwrap
import time

LOOP = """
import statistics, sys, time
def rate(count):
    start = time.perf_counter()
    gather([submit() for _ in range(count)])
    return count / (time.perf_counter() - start)
def roundtrip(count):
    took = []
    for _ in range(count):
        start = time.perf_counter()
        gather([submit()])
        took.append(1e6 * (time.perf_counter() - start))
    return statistics.median(took)
if __name__ == "__main__":
    begin()
    rate(100)
    print("ready", version, flush=True)
    for line in sys.stdin:
        what, count = line.split()
        print({"rate": rate, "roundtrip": roundtrip}[what](int(count)), flush=True)
    end()
"""
RAY = """
import os
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
import ray
version = ray.__version__
cpus = len(os.sched_getaffinity(0))
def begin():
    global noop
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, configure_logging=False)
    noop = ray.remote(lambda: None)
def submit():
    return noop.remote()
def gather(refs):
    ray.get(refs)
def end():
    ray.shutdown()
"""
DASK = """
import os
import distributed
version = distributed.__version__
cpus = len(os.sched_getaffinity(0))
def nothing():
    pass
def begin():
    global client, cluster
    cluster = distributed.LocalCluster(n_workers=cpus, threads_per_worker=1, dashboard_address=None)
    client = distributed.Client(cluster)
def submit():
    return client.submit(nothing, pure=False)
def gather(futures):
    client.gather(futures)
def end():
    client.close()
    cluster.close()
"""
COUNTS = {  # no-ops of a point: about half a second of each
    "Manta": {"rate": 200000, "roundtrip": 20000},
    "Ray": {"rate": 1000, "roundtrip": 200},
    "Dask": {"rate": 250, "roundtrip": 40},
}
TRIES_S = 120  # to be ready


class Missing(Exception):
    """Why a system has no points."""


def make_venv(folder, packages):
    """A virtual environment with these, kept for the next run. Its python."""
    python = os.path.join(folder, "bin", "python")
    stamp = os.path.join(folder, "has-" + "-".join(packages))
    if not os.path.exists(stamp):
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, text=True, timeout=120)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True, text=True,
                           timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise Missing(f"pip cannot install {' '.join(packages)}: {said[-1] if said else error}") from error
        with open(stamp, "w"):
            pass
    return python


class System:
    """One that runs. `command` is started at once; `ready` waits for it."""

    def __init__(self, name, command, env, cores):
        self.name, self.version = name, ""
        try:
            self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        except OSError as error:
            raise Missing(str(error)) from error

    def ready(self):
        end = time.monotonic() + TRIES_S
        while time.monotonic() < end:
            line = self.process.stdout.readline()
            if line.startswith("ready"):
                self.version = line[5:].strip()
                return
            if not line:
                break
        self.stop()
        raise Missing("it does not start")

    def ask(self, what):
        try:
            self.process.stdin.write(f"{what} {COUNTS[self.name][what]}\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise Missing(f"it ended in the middle: {error}") from error

    def stop(self):
        try:
            self.process.stdin.close()
            self.process.wait(30)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


def script(folder, name, text):
    path = os.path.join(folder, name.lower() + "_peer.py")
    with open(path, "w") as file:
        file.write(textwrap.dedent(text) + LOOP)
    return path


def ask_once(name, command, env, cores, points):
    """Starts it, adds a point of each kind, ends it. Its version."""
    system = System(name, command(), env, cores)
    system.ready()
    try:
        for what in "rate", "roundtrip":
            points.setdefault(what, []).append(system.ask(what))
    finally:
        system.stop()
    return system.version


def measure(points, manta, env, venv, folder, cores):
    """{system: {"rate": [...], "roundtrip": [...]}, ...}, {system: why}, {system: version}."""
    packages = ["ray", "dask", "distributed"]
    commands = {"Manta": lambda: manta,
                "Ray": lambda: [make_venv(venv, packages), script(folder, "Ray", RAY)],
                "Dask": lambda: [make_venv(venv, packages), script(folder, "Dask", DASK)]}
    names, missing, found, versions = list(commands), {}, {}, {}
    for turn in range(points):
        for i in range(len(names)):
            name = names[(turn + i) % len(names)]
            try:
                if name not in missing:
                    versions[name] = ask_once(name, commands[name], env, cores, found.setdefault(name, {}))
            except Missing as why:
                missing[name] = str(why)
    return found, missing, versions
