#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""server.py: an instance for the tests: what a client asks for in lines, it does.

  who                      PID
  affinity [IDLE_MS [LIFE_MS [FLAGS]]]
                           PID ok | PID ERROR      asks for an affinity of this client
  wait LIMIT_MS            PID ok | PID ERROR      until it is in force everywhere
  status                   PID {state, ...}
  release                  PID ok | PID ERROR
  echo N, then N bytes     the same N bytes
  swallow N, then N bytes  PID SHA256
  stream N RATE            N bytes of a fixed pattern, RATE bytes a second (0: as fast as it goes)
  finish                   closes its side first, reads on to the end, logs "finished N SHA256"
  close                    closes at once, without an answer
  kill                     ends the process at once
  unlisten                 PID ok | PID ERROR      listens no more, and waits until this client's
                                                   affinity has ended; the process lives on
  rows.py adds the questions that must be refused

Each connection has a thread. Listens with SO_REUSEPORT, on the wildcard of both families unless
told otherwise.
"""

import argparse
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

import rows

SOL_LIMPET = 7562
AFFINITY, RELEASE = 1, 2
IDLE_DEFAULT = 0xFFFFFFFF
OPTIONS = struct.Struct("=IIII")
STATUS = struct.Struct("=IIIIQQQQ")
STATES = ("none", "here", "everywhere")
REASONS = ("none", "released", "operator", "expired", "instance", "process", "refused", "full",
           "lost", "shared", "service")
# What limpet_affinity_wait() makes of the reasons.
WAIT_ERRORS = {"refused": "EEXIST", "lost": "EEXIST", "full": "ENOSPC"}


def pattern(length):
    """Bytes that are nowhere the same as a little earlier, so that a shift shows."""
    block = b"".join(struct.pack("!I", number * 2654435761 & 0xFFFFFFFF) for number in range(16384))
    return (block * (length // len(block) + 1))[:length]


def affinity_request(sock, idle=IDLE_DEFAULT, life=0, flags=0):
    sock.setsockopt(SOL_LIMPET, AFFINITY, OPTIONS.pack(OPTIONS.size, flags, idle, life))


def affinity_status(sock):
    question = STATUS.pack(STATUS.size, *[0] * 7)
    # Python's getsockopt cannot pass a filled buffer in; the kernel side takes the size from optlen
    # or from the buffer, whichever is there.
    answer = rows.getsockopt(sock, SOL_LIMPET, AFFINITY, question)
    _, state, reason, connections, number, instance, expires, age = STATUS.unpack(answer)
    return {"state": STATES[state], "reason": REASONS[reason], "connections": connections,
            "id": number, "instance": instance,
            "expires_in_ms": None if expires == 2**64 - 1 else expires, "age_ms": age}


def affinity_wait(sock, limit_ms):
    end = time.monotonic() + limit_ms / 1000
    while True:
        status = affinity_status(sock)
        if status["state"] == "everywhere":
            return "ok"
        if status["state"] == "none":
            return WAIT_ERRORS.get(status["reason"], "ENOENT")
        if time.monotonic() > end:
            return "ETIMEDOUT"
        time.sleep(0.005)  # this is the poll


def affinity_ended(sock, limit_ms=5000):
    end = time.monotonic() + limit_ms / 1000
    while affinity_status(sock)["state"] != "none":
        if time.monotonic() > end:
            return "ETIMEDOUT"
        time.sleep(0.005)  # this is the poll


class Connection:
    def __init__(self, sock, listener):
        self.sock, self.listener = sock, listener
        self.input = sock.makefile("rb", buffering=65536)

    def say(self, *words):
        self.sock.sendall(" ".join([str(os.getpid()), *map(str, words)]).encode() + b"\n")

    def attempt(self, function, *arguments):
        try:
            result = function(*arguments)
        except OSError as error:
            return rows.error_name(error)
        return "ok" if result is None else result

    def read_exactly(self, length):
        data = self.input.read(length)
        if len(data) != length:
            raise ConnectionError("ended in the middle")
        return data

    def do_who(self):
        self.sock.sendall(f"{os.getpid()}\n".encode())

    def do_affinity(self, *numbers):
        self.say(self.attempt(affinity_request, self.sock, *map(int, numbers)))

    def do_wait(self, limit):
        self.say(self.attempt(affinity_wait, self.sock, int(limit)))

    def do_status(self):
        answer = self.attempt(affinity_status, self.sock)
        self.say(json.dumps(answer) if isinstance(answer, dict) else answer)

    def do_release(self):
        self.say(self.attempt(self.sock.setsockopt, SOL_LIMPET, RELEASE, 0))

    def do_echo(self, length):
        self.sock.sendall(self.read_exactly(int(length)))

    def do_swallow(self, length):
        digest, left = hashlib.sha256(), int(length)
        while left:
            data = self.read_exactly(min(left, 65536))
            digest.update(data)
            left -= len(data)
        self.say(digest.hexdigest())

    def do_stream(self, length, rate):
        data, rate, start, sent = pattern(int(length)), int(rate), time.monotonic(), 0
        step = max(rate // 50, 1) if rate else 65536
        while sent < len(data):
            self.sock.sendall(data[sent : sent + step])
            sent += step
            ahead = sent / rate - (time.monotonic() - start) if rate else 0
            if ahead > 0:
                time.sleep(ahead)  # the pace that was asked for

    def do_finish(self):
        self.sock.shutdown(socket.SHUT_WR)
        digest, length = hashlib.sha256(), 0
        while data := self.input.read1(65536):
            digest.update(data)
            length += len(data)
        print("finished", length, digest.hexdigest(), flush=True)

    def do_close(self):
        raise ConnectionError("asked to close")

    def do_kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def do_unlisten(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.say(self.attempt(affinity_ended, self.sock))

    def do_row(self, name, *arguments):
        rows.run(self, name, *arguments)

    def serve(self):
        try:
            while line := self.input.readline():
                words = line.decode().split()
                getattr(self, "do_" + words[0])(*words[1:])
        except (OSError, ConnectionError) as error:
            print("connection ended:", error, file=sys.stderr, flush=True)
        finally:
            self.input.close()
            self.sock.close()


def listen(options, port):
    if options.fd is not None:
        return socket.socket(fileno=options.fd)
    family = socket.AF_INET6 if ":" in options.bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not options.no_reuseport:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options.only)
    listener.bind((options.bind, port))
    if options.defer:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, options.defer)
    listener.listen(512)
    if options.steer:
        print("steer:", rows.attach(listener), flush=True)
    return listener


def serve(listener):
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            threading.Event().wait()  # it listens no more
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(sock, listener).serve, daemon=True).start()


def keep_a_worker():
    """A master listens, its worker accepts; when that has ended, the next one does."""
    while worker := os.fork():
        os.waitpid(worker, 0)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", default="::")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--also", type=int, help="a second port")
    parser.add_argument("--only", action="store_true", help="IPv6 alone")
    parser.add_argument("--no-reuseport", action="store_true")
    parser.add_argument("--defer", type=int, help="accepts with the first data, for so many seconds")
    parser.add_argument("--steer", action="store_true", help="with a reuseport program of its own")
    parser.add_argument("--fork", type=int, default=0, help="so many processes share the listener")
    parser.add_argument("--master", action="store_true", help="a worker of this process accepts")
    parser.add_argument("--fd", type=int, help="a listener that was inherited")
    return parser.parse_args()


def main():
    options = arguments()
    listener = listen(options, options.port)
    for _ in range(options.fork):
        if os.fork() == 0:
            break
    if options.master:
        print("listening", os.getpid(), flush=True)
        keep_a_worker()
    if options.also:
        threading.Thread(target=serve, args=(listen(options, options.also),), daemon=True).start()
    print("listening", os.getpid(), flush=True)
    serve(listener)


if __name__ == "__main__":
    main()
