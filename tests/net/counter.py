#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""counter.py LAYOUT.H NAME: the sum of one counter in `bpftool -j map dump` of node/counters."""

import json
import re
import sys


def as_number(value):
    if isinstance(value, list):
        return int.from_bytes(bytes(int(byte, 16) for byte in value), "little")
    return value


def main(layout, name):
    with open(layout, encoding="ascii") as file:
        names = [found.lower() for found in re.findall(r'^\tX\(([A-Z0-9_]+), "', file.read(), re.M)]
    element = json.load(sys.stdin)[names.index(name)]
    values = element.get("formatted", element)["values"]
    print(sum(as_number(value["value"]) for value in values))


main(*sys.argv[1:])
