"""Task graphs in Ray, as one writes it: refs of the row before are arguments of the next.

TASKBENCH_CORE names the core's library.
"""
import os
import sys

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
import ray  # noqa: E402

import peers  # noqa: E402


def run(app):
    here = os.path.dirname(os.path.abspath(__file__))
    ray.init(num_cpus=app.workers or None, include_dashboard=False, log_to_driver=False, configure_logging=False,
             runtime_env={"env_vars": {"PYTHONPATH": here, "TASKBENCH_CORE": os.environ["TASKBENCH_CORE"]}})
    point = ray.remote(peers.execute)
    try:
        return peers.time_passes(app, lambda: ray.get(
            peers.walk(app, lambda graph, step, column, inputs: point.remote(graph, step, column, *inputs))))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(peers.main(run))
