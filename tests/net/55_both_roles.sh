#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Nodes that are router and target: the active router serves clients itself, the standby is one of
# its targets; after a takeover it is the other way round.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "routers that are targets too"

# shellcheck disable=SC2034 # lab_up reads it
LAB_TARGETS=1
lab_up || exit 1
"$LAB_ROOT/scripts/make-certs" "$LAB_DIR/certs" r1 "$(node_address4 r1)" r2 "$(node_address4 r2)" || exit 1
for node in r1 r2; do
	cp "$LAB_DIR/certs/$node".{pem,key} "$LAB_DIR/$node/etc/"
	target_section $node >>"$LAB_DIR/$node/etc/limpet.yaml"
done
declare -A process client
for node in r1 r2 t1; do
	node_serve $node && process[$node]=$(start_instance $node) || exit 1
done
takeover r1

three_serve()
{
	[ "$(show "$1" targets 'sorted((t["name"], t["state"], t["path"], t["ready_instances"]) for t in d)')" = \
		'[["r1", "up", "ok", 1], ["r2", "up", "ok", 1], ["t1", "up", "ok", 1]]' ]
}

# The processes of the nodes other than this one.
others_than()
{
	local node

	for node in r1 r2 t1; do
		[ $node = "$1" ] || echo "${process[$node]}"
	done | paste -sd,
}

check_affinities()
{
	local node

	for node in "${!client[@]}"; do
		check_all_reach "$1: the client of $node" "${process[$node]}" 50 "${client[$node]}"
	done
}

for node in r1 r2; do
	check_soon "$node: all three are its targets" 20 three_serve $node
	check "$node: is ready" router_is_ready $node
done
number=0
for node in r1 r2 t1; do
	client[$node]=198.18.0.$((++number))
	check_is "a client gets an affinity at $node" "${process[$node]}" \
		"$(ask_affinity "${client[$node]}" --avoid "$(others_than $node)")"
	check_json "3 MB arrive there" "d['same'] and d['pid'] == ['${process[$node]}']" \
		"$(client upload --source "${client[$node]}" --bytes 3000000 --timeout 20)"
done
check_affinities "through r1"
check "what is for its own target, r1 passes to its kernel" counter_is_above r1 forwarded_local 0
client_start held hold --source 198.18.1.1-30 --count 60

# By which roles a node knows what the client of another has to come back to.
roles()
{
	show "$1" affinities '[row["role"] for row in d]' --client "${client[$2]}"
}

# r1 forwards them all, and those that it serves, too.
connections_say_by_whom()
{
	[ "$(show r1 connections '(
		lambda open: len(open("router")) == 60 and open("target") and
			open("target") == {row for row in open("router") if row[2] == "r1"}
		)(lambda role: {(row["client"], row["client_port"], row["target"]) for row in d
			if row["role"] == role and row["state"] == "open"})')" = true ]
}

first_column()
{
	on "$1" limpet show "$2" | sed -n '1s/ .*//p'
}

check_is "r1: it forwards its own client, and serves it" '["router", "target"]' "$(roles r1 r1)"
check_is "r1: it forwards t1's client" '["router"]' "$(roles r1 t1)"
check_soon "r1: each connection says by which role it is known" 5 connections_say_by_whom
for list in affinities connections; do
	check_is "r1: $list: the first column" ROLE "$(first_column r1 $list)"
	check_is "t1, which is a target alone: $list" CLIENT "$(first_column t1 $list)"
	check_is "t1: no row has a role" true "$(show t1 $list 'any(d) and not any("role" in row for row in d)')"
done

check "r1: deactivate" on r1 limpet deactivate
takeover r2
check_soon "r2 is ready" 20 router_is_ready r2
check_affinities "through r2"
check "r2 passes to its kernel what is for its own target" counter_is_above r2 forwarded_local 0
kill_limpetd r2 || exit 1
check_affinities "without limpetd on r2"
start_limpetd r2 || exit 1
check_soon "r2 is ready again" 20 router_is_ready r2
report=$(client_end held)
check_json "60 connections, at all three, none broke" \
	"d['opened'] == 60 and d['broken'] == [] and len(d['pids']) == 3" "$report"

check "r1 unloads: neither router nor target any more" on r1 limpet unload
r1_is_forgotten()
{
	[ "$(show r2 targets '" ".join(sorted(t["name"] for t in d))')" = "r2 t1" ] && router_is_ready r2
}
check_soon "r2 has been told" 10 r1_is_forgotten
check_json "its client is served elsewhere, as all are" "not d['failed'] and '${process[r1]}' not in d['answers']" \
	"$(client many --source "${client[r1]}" --count 30)"
unset "client[r1]"
check_affinities "without r1"
