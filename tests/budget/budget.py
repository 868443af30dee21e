#!/usr/bin/env python3
"""Counts the instructions of Manta's operations and holds them to the checked-in budget.

    budget.py PROGRAM COMPILER [PHASE] [--update]

runs PROGRAM under callgrind, takes the self cost of every function in the rooms under src/ (not the
simulator's, not libc's: they are no part of a real rank's way, or not ours), divides by the number of
calls and compares with budget.txt beside this file. More than 5 % and one instruction above the
budget fails; far below is told, so that the budget can follow (--update rewrites it). Counts
depend on the compiler: with another than the budget's it skips (77). With a PHASE
(sim.submit) it lists that one's functions instead.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

CALLS = 100
GROWTH = 1.05
SKIP = 77
BUDGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budget.txt")
# Not the simulator, nor the map that it keeps its events in.
OURS = re.compile(r"/src/(base|topo|fiber|wire|comm|sched|core)/(?!sim|map\.[ch]$)[a-z_]+\.[ch]$|/src/core/map\.[ch]$")
THEIRS = re.compile(r"(sim|net)_")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


def read_dump(path):
    """The phase's name and its instructions by (file, function)."""
    name, files, functions, costs = None, {}, {}, {}
    file = function = None
    is_call = False
    for line in open(path, errors="replace"):
        line = line.strip()
        if line.startswith("desc: Trigger: Client Request: "):
            name = line.rsplit(": ", 1)[1]
        elif re.match(r"(fl|fi|fe|fn)=", line):
            kind, number, text = re.match(r"(\w+)=\((\d+)\)(?: (.*))?", line).groups()
            table = functions if kind == "fn" else files
            if text:
                table[number] = text
            if kind == "fn":
                function = table[number]
            else:
                file = table[number]
        elif line.startswith("calls="):
            is_call = True  # the next line is the callee's cost
        elif re.match(r"[+*-]?\d*\*? ?\d", line) and file:
            if not is_call:
                cost = int(line.split()[1]) if len(line.split()) > 1 else 0
                costs[file, function] = costs.get((file, function), 0) + cost
            is_call = False
        elif re.match(r"(cfn|cfi|cfl|cob)=", line):
            match = re.match(r"(\w+)=\((\d+)\) (.*)", line)
            if match and match[1] == "cfn":
                functions[match[2]] = match[3]
            elif match and match[1] != "cob":
                files[match[2]] = match[3]
    return name, costs


def measure(program, detail):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={out}", program],
                              capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-3000:])
            sys.exit(f"{program} failed under valgrind: {done.returncode}")
        counts = {}
        for path in sorted(glob.glob(out + ".*")):
            name, costs = read_dump(path)
            if not name:
                continue
            ours = {key: cost for key, cost in costs.items() if OURS.search(key[0]) and not THEIRS.match(key[1])}
            counts[name] = sum(ours.values()) / CALLS
            if detail == name:
                for (file, function), cost in sorted(ours.items(), key=lambda item: -item[1])[:40]:
                    print(f"{cost / CALLS:8.1f}  {function}  {os.path.basename(file)}")
    return counts


def read_budget():
    compiler, budget = None, {}
    for line in open(BUDGET):
        words = line.split()
        if line.startswith("# compiler: "):
            compiler = line.split(": ", 1)[1].strip()
        elif words and not line.startswith("#"):
            budget[words[0]] = float(words[1])
    return compiler, budget


def write_budget(compiler, counts):
    with open(BUDGET, "w") as file:
        file.write("# Instructions per operation at -O3. Made by budget.py --update; see there.\n"
                   f"# compiler: {compiler}\n")
        for name, count in sorted(counts.items()):
            file.write(f"{name:24} {count:8.1f}\n")


def main():
    arguments = [word for word in sys.argv[1:] if not word.startswith("--")]
    program, compiler = arguments[:2]
    detail = arguments[2] if len(arguments) > 2 else None
    if not shutil.which("valgrind"):
        skip("valgrind is not installed")
    if "--update" not in sys.argv and not detail and read_budget()[0] != compiler:
        skip(f"the budget is for {read_budget()[0]}, this is {compiler}")
    counts = measure(program, detail)
    if not counts:
        sys.exit("callgrind dumped nothing")
    if detail:
        return 0
    if "--update" in sys.argv:
        write_budget(compiler, counts)
        return 0
    budget, failed = read_budget()[1], False
    for name in sorted(set(counts) | set(budget)):
        count, allowed = counts.get(name), budget.get(name)
        if count is None or allowed is None:
            verdict, failed = "in the budget only" if count is None else "not in the budget", True
        elif count > allowed * GROWTH + 1:
            verdict, failed = f"{100 * (count / allowed - 1):+.0f} %: TOO MANY", True
        elif count < allowed / GROWTH - 1:
            verdict = f"{100 * (count / allowed - 1):+.0f} %: lower the budget (--update)"
        else:
            verdict = "ok"
        print(f"{name:24} {count or 0:8.1f} of {allowed or 0:8.1f}  {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
