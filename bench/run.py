#!/usr/bin/env python3
"""Runs Manta's benchmarks and prints one table: metric, median, spread, peer, ratio, goal, met or not.

    python3 bench/run.py [--build build] [--quick] [--only NAME,...] [--cores N] [--json FILE] [--html FILE]

Every number is a median with its spread beside it; ratios are taken point by point within one run
(bench.h). The placement of the two ranks (separate cores or siblings of one) decides round trips by a
factor of four, so it is printed with them. Nothing here ever fails for being slow: the exit code is
1 only when a program did not run.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import parts
import peers
import report

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAMES = ["roundtrip", "rate", "local", "peers", "timeline", "shapes", "graph", "startup", "idle", "commands", "death", "tree", "streams",
         "hosts", "objects", "scaling", "heat", "liveness", "patterns", "taskbench"]
# The bars against what people would use instead: how many times as many tasks/s at least, and which part of a
# round trip at most.
PEER_BARS = {"Ray": {"rate": 1000, "roundtrip": 1 / 1000}, "Dask": {"rate": 3000}}


# HyperQueue runs in its own venv; its local cluster is a server and workers in threads of that process.
HYPERQUEUE = """
import importlib.metadata
import time
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
print("version", importlib.metadata.version("hyperqueue"))
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores={cpus}))
    client = cluster.client()
    for _ in range(3):
        job = Job()
        for _ in range({count}):
            job.program(["true"], stdout=None, stderr=None)
        start = time.monotonic()
        client.wait_for_jobs([client.submit(job)])
        print("rate", {count} / (time.monotonic() - start))
"""


class Bench:
    def __init__(self, options):
        self.options = options
        self.rows, self.notes, self.failures, self.scaling_points, self.versions = [], [], [], [], {}
        self.noise_ms, self.metg, self.seconds_of = [], [], {}
        self.env = {name: value for name, value in os.environ.items()
                    if not re.match(r"(MANTA|OMPI|PMIX?|SLURM|PRTE|ORTE)_", name)}
        # As root, Open MPI wants to be asked twice.
        self.env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")

    def program(self, path):
        return os.path.join(self.options.build, path)

    def command(self, ranks, *program):
        if not ranks:
            return list(program)
        return ["mpirun", "--oversubscribe", "-n", str(ranks)] + list(program)

    def missing(self, program, metric, why):
        """A row that says why there is no figure."""
        self.rows.append({"program": program, "metric": metric, "missing": why})

    def fail(self, name, text):
        self.failures.append(name)
        self.missing(name, name, f"it did not run: {text.strip()[-200:]}")
        print(f"{name}: did not run: {text.strip()[-600:]}", file=sys.stderr)

    def table(self, name, ranks, program):
        """One of the C programs: its own table is kept, its rows are taken from its JSON."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            extra = ["--quick"] if self.options.quick else []
            command = self.command(ranks, self.program(f"bench/{program}"), *extra, "--json", file.name)
            try:
                done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                                      text=True, timeout=600)
            except (OSError, subprocess.TimeoutExpired) as error:
                return self.fail(name, str(error))
            if done.returncode:
                return self.fail(name, done.stderr or f"code {done.returncode}")
            self.take(file.name, name)

    def add(self, program, metric, unit, points, peer=None, peer_points=None, ratio=None, goal=None, met=None):
        quartiles = statistics.quantiles(points, n=4, method="inclusive") if len(points) > 1 else points * 3
        row = {"program": program, "metric": metric, "unit": unit, "points": len(points),
               "median": statistics.median(points), "min": min(points), "q1": quartiles[0], "q3": quartiles[2],
               "values": points}
        if peer:
            row.update(peer=peer, peer_median=statistics.median(peer_points))
            row["ratio"] = ratio or statistics.median(a / b for a, b in zip(points, peer_points))
        if goal:
            row.update(goal=goal, met=met)
        self.rows.append(row)

    def seconds(self, *command):
        start = time.monotonic()
        done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=300)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.returncode}")
        return time.monotonic() - start

    def graph(self):
        """Half of MPI's points are taken before those of the graphs, half after."""
        mpi = self.command(2, self.program("bench/bench_graph_mpi"), "3" if self.options.quick else "15")
        before = self.steps(mpi)
        self.table("graph", 2, "bench_graph")
        points = before + self.steps(mpi)
        metric = "a stencil step of a graph"
        recorded = [row for row in self.rows if row["program"] == "graph" and row["metric"] == metric]
        if not points:
            self.missing("graph", f"{metric} against MPI", "the program in MPI did not run")
        elif recorded:
            ratio = recorded[0]["median"] / statistics.median(points)
            self.rows.append({**recorded[0], "metric": f"{metric} against MPI", "peer": "nonblocking MPI by hand",
                              "peer_median": statistics.median(points), "ratio": ratio, "goal": "<= 1 x", "met": ratio <= 1})

    def steps(self, command):
        """Nanoseconds of a step, a line for each point; none where there is no such program."""
        try:
            done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired):
            return []
        return [float(line) for line in done.stdout.split()] if done.returncode == 0 else []

    def startup(self):
        """Start to end, in turn with an empty MPI program."""
        manta, empty, pi = (self.program(path) for path in
                            ("bench/bench_idle", "bench/bench_empty_mpi", "examples/montecarlo/pi"))
        times = 2 if self.options.quick else 5
        alone = [self.seconds(manta) for _ in range(times)]
        self.add("startup", "empty program alone", "s", alone)
        # What pi computes, on all cores: the same for any number of ranks.
        work = statistics.median([self.seconds(pi) for _ in range(times)]) - statistics.median(alone)
        for ranks in (1, 2, 4, 16, 64):
            points, programs = {"empty": [], "manta": [], "pi": []}, {"empty": empty, "manta": manta, "pi": pi}
            for name in parts.in_turn(times, list(points)):
                points[name].append(self.seconds(*self.command(ranks, programs[name])))
            self.add("startup", f"empty program, {ranks} ranks", "s", points["manta"], "empty MPI program",
                     points["empty"])
            over = [(pi_s - work) / empty_s for pi_s, empty_s in zip(points["pi"], points["empty"])]
            goal = {"goal": f"<= 3x empty + {work:.2f} s of work", "met": statistics.median(over) <= 3} \
                if ranks == 64 else {}
            self.add("startup", f"pi, {ranks} ranks", "s", points["pi"], "empty MPI program", points["empty"],
                     ratio=statistics.median(over), **goal)

    def idle(self):
        """CPU time of 16 ranks that have nothing to do, together, from the scheduler's own count."""
        ranks, seconds, exe = 16, 4 if self.options.quick else 10, self.program("bench/bench_idle")
        job = subprocess.Popen(self.command(ranks, exe, str(seconds + 4)), env=self.env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(3)
        points, step = [], 1
        pids = children_named(job.pid, exe)
        before = cpu_seconds(pids)
        for _ in range(seconds // step):
            start = time.monotonic()
            time.sleep(step)
            after = cpu_seconds(pids)
            points.append(100 * (after - before) / (time.monotonic() - start))
            before = after
        job.wait()
        if len(pids) != ranks:
            return self.fail("idle", f"{len(pids)} ranks found, not {ranks}")
        self.add("idle", f"{ranks} idle ranks together", "%", points, goal="< 1 % of a core",
                 met=statistics.median(points) < 1)

    def commands(self):
        """External programs: through the public interface, the spawner's room alone, HyperQueue."""
        with tempfile.TemporaryDirectory() as folder:
            self.env["MANTA_COMMAND_LOG"] = os.path.join(folder, "log")
            self.table("commands", 0, "bench_submit")
            del self.env["MANTA_COMMAND_LOG"]
            files = len(os.listdir(folder))
        self.add("commands", "files made on a node", "", [files], goal="<= 10", met=files <= 10)
        self.table("commands", 0, "bench_commands")
        rates = [row["median"] for row in self.rows if row["metric"].startswith("manta_command of true")]
        try:
            points = self.hyperqueue()
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            self.missing("commands", "manta_command (HyperQueue: one after the other)", f"HyperQueue: {str(error)[-200:]}")
            return
        if rates:
            self.add("commands", "manta_command (HyperQueue: one after the other)", "/s", [rates[-1]], "HyperQueue", points,
                     goal=">= 3x HyperQueue", met=rates[-1] >= 3 * statistics.median(points))

    def hyperqueue(self):
        """`true` per second of a HyperQueue from PyPI: a server and a worker with as many CPUs as here."""
        count, cpus = 1000 if self.options.quick else 2000, len(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder + "/venv"], check=True, capture_output=True, timeout=120)
            subprocess.run([folder + "/venv/bin/pip", "install", "--quiet", "hyperqueue"], check=True,
                           capture_output=True, timeout=180)
            script = os.path.join(folder, "bench.py")
            with open(script, "w") as file:
                file.write(HYPERQUEUE.format(count=count, cpus=cpus))
            done = subprocess.run([folder + "/venv/bin/python", script], cwd=folder, capture_output=True, text=True,
                                  timeout=120)
            if done.returncode:
                raise RuntimeError(done.stderr)
            self.versions["HyperQueue"] = re.search(r"^version (\S+)", done.stdout, re.MULTILINE)[1]
            return [float(rate) for rate in re.findall(r"^rate (\S+)", done.stdout, re.MULTILINE)]

    def one_death(self):
        """Milliseconds from the SIGKILL of a rank to the next run of the task that it ran."""
        with tempfile.NamedTemporaryFile(suffix=".marks") as file:
            def marks():
                return [line.split() for line in open(file.name).read().splitlines() if len(line.split()) == 2]
            command = ["mpirun", "--enable-recovery", "--oversubscribe", "-n", "3",
                       self.program("bench/bench_death"), file.name]
            job = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
            end = time.monotonic() + 30
            while not marks() and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.1)
            killed_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            os.kill(int(marks()[0][0]), signal.SIGKILL)
            job.wait(30)
            if len(marks()) != 2:
                raise RuntimeError("the task did not run again")
            return (int(marks()[1][1]) - killed_ns) / 1e6

    def death(self):
        points = [self.one_death() for _ in range(5 if self.options.quick else 15)]
        self.add("death", "SIGKILL of a rank to its task running elsewhere", "ms", points, goal="< 100 ms",
                 met=statistics.median(points) < 100)

    def one_tree(self, depth, kill_after=None):
        """Seconds of a tree on 8 ranks, and which part of its tasks was run again because one of them was killed."""
        exe = self.program("bench/bench_tree")
        job = subprocess.Popen(["mpirun", "--enable-recovery", "--oversubscribe", "-n", "8", exe, str(depth)],
                               env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
        job.stdout.readline()
        start = time.monotonic()
        if kill_after:
            time.sleep(kill_after)
            pids = [pid for pid in children_named(job.pid, exe) if rank_of(pid) == 5]
            os.kill(pids[0], signal.SIGKILL)
        out, err = job.communicate(timeout=300)
        seconds = time.monotonic() - start
        redone = re.search(r"(\d+) tasks were run again", err)
        if "right" not in out or bool(redone) != bool(kill_after):
            raise RuntimeError(f"the tree did not come out right: {out} {err[-500:]}")
        tasks = (10 ** (depth + 1) - 1) // 9
        return seconds, 100 * int(redone.group(1)) / tasks if redone else 0

    def tree(self):
        depth = 4 if self.options.quick else 5
        whole = self.one_tree(depth)[0]
        self.add("tree", f"{10 ** depth} leaves of 1 ms, 8 ranks, no death", "s", [whole])
        for percent in (20, 40, 60, 80):
            seconds, redone = self.one_tree(depth, whole * percent / 100)
            self.add("tree", f"one rank killed at {percent} %", "s", [seconds], "no death", [whole])
            self.add("tree", "  tasks run again", "%", [redone], goal="< 20 %", met=redone < 20)

    def hosts(self):
        """Two ranks on two virtual hosts, over UCX; the program measures raw UCX in turn with tasks."""
        sys.path[:0] = [os.path.join(ROOT, "tests", name) for name in ("cluster", "ranks")]
        from cluster import Cluster, why_not
        program = self.program("bench/bench_hosts")
        reason = why_not() or ("" if os.path.exists(program) else "built without UCX")
        if reason:
            self.missing("hosts", "two virtual hosts", reason)
            return
        with Cluster(hosts=2, cpus=2) as cluster, tempfile.NamedTemporaryFile(suffix=".json") as file:
            extra = ["--quick"] if self.options.quick else []
            run = cluster.srun([os.path.abspath(program), *extra, "--json", file.name], nodes=2, tasks=2,
                               env={"MANTA_WORKERS": "1"}, timeout=300)
            if run.code:
                return self.fail("hosts", run.err or f"code {run.code}")
            self.take(file.name, "hosts")

    def peers(self):
        """Ray and Dask from PyPI, in turn with Manta: no-ops of one submitter."""
        manta = self.command(2, self.program("bench/bench_peer"))
        cores = os.sched_getaffinity(0)
        venv = self.program("bench/taskbench/venv")
        with tempfile.TemporaryDirectory() as folder:
            found, missing, versions = peers.measure(3 if self.options.quick else 7, manta, self.env, venv, folder, cores)
        self.versions.update({name: version for name, version in versions.items() if name != "Manta"})
        if "Manta" not in found:
            return self.fail("peers", missing.get("Manta", "no points"))
        for what, metric, unit in ("rate", "tasks/s of one submitter", "/s"), ("roundtrip", "submit and get of a no-op", "us"):
            for peer, bars in PEER_BARS.items():
                if peer in missing or what not in found.get(peer, {}):
                    self.missing("peers", f"{metric}, against {peer}", f"{peer}: {missing.get(peer, 'no points')}")
                    continue
                pairs = list(zip(found["Manta"][what], found[peer][what]))
                ratio = statistics.median(ours / theirs for ours, theirs in pairs)
                bar = bars.get(what)
                goal = {} if not bar else {"goal": f">= {bar:g} x" if bar > 1 else f"<= 1/{1 / bar:g}",
                                           "met": ratio >= bar if bar > 1 else ratio <= bar}
                self.add("peers", metric, unit, [ours for ours, _ in pairs], peer, [theirs for _, theirs in pairs], ratio, **goal)
        self.add("peers", "tasks/s of one submitter", "/s", found["Manta"]["rate"], goal=">= 5 M/s",
                 met=statistics.median(found["Manta"]["rate"]) >= 5e6)

    def timeline(self):
        """Tasks of about 10 us with MANTA_TIMELINE and without, in turn."""
        points = {"on": [], "off": []}
        with tempfile.TemporaryDirectory() as folder:
            for which in parts.in_turn(5 if self.options.quick else 11, ["off", "on"]):
                env = {**self.env, "MANTA_WORKERS": "1", **({"MANTA_TIMELINE": folder} if which == "on" else {})}
                done = subprocess.run([self.program("bench/bench_timeline")], env=env, capture_output=True, text=True, timeout=60)
                if done.returncode:
                    return self.fail("timeline", done.stderr)
                points[which].append(float(done.stdout) / 1000)
        ratio = statistics.median(points["on"]) / statistics.median(points["off"])
        self.add("timeline", "task of 10 us with a timeline", "us", points["on"], "without", points["off"], ratio,
                 goal="<= 1.02 x", met=ratio <= 1.02)

    def scaling(self):
        """Virtual ranks in the simulator: messages, memory and virtual time."""
        program = self.program("bench/bench_scaling")
        if not os.path.exists(program):
            return self.missing("scaling", "virtual ranks", "built without cmocka, and so without the simulated worlds")
        for ranks in (10, 30, 100, 300, 1000) + (() if self.options.quick else (3000, 10000)):
            done = subprocess.run([program, str(ranks)], env=self.env, capture_output=True, text=True, timeout=300)
            if done.returncode:
                return self.fail("scaling", done.stderr)
            self.scaling_points.append(json.loads(done.stdout))
        first, last = self.scaling_points[0], self.scaling_points[-1]
        for key, title, unit, factor in report.SERIES:
            few, many = first[key] * factor, last[key] * factor
            ratio = many / few
            goal = {"goal": "<= 1.1 x", "met": ratio <= 1.1} if key == "messages_per_task" else {}
            self.add("scaling", f"{last['ranks']} ranks: {title}", unit, [many], f"{first['ranks']} ranks", [few], ratio, **goal)

    def take(self, path, name):
        with open(path) as file:
            for entry in json.load(file)["entries"]:
                entry["program"] = name
                (self.notes if "note" in entry else self.rows).append(entry)

    def run(self):
        plans = {
            "roundtrip": lambda: self.table("roundtrip", 2, "bench_roundtrip"),
            "rate": lambda: self.table("rate", 2, "bench_rate"),
            "local": lambda: self.table("local", 0, "bench_rate"),
            "peers": self.peers,
            "timeline": self.timeline,
            "scaling": self.scaling,
            "heat": lambda: parts.heat(self),
            "liveness": lambda: parts.liveness(self),
            "patterns": lambda: parts.patterns(self),
            "taskbench": lambda: parts.taskbench(self),
            "objects": lambda: self.table("objects", 2, "bench_objects"),
            "shapes": lambda: self.table("shapes", 2, "bench_shapes"),
            "graph": self.graph,
            "streams": lambda: self.table("streams", 2, "bench_streams"),
            "startup": self.startup,
            "idle": self.idle,
            "commands": self.commands,
            "death": self.death,
            "tree": self.tree,
            "hosts": self.hosts,
        }
        for name in self.options.only:
            self.listen()
            if not shutil.which("mpirun") and name not in ("local", "commands", "timeline", "scaling"):
                self.fail(name, "no mpirun")
                continue
            start = time.monotonic()
            try:
                plans[name]()
            except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
                self.fail(name, str(error))
            self.seconds_of[name] = time.monotonic() - start

    def listen(self):
        """How long one and the same loop takes: what the machine and its other users do to figures."""
        for _ in range(5):
            start = time.perf_counter()
            sum(range(200000))
            self.noise_ms.append(1e3 * (time.perf_counter() - start))

    def noise(self):
        points = sorted(self.noise_ms)
        quartiles = statistics.quantiles(points, n=4, method="inclusive")
        return {"count": len(points), "min_ms": points[0], "median_ms": quartiles[1], "q3_ms": quartiles[2], "max_ms": points[-1]}


def first_line(*command):
    """What a program says of its version; nothing when it is not here."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+\S*", done.stdout or done.stderr)
    return found.group(0) if found and done.returncode == 0 else ""


def versions():
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    found = {"Manta at": commit, "gcc": first_line("gcc", "-dumpfullversion"), "Open MPI": first_line("mpirun", "--version"),
             "UCX": first_line("ucx_info", "-v"), "StarPU": first_line("pkg-config", "--modversion", "starpu-1.3"), "Python": platform.python_version()}
    return {name: version for name, version in found.items() if version}


def cpu_seconds(pids):
    """Of all threads; schedstat counts nanoseconds, stat only ticks."""
    total = 0.0
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                total += int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0]) / 1e9
        except OSError:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def rank_of(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return int(re.search(rb"\0OMPI_COMM_WORLD_RANK=(\d+)", file.read()).group(1))


def children_named(pid, exe):
    """Processes below `pid` that run `exe`."""
    parents, found = {}, []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    for process in parents:
        above = process
        while above in parents and above != pid:
            above = parents[above]
        try:
            if above == pid and os.readlink(f"/proc/{process}/exe") == os.path.realpath(exe):
                found.append(process)
        except OSError:
            continue
    return found


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 platform.machine())
    cores = sorted(os.sched_getaffinity(0))
    return {"cpu": model, "cores": len(cores), "pinned": ",".join(map(str, cores)), "kernel": platform.release(),
            "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build directory")
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument("--only", default=NAMES, type=lambda text: text.split(","), help=",".join(NAMES))
    parser.add_argument("--cores", type=int, default=0, help="so many of those that this process may use, for everything")
    parser.add_argument("--json", help="everything is written there; BUILD/bench/figures.json")
    parser.add_argument("--html", help="and as a page with plots there; BUILD/bench/page.html")
    options = parser.parse_args()
    unknown = [name for name in options.only if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {unknown[0]}; there are {', '.join(NAMES)}")
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.cores])
    folder = os.path.join(options.build, "bench")
    os.makedirs(folder, exist_ok=True)
    info, bench, start = machine(), Bench(options), time.monotonic()
    bench.run()
    bench.listen()
    info.update(load_end=os.getloadavg()[0], versions={**versions(), **bench.versions}, noise=bench.noise())
    data = {"machine": info, "seconds": {**bench.seconds_of, "all": time.monotonic() - start}, "notes": bench.notes,
            "rows": bench.rows, "scaling": bench.scaling_points, "metg": bench.metg}
    print(report.table(data))
    for path, text in (options.json or os.path.join(folder, "figures.json"), json.dumps(data, indent=1)), \
            (options.html or os.path.join(folder, "page.html"), report.page(data)):
        with open(path, "w") as file:
            file.write(text)
        print(f"written: {os.path.abspath(path)}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
