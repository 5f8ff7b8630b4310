#!/usr/bin/env python3
"""The table and the picture of PERFORMANCE.md, from what moe4j_bench wrote.

    moe4j_bench --device cuda:0 --tactic all --csv bench.csv ...
    cpp/bench/report.py bench.csv [--targets cpp/bench/h100_targets.csv] [--svg picture.svg]

Prints a Markdown table for each routing and number of compute units (of a CPU its threads): of each
case the fastest tactic, its share of the floor and, for uniform routing where there are targets, its
ratios to this project's target and to the faster of two public implementations (measured on an H100
on another day, and left out for other GPUs; they draw their own routing).
The picture has a panel for each layer: time against tokens, uniform routing, both logarithmic.
"""
import argparse
import csv
import math
import sys
from collections import namedtuple
from pathlib import Path

Case = namedtuple("Case", "layer tokens us floor_us experts gb_s tflop_s tactic")
Target = namedtuple("Target", "us peer_us peer")

PEERS_GPU = "H100"


def read_cases(path):
    """{(routing, threads): {(layer, tokens): Case of the fastest tactic}}, and each's first row."""
    cases, first = {}, {}
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        sys.exit(f"report.py: {path} has no rows")
    for row in rows:
        us = float(row["us"])
        case = Case(row["layer"], int(row["tokens"]), us, us * float(row["fraction_of_floor"]),
                    float(row["active_experts"]), float(row["GB_s"]), float(row["TFLOP_s"]),
                    row["tactic"])
        group = (row["routing"], int(row["threads"]))
        first.setdefault(group, row)
        best = cases.setdefault(group, {})
        key = (case.layer, case.tokens)
        if key not in best or us < best[key].us:
            best[key] = case
    return cases, first


def read_targets(path):
    with open(path, newline="") as file:
        return {(row["layer"], int(row["tokens"])):
                Target(float(row["target_us"]), float(row["peer_us"]), row["peer"])
                for row in csv.DictReader(file)}


def rate(tflop_s):
    """A GPU's without decimals; those of CPUs are below one."""
    return f"{tflop_s:.{0 if tflop_s >= 1 else 2}f}"


def print_table(routing, cases, targets, first):
    print(f"\n{first['device']}, {first['threads']} compute units, {routing} routing; "
          f"ceilings of the same run: "
          f"{float(first['ceiling_GB_s']):.0f} GB/s, {rate(float(first['ceiling_TFLOP_s']))} TFLOP/s\n")
    columns = ["layer", "tokens", "us", "active experts", "GB/s", "TFLOP/s", "floor"]
    compares = routing == "uniform" and targets
    with_peers = compares and PEERS_GPU in first["device"]
    if compares:
        columns += ["target us", "us / target"]
    if with_peers:
        columns += ["peer us", "peer / us"]
    columns.append("tactic")
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for key, case in cases.items():
        cells = [case.layer, case.tokens, f"{case.us:.1f}", f"{case.experts:.1f}",
                 f"{case.gb_s:.0f}", rate(case.tflop_s), f"{case.floor_us / case.us:.0%}"]
        target = targets.get(key)
        if compares:
            cells += [f"{target.us:g}", f"{case.us / target.us:.2f}"] if target else ["–"] * 2
        if with_peers:
            cells += [f"{target.peer_us:g}", f"{target.peer_us / case.us:.2f}"] if target else ["–"] * 2
        print("| " + " | ".join(str(cell) for cell in cells + [case.tactic]) + " |")


PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 250, 250, 56, 58, 62
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #52514e; }
  .title { font-size: 13px; font-weight: 600; fill: #0b0b0b; }
  .grid { stroke: #e1e0d9; } .axis { stroke: #c3c2b7; } .page { fill: #fcfcfb; }
  .series { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
  .moe4j { stroke: #2a78d6; } .peer { stroke: #eb6834; } .floor { stroke: #898781; }
  circle.moe4j { fill: #2a78d6; } circle.peer { fill: #eb6834; } circle.floor { fill: #898781; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c3c2b7; } .title { fill: #ffffff; }
    .grid { stroke: #2c2c2a; } .axis { stroke: #383835; } .page { fill: #1a1a19; }
    .moe4j { stroke: #3987e5; } .peer { stroke: #d95926; }
    circle.moe4j { fill: #3987e5; } circle.peer { fill: #d95926; }
  }
"""


class Panel:
    """One layer's time against tokens, in pixels from (x, TOP)."""

    def __init__(self, x, tokens, times):
        self.x = x
        self.tokens = [math.log2(min(tokens)), math.log2(max(tokens))]
        self.times = [math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))]

    def at(self, tokens, us):
        share = (math.log2(tokens) - self.tokens[0]) / ((self.tokens[1] - self.tokens[0]) or 1)
        height = (math.log10(us) - self.times[0]) / ((self.times[1] - self.times[0]) or 1)
        return self.x + share * PANEL_WIDTH, TOP + (1 - height) * PANEL_HEIGHT

    def draw(self, title, series, ticks):
        yield f'<text class="title" x="{self.x}" y="{TOP - 12}">{title}</text>'
        for power in range(self.times[0], self.times[1] + 1):
            _, y = self.at(2 ** self.tokens[0], 10 ** power)
            yield f'<line class="grid" x1="{self.x}" x2="{self.x + PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{self.x - 8}" y="{y + 4:.1f}" text-anchor="end">{10 ** power:,}</text>'
        bottom = TOP + PANEL_HEIGHT
        yield f'<line class="axis" x1="{self.x}" x2="{self.x + PANEL_WIDTH}" y1="{bottom}" y2="{bottom}"/>'
        for tokens in ticks:
            x, _ = self.at(tokens, 10 ** self.times[0])
            yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tokens}</text>'
        for name, points in series:
            places = [self.at(*point) for point in points]
            yield (f'<polyline class="series {name}" points="'
                   + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>')
            for (x, y), (tokens, us) in zip(places, points):
                yield (f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
                       f"<title>{name}: {tokens} tokens, {us:.1f} us</title></circle>")


def draw_svg(cases, targets, device):
    layers = list(dict.fromkeys(layer for layer, _ in cases))
    with_peers = PEERS_GPU in device
    width = LEFT + len(layers) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + 44
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" role="img" aria-label="Time of a layer against tokens">')
    yield f'<style>{STYLE}</style><rect class="page" width="{width}" height="{height}"/>'
    x = LEFT
    labels = [("moe4j", "moe4j, fastest tactic"), ("floor", "floor")]
    if with_peers:
        labels.append(("peer", "faster of two public implementations"))
    for name, label in labels:
        yield f'<circle class="{name}" cx="{x + 4}" cy="16" r="4"/><text x="{x + 14}" y="20">{label}</text>'
        x += 40 + 7 * len(label)
    for i, layer in enumerate(layers):
        mine = [case for key, case in sorted(cases.items()) if key[0] == layer]
        series = [("floor", [(case.tokens, case.floor_us) for case in mine]),
                  ("peer", [(case.tokens, targets[layer, case.tokens].peer_us)
                            for case in mine if with_peers and (layer, case.tokens) in targets]),
                  ("moe4j", [(case.tokens, case.us) for case in mine])]
        series = [(name, points) for name, points in series if points]
        panel = Panel(LEFT + i * (PANEL_WIDTH + GAP), [case.tokens for case in mine],
                      [us for _, points in series for _, us in points])
        yield from panel.draw(layer, series, [case.tokens for case in mine])
    yield (f'<text x="{LEFT}" y="{height - 8}">microseconds of a whole layer against tokens, '
           f"uniform routing, cold cache; {device}</text></svg>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", help="what moe4j_bench --csv wrote")
    parser.add_argument("--targets", default=Path(__file__).with_name("h100_targets.csv"),
                        help="'' for none, as for a CPU")
    parser.add_argument("--svg", help="where the picture goes")
    options = parser.parse_args()
    cases, first = read_cases(options.csv)
    targets = read_targets(options.targets) if options.targets else {}
    for group, by_key in cases.items():
        print_table(group[0], by_key, targets, first[group])
    if options.svg:
        uniform = next((group for group in cases if group[0] == "uniform"), None)
        if uniform is None:
            sys.exit("report.py: --svg draws uniform routing, of which there are no rows")
        picture = "\n".join(draw_svg(cases[uniform], targets, first[uniform]["device"]))
        Path(options.svg).write_text(picture + "\n")


if __name__ == "__main__":
    main()
