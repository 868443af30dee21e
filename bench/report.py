#!/usr/bin/env python3
"""What a run of the benchmarks found, as a table and as one page of HTML that needs nothing else.

    python3 bench/report.py FIGURES.json [--html OUT.html] [--scaling OUT.svg]

FIGURES.json is what `bench/run.py --json` writes. A row has metric, unit, median, min, q1, q3, and where there is
one a peer with its median and the ratio to it, a goal and whether it is met; or `missing`: why it was not measured.
"""
import argparse
import html
import json
import math

# Of the strips with the ratios: powers of ten from the left end to the right one, and pixels.
DECADES, STRIP = (-5, 5), 300
SERIES = [  # of the scaling: key, title, unit, factor
    ("messages_per_task", "messages per task run elsewhere", "", 1),
    ("heap_bytes_per_rank", "memory per rank", "KiB", 1 / 1024),
    ("reached_ms", "until every rank has a task", "ms", 1),
    ("driver_ms", "until the driver returns", "ms", 1),
    ("end_ms", "from there until all have ended", "ms", 1),
]
STYLE = """
body { font: 14px sans-serif; margin: 2em; color: #222 } table { border-collapse: collapse }
td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd } td.text, th.text { text-align: left }
tr.part td { font-weight: bold; background: #f3f3f3; text-align: left } .met { color: #17753a } .unmet { color: #b3261e }
.missing { color: #777; font-style: italic } svg { display: block }
"""


def short(number):
    return f"{number:.4g}" if abs(number) < 1e5 else f"{number:.0f}"


def goal_text(row):
    if "goal" not in row:
        return ""
    return f"{row['goal']}: {'met' if row['met'] else 'NOT met'}"


def facts(data):
    """Where the figures come from, a line each."""
    machine = data["machine"]
    lines = [f"{machine['cpu']}, {machine['cores']} cores" +
             (f" (pinned to {machine['pinned']})" if "pinned" in machine else "") +
             f", Linux {machine['kernel']}, load {machine['load']:.2f} at the start" +
             (f", {machine['load_end']:.2f} at the end" if "load_end" in machine else "")]
    if "noise" in machine:
        noise = machine["noise"]
        lines.append(f"noise: the same loop, {noise['count']} times over the run, took {noise['median_ms']:.2f} ms in the median, "
                     f"{noise['min_ms']:.2f} at least, {noise['q3_ms']:.2f} in the third quartile, {noise['max_ms']:.2f} at most")
    if machine.get("versions"):
        lines.append("; ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    if "seconds" in data:
        lines.append("seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in data["seconds"].items()))
    notes = dict.fromkeys(f"{note['program']}: {note['value']}" for note in data["notes"])
    return lines + list(notes)


def table(data):
    """For a terminal."""
    line = "{:<52} {:>10} {:<4} {:>26}  {:<30} {:>8}  {}"
    out = facts(data) + ["", line.format("metric", "median", "", "min / q1 / q3", "raw limit or peer", "ratio", "goal")]
    part = None
    for row in data["rows"]:
        if row["program"] != part:
            part = row["program"]
            out.append(part)
        if "missing" in row:
            out.append(f"  {row['metric']:<50} not measured: {row['missing']}")
            continue
        peer = f"{row['peer']} {short(row['peer_median'])}" if "peer" in row else ""
        out.append(line.format("  " + row["metric"], short(row["median"]), row["unit"],
                               " / ".join(short(row[key]) for key in ("min", "q1", "q3")), peer,
                               short(row["ratio"]) if "ratio" in row else "", goal_text(row)).rstrip())
    return "\n".join(out)


def place(ratio):
    low, high = DECADES
    return STRIP * (min(max(math.log10(max(ratio, 1e-300)), low), high) - low) / (high - low)


def strip(row):
    """The ratio on a scale of powers of ten, 1 in the middle; a bar for the spread, where quartiles and the peer allow."""
    low, high = DECADES
    parts = [f'<line x1="{place(10.0 ** i):.1f}" x2="{place(10.0 ** i):.1f}" y1="{0 if i == 0 else 5}" y2="16" stroke="{"#888" if i == 0 else "#ddd"}"/>'
             for i in range(low, high + 1)]
    if row["peer_median"] > 0 and row["q1"] > 0:
        scale = row["ratio"] / row["median"] if row["median"] else 1
        left, right = sorted(place(row[key] * scale) for key in ("q1", "q3"))
        parts.append(f'<rect x="{left:.1f}" y="6" width="{max(right - left, 1):.1f}" height="6" fill="#9dbce8"/>')
    color = "#888" if "goal" not in row else "#17753a" if row["met"] else "#b3261e"
    parts.append(f'<circle cx="{place(row["ratio"]):.1f}" cy="9" r="4" fill="{color}"/>')
    return f'<svg width="{STRIP}" height="18" viewBox="0 0 {STRIP} 18">{"".join(parts)}</svg>'


def html_row(row):
    if "missing" in row:
        return f'<tr><td class="text">{html.escape(row["metric"])}</td>' \
            f'<td class="text missing" colspan="7">not measured: {html.escape(row["missing"])}</td></tr>'
    peer = f"{row['peer']}: {short(row['peer_median'])}" if "peer" in row else ""
    mark = "" if "goal" not in row else ' class="text met"' if row["met"] else ' class="text unmet"'
    spread = " / ".join(short(row[key]) for key in ("min", "q1", "q3"))
    cells = [("text", row["metric"]), ("", short(row["median"])), ("text", row["unit"]), ("", spread), ("text", peer),
             ("", short(row["ratio"]) if "ratio" in row else "")]
    drawn = "".join(f'<td class="{kind}">{html.escape(text)}</td>' for kind, text in cells)
    return f"<tr>{drawn}<td>{strip(row) if 'ratio' in row else ''}</td><td{mark or ' class=text'}>{html.escape(goal_text(row))}</td></tr>"


def page(data):
    rows, part = [], None
    for row in data["rows"]:
        if row["program"] != part:
            part = row["program"]
            rows.append(f'<tr class="part"><td colspan="8">{html.escape(part)}</td></tr>')
        rows.append(html_row(row))
    head = "".join(f'<th class="text">{name}</th>' for name in
                   ("metric", "median", "", "min / q1 / q3", "raw limit or peer", "ratio", "ratio, 0.00001 to 100000, 1 in the middle", "goal"))
    scaling = f"<h2>Virtual ranks</h2>{scaling_svg(data['scaling'])}" if data.get("scaling") else ""
    scaling += "".join(f"<h2>Task graphs: {html.escape(one['graph'])}</h2>{metg_svg(one)}" for one in data.get("metg", []))
    said = "".join(f"<p>{html.escape(line)}</p>" for line in facts(data))
    return f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Manta: benchmarks</title><style>{STYLE}</style></head>\n' \
        f"<body><h1>Manta: benchmarks</h1>{said}<table><tr>{head}</tr>\n" + "\n".join(rows) + f"</table>{scaling}</body></html>\n"


def scaling_panel(points, key, title, unit, factor, left):
    """One quantity over the number of ranks, both to powers of ten."""
    width, height, top = 180, 130, 40
    xs = [math.log10(point["ranks"]) for point in points]
    values = [max(point[key] * factor, 1e-9) for point in points]
    low, high = math.floor(math.log10(min(values)) - 0.3), math.ceil(math.log10(max(values)) + 0.3)
    span = max(xs) - min(xs) or 1
    at = [(left + width * (x - min(xs)) / span, top + height * (high - math.log10(value)) / (high - low)) for x, value in zip(xs, values)]
    parts = [f'<text x="{left}" y="{top - 20}" font-weight="bold">{title}</text>',
             f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#bbb"/>']
    for decade in range(low, high + 1):
        y = top + height * (high - decade) / (high - low)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
                     f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** decade:g}</text>')
    for point, (x, _) in zip(points, at):
        if math.log10(point["ranks"]) % 1 == 0:
            parts.append(f'<text x="{x:.1f}" y="{top + height + 14}" text-anchor="middle">{point["ranks"]}</text>')
    parts.append(f'<polyline fill="none" stroke="#2962b0" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#2962b0"/>' for x, y in at]
    parts.append(f'<text x="{at[-1][0]:.1f}" y="{at[-1][1] - 7:.1f}" text-anchor="end">{short(values[-1])} {unit}</text>')
    return "".join(parts)


def scaling_svg(points):
    step = 250
    panels = "".join(scaling_panel(points, *series, 55 + step * i) for i, series in enumerate(SERIES))
    width = step * len(SERIES) + 30
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="215" viewBox="0 0 {width} 215" font-family="sans-serif" ' \
        f'font-size="11"><rect width="{width}" height="215" fill="white"/>{panels}<text x="55" y="208">ranks, 20 tasks of 200 us each; ' \
        "virtual time, in which messages take 1 to 20 us and computing outside of bodies none</text></svg>"


COLORS = ["#2962b0", "#b3261e", "#17753a", "#8a5a00", "#6a3fa0", "#00798c", "#c2185b", "#555555", "#9aa500", "#d2691e", "#4b5320", "#a0522d"]


def efficiency(curves):
    """[(us per task, part of the peak), ...] of the best pass at each length, longest first."""
    least = {}
    for work, _, cost in (point for curve in curves for point in curve):
        least[work] = min(cost, least.get(work, cost))
    return [(cost, work / cost) for work, cost in sorted(least.items(), reverse=True)]


def metg_svg(one):
    """Part of the peak over the length of a task, for each system."""
    width, height, left, top = 560, 260, 45, 15
    lines = {name: efficiency(curves) for name, curves in one["curves"].items() if any(curves)}
    logs = [math.log10(max(cost, 1e-9)) for points in lines.values() for cost, _ in points] or [0]
    low, high = math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
    parts = []
    for decade in range(low, high + 1):
        x = left + width * (decade - low) / (high - low)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height}" stroke="#eee"/>'
                     f'<text x="{x:.1f}" y="{top + height + 14}" text-anchor="middle">{10.0 ** decade:g}</text>')
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - part)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="{"#888" if part == 0.5 else "#eee"}"/>'
                     f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{100 * part:.0f} %</text>')
    for i, (name, points) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        at = [(left + width * (math.log10(max(cost, 1e-9)) - low) / (high - low), top + height * (1 - min(part, 1))) for cost, part in points]
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in at]
        parts.append(f'<text x="{left + width + 12}" y="{top + 12 + 18 * i}" fill="{color}">{html.escape(name)}</text>')
    total, deep = left + width + 190, top + max(height + 40, 18 * len(lines) + 20)
    said = f"us per task (best passes), {one['dependencies_per_task']:.3g} dependencies each in the mean; peak {one['peak_iterations_per_us_and_core']:.4g} " \
        "iterations per us and core"
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{deep}" viewBox="0 0 {total} {deep}" font-family="sans-serif" ' \
        f'font-size="11"><rect width="{total}" height="{deep}" fill="white"/>{"".join(parts)}' \
        f'<text x="{left}" y="{top + height + 32}">{said}</text></svg>'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", help="what bench/run.py --json has written")
    parser.add_argument("--html", help="write the page there")
    parser.add_argument("--scaling", help="write the plot of virtual ranks there, as SVG")
    options = parser.parse_args()
    with open(options.figures) as file:
        data = json.load(file)
    print(table(data))
    for path, text in (options.html, page), (options.scaling, lambda data: scaling_svg(data["scaling"]) + "\n"):
        if path:
            with open(path, "w") as file:
                file.write(text(data))


if __name__ == "__main__":
    main()
