"""What was done to jobs, and what became of them: a JSON line for each job to a file, a table at the end."""
import json
import os
import time


class Report:
    def __init__(self, path, seed):
        self.path, self.seed, self.lines = path, seed, []
        with open(path, "w"):
            pass

    def add(self, scene, injected, outcome, run=None, **more):
        """`injected`: words, one for each thing done; `outcome`: a word or two; `run` has code and seconds."""
        line = {"scene": scene, "seed": self.seed, "injected": injected, "outcome": outcome, **more}
        if run:
            line.update(code=run.code, seconds=round(run.seconds, 2))
        self.lines.append(line)
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")

    def table(self):
        rows = {}
        for line in self.lines:
            row = rows.setdefault(line["scene"], {"jobs": 0, "injected": 0, "outcomes": {}, "longest": 0})
            row["jobs"] += 1
            row["injected"] += len(line["injected"])
            row["outcomes"][line["outcome"]] = row["outcomes"].get(line["outcome"], 0) + 1
            row["longest"] = max(row["longest"], line.get("seconds", 0))
        print(f"{'scene':40} {'jobs':>5} {'injected':>9} {'longest':>8}  outcomes")
        for scene, row in rows.items():
            outcomes = ", ".join(f"{count} {word}" for word, count in sorted(row["outcomes"].items()))
            print(f"{scene:40} {row['jobs']:5} {row['injected']:9} {row['longest']:7.1f}s  {outcomes}")
        print(f"each job is a line of {self.path}", flush=True)


def seed():
    """MANTA_SEED, or one of the clock; printed, because it repeats what is random here."""
    value = int(os.environ.get("MANTA_SEED") or time.time())
    print(f"seed {value} (MANTA_SEED)", flush=True)
    return value
