#!/usr/bin/env python3
"""Which test covers which behaviour: docs/behaviours.md, made from the names of tests.

    tools/behaviours.py           writes docs/behaviours.md
    tools/behaviours.py --check   fails when it is not current

A test covers behaviour NN when its function is called behaviour_NN_what_it_proves (or test_behaviour_NN_...).
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "behaviours.md"
NAME = re.compile(r"^(?:(?:static )?(?:int|void)|def) ((?:test_)?behaviour_(\d\d)_\w+)\([^;\n]*$", re.MULTILINE)

BEHAVIOURS = {
    1: "Arguments by value and results come back unchanged, nested and large",
    2: "A chain of 100 tasks across ranks gives 100",
    4: "Several outputs are several refs",
    5: "A task that fails fails all its outputs with the same cause",
    6: "Tasks submit tasks and wait for them, with fewer workers than waiting parents",
    8: "A redefined function never runs a stale body",
    9: "The calls are safe from ten and more threads",
    10: "An error carries the task's name, the message and where it came from; exceptions too",
    11: "Results keep their order; asking twice is fine",
    12: "After a timeout a later get succeeds",
    13: "One failure is seen at once although others still run",
    15: "wait gives exactly k of n",
    16: "wait with a timeout gives the partial split",
    17: "wait refuses duplicates and accepts an empty list",
    18: "wait with timeout 0 sees what other ranks have completed",
    20: "A small result travels in messages, a large one lies in shared memory",
    22: "A pending task's argument stays though its caller has dropped it",
    35: "A task runs where its argument bytes are",
    36: "A rank that was asked for overrides locality",
    37: "A task whose argument does not fit on one node runs on another",
    38: "Tasks whose arguments together are more than the store make progress",
    54: "A task that may not run twice is a crash error when its rank dies, and what depends on it fails",
    55: "By default three deaths of a task's rank are survived; the fourth is an error that says which attempt it was",
    56: "A lost object is made again, through several levels; when that may not be, the error says why",
    57: "With another copy nothing is made again",
    61: "Work goes on and comes out right while a rank is killed every second",
    62: "Cancelling a task fails it and its dependents, not its upstream",
    63: "A task's child can be cancelled by whoever was given its ref",
    64: "5,100 tasks with random cancels all end",
    65: "Items of a stream come before its end; an error is one item, then the end, again and again",
    66: "Consumed items are freed at once; nothing leaks on an error or a crash",
    67: "A stream's task that runs again does not repeat delivered items",
    68: "Cancel mid-stream is an error, then the end; generators chain across ranks",
    69: "Ten times the store's data is all readable, and comes back no oftener than it is read",
    70: "What is in use is never spilled; a slow or failing disk yields right data or an error",
    71: "Makers and readers under pressure all finish",
    72: "A wrong place to spill to is an error at the start",
    73: "Copies of other nodes' values go when room is needed",
    79: "A rank killed at any moment: results come once, nothing waits for ever",
    80: "Nothing outlives the job",
    81: "Eight jobs of two users start at once on one node, and none sees another",
    82: "The same numbers on any number of ranks and after retries",
    84: "A wrong launch is noticed and the right command named",
    85: "Cores and memory are those that the launcher granted",
    86: "A task in an endless loop with a time limit is ended, retried if allowed; the rank lives on",
    87: "An isolated task that crashes or exits is an error record that names the signal or code; the rank lives",
    88: "External commands as tasks: all that a shell gives them; 10,000 short ones make few files",
    89: "The library prints nothing by itself and installs no signal handler unasked",
    90: "Every public call with bad input gives an error that names the argument",
}


def page():
    tests = {}
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix in (".c", ".cc", ".py"):
            for name, number in NAME.findall(path.read_text()):
                tests.setdefault(int(number), []).append((name, path.relative_to(ROOT)))
    lines = ["# Behaviours and their tests", "",
             "What people rely on in a task system, by number, and the tests that hold Manta to it. Made by",
             "`tools/behaviours.py` from the names of tests; numbers that no test names yet are not listed.", "",
             "| number | behaviour | test | file |", "|---|---|---|---|"]
    for number in sorted(tests):
        for i, (name, path) in enumerate(sorted(set(tests[number]))):
            text = f"{number} | {BEHAVIOURS[number]}" if i == 0 else " | "
            lines.append(f"| {text} | `{name}` | {path} |")
    return "\n".join(lines) + "\n"


def main():
    text = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/behaviours.md is not current: run tools/behaviours.py")
        return
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
