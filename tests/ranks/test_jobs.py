"""The self-checking job on 1 to 64 ranks: test_jobs.py CHECK COUNT..., 0 is without a launcher."""
import sys

import runs

program, counts = sys.argv[1], [int(count) for count in sys.argv[2:]]


def on(count):
    def job_checks_itself():
        result = runs.run(count, program, str(max(count, 1)), seconds=100)
        runs.check(result.code == 0 and result.out == "ok\n", f"ended with {result.code}", result)
        runs.check(result.err == "", "said something", result)
    job_checks_itself.__name__ += f"_on_{count}_ranks"
    return job_checks_itself


if any(counts):
    runs.need_mpirun()
runs.main([on(count) for count in counts])
