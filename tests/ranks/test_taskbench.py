"""Task graphs in each driver that is built.

Every pattern comes out, also several graphs and large outputs, and a spoiled output makes the run fail.
"""
import os
import re
import sys

import runs

# With the inputs that each has in SMALL.
PATTERNS = {"trivial": 0, "no_comm": 20, "stencil_1d": 52, "stencil_1d_periodic": 60, "dom": 4, "tree": 16, "fft": 44,
            "all_to_all": 100, "nearest": 52, "spread": 55, "random_nearest": 52}
# What Task Bench's own scripts read from a run: whole lines, of each graph and of all together.
OF_A_GRAPH = [r"Iterations: (\d+)", r"Output Bytes: (\d+)", r"Time Steps: (\d+)", r"Max Width: (\d+)"]
OF_ALL = [r"Total Tasks (\d+)", r"Total FLOPs (\d+)", r"Total Bytes (\d+)", r"Elapsed Time (\d+\.\d+e[+-]\d+) seconds"]
SMALL = ["-steps", "5", "-width", "5", "-kernel", "compute_bound", "-iter", "4", "-fraction", "1"]
drivers = sys.argv[1:]


def launches(driver):
    """(ranks, options) that it is run with."""
    name = os.path.basename(driver)
    if "mpi" in name:
        return [(1, []), (2, []), (3, [])]
    if "manta" in name:
        return [(0, []), (2, [])]
    return [(0, ["-worker", "2"])]


def run(driver, ranks, *options):
    runs.Job.uses_mpi = any(word in os.path.basename(driver) for word in ("mpi", "spmd"))
    return runs.run(ranks, driver, *options, MANTA_WORKERS="2", STARPU_SILENT="1", OMP_WAIT_POLICY="passive")


def number(result, name):
    found = re.search(rf"^{name} (\S+)", result.out, re.MULTILINE)
    runs.check(found, f"printed no {name}", result)
    return float(found[1])


def comes_out(driver, ranks, *options):
    result = run(driver, ranks, *options)
    runs.check(result.code == 0, f"{driver} {' '.join(options)} on {ranks} ranks ended with {result.code}", result)
    return result


def graphs(*names):
    """Options of one graph for each pattern."""
    words = []
    for name in names:
        words += ["-type", name, "-and"]
    return words[:-1]


def check_lines(result, graph_count):
    for lines, times in (OF_A_GRAPH, graph_count), (OF_ALL, 1):
        for line in lines:
            found = re.findall(rf"^ *{line}$", result.out, re.MULTILINE)
            runs.check(len(found) == times, f"{len(found)} lines {line}, not {times}", result)


def every_pattern_in_one_run_of_several_graphs():
    for driver in drivers:
        for ranks, options in launches(driver):
            result = comes_out(driver, ranks, *SMALL, *options, *graphs(*PATTERNS))
            runs.check(number(result, "Total Dependencies") == sum(PATTERNS.values()), "another graph", result)
            runs.check(number(result, "Elapsed Time") > 0 and number(result, "FLOP/s") > 0, "no time", result)
            check_lines(result, len(PATTERNS))


def outputs_of_every_size_and_more_inputs_than_parameters():
    for driver in drivers:
        ranks, options = launches(driver)[-1]
        # A recorded point has its inputs as parameters.
        width = "10" if "recorded" in driver else "20"
        comes_out(driver, ranks, *options, "-steps", "4", "-type", "nearest", "-output", "48", "-and", "-output", "65536",
                  "-and", "-output", "1048576", "-and", "-type", "all_to_all", "-width", width, "-output", "16", "-passes", "2")


def a_spoiled_output_fails_the_run():
    """Its consumer finds it, also one whose own output nobody reads (tree)."""
    for driver in drivers:
        ranks, options = launches(driver)[-1]
        for pattern in ("stencil_1d", "tree"):
            result = run(driver, ranks, *SMALL, *options, "-type", pattern, "-plant", "2,2")
            runs.check(result.code == 1 and "expected the output of step 2, point 2" in result.err,
                       f"{driver} {pattern} ended with {result.code}", result)


def wrong_options_are_told():
    for driver in drivers:
        result = run(driver, 0, "-type", "ring")
        runs.check(result.code == 2 and "-type ring" in result.err, f"{driver} ended with {result.code}", result)


runs.need_mpirun()
runs.main([every_pattern_in_one_run_of_several_graphs, outputs_of_every_size_and_more_inputs_than_parameters,
           a_spoiled_output_fails_the_run, wrong_options_are_told])
