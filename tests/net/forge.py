# SPDX-License-Identifier: BSD-2-Clause
"""TCP segments that no kernel would send here: IPv4, by a raw socket."""

import socket
import struct

SYN, RST, ACK = 0x02, 0x04, 0x10


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(source, source_port, destination, port, sequence, acknowledge=0, flags=SYN):
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)

    def header(value):
        return struct.pack("!HHIIBBHHH", source_port, port, sequence, acknowledge, 5 << 4, flags,
                           64240, value, 0)

    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, 20)
    tcp = header(checksum(pseudo + header(0)))
    return struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, socket.IPPROTO_TCP, 0) + addresses + tcp


def send(destination, packet):
    # The kernel fills in the IP checksum (raw(7), IP_HDRINCL).
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(packet, (destination, 0))


def send_syn(source, source_port, destination, port, sequence):
    send(destination, segment(source, source_port, destination, port, sequence))
