#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `limpet monitor`: roles, targets, affinities, instances and routers, as they change, one JSON
# object a line.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "monitor"

lab_up && lab_serve && start_instances 1 || exit 1

# seen NODE EXPRESSION: has the stream a line d of which this is true, since the last mark?
seen()
{
	tail -n "+$((${marks[$1]:-0} + 1))" "$LAB_DIR/$1/monitor.log" | /usr/bin/python3 -c '
import json, sys
lines = [json.loads(line) for line in sys.stdin]
sys.exit(not any(eval(sys.argv[1]) for d in lines))' "$2"
}

mark()
{
	marks[$1]=$(wc -l <"$LAB_DIR/$1/monitor.log")
}
declare -A marks=()

says()
{
	check_soon "$1: $2" 15 seen "$1" "$3"
}

for node in r1 t1 t2; do
	run_on $node monitor limpet monitor
	says $node "the stream begins" "d == {'event': 'monitor', 'name': '$node'}"
done

check "deactivate" on r1 limpet deactivate
says r1 "standby" "d == {'event': 'role', 'name': 'r1', 'state': 'standby'}"
check "activate" on r1 limpet activate
says r1 "active" "d == {'event': 'role', 'name': 'r1', 'state': 'active'}"
check_soon "r1 is ready" 5 router_is_ready r1

pid=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"
holder=$(node_of_pid "$pid")
about="d.get('client') == '198.18.0.1' and d['event'] == 'affinity' and d['scope'] == 'shop'"
says "$holder" "the affinity is in force here" "$about and d['state'] == 'here'"
says "$holder" "and everywhere" "$about and d['state'] == 'everywhere'"
says r1 "granted" "$about and d['state'] == 'granted' and d['target'] == '$holder'"
says r1 "published" "$about and d['state'] == 'everywhere' and d['target'] == '$holder'"
check "release" on "$holder" limpet affinity release 198.18.0.1 shop
says "$holder" "ended by the operator" "$about and d['state'] == 'ended' and d['end'] == 'operator'"
says r1 "ended" "$about and d['state'] == 'ended'"

pid=$(ask_affinity 198.18.0.2) || fail "the other client gets an affinity"
holder=$(node_of_pid "$pid")
about="d.get('client') == '198.18.0.2' and d['event'] == 'affinity'"
stop_process KILL "$pid"
says "$holder" "the instance has ended" "d['event'] == 'instance_end' and d['pid'] == $pid"
says "$holder" "and its affinity with it" \
	"$about and d['state'] == 'ended' and d['end'] in ('instance', 'process')"
says r1 "ended" "$about and d['state'] == 'ended'"
new=$(start_instance "$holder") || exit 1
says "$holder" "a new instance" "d['event'] == 'instance' and d['pid'] == $new"

stop_limpetd r2 || exit 1
says t1 "a router goes" "d == {'event': 'router_down', 'router': 'r2'}"
start_limpetd r2 || exit 1
says t1 "and comes" "d == {'event': 'router_up', 'router': 'r2'}"

mark r1
stop_limpetd t1 || exit 1
says r1 "a target has no agent" "d == {'event': 'target', 'name': 't1', 'state': 'unattended'}"
start_limpetd t1 || exit 1
says r1 "it is up" "d == {'event': 'target', 'name': 't1', 'state': 'up'}"
node_kill t2
says r1 "a target is down" "d == {'event': 'target', 'name': 't2', 'state': 'down'}"

check_soon "the stream of t1 has ended with its limpetd" 5 process_is_gone "$(cat "$LAB_DIR/t1/monitor.pid")"
stop_limpetd r1 || exit 1
check_soon "and that of r1" 5 process_is_gone "$(cat "$LAB_DIR/r1/monitor.pid")"
