#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""encapsulate.py SOURCE DESTINATION INNER_SOURCE INNER_DESTINATION PORT: a SYN in IPIP."""

import socket
import sys

import forge

IPPROTO_IPIP = 4


def main(source, destination, inner_source, inner_destination, port):
    inner = forge.segment(inner_source, 40000, inner_destination, int(port), 1)
    header = bytearray(inner[:20])
    header[2:4] = len(inner).to_bytes(2, "big")
    header[10:12] = forge.checksum(bytes(header)).to_bytes(2, "big")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_IPIP) as sock:
        sock.bind((source, 0))
        sock.sendto(bytes(header) + inner[20:], (destination, 0))


main(*sys.argv[1:])
