#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Limpet as installed, under systemd: a router and a target that serve, with the units' hardening on;
# reload, restart under traffic, watchdog, stop. What applications and operators see goes on when limpetd does not.
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

# restarted NODE TIMES: systemd has started limpetd anew, so many times or more.
restarted()
{
	[ "$(unit "$1" limpetd NRestarts)" -ge "$2" ] && unit_is "$1" limpetd ActiveState active
}

# In the eyes of r1.
target_is_up()
{
	[ "$(show r1 targets '[(t["state"], t["path"], t["ready_instances"]) for t in d]')" = '[["up", "ok", 2]]' ]
}

r1_has_no_target()
{
	[ "$(show r1 targets d)" = "[]" ]
}

check_serves()
{
	check_json "$1: connections are served" "d['failed'] == 0" \
		"$(client many --source 198.18.5.1-30)"
	check_all_reach "$1: the affinity holds" "$pid" 20 198.18.0.1
}

# New connections, one after the other, until `flood_end`; its last line says how that went.
flood_start()
{
	(
		until [ -e "$LAB_DIR/flood.stop" ]; do
			client many --source 198.18.6.1-20
		done >"$LAB_DIR/flood.log" 2>&1
	) &
	flood=$!
}

flood_end()
{
	touch "$LAB_DIR/flood.stop"
	wait "$flood"
	check_json "$1" "len(d) > 0 and sum(r['failed'] for r in d) == 0" "[$(paste -sd, "$LAB_DIR/flood.log")]"
}

lab_up && machine_install && machine_boot r1 && machine_boot t1 || exit 1
move_address r1
declare -A before
for node in r1 t1; do
	before[$node]=$(state_of $node)
	check "$node: the units are in order" on $node systemd-analyze verify --man=no \
		/lib/systemd/system/limpet.service /lib/systemd/system/limpetd.service
	check "$node: they are hardened" on $node systemd-analyze security --no-pager --threshold=40 limpet limpetd
	check "$node: systemctl start" on $node systemctl start limpet limpetd
	check_is "$node: limpet.service" active "$(unit $node limpet ActiveState)"
	check_is "$node: limpetd.service has said that it is ready" "active running" \
		"$(unit $node limpetd ActiveState) $(unit $node limpetd SubState)"
	check "$node: limpet status" on $node limpet status
done
check "r1: limpet activate" on r1 limpet activate

# Listeners of another user (both of the same, or the kernel lets them share no port), in units and cgroups of their own.
# Where every user may read it.
on t1 install -D --target-directory=/usr/local/lib/shop "$LAB_ROOT"/tests/net/{server,rows}.py
for number in 1 2; do
	check "application $number starts" on t1 systemd-run --quiet --unit=shop$number --uid=daemon \
		--property=AmbientCapabilities=CAP_NET_BIND_SERVICE \
		/usr/bin/python3 /usr/local/lib/shop/server.py
done
check_soon "both are adopted" 10 instances_are t1 2
check_soon "r1 has the table" 20 router_is_ready r1
check_soon "r1 sees the target ready, and the path to it" 20 target_is_up
pid=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity, in force everywhere"
client_start held hold --source 198.18.1.1-10 --count 20
check_serves "served"

# ---- reload
for node in r1 t1; do
	on $node sed -i 's/^tls:/tsl:/' /etc/limpet/limpet.yaml
	for name in limpet limpetd; do
		check "$node: systemctl reload $name with a bad file fails" \
			eval "! on $node systemctl reload $name 2>/dev/null"
		check_is "$node: and $name goes on" active "$(unit $node $name ActiveState)"
	done
	check_soon "$node: the journal names the file and the line" 5 \
		grep -q "limpet.yaml:[0-9]*: unknown key 'tsl'" "$LAB_DIR/$node/limpetd.log"
	on $node sed -i 's/^tsl:/tls:/' /etc/limpet/limpet.yaml
	for name in limpet limpetd; do
		check "$node: systemctl reload $name with a good one" on $node systemctl reload $name
	done
done
on r1 sh -c 'sed -i "/^  services:/a\    - { name: more, address: 203.0.113.11, port: 80 }" /etc/limpet/limpet.yaml'
check "r1: systemctl reload limpet with a service more" on r1 systemctl reload limpet
check_soon "t1 has learnt it" 10 on t1 sh -c 'limpet show services --json | grep -q 203.0.113.11'
check_soon "and has its address" 10 on t1 sh -c 'ip address show dev lo | grep -q 203.0.113.11'
check_serves "after the reloads"

# ---- the agent's ends
flood_start
for node in r1 t1; do
	check "$node: systemctl restart limpetd" on $node systemctl restart limpetd
done
flood_end "connections were served all the while"
check_soon "r1 has the table again" 20 router_is_ready r1
check_soon "t1: what is adopted stays so" 10 instances_are t1 2
check_serves "after the restart"
for node in r1 t1; do
	check "$node: kill -9" on $node systemctl kill --kill-whom=main --signal=KILL limpetd
	check_soon "$node: systemd starts limpetd again" 10 restarted $node 1
done
check_soon "r1 has the table again" 20 router_is_ready r1
check_soon "r1 sees the target again" 20 target_is_up
check_soon "t1: what is adopted stays so" 10 instances_are t1 2
check_serves "after kill -9"
for node in r1 t1; do
	on $node sh -c 'mkdir -p /run/systemd/system/limpetd.service.d &&
		printf "[Service]\nWatchdogSec=2s\n" >/run/systemd/system/limpetd.service.d/watchdog.conf &&
		systemctl daemon-reload && systemctl restart limpetd' || fail "$node: restart"
	count=$(unit $node limpetd NRestarts)
	check "$node: the agent hangs" on $node systemctl kill --kill-whom=main --signal=STOP limpetd
	check_soon "$node: the watchdog has it started again" 20 restarted $node $((count + 1))
	check_soon "$node: the journal says that it was the watchdog" 5 grep -q "Watchdog timeout" "$LAB_DIR/$node/limpetd.log"
	on $node sh -c 'rm -r /run/systemd/system/limpetd.service.d &&
		systemctl daemon-reload && systemctl restart limpetd' || fail "$node: restart"
done
check_soon "r1 has the table again" 20 router_is_ready r1
check_serves "after the watchdog"

# ---- stop
for node in r1 t1; do
	check "$node: systemctl stop limpetd" on $node systemctl stop limpetd
	check_is "$node: is a clean end" success "$(unit $node limpetd Result)"
done
check_serves "without limpetd"
check_json "no connection was broken by any of this" "d['broken'] == [] and d['opened'] == 20" \
	"$(client_end held)"
for node in r1 t1; do
	check "$node: systemctl start limpetd" on $node systemctl start limpetd
done
check_soon "r1 sees the target again" 20 target_is_up
on t1 systemctl stop shop1 shop2
for node in t1 r1; do
	node_bpf_objects $node >"$LAB_DIR/$node/objects"
	check "$node has BPF objects" test -s "$LAB_DIR/$node/objects"
	check "$node: systemctl stop limpet" on $node systemctl stop limpet
	check_is "$node: limpetd is stopped with it" inactive "$(unit $node limpetd ActiveState)"
	[ $node != t1 ] || check_soon "r1 has been told that t1 leaves" 5 r1_has_no_target
	check_soon "$node: every BPF object is gone" 10 list_is_gone "$LAB_DIR/$node/objects"
	difference=$(diff <(echo "${before[$node]}") <(state_of $node))
	check_is "$node: addresses, links and sysctls are as before" "" "$difference"
	check "$node: both start again" on $node systemctl start limpetd
	check_is "$node: limpet.service too" active "$(unit $node limpet ActiveState)"
done
for node in r1 t1; do
	check "$node: the hardening forbids nothing that limpet or limpetd does" eval \
		"! grep -n 'not permitted\|ermission denied\|Read-only file\|SIGSYS' $LAB_DIR/$node/limpetd.log"
done
