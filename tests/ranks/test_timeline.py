"""The timeline of whole jobs (MANTA_TIMELINE), read by manta trace: what is drawn is what the counters counted.

    test_timeline.py TIMELINE MANTA
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import runs

program, manta = sys.argv[1:3]


def convert(folder, *options):
    out = os.path.join(folder, "trace.json")
    done = subprocess.run([manta, "trace", folder, "-o", out, *options], capture_output=True, text=True, timeout=60)
    runs.check(done.returncode == 0, f"manta trace: {done.returncode}: {done.stderr}")
    with open(out) as file:
        return json.load(file), done.stderr


def timed(folder, ranks, *words, **env):
    job = runs.Job(ranks, program, *words, MANTA_TIMELINE=folder, **env)
    job.wait(60)
    return job


def counters(text):
    found = re.findall(r"rank (\d+) executed (\d+) parked (\d+) sent (\d+) received (\d+)", text)
    return {int(rank): tuple(map(int, counts)) for rank, *counts in found}


def slices(trace, rank=None):
    return [event for event in trace["traceEvents"] if event["ph"] == "X" and event["cat"] in ("task", "map", "graph")
            and rank in (None, event["pid"])]


def check_nesting(trace):
    """On a thread a slice lies in another or beside it."""
    threads = {}
    for event in slices(trace):
        threads.setdefault((event["pid"], event["tid"]), []).append(event)
    for thread, events in threads.items():
        ends = []
        for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
            end = event["ts"] + event["dur"]
            while ends and ends[-1] <= event["ts"] + 0.0005:
                ends.pop()
            runs.check(not ends or end <= ends[-1] + 0.0015, f"slices overlap on {thread}: {event}")
            ends.append(end)


def check_whole(trace, said, ranks):
    runs.check(sorted(said) == list(range(ranks)), f"{ranks} ranks told their counters: {said}")
    for about in trace["otherData"]["ranks"]:
        executed, parked, sent, received = said[about["rank"]]
        mine = slices(trace, about["rank"])
        whole = [event for event in mine if "piece" not in event["args"]]
        marks = [event["args"] for event in trace["traceEvents"]
                 if event["ph"] == "i" and event["cat"] == "message" and event["pid"] == about["rank"]]
        drawn = tuple(sum(name in args for args in marks) for name in ("to", "from"))
        pieces = {(event["args"]["ref"], event["name"]) for event in mine if "piece" in event["args"]}
        runs.check(about["begun"] == about["ended"] == executed == len(whole) + len(pieces),
                   f"{executed} executed, {len(whole)} and {len(pieces)} drawn: {about}")
        runs.check(about["parked"] == about["resumed"] == parked, f"{parked} parked: {about}")
        runs.check((about["sent"], about["received"]) == (sent, received), f"{sent}, {received} messages: {about}")
        runs.check(drawn == (sent, received), f"{sent}, {received} messages, {drawn} drawn: {about}")
        runs.check(about["complete"] and not any(about[name] for name in ("open", "strays", "lost", "damaged_bytes")),
                   f"not whole: {about}")


def what_is_drawn_is_what_was_counted():
    for ranks in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            job = timed(folder, ranks if ranks > 1 else 0)
            runs.check(job.code == 0, f"ended with {job.code}", job)
            trace, said = convert(folder, "--messages")
            check_whole(trace, counters(job.out), ranks)
            check_nesting(trace)
            names = {event["name"] for event in slices(trace)}
            runs.check(names == {"leaf", "branch"}, f"names {names}")
            begins = {event["id"] for event in trace["traceEvents"] if event["ph"] == "s"}
            ends = [event["id"] for event in trace["traceEvents"] if event["ph"] == "f"]
            runs.check(len(ends) == 500 + 127 and set(ends) <= begins, f"{len(ends)} arrows of {len(begins)}")
            runs.check(f"{ranks} of {ranks} ranks" in said, said)
            job.check_clean()
            job.close()


def nodes_of_a_graph_have_their_round_and_no_arrows():
    nodes, rounds = 4, 25
    for ranks in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            job = timed(folder, ranks if ranks > 1 else 0, "graph")
            runs.check(job.code == 0, f"ended with {job.code}", job)
            trace, _ = convert(folder, "--messages")
            check_whole(trace, counters(job.out), ranks)
            drawn = slices(trace)
            runs.check({(event["cat"], event["name"]) for event in drawn} == {("graph", "node")}, f"{drawn[:3]}")
            found = sorted((event["args"]["round"], event["args"]["node"].rsplit(".", 1)[1]) for event in drawn)
            runs.check(found == sorted((i, str(k)) for i in range(rounds) for k in range(nodes)), f"{found[:9]}")
            runs.check({event["pid"] for event in drawn} == set(range(ranks)), "a rank has none")
            arrows = [event for event in trace["traceEvents"] if event["ph"] in ("s", "f")]
            runs.check(not arrows, f"{len(arrows)} arrows, such as {arrows[:2]}")
            job.close()


def a_rank_that_is_killed_leaves_what_it_was_in():
    with tempfile.TemporaryDirectory() as folder:
        timeline = os.path.join(folder, "timeline")
        job = timed(timeline, 3, os.path.join(folder, "died"))
        killed = [rank for rank in range(3) if rank not in counters(job.out)]
        runs.check(len(killed) == 1 or job.code == 137, f"{killed} killed, ended with {job.code}", job)
        trace, said = convert(timeline)
        cut = [event for event in slices(trace) if event["name"] == "dies" and event["args"].get("end") == "unknown"]
        runs.check(len(cut) == 1, f"{len(cut)} slices of the body that died, not 1")
        dead = cut[0]["pid"]
        heard = [event for event in trace["traceEvents"] if event.get("cat") == "death"]
        runs.check(dead == 0 or {event["name"] for event in heard} == {f"rank {dead} is dead"}, f"heard {heard}")
        runs.check("end early" in said, said)
        job.close()


def what_is_written_is_for_its_user_alone():
    before = os.umask(0)
    with tempfile.TemporaryDirectory() as folder:
        timeline = os.path.join(folder, "timeline")
        job = timed(timeline, 2)
        runs.check(job.code == 0, f"ended with {job.code}", job)
        job.close()
        names = sorted(os.listdir(timeline))
        modes = {name: os.stat(os.path.join(timeline, name)).st_mode & 0o7777 for name in names}
        runs.check(names == ["rank-0.timeline", "rank-1.timeline"] and set(modes.values()) == {0o600}, f"{modes}")
        runs.check(os.stat(timeline).st_mode & 0o7777 == 0o700, f"{os.stat(timeline).st_mode:o}")
    os.umask(before)


def a_damaged_file_costs_what_is_damaged():
    with tempfile.TemporaryDirectory() as folder:
        job = timed(folder, 2)
        path = os.path.join(folder, "rank-1.timeline")
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(b"\xff" * 64)
        trace, said = convert(folder)
        runs.check("damaged" in said and trace["otherData"]["ranks"][1]["damaged_bytes"] > 0, said)
        runs.check(trace["otherData"]["ranks"][0]["damaged_bytes"] == 0, "the other file too")
        os.truncate(os.path.join(folder, "rank-1.timeline"), 0)
        os.mkfifo(os.path.join(folder, "rank-7.timeline"))
        trace, said = convert(folder)
        runs.check("2 files are left out" in said and len(trace["otherData"]["ranks"]) == 1, said)
        job.close()


def mistakes_are_refused_with_what_to_do():
    job = runs.Job(0, program, MANTA_TIMELINE="/no/such/place").wait()
    runs.check(job.code != 0 and "/no/such/place" in job.err and "MANTA_TIMELINE" in job.err, "not refused", job)
    job.close()
    with tempfile.TemporaryDirectory() as folder:
        for words, code, text in ([], 2, "no directory"), (["-x", folder], 2, "-x"), ([folder], 125, "MANTA_TIMELINE="), \
                (["/no/such/place"], 125, "/no/such/place"):
            done = subprocess.run([manta, "trace", *words], capture_output=True, text=True, timeout=60)
            runs.check(done.returncode == code and text in done.stderr, f"{words}: {done.returncode} {done.stderr}")
        open(os.path.join(folder, "rank-0.timeline"), "w").write("no timeline" * 100)
        done = subprocess.run([manta, "trace", folder], capture_output=True, text=True, timeout=60)
        runs.check(done.returncode == 125 and "no timeline of this version" in done.stderr, done.stderr)


runs.need_mpirun()
runs.Job.launcher_options = ["--enable-recovery"]
runs.main([what_is_drawn_is_what_was_counted, nodes_of_a_graph_have_their_round_and_no_arrows,
           a_rank_that_is_killed_leaves_what_it_was_in, what_is_written_is_for_its_user_alone,
           a_damaged_file_costs_what_is_damaged, mistakes_are_refused_with_what_to_do])
