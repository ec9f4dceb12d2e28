#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Reads {"prog": [...]}, {"map": [...]}, {"link": [...]} of `bpftool -jf`, one after the other;
prints every object that is pinned, and what those hold, as lines "map 12"."""

import json
import sys


def read_all(text):
    decoder, position, lists = json.JSONDecoder(), 0, {"prog": [], "map": [], "link": []}
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        value, position = decoder.raw_decode(text, position)
        lists.update(value)
    return lists


def is_ours(item):
    """Pinned on the node's own bpffs: the machine may have others, which a node sees too."""
    return any(path.startswith("/sys/fs/bpf/") for path in item.get("pinned", []))


def main():
    lists = read_all(sys.stdin.read())
    found = {(kind, item["id"]) for kind in lists for item in lists[kind] if is_ours(item)}
    for link in lists["link"]:
        if ("link", link["id"]) in found and "prog_id" in link:
            found.add(("prog", link["prog_id"]))
    for program in lists["prog"]:
        if ("prog", program["id"]) in found:
            found.update(("map", number) for number in program.get("map_ids", []))
    for kind, number in sorted(found):
        print(kind, number)


main()
