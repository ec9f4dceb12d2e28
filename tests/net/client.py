#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""client.py: clients for the tests; each command prints one JSON object.

  many      one connection after the other, from each source, with --stop again and again until
            that appears: which process answered
  talk      one connection, some lines: what the server answered to each
  upload    N bytes: did the server get them
  download  N bytes at a rate: did they arrive, and how long was the longest gap
  http      GET lines[0] from each source, --count times, all connections open at once with
            --together: which process answered, and its answers
  hold      many connections at once, each talking all the time, until --stop appears: was any
            broken, did any change its server, did any byte differ
  finish    the server closes first; we keep sending, then close; see server.py
  late      the server closes both sides, we close only after --stop
  silent    many connections that say nothing until --stop appears: which processes answer then
  reset     ask the server for a row, then reset the connection
  forge     a SYN on the 4-tuple of a connection that is open
"""

import argparse
import asyncio
import collections
import hashlib
import itertools
import json
import os
import random
import socket
import struct
import sys
import time

import forge
from server import pattern


def sources(text):
    """"198.18.0.1", "198.18.0.1-50" (the last number counts up), or several after commas."""
    found = []
    for part in text.split(","):
        head, _, end = part.rpartition("-")
        if not head:
            found.append(part)
            continue
        separator = ":" if ":" in head else "."
        base, _, first = head.rpartition(separator)
        found += [f"{base}{separator}{number}" for number in range(int(first), int(end) + 1)]
    return found


def connect(options, source, port=0):
    family = socket.AF_INET6 if ":" in options.to else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(options.timeout)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        sock.bind((source, port))
    sock.connect((options.to, options.port))
    return sock


class Conversation:
    def __init__(self, sock):
        self.sock, self.input = sock, sock.makefile("rb")

    def ask(self, line):
        self.sock.sendall(line.encode() + b"\n")
        return self.answer(line)

    def answer(self, line):
        answer = self.input.readline().decode().strip()
        if not answer:
            raise ConnectionError("no answer to " + line)
        return answer

    def close(self):
        self.input.close()
        self.sock.close()


def do_many(options):
    total, failed, errors, by_source = collections.Counter(), 0, collections.Counter(), {}
    everyone = [source for source in sources(options.source) for _ in range(options.count)]
    for source in itertools.cycle(everyone) if options.stop else everyone:
        mine = by_source.setdefault(source, collections.Counter())
        try:
            conversation = Conversation(connect(options, source))
            pid = conversation.ask("who")
            conversation.close()
            total[pid] += 1
            mine[pid] += 1
        except OSError as error:
            failed += 1
            errors[str(error)] += 1
        if options.stop and has_to_stop(options):
            break
    return {"answers": total, "failed": failed, "errors": errors, "by_source": by_source}


def has_to_stop(options):
    """Of one that goes on until --stop, after each connection: the first one says that it has begun."""
    if not os.path.exists(options.opened):
        open(options.opened, "w").close()
    return os.path.exists(options.stop)


def connect_avoiding(options):
    """A connection that reaches none of the processes of --avoid: those that do are closed."""
    avoided = options.avoid.split(",")
    for _ in range(200):
        conversation = Conversation(connect(options, options.source))
        if conversation.ask("who") not in avoided:
            return conversation
        conversation.close()
    sys.exit("every connection reaches " + options.avoid)


def do_talk(options):
    """With --meanwhile FILE: asks --first, makes FILE.open, and goes on when FILE appears."""
    conversation = connect_avoiding(options)
    if options.meanwhile:
        if options.first:
            conversation.ask(options.first)
        open(options.meanwhile + ".open", "w").close()
        wait_for_file(options.meanwhile, options.timeout)
    return {"port": conversation.sock.getsockname()[1],
            "answers": [conversation.ask(line) for line in options.lines]}


def do_upload(options):
    data = pattern(options.bytes)
    sock = connect(options, options.source)
    sock.sendall(f"swallow {len(data)}\n".encode() + data)
    answer = sock.makefile("rb").readline().decode().split()
    return {"same": answer[1:] == [hashlib.sha256(data).hexdigest()], "pid": answer[:1]}


def do_download(options):
    sock = connect(options, options.source)
    pid = Conversation(sock).ask("who")
    sock.sendall(f"stream {options.bytes} {options.rate}\n".encode())
    if options.opened:
        open(options.opened, "w").close()
    digest, length, gap, last = hashlib.sha256(), 0, 0, time.monotonic()
    while length < options.bytes:
        data = sock.recv(262144)
        if not data:
            break
        now = time.monotonic()
        gap, last = max(gap, now - last), now
        digest.update(data)
        length += len(data)
    wanted = hashlib.sha256(pattern(options.bytes)).hexdigest()
    return {"pid": pid, "bytes": length, "same": digest.hexdigest() == wanted,
            "longest_gap_ms": int(gap * 1000)}


def http_get(sock, path):
    """The body of an answer with Content-Length, as a line."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: limpet\r\n\r\n".encode())
    answer = sock.makefile("rb")
    length = 0
    while (line := answer.readline().decode().strip()):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return answer.read(length).decode().strip()


def do_http(options):
    path = options.lines[0] if options.lines else "/"
    total, answers, kept = collections.Counter(), [], []
    for source in sources(options.source):
        for _ in range(options.count):
            sock = connect(options, source)
            answers.append(http_get(sock, path))
            total[dict(word.split("=") for word in answers[-1].split())["pid"]] += 1
            if options.together:
                kept.append(sock)
            else:
                sock.close()
    if options.stop:
        open(options.opened, "w").close()
        wait_for_file(options.stop, options.timeout)
    return {"answers": total, "last": answers[-1]}


class Held:
    """One connection of `hold`."""

    def __init__(self, options, source, number):
        self.options, self.source, self.random = options, source, random.Random(number)
        self.exchanges, self.gap, self.pid, self.broken = 0, 0.0, None, None

    async def open(self):
        self.reader, self.writer = await asyncio.wait_for(
            asyncio.open_connection(self.options.to, self.options.port,
                                    local_addr=(self.source, 0)), self.options.timeout)
        self.pid = await self.who()

    async def who(self):
        self.writer.write(b"who\n")
        return (await self.answer(self.reader.readline())).decode().strip()

    async def answer(self, coroutine):
        start = time.monotonic()
        data = await asyncio.wait_for(coroutine, self.options.timeout)
        self.gap = max(self.gap, time.monotonic() - start)
        return data

    async def exchange(self):
        data = self.random.randbytes(self.random.randint(1, 6000))
        self.writer.write(f"echo {len(data)}\n".encode() + data)
        if await self.answer(self.reader.readexactly(len(data))) != data:
            raise ConnectionError("other bytes came back")
        self.exchanges += 1

    async def run(self):
        try:
            while not os.path.exists(self.options.stop):
                await self.exchange()
                await asyncio.sleep(self.random.uniform(0.5, 1.5) * self.options.interval)  # the pace that was asked for
            await self.exchange()
            if await self.who() != self.pid:
                raise ConnectionError("another process answers")
            self.writer.close()
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.broken = f"{self.source}: {type(error).__name__} {error}"


async def watch_rounds(held, path):
    """Whenever the file appears: until every connection has begun and ended an exchange, then removes it."""
    while True:
        if os.path.exists(path):
            before = [connection.exchanges for connection in held]
            # The first to end may have begun before.
            while any(connection.exchanges < count + 2 and not connection.broken
                      for connection, count in zip(held, before)):
                await asyncio.sleep(0.02)  # this is the poll
            os.remove(path)
        await asyncio.sleep(0.02)  # this is the poll


def served_by_two(held, each):
    served = collections.Counter(connection.pid for connection in held)
    return len(served) > 1 and min(served.values()) >= each


async def hold(options):
    list_of_sources = sources(options.source)
    held = [Held(options, list_of_sources[number % len(list_of_sources)], number)
            for number in range(options.count)]
    for connection in held:
        await connection.open()
    while options.each and not served_by_two(held, options.each):
        number = len(held)
        held.append(Held(options, list_of_sources[number % len(list_of_sources)], number))
        await held[-1].open()
    open(options.opened, "w").close()
    rounds = asyncio.create_task(watch_rounds(held, options.round)) if options.round else None
    await asyncio.gather(*(connection.run() for connection in held))
    if rounds:
        rounds.cancel()
    return {"opened": len(held), "broken": [c.broken for c in held if c.broken],
            "exchanges": sum(c.exchanges for c in held),
            "fewest_exchanges": min(c.exchanges for c in held),
            "longest_gap_ms": int(max(c.gap for c in held) * 1000),
            "pids": collections.Counter(c.pid for c in held)}


def do_hold(options):
    return asyncio.run(hold(options))


def wait_for_file(path, limit):
    end = time.monotonic() + limit
    while not os.path.exists(path):
        if time.monotonic() > end:
            sys.exit(f"{path} did not appear")
        time.sleep(0.02)  # this is the poll


def do_finish(options):
    """Sends half of the bytes once the server has closed its side, the rest after --stop."""
    data = pattern(options.bytes)
    sock = connect(options, options.source)
    sock.sendall(b"finish\n")
    ended = sock.recv(1) == b""
    if options.opened:
        open(options.opened, "w").close()
    sock.sendall(data[: len(data) // 2])
    wait_for_file(options.stop, options.timeout)
    sock.sendall(data[len(data) // 2 :])
    sock.close()
    return {"ended": ended, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def do_late(options):
    sock = connect(options, options.source)
    sock.sendall(b"close\n")
    ended = sock.recv(1) == b""
    open(options.opened, "w").close()
    wait_for_file(options.stop, options.timeout)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    sock.close()
    return {"ended": ended, "error": error}


def do_silent(options):
    list_of_sources = sources(options.source)
    socks = [connect(options, list_of_sources[number % len(list_of_sources)])
             for number in range(options.count)]
    open(options.opened, "w").close()
    wait_for_file(options.stop, options.timeout)
    pids, broken = collections.Counter(), []
    for sock in socks:
        sock.sendall(b"who\n")
    for sock in socks:
        try:
            pids[Conversation(sock).answer("who")] += 1
        except OSError as error:
            broken.append(str(error))
    return {"opened": len(socks), "pids": pids, "broken": broken}


def do_reset(options):
    conversation = Conversation(connect(options, options.source))
    pid = conversation.ask("who")
    conversation.sock.sendall(" ".join(options.lines).encode() + b"\n")
    conversation.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conversation.close()
    return {"pid": pid}


def do_forge(options):
    """Opens a connection, waits for --stop, forges SYNs on its 4-tuple, talks on."""
    conversation = Conversation(connect(options, options.source))
    pid = conversation.ask("who")
    port = conversation.sock.getsockname()[1]
    if options.opened:
        open(options.opened, "w").close()
        wait_for_file(options.stop, options.timeout)
    for _ in range(options.count):
        forge.send_syn(options.source, port, options.to, options.port, random.getrandbits(32))
    after = [conversation.ask("who") for _ in range(20)]
    return {"pid": pid, "port": port, "after": sorted(set(after))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("lines", nargs="*")
    parser.add_argument("--to", default="203.0.113.10")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--source", default="198.18.0.1")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=0,
                        help="of hold: more than --count, until two processes have so many each")
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--interval", type=float, default=0.3, help="of hold, seconds")
    parser.add_argument("--avoid", default="", help="of talk: pids, with commas between")
    parser.add_argument("--meanwhile", help="of talk: file to wait for")
    parser.add_argument("--first", help="of talk: a line before --meanwhile")
    parser.add_argument("--together", action="store_true", help="of http")
    parser.add_argument("--opened", help="file made once all is open")
    parser.add_argument("--stop", help="file that ends it")
    parser.add_argument("--round", help="of hold: a file that is removed once all have gone on")
    options = parser.parse_intermixed_args()
    print(json.dumps(globals()["do_" + options.command](options)), flush=True)


main()
