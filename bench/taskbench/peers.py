"""What the two Python drivers share: the core through ctypes, options, and the walk over a graph."""
import ctypes
import functools
import os
import sys
import time

GRAPHS_MAX = 16
WHY_BYTES = 160


class Graph(ctypes.Structure):
    """struct tb_graph."""
    _fields_ = [(name, ctypes.c_uint32) for name in ("index", "steps", "width", "radix", "period")] + \
        [("pattern", ctypes.c_int), ("kernel", ctypes.c_int), ("samples", ctypes.c_uint32)] + \
        [(name, ctypes.c_uint64) for name in ("iterations", "output_bytes", "scratch_bytes")] + \
        [("fraction", ctypes.c_double), ("imbalance", ctypes.c_double)] + \
        [("plant_step", ctypes.c_int64), ("plant_point", ctypes.c_int64)]


class App(ctypes.Structure):
    """struct tb_app."""
    _fields_ = [("graph_count", ctypes.c_uint32), ("passes", ctypes.c_uint32), ("workers", ctypes.c_uint32),
                ("graphs", Graph * GRAPHS_MAX)]


class Intervals(ctypes.Structure):
    """struct tb_intervals."""
    _fields_ = [("count", ctypes.c_uint32), ("at", ctypes.c_uint32 * 2 * 64)]

    def points(self):
        return [point for first, last in self.at[:self.count] for point in range(first, last + 1)]


@functools.lru_cache(None)
def core():
    """The library beside which this run was begun; workers inherit the name."""
    library = ctypes.CDLL(os.environ["TASKBENCH_CORE"])
    library.tb_report.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    return library


def execute(graph_bytes, step, point, *inputs):
    """A task: runs a point, returns its output."""
    graph = Graph.from_buffer_copy(graph_bytes)
    output = ctypes.create_string_buffer(graph.output_bytes)
    pointers = (ctypes.c_char_p * max(1, len(inputs)))(*inputs)
    why = ctypes.create_string_buffer(WHY_BYTES)
    if any(len(one) != graph.output_bytes for one in inputs):
        raise RuntimeError("an input has another size")
    if core().tb_execute(ctypes.byref(graph), step, point, output, pointers, len(inputs), why):
        raise RuntimeError(why.value.decode())
    return output.raw


def points_of(graph, side, step, point):
    intervals = Intervals()
    getattr(core(), side)(ctypes.byref(graph), step, point, ctypes.byref(intervals))
    return intervals.points()


def walk(app, submit):
    """Submits everything by submit(graph bytes, step, point, inputs); what comes back that nobody consumes is returned."""
    rows, leaves = [{} for _ in range(app.graph_count)], []
    graphs = [app.graphs[i] for i in range(app.graph_count)]
    shared = [bytes(graph) for graph in graphs]
    for step in range(max(graph.steps for graph in graphs)):
        for i, graph in enumerate(graphs):
            offset, width = (getattr(core(), f"tb_row_{what}")(ctypes.byref(graph), ctypes.c_int64(step))
                             for what in ("offset", "width"))
            row = {}
            for point in range(offset, offset + width):
                inputs = [rows[i][other] for other in points_of(graph, "tb_inputs", step, point)]
                row[point] = submit(shared[i], step, point, inputs)
                if not points_of(graph, "tb_consumers", step, point):
                    leaves.append(row[point])
            rows[i] = row
    return leaves


def main(run):
    """run(app) returns the seconds of its passes."""
    app = App()
    words = [word.encode() for word in sys.argv]
    if core().tb_open(ctypes.byref(app), len(words), (ctypes.c_char_p * len(words))(*words)):
        return 2
    core().tb_display(ctypes.byref(app))
    seconds = run(app)
    core().tb_report(ctypes.byref(app), (ctypes.c_double * len(seconds))(*seconds), len(seconds))
    return 0


def time_passes(app, one):
    """Seconds of each, after a first one to warm up."""
    at = []
    for _ in range(app.passes + 1):
        one()
        at.append(time.monotonic())
    return [after - before for before, after in zip(at, at[1:])]
