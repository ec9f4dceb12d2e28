#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Limpet as installed, under systemd: a router and a target that serve, with the units' hardening on;
# reload, restart, watchdog, stop. What applications and operators see goes on when limpetd does not.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
# shellcheck source=tests/net/machine.sh
. "$(dirname "$0")/machine.sh"
test_begin "Limpet under systemd"
LAB_TARGETS=1

# What an operator could see of the node's state.
state_of()
{
	on "$1" sh -c 'ip -o address show | sed "s/valid_lft.*//"; ip -o link show
		sysctl -a 2>/dev/null | grep "^net\.ipv[46]\.conf\|^net.ipv4.tcp" | grep -v stable_secret
		ls -A /sys/fs/bpf /run/limpet 2>/dev/null'
}

# Is this agent in its first second of doing the work of the one before?
restarted()
{
	[ "$(unit "$1" limpetd NRestarts)" = "$2" ] && unit_is "$1" limpetd ActiveState active
}

# The service's connections, new ones and those that have been open all the time.
check_serves()
{
	check_json "$1: connections are served" "d['failed'] == 0" \
		"$(client many --source 198.18.5.1-30)"
	check_all_reach "$1: the affinity holds" "$pid" 20 198.18.0.1
}

lab_up && machine_install && machine_boot r1 && machine_boot t1 || exit 1
declare -A before
for node in r1 t1; do
	before[$node]=$(state_of $node)
	check "$node: the units are in order" on $node systemd-analyze verify --man=no \
		/lib/systemd/system/limpet.service /lib/systemd/system/limpetd.service
	check "$node: systemctl start" on $node systemctl start limpet limpetd
	check_is "$node: limpet.service" active "$(unit $node limpet ActiveState)"
	check_is "$node: limpetd.service has said that it is ready" "active running" \
		"$(unit $node limpetd ActiveState) $(unit $node limpetd SubState)"
	check "$node: limpet status" on $node limpet status
done
takeover r1

# Listeners of another user, in a unit and a cgroup of their own.
check "an application starts" on t1 systemd-run --quiet --unit=shop --property=DynamicUser=yes \
	--property=AmbientCapabilities=CAP_NET_BIND_SERVICE \
	/usr/bin/python3 "$LAB_ROOT/examples/affinity_server.py" -a :: -p 80 -n 2
check_soon "its two processes are adopted" 10 instances_are t1 2
check_soon "r1 has the table" 20 router_is_ready r1
check_soon "r1 sees the target, and the path to it" 20 targets_ready r1
