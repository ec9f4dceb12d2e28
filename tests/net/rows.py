# SPDX-License-Identifier: BSD-2-Clause
"""Questions that an instance must be refused: run by server.py as `row NAME ...`, which answers, or
logs where there is no client left to answer, "row NAME: ERROR"."""

import ctypes
import errno
import os
import socket
import struct

SOL_LIMPET = 7562
AFFINITY, RELEASE = 1, 2
AF_UNSPEC = 0
SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68

libc = ctypes.CDLL(None, use_errno=True)


def error_name(error):
    """Python knows 95 by its other name."""
    name = errno.errorcode.get(error.errno, str(error.errno))
    return "EOPNOTSUPP" if name == "ENOTSUP" else name


def getsockopt(sock, level, option, question):
    """getsockopt(2) with a buffer that is filled when it goes in."""
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint32(len(question))
    if libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: length.value]


def ask(sock, options=None):
    if options is None:
        options = struct.pack("=IIII", 16, 0, 0xFFFFFFFF, 0)
    try:
        sock.setsockopt(SOL_LIMPET, AFFINITY, options)
    except OSError as error:
        return error_name(error)
    return "ok"


def listener(connection):
    return ask(connection.listener)


def outgoing(connection, address, port):
    """A client's own socket."""
    with socket.create_connection((address, int(port)), 5) as sock:
        return ask(sock)


def fresh(connection):
    """A socket that was never connected."""
    with socket.socket() as sock:
        return ask(sock)


MALFORMED = {
    "short": struct.pack("=III", 12, 0, 0),
    "empty": b"",
    "size": struct.pack("=IIII", 12, 0, 0, 0),
    "long": struct.pack("=IIIIQ", 24, 0, 0, 0, 1),
    "flags": struct.pack("=IIII", 16, 0x80, 0xFFFFFFFF, 0),
}


def malformed(connection, kind):
    return ask(connection.sock, MALFORMED[kind])


def option(connection, number):
    """An option that does not exist at this level."""
    try:
        connection.sock.setsockopt(SOL_LIMPET, int(number), struct.pack("=IIII", 16, 0, 0, 0))
    except OSError as error:
        return error_name(error)
    return "ok"


def reset(connection):
    """The client resets the connection, then we ask."""
    try:
        while connection.sock.recv(4096):
            pass
        return "no reset came"
    except ConnectionResetError:
        return ask(connection.sock)


def reconnect(connection, address, port):
    """The accepted socket is disconnected and connected elsewhere, as a client."""
    unspecified = struct.pack("=H14x", AF_UNSPEC)
    if libc.connect(connection.sock.fileno(), unspecified, len(unspecified)):
        return "disconnect: " + errno.errorcode[ctypes.get_errno()]
    target = (address, int(port))
    if connection.sock.family == socket.AF_INET6:
        target = ("::ffff:" + address, int(port), 0, 0)
    connection.sock.connect(target)
    return ask(connection.sock)


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.POINTER(ctypes.c_uint64))]


def attach(listener):
    """A reuseport program of the application's own: "return 0"."""
    code = ctypes.c_uint64.from_buffer_copy(struct.pack("=HBBI", 6, 0, 0, 0))
    program = Filter(1, ctypes.pointer(code))
    if libc.setsockopt(listener.fileno(), socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF,
                       ctypes.byref(program), ctypes.sizeof(program)):
        return errno.errorcode[ctypes.get_errno()]
    return "ok"


def steer(connection):
    return attach(connection.listener)


def unsteer(connection):
    try:
        connection.listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
    except OSError as error:
        return error_name(error)
    return "ok"


SILENT = {"reset", "reconnect"}
ROWS = {function.__name__: function
        for function in (listener, outgoing, fresh, malformed, option, reset, reconnect, steer,
                         unsteer)}


def run(connection, name, *arguments):
    answer = ROWS[name](connection, *arguments)
    if name in SILENT:
        print(f"row {name}: {answer}", flush=True)
    else:
        connection.say(answer)
