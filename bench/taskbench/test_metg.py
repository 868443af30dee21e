"""What metg.py makes of what systems report, with systems that report what the test wants.

    test_metg.py
"""
import math
import os
import sys
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import metg  # noqa: E402


class Fake(metg.Bench):
    """Its systems run nothing: `cost_us(system, arguments)` says what a task takes, or raises a Failure."""

    def __init__(self, names, cost_us, **options):
        self.options = types.SimpleNamespace(**{"quick": True, "passes": 5, "repetitions": 2, "width": 4, **options})
        self.cores, self.missing, self.graph, self.ran, self.inputs_per_task = [0, 1], {}, [], [], 0
        self.cost_us = cost_us
        self.systems = [metg.System(name, "", 16) for name in names]

    def seconds(self, system, arguments):
        self.ran.append(system.name)
        if system.name == "peak":
            return 2.0, 2.0, 1, 0
        cost = self.cost_us(system.name, dict(zip(arguments[::2], arguments[1::2])))
        return 100 * 1e-6 * cost / len(self.cores), 100 * 1e-6 * cost / 2 / len(self.cores), 100, 250

    def peak(self):
        return 1e6  # an iteration is a us of work


def near(left, right):
    return math.isclose(left, right, rel_tol=1e-9)


def one_failed_cell_is_told_there_and_costs_no_other():
    def cost_us(name, arguments):
        if name == "starpu" and arguments["-output"] == "1048576" and arguments["-type"] == "fft":
            raise metg.Failure("code 1: no memory")
        return 8

    bench = Fake(["openmp", "starpu"], cost_us, types=["fft", "tree"], sizes=[16, 1 << 20])
    rows, _ = metg.measure_patterns(bench)
    assert [(row["pattern"], row["bytes"]) for row in rows] == [("fft", 16), ("fft", 1 << 20), ("tree", 16), ("tree", 1 << 20)]
    for row in rows:
        cell = row["us_per_task"]["starpu"]
        if (row["pattern"], row["bytes"]) == ("fft", 1 << 20):
            assert cell == {"missing": "code 1: no memory"}
        else:
            assert near(cell["median"], 8) and near(cell["best"], 4)
        assert near(row["us_per_task"]["openmp"]["median"], 8)


def cost_of(work_us, overhead_us):
    return work_us + overhead_us


def the_crossing_of_a_known_curve_is_found():
    """With a cost of work + 3 us one half of the peak arrives at 3 us of work: tasks of 6 us."""
    curve = [(work, cost_of(work, 3)) for work in (32, 16, 8, 4, 2, 1)]
    assert 5.5 < metg.metg(curve) < 6.5
    assert near(metg.metg([(8, 10), (4, 8), (2, 6)]), 8)  # a point that is one half itself
    # Between 4 / 6 and 2 / 6 the line is at one half in the middle.
    assert near(metg.metg([(4, 6), (2, 6)]), 6)


def a_curve_that_does_not_cross_has_no_metg():
    assert metg.metg([]) is None
    assert metg.metg([(8, 9)]) is None
    assert metg.metg([(8, 9), (4, 5), (2, 3)]) is None  # all above
    assert metg.metg([(8, 90), (4, 50)]) is None  # all below


def the_best_curve_has_the_best_pass_of_each_length_longest_first():
    curves = [[(8.0, 20, 11), (4.0, 9, 7)], [(8.0, 12, 10), (4.0, 30, 8), (2.0, 9, 9)]]
    assert metg.best_of(curves) == [(8.0, 10), (4.0, 7), (2.0, 9)]
    assert metg.best_of([]) == []


def a_sweep_halves_until_less_than_half_arrives():
    """Its best pass costs half of the median here: a curve ends where that one is below one half."""
    overheads = {"fast": 1.5, "slow": 6}

    def cost_us(name, arguments):
        return 2 * cost_of(int(arguments["-iter"]), overheads[name])

    bench = Fake(["fast", "slow"], cost_us)
    curves = metg.sweep(bench, 0, 1)
    assert [work for work, _, _ in curves["slow"]] == [16, 8, 4]
    assert [work for work, _, _ in curves["fast"]] == [16, 8, 4, 2, 1]
    assert all(near(least, cost_of(work, 6)) and near(median, 2 * least) for work, median, least in curves["slow"])
    assert bench.ran[:4] == ["fast", "slow", "slow", "fast"]  # who begins changes


def a_system_that_fails_has_no_more_points_and_says_why():
    def cost_us(name, arguments):
        if name == "weak" and int(arguments["-iter"]) < 8:
            raise metg.Failure("code 9: gone")
        return 1000 if int(arguments["-iter"]) < 4 else 1

    bench = Fake(["weak", "strong"], cost_us)
    curves = metg.sweep(bench, 0, 1)
    assert len(curves["weak"]) == 2 and bench.missing == {"weak": "code 9: gone"} and len(curves["strong"]) > 2
    rows, _ = metg.measure_metg(bench)
    assert {row["system"]: row.get("missing") for row in rows}["weak"] == "code 9: gone"
    assert all(row["dependencies_per_task"] == 2.5 for row in rows)


def goals_are_of_plain_manta_and_of_a_recorded_graph_against_mpi():
    for name in ("manta_driver, ranks", "manta_spmd, workers"):
        assert [metg.goal_of(name, peer) for peer in ("openmp", "starpu", "ray", "mpi_nonblocking")] == [1 / 10, 1 / 20, 1 / 2000, 2]
        assert metg.goal_of(name, "mpi_bulk") is None and metg.goal_of(name, "dask") is None
    assert metg.goal_of("manta_recorded, ranks", "mpi_nonblocking") == 1
    assert metg.goal_of("manta_recorded, ranks", "openmp") is None and metg.goal_of("openmp", "starpu") is None


def rows_are_compared_with_the_peers_that_have_a_figure():
    rows = [{"system": "manta_driver, ranks", "median": 3.0, "best": 2.0}, {"system": "openmp", "median": 20.0, "best": 40.0},
            {"system": "mpi_nonblocking", "median": 2.0, "best": None}, {"system": "starpu", "missing": "not built", "best": None}]
    metg.compare(rows)
    assert set(rows[0]["against"]) == {"openmp", "mpi_nonblocking"}
    openmp, mpi = rows[0]["against"]["openmp"], rows[0]["against"]["mpi_nonblocking"]
    assert near(openmp["ratio"], 0.15) and near(openmp["best"], 0.05) and not openmp["met"]
    assert near(mpi["ratio"], 1.5) and mpi["best"] is None and mpi["met"]
    assert not any(row["against"] for row in rows[1:])


CHECKS = [the_crossing_of_a_known_curve_is_found, a_curve_that_does_not_cross_has_no_metg,
          the_best_curve_has_the_best_pass_of_each_length_longest_first, a_sweep_halves_until_less_than_half_arrives,
          a_system_that_fails_has_no_more_points_and_says_why, goals_are_of_plain_manta_and_of_a_recorded_graph_against_mpi,
          rows_are_compared_with_the_peers_that_have_a_figure, one_failed_cell_is_told_there_and_costs_no_other]

for check in CHECKS:
    check()
    print(f"ok       {check.__name__}")
