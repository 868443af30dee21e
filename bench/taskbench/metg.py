#!/usr/bin/env python3
"""Task graphs in Manta and in the systems that people would use instead: METG(50 %), or times by pattern and size.

    python3 bench/taskbench/metg.py [--build build] [--quick] [--only NAME,...] [--json FILE] [graph options]
    python3 bench/taskbench/metg.py --patterns [...]

METG(50 %) is the shortest mean time of a task (wall time x cores / tasks) at which half of the kernel's peak
rate still arrives (Slaughter et al., SC20). Lengths are halved until less arrives, and the crossing is interpolated.
All systems have the same cores; at each length they run one after the other, and who begins changes. The peak is
one for all: the kernel in plain threads on these cores. "best passes" is METG from the best pass at each length: what
is left to compare by where others use the machine.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATTERNS = ["trivial", "no_comm", "stencil_1d", "stencil_1d_periodic", "dom", "tree", "fft", "all_to_all", "nearest",
            "spread", "random_nearest"]
SIZES = [16, 1 << 16, 1 << 20]
PASS_S = 0.003  # of work in a pass, where tasks are short: less than others take a core away for
PASSES = 15  # of which the median and the best one count


class System:
    """How one is started, and the length in us from which its tasks are halved."""

    def __init__(self, name, program, start_us, ranks=0, python=None, env=None):
        self.name, self.program, self.start_us, self.ranks = name, program, start_us, ranks
        self.python, self.env = python, env or {}


SYSTEMS = [
    System("mpi_nonblocking", "tb_mpi_nonblocking", 8, ranks=-1),
    System("mpi_bulk", "tb_mpi_bulk", 8, ranks=-1),
    System("manta_driver, ranks", "tb_manta_driver", 16, ranks=-1, env={"MANTA_WORKERS": "1"}),
    System("manta_driver, workers", "tb_manta_driver", 16, env={"MANTA_WORKERS": "CORES"}),
    System("manta_spmd, ranks", "tb_manta_spmd", 16, ranks=-1, env={"MANTA_WORKERS": "1"}),
    System("manta_spmd, workers", "tb_manta_spmd", 16, env={"MANTA_WORKERS": "CORES"}),
    System("manta_recorded, ranks", "tb_manta_recorded", 8, ranks=-1, env={"MANTA_WORKERS": "1"}),
    System("manta_recorded, workers", "tb_manta_recorded", 8, env={"MANTA_WORKERS": "CORES"}),
    System("openmp", "tb_openmp", 128, env={"OMP_PROC_BIND": "true", "OMP_WAIT_POLICY": "active"}),
    System("starpu", "tb_starpu", 512, env={"STARPU_SILENT": "1", "STARPU_HOSTNAME": "bench"}),
    System("dask", "dask_driver.py", 1 << 16, python="dask distributed"),
    System("ray", "ray_driver.py", 1 << 15, python="ray"),
]
# What plain Manta should need at most, as part of each peer's.
GOALS = {"openmp": 1 / 10, "starpu": 1 / 20, "ray": 1 / 2000, "mpi_nonblocking": 2}


class Failure(Exception):
    pass


class Bench:
    def __init__(self, options):
        self.options = options
        self.cores = sorted(os.sched_getaffinity(0))[:options.cores or None]
        self.missing = {}  # name: why
        self.inputs_per_task = 0.0  # of the last graph that ran
        self.folder = os.path.join(os.path.abspath(options.build), "bench", "taskbench")
        self.env = {name: value for name, value in os.environ.items()
                    if not re.match(r"(MANTA|OMPI|PMIX?|SLURM|PRTE|ORTE|OMP|STARPU)_", name)}
        self.env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                        OMP_NUM_THREADS=str(len(self.cores)),
                        TASKBENCH_CORE=os.path.join(self.folder, "libtb_core.so"))
        self.systems = [system for system in SYSTEMS if system.name.split(",")[0] in options.only and self.is_here(system)]

    def is_here(self, system):
        try:
            if system.python:
                self.make_venv(system.python)
            elif not os.path.exists(os.path.join(self.folder, system.program)):
                raise Failure("not built")
        except (Failure, OSError, subprocess.SubprocessError) as error:
            self.missing[system.name] = str(error)
            return False
        return True

    def make_venv(self, packages):
        """In the build directory; kept for the next run."""
        venv = os.path.join(self.folder, "venv")
        pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        if not os.path.exists(pip[0]):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True, timeout=120)
        if subprocess.run(pip + ["show", *packages.split()], capture_output=True).returncode:
            done = subprocess.run(pip + ["install", *packages.split()], capture_output=True, text=True, timeout=900)
            if done.returncode:
                raise Failure(f"not installed: {done.stderr.strip()[-200:]}")

    def command(self, system, arguments):
        cores = ",".join(map(str, self.cores))
        if system.python:
            program = [os.path.join(self.folder, "venv", "bin", "python"), os.path.join(HERE, system.program)]
        else:
            program = [os.path.join(self.folder, system.program)]
        program += arguments
        if not system.ranks:
            return ["taskset", "-c", cores] + program + ["-worker", str(len(self.cores))]
        # One core for each rank, the same for all systems.
        shell = f'set -- $(echo {cores} | tr , " ") -- "$@"; eval core=\\${{$((OMPI_COMM_WORLD_LOCAL_RANK + 1))}}; ' \
                'while [ "$1" != -- ]; do shift; done; shift; exec taskset -c $core "$@"'
        return ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(len(self.cores)), "sh", "-c", shell,
                "sh"] + program

    def seconds(self, system, arguments):
        """What it reports: the median and the least of its passes, its numbers of tasks and of dependencies."""
        env = dict(self.env, **{name: value.replace("CORES", str(len(self.cores))) for name, value in system.env.items()})
        done = subprocess.run(self.command(system, arguments), env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120)
        elapsed = re.search(r"^Elapsed Time (\S+) seconds$", done.stdout, re.MULTILINE)
        if done.returncode or not elapsed:
            raise Failure(f"code {done.returncode}: {done.stderr.strip()[-300:]}")
        least, tasks, inputs = (re.search(rf"^{what} (\S+)", done.stdout, re.MULTILINE)[1]
                                for what in ("Least Time", "Total Tasks", "Total Dependencies"))
        return float(elapsed[1]), float(least), int(tasks), int(inputs)

    def peak(self):
        """Iterations per second and core."""
        steps, iterations = 100, 20000
        least = self.seconds(System("peak", "tb_peak", 0), ["-kernel", "compute_bound", "-iter", str(iterations), "-steps",
                                                            str(steps), "-passes", str(PASSES)])[1]
        return steps * iterations / least

    def run_all(self, systems, turn, arguments):
        """Each once, beginning with another one each turn. Yields (system, costs, why): us per task in its median and best
        pass, or None and why there are none."""
        turn %= max(1, len(systems))
        for system in systems[turn:] + systems[:turn]:
            try:
                median, least, tasks, inputs = self.seconds(system, arguments + [
                    "-passes", "1" if system.python else str(self.options.passes)])
                self.inputs_per_task = inputs / tasks
                yield system, [1e6 * seconds * len(self.cores) / tasks for seconds in (median, least)], None
            except (Failure, subprocess.TimeoutExpired) as error:
                yield system, None, str(error)


def steps_for(us):
    return max(10, min(2000, int(1e6 * PASS_S / us)))


def sweep(bench, repetition, per_us):
    """One curve for each system: points (us of work, us per task in the median and the best pass), longest tasks first."""
    curves = {system.name: [] for system in bench.systems}
    active, us, level = list(bench.systems), float(max((system.start_us for system in bench.systems), default=1)), 0
    while active and us > 0.01:
        now = [system for system in active if us <= system.start_us]
        arguments = ["-kernel", "compute_bound", "-iter", str(max(1, round(us * per_us))), "-steps", str(steps_for(us)),
                     *bench.graph]
        work = max(1, round(us * per_us)) / per_us
        for system, costs, why in bench.run_all(now, repetition + level, arguments):
            if why:
                bench.missing[system.name] = why
            else:
                curves[system.name].append((work, *costs))
        # One point below the crossing is enough, in the best passes too.
        active = [system for system in active if system.name not in bench.missing and
                  not any(work / least < 0.5 for work, _, least in curves[system.name])]
        us, level = us / 2, level + 1
    return curves


def metg(curve):
    """The us per task at which work / cost is one half; None when the curve does not cross it."""
    for (work, cost), (less_work, less_cost) in zip(curve, curve[1:]):
        above, below = work / cost, less_work / less_cost
        if above >= 0.5 > below:
            part = (above - 0.5) / (above - below)
            return cost + part * (less_cost - cost)
    return None


def best_of(curves):
    """The best pass of all repetitions at each length, as one curve."""
    least = {}
    for work, _, cost in (point for curve in curves for point in curve):
        least[work] = min(cost, least.get(work, cost))
    return sorted(least.items(), reverse=True)


def spread(points):
    quartiles = statistics.quantiles(points, n=4, method="inclusive") if len(points) > 1 else points * 3
    return {"median": statistics.median(points), "min": min(points), "q1": quartiles[0], "q3": quartiles[2]}


def goal_of(name, peer):
    is_plain = name.startswith("manta_driver") or name.startswith("manta_spmd")
    if name.startswith("manta_recorded") and peer == "mpi_nonblocking":
        return 1
    return GOALS.get(peer) if is_plain else None


def measure_metg(bench):
    repetitions = bench.options.repetitions or (2 if bench.options.quick else 7)
    per_us = statistics.median(bench.peak() for _ in range(3)) / 1e6
    peaks, curves, everyone = [per_us], [], bench.systems
    for repetition in range(repetitions):
        # The slow ones, with their long tasks, are known well enough from two.
        bench.systems = [system for system in everyone if system.name not in bench.missing and
                         (repetition < (1 if bench.options.quick else 2) or not system.python)]
        peaks.append(bench.peak() / 1e6)
        curves.append(sweep(bench, repetition, per_us))
    peak = statistics.median(peaks)
    rows = []
    for system in everyone:
        # Against the shared peak, which is known only now.
        own = [[(work * per_us / peak, *costs) for work, *costs in curve[system.name]] for curve in curves
               if curve.get(system.name)]
        found = [value for value in (metg([point[:2] for point in curve]) for curve in own) if value is not None]
        row = {"system": system.name, "curves": own, "best": metg(best_of(own))}
        if found:
            row.update(spread(found))
        else:
            row["missing"] = bench.missing.get(system.name, "its longest tasks do not reach half of the peak: too noisy")
        rows.append(row)
    rows += [{"system": name, "missing": why, "curves": [], "best": None} for name, why in bench.missing.items()
             if name not in [system.name for system in everyone]]
    for row in rows:
        row["dependencies_per_task"] = bench.inputs_per_task
    compare(rows)
    return rows, {"iterations_per_us_and_core": peak, "dependencies_per_task": bench.inputs_per_task}


def compare(rows):
    peers = {row["system"]: row for row in rows}
    for row in rows:
        row["against"] = {}
        for peer in GOALS:
            goal, other = goal_of(row["system"], peer), peers.get(peer, {})
            if goal and "median" in row and "median" in other:
                ratio = row["median"] / other["median"]
                row["against"][peer] = {"ratio": ratio, "goal": goal, "met": ratio <= goal, "best": None}
                if row["best"] and other["best"]:
                    row["against"][peer]["best"] = row["best"] / other["best"]


def show_metg(rows):
    inputs = rows[0]["dependencies_per_task"] if rows else 0
    print(f"a task has {inputs:.3g} dependencies in the mean")
    print(f"{'METG(50 %), us':<26} {'inputs':>6} {'median':>9} {'min / q1 / q3':>28} {'best passes':>12}  against: ratio, of best passes (goal)")
    for row in rows:
        best = f"{row['best']:.4g}" if row["best"] else "-"
        if "median" not in row:
            print(f"{row['system']:<26} {inputs:>6.3g} {row['missing']}" + (f"; best passes {best}" if row["best"] else ""))
            continue
        against = "; ".join(f"{peer}: {one['ratio']:.3g}, {one['best'] or float('nan'):.3g} ({one['goal']:.3g}, {'met' if one['met'] else 'NOT met'})"
                            for peer, one in row["against"].items())
        shape = " / ".join(f"{row[key]:.4g}" for key in ("min", "q1", "q3"))
        print(f"{row['system']:<26} {inputs:>6.3g} {row['median']:>9.4g} {shape:>28} {best:>12}  {against}")


def measure_pattern(bench, pattern, size, repetitions):
    """One row: what each system needs or, as `missing`, why it did not come to its end. What fails in one row runs in
    the next one all the same."""
    steps = max(10, min(100 if bench.options.quick else 500, (1 << 23) // size // bench.options.width))
    arguments = ["-type", pattern, "-output", str(size), "-steps", str(steps), "-width", str(bench.options.width),
                 "-radix", "5", *bench.graph]
    points, failed = {system.name: [] for system in bench.systems}, {}
    for turn in range(repetitions):
        here = [system for system in bench.systems if system.name not in failed]
        for system, costs, why in bench.run_all(here, turn, arguments):
            if why:
                failed[system.name] = {"missing": why}
            else:
                points[system.name].append(costs)
    cells = {name: {**spread([median for median, _ in values]), "best": min(best for _, best in values), "points": values}
             for name, values in points.items() if values and name not in failed}
    return {"pattern": pattern, "bytes": size, "dependencies_per_task": bench.inputs_per_task, "us_per_task": {**cells, **failed}}


def measure_patterns(bench):
    """us per task of each pattern and size, without a kernel: what a system itself costs."""
    repetitions = bench.options.repetitions or (3 if bench.options.quick else 5)
    rows = []
    for pattern in bench.options.types:
        for size in bench.options.sizes:
            rows.append(measure_pattern(bench, pattern, size, repetitions))
            show_pattern(rows[-1], bench, len(rows) == 1)
    return rows, {}


def show_pattern(row, bench, is_first):
    names = [system.name for system in bench.systems]
    if is_first:
        print(f"{'us per task: median, best pass':<32}" + "".join(f"{name:>24}" for name in names))
    cost = row["us_per_task"]
    cells = ["failed" if "missing" in cost[name] else f"{cost[name]['median']:.4g}, {cost[name]['best']:.4g}" for name in names]
    print(f"{row['pattern'] + ', ' + str(row['bytes']) + ' B':<32}" + "".join(f"{cell:>24}" for cell in cells))
    for name in names:
        if "missing" in cost[name]:
            print(f"    {name}: {cost[name]['missing']}")
    sys.stdout.flush()


def main():
    names = list(dict.fromkeys(system.name.split(",")[0] for system in SYSTEMS))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build directory")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--only", default=names, type=lambda text: text.split(","), help=",".join(names))
    parser.add_argument("--without", default=[], type=lambda text: text.split(","), help="of these")
    parser.add_argument("--cores", type=int, default=0, help="so many of those that this process may use")
    parser.add_argument("--repetitions", type=int, default=0)
    parser.add_argument("--passes", type=int, default=PASSES, help="of a program each time that it is started")
    parser.add_argument("--patterns", action="store_true", help="times by pattern and size instead of METG")
    parser.add_argument("--types", default=PATTERNS, type=lambda text: text.split(","))
    parser.add_argument("--sizes", default=SIZES, type=lambda text: list(map(int, text.split(","))))
    parser.add_argument("--width", type=int, default=8, help="of --patterns")
    parser.add_argument("--json", help="write everything there too")
    options, rest = parser.parse_known_args()
    unknown = [name for name in options.only + options.without if name not in names]
    options.only = [name for name in options.only if name not in options.without]
    if unknown:
        parser.error(f"no system {unknown[0]}; there are {', '.join(names)}")
    start, load, bench = time.monotonic(), os.getloadavg()[0], Bench(options)
    bench.graph = rest if rest or options.patterns else ["-type", "stencil_1d", "-width", str(len(bench.cores))]
    print(f"cores {bench.cores}, load {load:.2f} at the start" + ("" if options.patterns else f"; {' '.join(bench.graph)}"))
    rows, facts = (measure_patterns if options.patterns else measure_metg)(bench)
    if options.patterns:
        for name, why in bench.missing.items():
            print(f"{name}: {why}")
    else:
        show_metg(rows)
    print(f"load {os.getloadavg()[0]:.2f} at the end, {time.monotonic() - start:.0f} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"cores": bench.cores, "load": load, "graph": bench.graph, "missing": bench.missing, **facts,
                       "rows": rows}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
