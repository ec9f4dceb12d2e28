#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An interface that was deleted and made anew has no XDP program: whoever asks is told so, and `limpet
# load` helps. A load that meets another's program on one interface changes nothing on the others.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "interfaces that are made anew, and that others use"
LAB_TARGETS=1

lab_up && lab_serve && start_instances 1 || exit 1
WORDS="eth0: no XDP program is attached: limpet load"

ask_agent()
{
	on "$1" curl -s --max-time 1 --unix-socket /run/limpet/control.sock "http://limpet/$2"
}

# Every target is in sync, whether or not the interface is as it should be.
nobody_is_missing()
{
	[ "$(ask_agent "$1" ready | json 'd["missing"] == ""')" = true ]
}

# logged TIMES NODE WORDS: in limpetd's log.
logged()
{
	[ "$(grep -cxF "limpetd: $3" "$LAB_DIR/$2/limpetd.log")" -eq "$1" ]
}

# metric NODE SAMPLE
metric()
{
	ask_agent "$1" metrics | grep -qxF "limpet_$2"
}

check_is "nothing is wrong" "" "$(on r2 sh -c 'limpet status; limpet check 2>&1' | grep "no XDP program")"
on r2 ip link delete eth0 || exit 1
check_is "r2, without the interface: not ready" "not ready: $WORDS" "$(on r2 limpet ready)"
node_connect r2 || exit 1
check_soon "limpetd has all that it wants" 20 nobody_is_missing r2
check_soon "and says in its log what is wrong" 5 logged 1 r2 "$WORDS"
check_is "r2's limpetd: not ready" "503" "$(on r2 curl -s -o /dev/null -w '%{http_code}' \
	--unix-socket /run/limpet/control.sock http://limpet/ready)"
check_json "and why" "not d['ready'] and d['interface_without_xdp'] == 'eth0'" "$(ask_agent r2 ready)"
check_json "its status" "not d['router']['ready'] and d['interface_without_xdp'] == 'eth0'" "$(ask_agent r2 status)"
check "its metrics: not ready" metric r2 'router_ready 0'
check "its metrics: the interface" metric r2 'interface_attached{interface="eth0"} 0'
said=$(on r2 limpet ready)
check_is "with a new one: not ready" 1 $?
check_is "and why" "not ready: $WORDS" "$said"
check "status says so" grep -qx "$WORDS" <<<"$(on r2 limpet status)"
check_json "as JSON, too" "d['interface_without_xdp'] == 'eth0' and not d['router']['ready']" \
	"$(on r2 limpet status --json)"
check "check says so" grep -q "$WORDS" <<<"$(on r2 limpet check 2>&1)"
check "load" on r2 limpet load
check_soon "r2 is ready" 10 router_is_ready r2
check "so say its metrics" metric r2 'router_ready 1'
check "with the interface" metric r2 'interface_attached{interface="eth0"} 1'
check_json "its status" "d['router']['ready'] and d['interface_without_xdp'] is None" "$(ask_agent r2 status)"
check_soon "its log says so, once" 5 logged 1 r2 "eth0: the XDP program is attached"
check "and once what was wrong" logged 1 r2 "$WORDS"
check "r1's log says nothing of it" logged 0 r1 "$WORDS"
check_json "status as JSON" "d['interface_without_xdp'] is None" "$(on r2 limpet status --json)"
takeover r2
check_json "and forwards" "d['failed'] == 0" "$(client many --source 198.18.3.1-30)"

# ---- another's program
state_of_r2()
{
	node_bpf_objects r2 | sort
	on r2 sh -c 'ls -R /sys/fs/bpf/limpet; ip link show eth0; ip link show eth1'
}

on r2 ip -batch - <<END || exit 1
link add eth1 type veth peer name other
link set eth1 up
link set other up
link set eth1 xdp object $LAB_BUILD/tests/net/pass.bpf.o section xdp
END
wait_until 10 "eth1 to be up" on r2 grep -qx up /sys/class/net/eth1/operstate || exit 1
sed -i 's/interfaces: \[eth0\]/interfaces: [eth0, eth1]/' "$LAB_DIR/r2/etc/limpet.yaml"
before=$(state_of_r2)
said=$(on r2 limpet load 2>&1)
check_is "load, with another's program on eth1, is refused" 1 $?
check "in one line: $said" grep -qx "limpet: eth1: XDP program .* is attached already; .*" <<<"$said"
check_is "one line" 1 "$(wc -l <<<"$said")"
check_is "no program, link, pin or map is another" "" "$(diff <(echo "$before") <(state_of_r2))"
on r2 ip link set eth1 xdp off || exit 1
check "load without it" on r2 limpet load
check_is "both are attached" 2 "$(on r2 ip link show | grep -c 'prog/xdp')"
check_soon "r2 is ready" 10 router_is_ready r2
