#!/usr/bin/env python3
"""Adds up the meson test logs of several builds.

    summary.py FOLDER NAME ...

reads the logs FOLDER/NAME/meson-logs/*.json of each build, lists what failed and what was
skipped with its reason, and ends with the line "N passed, N failed, N skipped". A build without
a log did not get as far as its tests and counts as one failure, and so does one whose runner
broke off: FOLDER/NAME/meson-logs/exit, its exit codes, has others than 0 although no test
failed. Exits 1 when anything failed or nothing passed.
"""
import json
import pathlib
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}


def read_logs(folder):
    """The results of one build, one JSON object a line; a cut-off last line is left out."""
    results = []
    for path in sorted(folder.glob("*.json")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                results.append(json.loads(line))
            except ValueError:
                print(f"{path}: not a result: {line[:60]}")
    return results


def reason(result):
    """The last line that a skipped test printed."""
    text = (result.get("stdout") or "") + (result.get("stderr") or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def add_build(name, logs):
    """Prints what did not pass. Returns how many tests passed, failed, were skipped."""
    results = read_logs(logs)
    if not results:
        print(f"failed: {name}: no test ran")
        return 0, 1, 0
    passed = failed = skipped = 0
    for result in results:
        if result["result"] in PASSED:
            passed += 1
        elif result["result"] in SKIPPED:
            skipped += 1
            print(f"skipped: {name}: {result['name']}: {reason(result)}")
        else:
            failed += 1
            print(f"failed: {name}: {result['name']}: {result['result']}")
    codes = (logs / "exit").read_text().split() if (logs / "exit").exists() else ["none"]
    if set(codes) != {"0"} and failed == 0:
        failed += 1
        print(f"failed: {name}: the test runner ended early, exit code {', '.join(codes)}")
    return passed, failed, skipped


def main(folder, names):
    builds = [add_build(name, pathlib.Path(folder) / name / "meson-logs") for name in names]
    passed, failed, skipped = (sum(counts) for counts in zip(*builds))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
