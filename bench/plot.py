# SPDX-License-Identifier: BSD-2-Clause
"""The growth of ns per packet as an SVG: four panels, logarithmic to the right, linear upwards."""

import math

WIDTH, HEIGHT = 400, 250  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 34, 40
INK, FAINT, LIMPET, FLOOR = "#333333", "#dddddd", "#1f5fa8", "#8a8a8a"

# title, what is counted, [(series, its words)]
PANELS = (
    ("Established flows", "flows", (("flows", "ACK"),)),
    ("Services, 100k flows", "services", (("services", "ACK"),)),
    ("Targets", "targets", (("targets", "ACK, 100k flows"), ("targets_syn", "SYN"))),
    ("Affinities, SYN of a client that holds one", "affinities", (("affinities", "SYN"),)),
)


def short(value):
    for unit, name in ((1 << 20, "M"), (1000000, "M"), (1000, "k")):
        if value >= unit and value % unit == 0:
            return f"{value // unit}{name}"
    return str(value)


def text(x, y, words, anchor="start", size=11, colour=INK, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}"{more}>{words}</text>')


def ceiling(value):
    """A round number that is not below the value."""
    unit = 10 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value)


class Panel:
    def __init__(self, x, y, series):
        numbers = [step["n"] for steps in series for step in steps]
        values = [max(step["ns"], step["floor_ns"]) for steps in series for step in steps]
        self.x, self.y = x + LEFT, y + TOP
        self.width, self.height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        self.numbers = sorted(set(numbers))
        # None at all stands left of one.
        self.zero = self.numbers[0] == 0
        self.least = -1.0 if self.zero else math.log10(self.numbers[0])
        self.most = math.log10(self.numbers[-1])
        self.top = ceiling(max(values))

    def across(self, number):
        place = -1.0 if number == 0 else math.log10(number)
        return self.x + self.width * (place - self.least) / (self.most - self.least)

    def up(self, ns):
        return self.y + self.height * (1 - ns / self.top)

    def axes(self, unit):
        parts = []
        for i in range(5):
            ns = self.top * i / 4
            parts.append(f'<line x1="{self.x}" x2="{self.x + self.width}" y1="{self.up(ns):.1f}" '
                         f'y2="{self.up(ns):.1f}" stroke="{FAINT}"/>')
            parts.append(text(self.x - 6, self.up(ns) + 4, f"{ns:g}", "end"))
        last = -100.0
        for number in self.numbers:
            if self.across(number) - last < 26:
                continue
            last = self.across(number)
            parts.append(text(last, self.y + self.height + 15, short(number), "middle"))
        parts.append(text(self.x + self.width / 2, self.y + self.height + 32, unit, "middle"))
        parts.append(text(self.x - 6, self.y - 8, "ns", "end"))
        return parts

    def line(self, steps, member, colour, dashes):
        points = [(self.across(step["n"]), self.up(step[member])) for step in steps]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dotted = f' stroke-dasharray="{dashes}"' if dashes else ""
        parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dotted}/>']
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
        return parts


def panel(growth, index, title, unit, names):
    x, y = index % 2 * WIDTH, index // 2 * HEIGHT + 24
    shown = [(growth[name], words) for name, words in names if name in growth]
    if not shown:
        return []
    place = Panel(x, y, [steps for steps, _ in shown])
    parts = [text(place.x, y + 16, title, size=13, more=' font-weight="bold"')]
    parts += place.axes(unit)
    for steps, words in shown:
        parts += place.line(steps, "floor_ns", FLOOR, "4 3")
        parts += place.line(steps, "ns", LIMPET, "")
        if len(shown) > 1:
            parts.append(text(place.across(steps[-1]["n"]), place.up(steps[-1]["ns"]) - 7, words,
                              "end", 10, LIMPET))
    return parts


def draw(growth):
    rows = (len(PANELS) + 1) // 2
    width, height = 2 * WIDTH, rows * HEIGHT + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" font-family="sans-serif">',
             f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
             f'<line x1="{LEFT}" x2="{LEFT + 28}" y1="14" y2="14" stroke="{LIMPET}" stroke-width="2"/>',
             text(LEFT + 34, 18, "Limpet"),
             f'<line x1="{LEFT + 100}" x2="{LEFT + 128}" y1="14" y2="14" stroke="{FLOOR}" '
             'stroke-width="2" stroke-dasharray="4 3"/>',
             text(LEFT + 134, 18, "the floor: parse, one BPF hash look-up, IPIP")]
    for index, (title, unit, names) in enumerate(PANELS):
        parts += panel(growth, index, title, unit, names)
    return "\n".join([*parts, "</svg>"]) + "\n"
