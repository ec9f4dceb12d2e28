#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The same as affinity_server.c, in Python, with nothing but the bare system call.

affinity_server.py [-a ADDRESS] [-p PORT] [-n PROCESSES]

/ tells which process answers and how often it has seen this client, /login asks that the client
come back to this process, /wait also waits until that is in force everywhere, /logout gives it up.
"""

import argparse
import errno
import http.server
import os
import signal
import socket
import socketserver
import struct
import time

# From limpet/limpet.h.
SOL_LIMPET = 7562
LIMPET_AFFINITY = 1
LIMPET_AFFINITY_RELEASE = 2
OPTIONS = struct.Struct("=IIII")  # size, flags, idle_ms, max_life_ms
STATUS = struct.Struct("=IIIIQQQQ")  # size, state, reason, connections, id, instance, expires, age
IDLE_DEFAULT = 0xFFFFFFFF
STATES = {0: "none", 1: "here", 2: "everywhere"}
WAIT_SECONDS = 2


def affinity_request(connection):
    options = OPTIONS.pack(OPTIONS.size, 0, IDLE_DEFAULT, 0)
    connection.setsockopt(SOL_LIMPET, LIMPET_AFFINITY, options)


def affinity_release(connection):
    connection.setsockopt(SOL_LIMPET, LIMPET_AFFINITY_RELEASE, 0)


def affinity_status(connection):
    """(state, instance)"""
    status = STATUS.unpack(connection.getsockopt(SOL_LIMPET, LIMPET_AFFINITY, STATUS.size))
    return STATES[status[1]], status[5]


def affinity_wait(connection):
    end = time.monotonic() + WAIT_SECONDS
    while affinity_status(connection)[0] == "here":
        if time.monotonic() >= end:
            raise TimeoutError(errno.ETIMEDOUT, "not in force everywhere")
        time.sleep(0.005)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    visits = {}  # what a client would lose in another process

    def act(self):
        if self.path == "/logout":
            affinity_release(self.connection)
        elif self.path in ("/login", "/wait"):
            affinity_request(self.connection)
        if self.path == "/wait":
            affinity_wait(self.connection)

    def do_GET(self):
        client = self.client_address[0]
        self.visits[client] = self.visits.get(client, 0) + 1
        error, state, instance = "0", "unknown", 0
        try:
            self.act()
        except OSError as caught:
            error = errno.errorcode.get(caught.errno, str(caught.errno))
        try:
            state, instance = affinity_status(self.connection)
        except OSError:
            pass  # Limpet is not loaded here, or this is no connection of a service
        body = (
            f"pid={os.getpid()} instance={instance} client={client} "
            f"visits={self.visits[client]} affinity={state} error={error}\n"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    daemon_threads = True

    def server_bind(self):
        # A listener for each process: so Limpet can tell them apart.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the name service too


def serve(address, port):
    Server.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with Server((address, port), Handler) as server:
        server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description="an HTTP server that asks for affinities")
    parser.add_argument("-a", "--address", default="0.0.0.0")
    parser.add_argument("-p", "--port", type=int, default=8080)
    parser.add_argument("-n", "--processes", type=int, default=1)
    options = parser.parse_args()
    children = []
    for _ in range(options.processes):
        child = os.fork()
        if child == 0:
            serve(options.address, options.port)
        children.append(child)

    def stop(*_):
        for child in children:
            os.kill(child, signal.SIGTERM)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
