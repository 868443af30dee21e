#!/usr/bin/env python3
"""Writes the hand-made part of corpus/message: one sound message of each kind, and some stories.

    tests/fuzz/message_seeds.py FOLDER

The rest of the corpus is what libFuzzer found from these (message_fuzz.c says how an input looks).
"""
import pathlib
import re
import struct
import sys

HEADER = pathlib.Path(__file__).parents[2] / "src" / "core" / "message.h"
KINDS = re.findall(r"^    X\(([A-Z_]+), ", HEADER.read_text(), re.M)  # in their order
ROOT = 1 << 63


def fnv(value, data):
    for byte in data:
        value = ((value ^ byte) * 16777619) & 0xffffffff
    return value


def function(name, *params):
    """The hash that stands for a task in messages: see registry.c."""
    value = fnv(2166136261, name.encode())
    for kind, size, type_name in params:
        value = fnv(value, struct.pack("<II", kind, size) + type_name.encode() + b"\0")
    return value


VAL, TEXT, SPAN, IN, REFS, OUT, OUTV, OUTREFS = 1, 2, 3, 4, 7, 8, 9, 10
ADD = function("fuzz_add", (IN, 8, "int64_t"), (VAL, 8, "int64_t"), (OUT, 8, "int64_t"))
PARENT = function("fuzz_parent", (VAL, 4, "int32_t"), (OUT, 8, "int64_t"))
INDEX = function("fuzz_index", (OUT, 8, "uint64_t"))


def message(kind, body=b"", sender=1, subject=0x10, attempt=1, raw=b""):
    number = KINDS.index(kind) + 1
    return struct.pack("<BBBBH", number, sender - 1, subject, attempt, len(body)) + raw + body


def task(hash_, args, flags=4, extra=b"", **where):
    return message("TASK", struct.pack("<IHh", hash_, flags, 0) + extra + args, **where)


def result(code=0, flags=0, outputs=1, token=1, rest=b"", **where):
    return message("RESULT", struct.pack("<iHHI", code, flags, outputs, token) + rest, **where)


def ref(parent, position, owner):
    return struct.pack("<QII", parent, position, owner)


def value(*outputs):
    """Outputs as they travel: bytes and kind of each, then the data."""
    return b"".join(struct.pack("<II", len(data), is_refs) + data for data, is_refs in outputs)


def request(parent, position, instance, what):
    return struct.pack("<QIIII", parent, position, instance, what, 0)


def answer(parent, position, what, data=b""):
    return struct.pack("<QIHH", parent, position, what, len(data)) + data


def stories():
    for kind in KINDS:
        yield kind.lower(), message(kind, b"\1" + b"\0" * 63)
        yield kind.lower() + "_empty", message(kind)
    parent_args = struct.pack("<i", 3)
    add_args = struct.pack("<IIqq", 8, 0, 5, 6)
    yield "task_runs", task(PARENT, parent_args, subject=0x20) + task(ADD, add_args, subject=0x21)
    yield "task_again", task(PARENT, parent_args, flags=12, extra=struct.pack("<II", 2, 1), subject=0x20)
    yield "task_digest", task(PARENT, parent_args, flags=0, extra=struct.pack("<Q", 99), subject=0x40)
    yield "task_lease", task(INDEX, b"", flags=6, extra=struct.pack("<QQ", 3, 9), subject=0x20)
    yield "task_watched", task(PARENT, parent_args, flags=44, extra=struct.pack("<II", 2, 1), subject=0x20)
    yield "task_lease_watched", task(INDEX, b"", flags=38, extra=struct.pack("<QQ", 3, 9), subject=0x20)
    yield "begun_of_map", message("BEGUN", struct.pack("<Q", 0), subject=0x15)
    yield "task_lease_of_parent", task(PARENT, parent_args, flags=6, extra=struct.pack("<QQ", 0, 5), subject=0x20)
    yield "task_unknown", task(12345, b"", subject=0x20)
    yield "task_cancelled", task(PARENT, parent_args, subject=0x20) + message("CANCEL", subject=0x20)
    yield "result_value", result(rest=struct.pack("<q", 7), subject=0x10) + result(token=9, subject=0x11)
    yield "result_error", result(code=5, rest=b"\5" + b"\0" * 47, subject=0x10)
    yield "result_refs", result(outputs=2, flags=8, sender=2, subject=0x13,
                                rest=value((b"abc", 0), (ref(ROOT | 2, 0, 2) + ref(ROOT, 1, 0), 1)))
    yield "result_kept", result(flags=4, rest=struct.pack("<I", 1) + ref(ROOT, 2, 0) + struct.pack("<II", 3, 0))
    yield "result_displaced", result(flags=64) + result(flags=2)
    yield "result_lease", result(flags=32, rest=struct.pack("<QQI", 0, 2, 0) + b"\0" * 16, subject=0x15)
    yield "hold", message("HOLD", struct.pack("<II", 1, 4))
    yield "request_each", b"".join(message("REQUEST", request(ROOT, 2, 4, what)) for what in (1, 2, 3, 6, 7, 8, 255))
    yield "request_many", message("REQUEST", b"".join(request(ROOT, k, 5, 3) for k in range(12)))
    yield "request_and_let_go", message("REQUEST", request(ROOT, 2, 4, 3) + request(ROOT, 2, 4, 8) + request(ROOT, 2, 6, 1))
    yield "request_cut", message("REQUEST", request(ROOT, 2, 4, 3) + request(ROOT, 3, 4, 3)[:10])
    yield "request_elsewhere", message("REQUEST", request(77, 2, 4, 3) + request(ROOT | 1, 2, 4, 3))
    refs_result = result(outputs=2, flags=8, sender=2, subject=0x13,
                         rest=value((b"abc", 0), (ref(ROOT | 2, 0, 2) + ref(ROOT | 2, 1, 2), 1)))
    for name, answers in (("held", answer(ROOT | 2, 0, 1) + answer(ROOT | 2, 1, 3, b"12345678")),
                          ("value", answer(ROOT | 2, 0, 3, b"x" * 64) + answer(ROOT | 2, 1, 7, b"y" * 200)),
                          ("cut", answer(ROOT | 2, 0, 3, b"x" * 64)[:40]), ("unknown", answer(5, 6, 3, b"z"))):
        yield "answer_" + name, refs_result + message("ANSWER", answers, sender=2)
    yield "two_senders", task(PARENT, parent_args, subject=0x20) + task(PARENT, parent_args, sender=2, subject=0x20)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in stories():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
