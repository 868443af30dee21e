#!/usr/bin/env python3
"""Checks that a room of src/ includes only its own headers and those of rooms it may need.

The order of rooms and what each needs is read from src/meson.build and src/<room>/meson.build, so there is
one place that says it. Prints each offending line; exits 1 when there is one.

    check_layers.py SOURCE_ROOT
"""
import pathlib
import re
import sys


def rooms_and_needs(src):
    needs = {}
    for build in sorted(src.glob("*/meson.build")):
        match = re.search(r"^needs = \[(.*?)\]", build.read_text(), re.M | re.S)
        needs[build.parent.name] = set(re.findall(r"'(\w+)'", match.group(1))) if match else set()
    return needs


def offences(src, needs):
    for path in sorted(src.glob("*/*.[ch]")):
        room = path.parent.name
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'#include "(\w+)/', line)
            if match and match.group(1) in needs and match.group(1) not in needs[room] | {room}:
                yield f"{path}:{number}: {room} may not include {match.group(1)}"


def main():
    src = pathlib.Path(sys.argv[1]) / "src"
    needs = rooms_and_needs(src)
    found = list(offences(src, needs))
    print("\n".join(found) if found else f"{len(needs)} rooms keep to their layers")
    return 1 if found else 0


sys.exit(main())
