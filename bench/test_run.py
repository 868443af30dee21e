"""run.py on what takes least, as a user starts it: its JSON and its page have the parts that were asked for.

    test_run.py BUILD
"""
import html.parser
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ["timeline", "scaling"]
build = os.path.abspath(sys.argv[1])


class Cells(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.texts, self.plots = [], 0

    def handle_starttag(self, tag, attributes):
        self.plots += tag == "svg"

    def handle_data(self, data):
        self.texts.append(data)


def run(folder, *words):
    done = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), "--build", build, *words], cwd=folder, capture_output=True,
                          text=True, timeout=500)
    return done.returncode, done.stdout, done.stderr


with tempfile.TemporaryDirectory() as folder:
    figures, page = os.path.join(folder, "figures.json"), os.path.join(folder, "page.html")
    code, out, err = run(folder, "--quick", "--only", ",".join(PARTS), "--json", figures, "--html", page)
    assert code == 0, f"ended with {code}: {out}{err}"
    with open(figures) as file:
        data = json.load(file)
    cells = Cells()
    with open(page) as file:
        cells.feed(file.read())
    assert [row["program"] for row in data["rows"] if "median" in row].count("timeline") == 1, data["rows"]
    assert {row["program"] for row in data["rows"]} == set(PARTS) and not any("missing" in row for row in data["rows"])
    assert [point["ranks"] for point in data["scaling"]] == [10, 30, 100, 300, 1000]
    assert set(data["seconds"]) == {*PARTS, "all"} and data["seconds"]["all"] >= sum(data["seconds"][name] for name in PARTS)
    for row in data["rows"]:
        assert row["metric"] in cells.texts and row["metric"] in out, row
        assert row["min"] <= row["q1"] <= row["median"] <= row["q3"], row
    assert cells.plots == 1 + sum("ratio" in row for row in data["rows"])
    assert all(f"written: {path}" in out for path in (figures, page)), out
    print("ok       a_quick_run_writes_what_it_prints")

    code, _, err = run(folder, "--only", "nothing")
    assert code == 2 and "no benchmark nothing" in err and "timeline" in err, err
    print("ok       a_wrong_name_is_told")
