#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""successor.py: a server that is restarted hot: it answers as server.py does; at SIGUSR2 it hands its
listener to a new process of itself, closes it, and serves the connections that it has on."""

import select
import signal
import subprocess
import sys
import threading

import server


def serve(listener, told):
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    listener.setblocking(False)  # whom another process was faster to accept is not there any more
    while not told.is_set():
        if not ready.poll(50):
            continue
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            continue
        sock.setblocking(True)
        threading.Thread(target=server.Connection(sock, listener).serve, daemon=True).start()


def main():
    told = threading.Event()
    signal.signal(signal.SIGUSR2, lambda number, frame: told.set())
    options = server.arguments()
    listener = server.listen(options, options.port)
    print("listening", flush=True)
    serve(listener, told)
    subprocess.Popen([sys.argv[0], "--fd", str(listener.fileno())], pass_fds=[listener.fileno()])
    listener.close()
    print("passed on", flush=True)
    signal.pause()


main()
