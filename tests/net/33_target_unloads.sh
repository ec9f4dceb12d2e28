#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A target unloads, with its limpetd running, stopped, or dead and unable to say so: the routers send
# nobody there any more.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a target unloads"

# shellcheck disable=SC2034 # lab_up reads it
LAB_ROUTER_EXTRA="  dead_time: 10s"
lab_up && lab_serve && start_instances 1 || exit 1

is_forgotten()
{
	[ "$(show "$1" targets "[t['name'] for t in d]")" = '["t1"]' ] && router_is_ready "$1"
}

state_is()
{
	[ "$(show "$1" targets "[t['state'] for t in d if t['name'] == 't2'][0]")" = "$2" ]
}

# A SYN into a hole is sent again after a second, and fails here: half of them, if t2 still got its
# share. The few are those that a busy machine keeps waiting as long.
check_served()
{
	check_json "$1: 100 new connections are served at once" \
		"d['failed'] <= 5 and d['failed'] == d['errors'].get('timed out', 0)" \
		"$(client many --source 198.18.3.1-100 --timeout 0.9)"
}

check_left()
{
	for router in r1 r2; do
		check_soon "$1: $router has forgotten it, and is ready" 10 is_forgotten $router
	done
	check_served "$1"
	check "$1: loaded again" node_serve t2
	wait_adopted 1 || exit 1
}

check "unload under a running limpetd" on t2 limpet unload
check_soon "which has ended" 5 eval '! limpetd_is_up t2'
check "and has said why" grep -q "the node unloads" <<<"$(limpetd_log t2)"
check_left "said by limpetd"

kill_limpetd t2 || exit 1
check "unload when limpetd was killed" on t2 limpet unload
check_left "said by limpet unload"

stop_limpetd t2 || exit 1
check "unload when limpetd was stopped, as the service manager does it" on t2 limpet unload
check_left "said by limpet unload"

# It starts again without Limpet: its agent says nothing, its kernel answers on the link.
check_soon "r1 takes t2 for up" 5 state_is r1 up
kill_limpetd t2 || exit 1
for router in r1 r2; do
	check_soon "$router: no agent there" 10 state_is $router unattended
done
probes=$(counter t2 decap_probes)
check_soon "probes go there on" 30 counter_is_above t2 decap_probes $((probes + 32))
for router in r1 r2; do
	check "$router: and come back" state_is $router unattended
done
check_served "it serves on"

# Nothing gets through for a while: so long it is down.
on net ip link set t2 nomaster || exit 1
for router in r1 r2; do
	check_soon "$router: t2, which nobody reaches, is down" 20 state_is $router down
done
on net ip link set t2 master br0 || exit 1
for router in r1 r2; do
	check_soon "$router: and when it is reached again it is not" 20 state_is $router unattended
done
check_served "it serves again"
on t2 rm -r /sys/fs/bpf/limpet || exit 1
for router in r1 r2; do
	check_soon "$router: t2, where nothing is unwrapped any more, is down" 20 state_is $router down
done
check "r1 is not ready" eval '! router_is_ready r1'
check "and names it" grep -q t2 <<<"$(on r1 limpet ready)"
check_served "down"
check_soon "after dead_time it is dead" 30 state_is r1 dead
check_soon "and r1 ready" 5 router_is_ready r1
check_served "dead"
