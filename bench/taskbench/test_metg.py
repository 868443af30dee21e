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
        self.options = types.SimpleNamespace(**{"quick": True, "repetitions": 2, "width": 4, **options})
        self.cores, self.missing, self.graph, self.ran = [0, 1], {}, [], []
        self.cost_us = cost_us
        self.systems = [metg.System(name, "", 16) for name in names]

    def seconds(self, system, arguments):
        self.ran.append(system.name)
        if system.name == "peak":
            return 2.0, 2.0, 1
        cost = self.cost_us(system.name, dict(zip(arguments[::2], arguments[1::2])))
        return 100 * 1e-6 * cost / len(self.cores), 100 * 1e-6 * cost / 2 / len(self.cores), 100

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


CHECKS = [one_failed_cell_is_told_there_and_costs_no_other]

for check in CHECKS:
    check()
    print(f"ok       {check.__name__}")
