#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Put measured figures into docs/PERFORMANCE.md and draw docs/growth.svg.

usage: bench/document.py JSON...

The files are what `bench/run --json` and `make info` have written; a member of a later one takes
the place of an earlier one's. A table stands between <!-- NAME --> and <!-- /NAME -->; what there
are no figures for stays as it is.
"""

import json
import pathlib
import re
import sys

from plot import draw

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
SERIES = {
    "flows": "established flows",
    "services": "services (100k flows)",
    "targets": "targets (100k flows)",
    "targets_syn": "targets (SYN)",
    "affinities": "affinities (SYN)",
}


def table(heads, rows):
    """Markdown; all columns but the first two are numbers if they look so."""
    rows = [[str(cell) for cell in row] for row in rows]
    aligned = ["---" if any(re.match(r"[A-Za-z`]", row[i]) for row in rows) else "--:"
               for i in range(len(heads))]
    lines = ["| " + " | ".join(line) + " |" for line in [heads, aligned, *rows]]
    return "\n".join(lines)


def number(value):
    return f"{value:,}".replace(",", " ")


def machine_text(data):
    machine = data["machine"]
    return (f"{machine['cpus']} virtual CPUs ({machine['cpu']}), Linux {data['kernel']}, "
            f"commit {data['commit']}.")


def bar(case):
    if "must" not in case:
        return ["", "", ""]
    reached = ("stretch" if case["ratio"] <= case["stretch"]
               else "must" if case["ratio"] <= case["must"] else "not reached")
    return [case["must"], case["stretch"], reached]


def cases_text(data):
    others = sorted({name for case in data["cases"].values() for name in case.get("against", {})})
    heads = ["case", "what", "ns", "floor", "ratio", "least – most", "must", "stretch", "bar"]
    rows = []
    for name, case in data["cases"].items():
        row = [f"`{name}`", case["text"], case["ns"], case["floor_ns"], f"{case['ratio']:.2f}",
               f"{case['ratio_least']:.2f} – {case['ratio_most']:.2f}", *bar(case)]
        for other in others:
            against = case.get("against", {}).get(other)
            row += [against["ns"], f"{against['ratio']:.2f}"] if against else ["", ""]
        rows.append(row)
    for other in others:
        heads += [f"{other}, ns", f"of {other}"]
    return table(heads, rows)


def throughput_text(data):
    flows = {"v4_1": "1 flow", "v4_1m": "1M flows"}
    rows = data["throughput"]
    others = sorted({name for row in rows.values() for name in row.get("against", {})})
    heads = ["", "XDP_TX", "floor", "Limpet", "of XDP_TX", "of the floor"]
    for other in others:
        heads += [other, f"of {other}"]
    lines = []
    for name, row in rows.items():
        line = [flows.get(name, name), row["tx"], row["floor"], row["limpet"],
                f"{row['of_tx']:.2f}", f"{row['of_floor']:.2f}"]
        for other in others:
            line += [row["against"][other]["mpps"], f"{row['against'][other]['ratio']:.2f}"]
        lines.append(line)
    return table(heads, lines)


def maglev_text(data):
    return table(["targets", "build, ms", "slots of the one that goes, %", "slots of others that move, %"],
                 [[row["targets"], row["build_ms"], row["own_percent"], row["moved_percent"]]
                  for row in data["maglev"]])


def growth_text(data):
    return table(["over", "number", "ns", "floor", "ratio"],
                 [[SERIES[name], number(step["n"]), step["ns"], step["floor_ns"], f"{step['ratio']:.2f}"]
                  for name, steps in data["growth"].items() for step in steps])


def programs_text(data):
    return table(["program", "verified instructions", "instructions", "bytes of code", "stack by function"],
                 [[f"`{name}`", number(row["verified"]), number(row["instructions"]),
                   number(row["jited_bytes"]), row["stack"].replace("+", " + ")]
                  for name, row in data["programs"].items()])


def maps_text(data):
    large = {name: row for name, row in data["maps"].items() if row["bytes"] >= 1 << 20}
    return table(["map", "entries", "bytes each", "MiB, full"],
                 [[f"`{name}`", number(row["entries"]), row["entry_bytes"],
                   f"{row['bytes'] / (1 << 20):.1f}"] for name, row in large.items()])


def replace(text, name, block):
    marks = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(text):
        sys.exit(f"document: PERFORMANCE.md has no place for <!-- {name} -->")
    return marks.sub(lambda found: found[1] + block + "\n" + found[2], text)


def main(paths):
    if not paths or paths[0].startswith("-"):
        sys.exit(__doc__.split("\n\n")[1])
    data = {}
    for path in paths:
        data.update(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
    page = DOCS / "PERFORMANCE.md"
    text = page.read_text(encoding="utf-8")
    for name, block in (("machine", machine_text), ("cases", cases_text),
                        ("throughput", throughput_text), ("maglev", maglev_text),
                        ("growth", growth_text), ("programs", programs_text),
                        ("maps", maps_text)):
        if name in data:
            text = replace(text, name, block(data))
    page.write_text(text, encoding="utf-8")
    if "growth" in data:
        (DOCS / "growth.svg").write_text(draw(data["growth"]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
