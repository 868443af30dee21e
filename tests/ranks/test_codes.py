"""What a job returns, and what it says: test_codes.py CONDUCT. Alone and on three ranks."""
import sys

import runs

program = sys.argv[1]
counts = [0, 3]


def code(count, *arguments, **env):
    return runs.run(count, program, *arguments, **env)


def drivers_code_is_the_jobs_code():
    for count in counts:
        for number in (0, 1, 7, 255):
            result = code(count, "code", str(number))
            runs.check(result.code == number, f"{number} became {result.code} on {count}", result)


def what_fits_no_byte_is_no_success():
    result = code(0, "code", "256")
    runs.check(result.code == 255, f"256 became {result.code}", result)


def negative_code_is_told_and_becomes_1():
    for count in counts:
        result = code(count, "code", "-3")
        runs.check(result.code == 1, f"ended with {result.code}", result)
        runs.check(result.err.count("manta: the driver returned -3: timed out (E_TIMEOUT)") == 1, "not told once", result)


def failed_task_is_told_with_its_place():
    for count in counts:
        result = code(count, "failed")
        runs.check(result.code == 1, f"ended with {result.code}", result)
        rank = max(count, 1) - 1
        for part in ("the driver failed", "E_TASK", "task fails", "conduct.c:", f"on rank {rank} of {runs.HOST}",
                     "this one always fails"):
            runs.check(result.err.count(part) == 1, f"{part!r} is not there once", result)


def hooks_run_on_every_rank():
    for count in counts:
        size = max(count, 1)
        result = code(count, "hooks")
        runs.check(result.code == 0, f"ended with {result.code}", result)
        expected = sorted([f"start {rank} of {size}" for rank in range(size)] + ["stop"] * size)
        runs.check(sorted(result.out.split("\n")[:-1]) == expected, "other hooks ran", result)


def failing_start_hook_fails_the_start():
    result = code(3, "hooks", "5")
    runs.check(result.code == 1 and result.err.count("a start hook on rank 1 returned 5") == 1,
               f"ended with {result.code}", result)
    runs.check("stop" not in result.out, "stop hooks ran", result)


def bad_variable_is_refused_by_name():
    result = code(0, "code", "0", MANTA_WORKER="2")
    runs.check(result.code == 1 and "MANTA_WORKER: no such option; did you mean MANTA_WORKERS?" in result.err,
               f"ended with {result.code}", result)
    for name, value in (("WORKERS", "many"), ("STACK_BYTES", "1"), ("SPIN", "5"), ("LOG_LEVEL", "9"),
                        ("LAUNCH_TIMEOUT", "1"), ("STOP_TIMEOUT", "x"), ("PARKED_MAX", "0"), ("WINDOW_MAX", "0"),
                        ("PIN", "maybe"), ("ALONE", "2")):
        result = code(0, "hooks", **{f"MANTA_{name}": value})
        runs.check(result.code == 1 and f"MANTA_{name}={value}: expected" in result.err and result.out == "",
                   f"MANTA_{name}={value}: ended with {result.code}", result)


def good_variables_are_taken():
    result = code(0, "brief", MANTA_WORKERS="3", MANTA_STACK_BYTES="64k", MANTA_SPIN="0us", MANTA_PIN="off",
                  MANTA_PARKED_MAX="8", MANTA_WINDOW_MAX="16")
    runs.check(result.code == 0 and result.err == "", f"ended with {result.code}", result)


def task_overflow_is_named():
    for count in counts:
        result = code(count, "overflow")
        runs.check(result.code in runs.FAULT_CODES, f"ended with {result.code}", result)
        runs.check("manta: stack overflow in task digs on rank" in result.err, "not named", result)


def drivers_overflow_is_named():
    result = code(0, "overflow", "driver")
    runs.check(result.code in runs.FAULT_CODES and "manta: stack overflow in the driver on rank 0" in result.err,
               f"ended with {result.code}", result)


runs.need_mpirun()
runs.main([drivers_code_is_the_jobs_code, what_fits_no_byte_is_no_success, negative_code_is_told_and_becomes_1,
           failed_task_is_told_with_its_place, hooks_run_on_every_rank, failing_start_hook_fails_the_start,
           bad_variable_is_refused_by_name, good_variables_are_taken, task_overflow_is_named,
           drivers_overflow_is_named])
