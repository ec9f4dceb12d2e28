#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `limpet unload` leaves no program, map, link, address or sysctl behind.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "unload leaves nothing"

# What an operator could see of the node's state.
state_of()
{
	on "$1" sh -c 'ip -o address show | sed "s/valid_lft.*//"; ip -o link show
		ip route show table all; ip -6 route show table all; ip rule; tc qdisc show
		nft list ruleset; sysctl -a 2>/dev/null | grep "^net\.ipv[46]\.conf\|^net.ipv4.tcp" |
			grep -v stable_secret
		ls -A /sys/fs/bpf' 2>/dev/null | sed 's/expires [0-9]*sec//'
}

# The kernel says so a moment after the link was set up.
link_is_up()
{
	on "$1" ip -o link show eth0 | grep 'state UP' && on "$1" ip -o -6 address show dev eth0 | grep fe80:
}

lab_up || exit 1
for node in r1 r2 t1 t2; do
	wait_until 5 "the link of $node" link_is_up $node || exit 1
done
move_address r1
declare -A before
for node in r1 r2 t1 t2; do
	before[$node]=$(state_of $node)
done
lab_serve && start_instances 2 || exit 1
pid=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"
client_start held hold --source 198.18.1.1-10 --count 20
check "t1 has the service address" on t1 sh -c 'ip address show dev lo | grep -q 203.0.113.10'

for node in t1 t2 r1 r2; do
	node_bpf_objects $node >"$LAB_DIR/$node/objects"
	check "$node has BPF objects: $(wc -l <"$LAB_DIR/$node/objects")" test -s "$LAB_DIR/$node/objects"
	stop_limpetd $node || exit 1
	[ $node != r1 ] || check "r1: is active no more" on r1 limpet deactivate
	check "$node: limpet unload" on $node limpet unload
	check_soon "$node: every one of them is gone" 10 list_is_gone "$LAB_DIR/$node/objects"
	difference=$(diff <(echo "${before[$node]}") <(state_of $node))
	check_is "$node: addresses, links, routes and sysctls are as before" "" "$difference"
	check_is "$node: nothing in its runtime directory" "" "$(ls -A "$LAB_DIR/$node/run")"
	check_is "$node: a second unload has nothing to do, and is no error" 0 \
		"$(on $node limpet unload >/dev/null 2>&1; echo $?)"
done
# Nothing gets through any more: it would wait for answers.
stop_process KILL "$(cat "$LAB_DIR/client/held.pid")" || exit 1
for node in r1 r2 t1 t2; do
	check "$node: loads again" node_serve $node
done
takeover r1
check_soon "and all is ready" 20 router_is_ready r1
wait_adopted 2 || exit 1
check_json "connections are served" "d['failed'] == 0" "$(client many --source 198.18.5.1-30)"

rm "$LAB_DIR/t1/run/undo"
said=$(on t1 limpet unload 2>&1) || fail "unload without what it would put back: $said"
check "unload says that it does not know what to put back" grep -q "arp_ignore and arp_announce.*stay as they are" <<<"$said"
