"""Task graphs in Dask, with futures: those of the row before are arguments of the next.

TASKBENCH_CORE names the core's library.
"""
import logging
import sys

import dask
from dask.distributed import Client, LocalCluster

import peers


def run(app):
    logging.disable(logging.WARNING)
    dask.config.set({"distributed.worker.daemon": False})
    with LocalCluster(n_workers=app.workers or None, threads_per_worker=1, dashboard_address=None) as cluster, \
            Client(cluster) as client:
        def submit(graph, step, column, inputs):
            return client.submit(peers.execute, graph, step, column, *inputs, pure=False)
        return peers.time_passes(app, lambda: client.gather(peers.walk(app, submit)))


if __name__ == "__main__":
    sys.exit(peers.main(run))
