#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The table at both ends, in pinned maps with BTF: bpftool prints named fields.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "bpftool prints the tables with named fields"

lab_up && lab_serve && start_instances 1 || exit 1
pid=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"
node=$(node_of_pid "$pid")
client_start held hold --source 198.18.0.1 --count 3

dump()
{
	on "$1" bpftool -j map dump pinned "$LAB_PIN/$2" | json '[e.get("formatted") for e in d]'
}

check_soon "three connections are open" 5 connections_are "$node" 3
check_soon "r1 knows them" 5 table_is_union r1
check_json "router/connections" "all({'client', 'client_port', 'service'} <= set(e['key']) and
	{'target', 'state'} <= set(e['value']) for e in d)" "$(dump r1 router/connections)"
check_json "router/affinities" "all({'client', 'scope'} <= set(e['key']) and
	{'target', 'clock'} <= set(e['value']) for e in d) and len(d) == 1" "$(dump r1 router/affinities)"
check_json "target/connections" "len(d) == 3 and all('client_port' in e['key'] and
	{'cookie', 'instance'} <= set(e['value']) for e in d)" "$(dump "$node" target/connections)"
check_json "target/affinities" "len(d) == 1 and {'word', 'instance', 'idle_ns', 'pid'} <= set(d[0]['value'])" \
	"$(dump "$node" target/affinities)"
check_is "the affinity names the process" "$pid" "$(dump "$node" target/affinities | json 'd[0]["value"]["pid"]')"
client_end held >/dev/null
