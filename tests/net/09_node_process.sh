#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A Node.js process. Older releases cannot set SO_REUSEPORT themselves: the listener is opened by a
# parent and passed on, as systemd would.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "Node.js processes are instances"
command -v node >/dev/null || {
	say "node is not installed: scripts/install-packages"
	exit 77
}

LAB_TARGETS=1
LAB_SERVICES="    - name: shop
      address: 203.0.113.10
      port: 80
      affinity: timed
      affinity_idle: 60s"
lab_up && lab_serve || exit 1
cat >"$LAB_DIR/server.js" <<'END'
const net = require("net");
const server = net.createServer((socket) => {
	socket.on("error", () => {});
	socket.on("data", () => socket.write(process.pid + "\n"));
});
server.listen({ fd: Number(process.argv[2]) }, () => console.log("listening", process.pid));
END
cat >"$LAB_DIR/parent.py" <<'END'
import os, socket, sys
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("::", 80))
listener.set_inheritable(True)
os.execvp("node", ["node", sys.argv[1], str(listener.fileno())])
END
for name in one two; do
	run_on t1 node.$name /usr/bin/python3 "$LAB_DIR/parent.py" "$LAB_DIR/server.js"
done
check_soon "two node processes are adopted" 20 adopted t1 2
pids=$(for file in "$LAB_DIR"/t1/node.*.pid; do cat "$file" && echo; done | tr '\n' ' ')
report=$(client many --source 198.18.0.1-60 --timeout 10)
check_json "60 clients are served by them ($pids)" \
	"not d['failed'] and set(d['answers']) <= set('$pids'.split())" "$report"
check_json "each client by one of them, at which its affinity is" \
	"all(len(pids) == 1 for pids in d['by_source'].values())" \
	"$(client many --source 198.18.0.1-60 --count 5 --timeout 10)"
