#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# limpetd dies by SIGKILL on each node in turn, under traffic: packets flow, connections and
# affinities hold, new connections are served (promise 6); started again, it has the same table.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "limpetd killed with -9 on each node under traffic"

lab_up && lab_serve && start_instances 2 || exit 1
pid=$(ask_affinity 198.18.9.1) || fail "the client gets an affinity"
client_start held hold --source 198.18.1.1-50 --count 100
check_soon "r1's table is the union of the targets'" 5 table_is_union r1
before=$(table r1)

table_is()
{
	diff <(echo "$2") <(table "$1")
}

for node in r1 r2 t1 t2; do
	kill_limpetd $node || exit 1
	check_json "$node: without it 60 new connections are served" "d['failed'] == 0" \
		"$(client many --source 198.18.4.1-60)"
	check_all_reach "$node: and the affinity holds" "$pid" 50 198.18.9.1
	start_limpetd $node || exit 1
	for router in r1 r2; do
		check_soon "$node: started again: $router is ready" 20 router_is_ready $router
		check_soon "$node: and its table the union of the targets'" 10 table_is_union $router
	done
	check_soon "$node: the table is the same" 5 table_is r1 "$before"
done

for node in r1 r2 t1 t2; do
	kill_limpetd $node || exit 1
done
check_json "with no process of Limpet left new connections are served" "d['failed'] == 0" \
	"$(client many --source 198.18.5.1-60)"
check_all_reach "and the affinity holds" "$pid" 50 198.18.9.1

# Only routers' agents start again: what targets have said before is in the pinned maps alone.
rings_made()
{
	on r1 bpftool -j map dump pinned "$LAB_PIN/router/service_state" | json 'd[0]["formatted"]["value"]["generation"]'
}

rings_are_new()
{
	[ "$(rings_made)" != "$1" ]
}

# In the ring, each target has about half of the slots; its kernel has chosen the instance with the
# fewest connections.
both_serve()
{
	local node pids report

	report=$(client many --source "$2")
	check_json "$1 new connections are served" "d['failed'] == 0" "$report"
	for node in t1 t2; do
		pids=$(instance_pids $node | tr '\n' ' ')
		check_json "and by $node as many as before" "sum(n for pid, n in d['answers'].items()
			if pid in '$pids'.split()) >= 25" "$report"
	done
}

made=$(rings_made)
start_limpetd r1 || exit 1
check_soon "r1: started again: its rings are made anew" 20 rings_are_new "$made"
both_serve "without an agent at any target" 198.18.6.1-100
check_all_reach "and the affinity holds" "$pid" 50 198.18.9.1
start_limpetd t1 || exit 1
check_soon "t1 is up at r1" 10 router_knows r1 t1 2
both_serve "with an agent at one target of two" 198.18.7.1-100
for node in r2 t2; do
	start_limpetd $node || exit 1
done
check_soon "all is ready again" 20 router_is_ready r1
report=$(client_end held)
check_json "none of 100 connections broke" "d['broken'] == [] and d['opened'] == 100" "$report"
