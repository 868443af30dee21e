"""The report maker on recorded figures: each row is in the table and in the page, and the page needs nothing else.

    test_report.py
"""
import copy
import html.parser
import json
import os
import sys
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import parts  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402

with open(os.path.join(HERE, "recorded.json")) as recorded:
    DATA = json.load(recorded)


class Page(html.parser.HTMLParser):
    """Rows as lists of texts, and every attribute or text that could fetch something."""

    VOID = {"meta", "line", "rect", "circle", "polyline"}

    def __init__(self):
        super().__init__()
        self.rows, self.tags, self.links, self.open, self.styles = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "data", "action", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] == "style":
            self.styles += data


def parse(data):
    page = Page()
    page.feed(report.page(data))
    assert not page.open, f"left open: {page.open}"
    return page


def the_page_needs_nothing_else():
    page = parse(DATA)
    assert not page.links, page.links
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "url(" not in page.styles and "@import" not in page.styles


def each_row_is_in_page_and_table():
    table, page = report.table(DATA), parse(DATA)
    for row in DATA["rows"]:
        cells = [cells for cells in page.rows if cells and cells[0] == row["metric"]]
        lines = [line for line in table.splitlines() if line.strip().startswith(row["metric"])]
        assert cells and lines, f"no row {row['metric']}"
        if "missing" in row:
            assert any(row["missing"] in one[1] for one in cells), cells
            assert any(row["missing"] in line for line in lines), lines
            continue
        wanted = [report.short(row["median"]), report.short(row["q3"])] + ([row["goal"], "met" if row["met"] else "NOT met"] if "goal" in row else []) + \
            ([row["peer"], report.short(row["ratio"])] if "peer" in row else [])
        assert any(all(text in " ".join(one) for text in wanted) for one in cells), (wanted, cells)
        assert any(all(text in line for text in wanted) for line in lines), (wanted, lines)


def machine_versions_and_noise_are_said():
    for text in report.table(DATA), report.page(DATA):
        for wanted in (DATA["machine"]["cpu"], "pinned to", "noise:", "load", *DATA["machine"]["versions"]):
            assert wanted in text, wanted


def names_cannot_break_the_page():
    data = copy.deepcopy(DATA)
    data["rows"][0]["metric"] = '<script>"&'
    page = parse(data)
    assert "script" not in page.tags
    assert any(cells and cells[0] == '<script>"&' for cells in page.rows)


def the_plot_of_ranks_is_well_formed_and_has_each_point():
    drawn = xml.etree.ElementTree.fromstring(report.scaling_svg(DATA["scaling"]))
    circles = drawn.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(DATA["scaling"]) * len(report.SERIES)
    width, height = float(drawn.get("width")), float(drawn.get("height"))
    assert all(0 < float(one.get("cx")) < width and 0 < float(one.get("cy")) < height for one in circles)


def odd_figures_are_drawn_too():
    data = copy.deepcopy(DATA)
    data["rows"] = [{"program": "p", "metric": "m", "unit": "s", "median": 0, "min": 0, "q1": 0, "q3": 0, "peer": "q", "peer_median": 0,
                     "ratio": ratio, "goal": "g", "met": False} for ratio in (0, 1e-300, 1, 1e300)]
    parse(data)
    data["scaling"] = DATA["scaling"][:1]
    parse(data)


def what_task_graphs_measured_becomes_rows_and_a_plot():
    bench = run.Bench(None)
    spread = {"min": 1, "q1": 2, "median": 3, "q3": 4}
    curves = [[[8.0, 10, 9], [4.0, 7, 6]], [[8.0, 9, 8.5], [4.0, 9, 7]]]
    parts.take_metg(bench, {"graph": ["-type", "tree<"], "dependencies_per_task": 2.5, "iterations_per_us_and_core": 400, "rows": [
        {"system": "manta", **spread, "curves": curves, "against": {"openmp": {"ratio": 0.1, "goal": 0.1, "met": True}}},
        {"system": "openmp", **{**spread, "median": 30}, "curves": curves[:1], "against": {}},
        {"system": "ray", "missing": "not installed", "curves": []}]})
    manta, openmp, ray = bench.rows
    assert all("2.5 inputs" in row["metric"] for row in bench.rows)
    assert report.efficiency(curves) == [(8.5, 8 / 8.5), (6, 4 / 6)]
    drawn = xml.etree.ElementTree.fromstring(report.metg_svg(bench.metg[0]))
    circles = drawn.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 4 and len(drawn.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2
    width, height = float(drawn.get("width")), float(drawn.get("height"))
    assert all(0 < float(one.get("cx")) < width and 0 < float(one.get("cy")) < height for one in circles)
    xml.etree.ElementTree.fromstring(report.metg_svg({**bench.metg[0], "curves": {}}))
    assert manta["peer"] == "openmp" and manta["peer_median"] == 30 and manta["met"] and manta["ratio"] == 0.1
    assert openmp["median"] == 30 and "peer" not in openmp and ray["missing"] == "not installed"
    page = parse({**DATA, "rows": bench.rows, "metg": bench.metg})
    assert page.tags.count("svg") == 3  # a ratio, the ranks and these


def a_pattern_is_a_row_against_its_best_peer():
    def cell(*medians):
        return {"median": sorted(medians)[len(medians) // 2], "points": [[one, one] for one in medians]}

    bench = run.Bench(None)
    parts.take_patterns(bench, ", whole", {"rows": [
        {"pattern": "tree", "bytes": 16, "us_per_task": {"manta_driver, ranks": cell(9, 9), "manta_driver, workers": cell(4, 6),
                                                         "openmp": cell(8, 8), "starpu": cell(50, 50)}},
        {"pattern": "fft", "bytes": 16, "us_per_task": {"manta_driver, ranks": cell(9, 9), "openmp": {"missing": "code 1"}}}]},
        ["openmp", "starpu"])
    tree, fft = bench.rows
    assert tree["metric"] == "tree, 16 B, whole (workers)" and tree["peer"] == "openmp"
    assert tree["ratio"] == 0.625 and tree["goal"] == "<= 1 x" and tree["met"]
    assert "openmp: code 1" in fft["missing"] and "starpu: was not built" in fft["missing"]


def who_begins_changes():
    assert parts.in_turn(2, ["a", "b"]) == ["a", "b", "b", "a"]


def seconds_of_parts_are_said():
    for text in report.table({**DATA, "seconds": {"rate": 3.2, "all": 4.9}}), report.page({**DATA, "seconds": {"rate": 3.2, "all": 4.9}}):
        assert "seconds: rate 3, all 5" in text


for check in (the_page_needs_nothing_else, each_row_is_in_page_and_table, machine_versions_and_noise_are_said, names_cannot_break_the_page,
              the_plot_of_ranks_is_well_formed_and_has_each_point, odd_figures_are_drawn_too,
              what_task_graphs_measured_becomes_rows_and_a_plot, a_pattern_is_a_row_against_its_best_peer, who_begins_changes,
              seconds_of_parts_are_said):
    check()
    print(f"ok       {check.__name__}")
