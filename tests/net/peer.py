#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""peer.py ROUTER: a target that misbehaves, as the options say (docs/PROTOCOL.md). Prints "closed"
once the router has ended the session, "open" if it has not within some seconds. With --serve it is a
router instead, at its own address ROUTER, and prints the reason of the GOODBYE that it is told."""

import argparse
import ipaddress
import socket
import ssl
import struct
import time

LIMIT = 8
MAGIC = 0x4C494D50
HELLO, HEARTBEAT, GOODBYE = 1, 18, 19


def frame(kind, payload):
    return struct.pack("!HBB", len(payload), kind, 0) + payload


def hello(options):
    address = ipaddress.ip_address(options.address)
    packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
    name = options.name.encode()
    payload = struct.pack("!IHHQQB", options.magic, options.version, 2 if options.serve else 1,
                          0x1234567890ABCDEF, options.clock, len(name))
    return frame(HELLO, payload + name + packed + b"\0" * 16 + struct.pack("!QQ", 1, 2))


def connect(options):
    sock = socket.create_connection((options.router, 7562), 5)
    if options.plain:
        return sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(options.ca)
    if options.certificate:
        context.load_cert_chain(options.certificate + ".pem", options.certificate + ".key")
    return context.wrap_socket(sock)


def read_exactly(sock, length):
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise ConnectionError("ended")
        data += more
    return data


def goodbye_reason(options):
    """A router, until a target has said GOODBYE."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(options.ca)
    context.load_cert_chain(options.certificate + ".pem", options.certificate + ".key")
    with socket.create_server((options.router, 7562)) as listener:
        listener.settimeout(LIMIT)
        accepted, _ = listener.accept()
    accepted.settimeout(LIMIT)
    with context.wrap_socket(accepted, server_side=True) as sock:
        sock.sendall(hello(options))
        while True:
            length, kind, _ = struct.unpack("!HBB", read_exactly(sock, 4))
            payload = read_exactly(sock, length)
            if kind == GOODBYE:
                return struct.unpack_from("!H", payload)[0]


def what_to_say(options):
    if options.plain:
        return b"GET / HTTP/1.0\r\n\r\n" * 40
    said = b""
    if options.hello or not options.frame:
        said += hello(options)
    return said + bytes.fromhex(options.frame)


def closes(sock, options):
    end = time.monotonic() + LIMIT
    sock.settimeout(0.3)
    sock.sendall(what_to_say(options))
    while time.monotonic() < end:
        try:
            if not sock.recv(65536):
                return True
        except (TimeoutError, ssl.SSLWantReadError):
            if not options.silent:
                sock.sendall(frame(HEARTBEAT, b"\0" * 24))
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("router")
    parser.add_argument("--plain", action="store_true", help="no TLS")
    parser.add_argument("--ca")
    parser.add_argument("--certificate", help="path without .pem and .key")
    parser.add_argument("--name", default="t9")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--magic", type=int, default=MAGIC)
    parser.add_argument("--address", default="10.7.0.100", help="tunnel address in HELLO")
    parser.add_argument("--hello", action="store_true", help="a good HELLO before --frame")
    parser.add_argument("--frame", default="", help="bytes in hexadecimal")
    parser.add_argument("--silent", action="store_true", help="no heartbeats")
    parser.add_argument("--clock", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help="a router, for one session")
    options = parser.parse_args()
    if options.serve:
        print(goodbye_reason(options))
        return
    try:
        ended = closes(connect(options), options)
    except OSError as error:
        print(error)
        ended = True
    print("closed" if ended else "open")


main()
