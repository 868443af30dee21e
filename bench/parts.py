"""Parts of run.py that compare ways of doing the same thing: patterns of task graphs, heat, signs of life.

Each is a function of run.py's Bench. What is compared runs point by point after one another, and who begins changes.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import peers

METG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "taskbench", "metg.py")
# Tasks of about 10 us.
KERNEL = ["-iter", "4096"]
# Name, metg.py's words, the peers that plain Manta is held against.
TABLES = [
    ("", [], ["openmp", "starpu"]),
    (", tasks of 10 us", ["--types", "spread", "--sizes", "65536", "-kernel", "compute_bound", *KERNEL], ["mpi_nonblocking"]),
    (", unequal, 10 us in the mean", ["--types", "stencil_1d,spread", "--sizes", "16", "-kernel", "load_imbalance", "-imbalance", "2", *KERNEL],
     ["mpi_nonblocking"]),
]
QUICK = ["--types", "stencil_1d,spread,all_to_all", "--repetitions", "2", "--passes", "5", "--quick"]
# The second has three dependencies where the first has as many columns as cores.
SHAPES = [[], ["-type", "nearest", "-radix", "3", "-width", "4"]]


def in_turn(turns, ways):
    """Each of `ways` once a turn; each turn begins with the next one."""
    return [ways[(turn + i) % len(ways)] for turn in range(turns) for i in range(len(ways))]


def ask_metg(bench, words):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run([sys.executable, METG, "--build", bench.options.build, "--json", file.name, *words], env=bench.env,
                              capture_output=True, text=True, timeout=3600)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.load(file)


# ---- Task graphs -----------------------------------------------------------------------------------------------------

def taskbench(bench):
    """METG(50 %) in Manta and in what one would use instead, by taskbench/metg.py."""
    for shape in SHAPES:
        # Ray and Dask have a program of their own here, and take minutes there.
        quick = ["--quick", "--without", "dask,ray" + (",manta_spmd,mpi_bulk" if shape else "")] if bench.options.quick else []
        take_metg(bench, ask_metg(bench, quick + shape))


def take_metg(bench, measured):
    medians = {row["system"]: row["median"] for row in measured["rows"] if "median" in row}
    inputs = measured["dependencies_per_task"]
    bench.metg.append({"graph": " ".join(measured["graph"]), "dependencies_per_task": inputs,
                       "peak_iterations_per_us_and_core": measured["iterations_per_us_and_core"],
                       "curves": {row["system"]: row["curves"] for row in measured["rows"]}})
    for row in measured["rows"]:
        metric = f"METG(50 %), {inputs:.3g} inputs, {row['system']}"
        if "median" not in row:
            bench.missing("taskbench", metric, row.get("missing", "no figure"))
            continue
        figures = {"program": "taskbench", "metric": metric, "unit": "us",
                   **{key: row[key] for key in ("median", "min", "q1", "q3")}}
        for peer, one in row.get("against", {}).items() or [(None, None)]:
            bench.rows.append({**figures} if not peer else {
                **figures, "peer": peer, "peer_median": medians.get(peer, 0), "ratio": one["ratio"],
                "goal": f"<= {one['goal']:.3g} x", "met": one["met"]})


def patterns(bench):
    """us per task: by pattern and size without a kernel, and where tasks or values are unequal."""
    for name, words, against in TABLES:
        only = ["--patterns", "--only", ",".join(["manta_driver", *against])]
        take_patterns(bench, name, ask_metg(bench, only + (QUICK if bench.options.quick else []) + words), against)


def take_patterns(bench, name, measured, against):
    """A row for each: the better of one driver's two placements against the best peer."""
    for row in measured["rows"]:
        cells, metric = row["us_per_task"], f"{row['pattern']}, {row['bytes']} B{name}"
        ours = {cell: one for cell, one in cells.items() if cell.startswith("manta") and "median" in one}
        theirs = {cell: one for cell, one in cells.items() if cell in against and "median" in one}
        if not ours or not theirs:
            why = {**{cell: "was not built" for cell in against if cell not in cells},
                   **{cell: one["missing"] for cell, one in cells.items() if "missing" in one}}
            bench.missing("patterns", metric, "; ".join(f"{cell}: {text}" for cell, text in why.items())[-200:])
            continue
        (own, own_cell), (peer, peer_cell) = (min(those.items(), key=lambda item: item[1]["median"]) for those in (ours, theirs))
        points, peer_points = ([median for median, _ in cell["points"]] for cell in (own_cell, peer_cell))
        ratio = statistics.median(a / b for a, b in zip(points, peer_points))
        bench.add("patterns", f"{metric} ({own.split(', ')[1]})", "us", points, peer, peer_points, ratio, goal="<= 1 x", met=ratio <= 1)


# ---- Heat ------------------------------------------------------------------------------------------------------------

def heat(bench):
    """The heat equation of examples/, whose program does the same steps as plain tasks and then as a graph."""
    steps = 2000
    for ranks in (0, 2):
        points = {"tasks": [], "graph": []}
        for _ in range(3 if bench.options.quick else 9):
            command = bench.command(ranks, bench.program("examples/heat/heat"), "4", "16", str(steps))
            done = subprocess.run(command, env=bench.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
            times = re.search(r"^tasks (\S+) s, graph (\S+) s", done.stderr, re.MULTILINE)
            if done.returncode or not times:
                raise RuntimeError(f"heat: code {done.returncode}: {done.stderr}")
            for name, text in zip(points, times.groups()):
                points[name].append(1e6 * float(text) / steps)
        ratio = statistics.median(a / b for a, b in zip(points["graph"], points["tasks"]))
        bench.add("heat", f"step of 16 blocks of 16 x 16, graph, {ranks or 1} ranks", "us", points["graph"], "plain tasks", points["tasks"],
                  ratio, goal="< 1 x", met=ratio < 1)


# ---- Signs of life ---------------------------------------------------------------------------------------------------

def liveness(bench):
    """No-ops with signs of life at their usual pace, and as good as none."""
    command, cores = bench.command(2, bench.program("bench/bench_peer")), os.sched_getaffinity(0)
    points = {"2s": {}, "24h": {}}
    for silence in in_turn(9 if bench.options.quick else 21, list(points)):
        try:
            peers.ask_once("Manta", lambda: command, {**bench.env, "MANTA_SILENCE": silence}, cores, points[silence])
        except peers.Missing as why:
            raise RuntimeError(str(why)) from why
    for what, metric, unit, power in (("rate", "time of a task of one submitter", "ns", -1), ("roundtrip", "submit and get of a no-op", "us", 1)):
        scale = 1e9 if power < 0 else 1
        ours, theirs = ([scale * point ** power for point in points[silence][what]] for silence in points)
        ratio = statistics.median(ours) / statistics.median(theirs)
        bench.add("liveness", f"{metric}, MANTA_SILENCE=2s", unit, ours, "24h", theirs, ratio, goal="<= 1.03 x", met=ratio <= 1.03)
