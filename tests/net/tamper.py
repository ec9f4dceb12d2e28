#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""tamper.py PIN PROGRAM: changes a pinned map behind everybody's back, by bpftool, as a test needs it.

PROGRAM is one Python expression over:
  first                    the key of the first entry
  put(key, change)         the entry's value as change(value) makes it; key: bytes, or an array's index
  u32(function)            the function, of 32-bit words
  add(index, by)           the word at this index grows by so much
  delete(key)
  copy(key, port, cookie)  a connection's entry once more, with another client port and cookie
tamper.py PIN --add INDEX: a counter, on every CPU.
"""

import json
import struct
import subprocess
import sys

pin = sys.argv[1]


def bpftool(*words):
    text = subprocess.run(["bpftool", "-j", "map", words[0], "pinned", pin, *words[1:]], check=True,
                          stdout=subprocess.PIPE).stdout
    return json.loads(text) if text.strip() else None


def words_of(data):
    return ["hex", *(f"{byte:02x}" for byte in data)]


def bytes_of(words):
    return bytes(int(word, 16) for word in words)


def key_of(key):
    return struct.pack("=I", key) if isinstance(key, int) else key


def get(key):
    return bytes_of(bpftool("lookup", "key", *words_of(key_of(key)))["value"])


def update(key, value):
    bpftool("update", "key", *words_of(key_of(key)), "value", *words_of(value))


def put(key, change):
    update(key, change(get(key)))


def u32(function):
    def change(value):
        words = list(struct.unpack(f"={len(value) // 4}I", value))
        function(words)
        return struct.pack(f"={len(words)}I", *words)
    return change


def add(index, by):
    def change(words):
        words[index] += by
    return change


def delete(key):
    bpftool("delete", "key", *words_of(key_of(key)))


def copy(key, port, cookie):
    update(key[:16] + struct.pack("!H", port) + key[18:], struct.pack("=Q", cookie) + get(key)[8:])


def grow_counter(index):
    entry = bpftool("lookup", "key", *words_of(key_of(index)))
    most = max(int.from_bytes(bytes_of(each["value"]), "little") for each in entry["values"])
    update(index, struct.pack("=Q", most + 1))


if sys.argv[2] == "--add":
    grow_counter(int(sys.argv[3]))
else:
    first = bytes_of(bpftool("dump")[0]["key"])
    eval(sys.argv[2])  # a test's own words
