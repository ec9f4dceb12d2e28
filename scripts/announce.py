#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""announce.py INTERFACE ADDRESS...: say on the link that the addresses live here now.

Gratuitous ARP (RFC 5227, 3) for IPv4, unsolicited neighbour advertisement (RFC 4861, 7.2.6) for
IPv6: what a VRRP daemon sends when it becomes the master.
"""

import fcntl
import ipaddress
import socket
import struct
import sys

ETH_P_ARP = 0x0806
SIOCGIFHWADDR = 0x8927
OVERRIDE = 0x20000000


def hardware_address(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("256s", interface.encode())
        return fcntl.ioctl(sock, SIOCGIFHWADDR, request)[18:24]


def announce4(interface, address):
    mac = hardware_address(interface)
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, ETH_P_ARP))
        for operation in (1, 2):
            arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
            sock.send(ethernet + arp + mac + address.packed + b"\xff" * 6 + address.packed)


def announce6(interface, address):
    index = socket.if_nametoindex(interface)
    body = struct.pack("!BBHI", 136, 0, 0, OVERRIDE) + address.packed
    body += struct.pack("!BB", 2, 1) + hardware_address(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.bind((str(address), 0, 0, index))
        sock.sendto(body, ("ff02::1", 0, 0, index))


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__.splitlines()[0])
    interface = arguments[0]
    for address in map(ipaddress.ip_address, arguments[1:]):
        (announce4 if address.version == 4 else announce6)(interface, address)


main(sys.argv[1:])
