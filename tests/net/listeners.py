#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""listeners.py: listeners whose program chooses an MSS, and a look at them from outside.

listeners.py ADDRESS,PORT,MSS[,alone]...  listens until it is ended; MSS 0: no choice; alone: without
                                          SO_REUSEPORT
listeners.py --of PID                     the MSS of each, in this order; 536 stands for no choice
listeners.py --of PID --set FROM TO       another choice, after listen(2), where FROM is the present
"""

import ctypes
import os
import signal
import socket
import sys

IP_FREEBIND = 15
PIDFD_GETFD = 438


def listen(address, port, mss, alone=None):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    if not alone:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if int(mss):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, int(mss))
    sock.bind((address, int(port)))
    sock.listen()
    return sock


def borrow(pid):
    process = os.pidfd_open(pid)
    for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        try:
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                continue
        except FileNotFoundError:
            continue
        yield socket.socket(fileno=ctypes.CDLL(None).syscall(PIDFD_GETFD, process, int(name), 0))


def main(words):
    if words[0] != "--of":
        held = [listen(*word.split(",")) for word in words]
        print("listening", len(held), flush=True)
        signal.pause()
    found = list(borrow(int(words[1])))
    for sock in found:
        mss = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        if words[2:] and mss == int(words[3]):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, int(words[4]))
    print(*(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) for sock in found))


main(sys.argv[1:])
