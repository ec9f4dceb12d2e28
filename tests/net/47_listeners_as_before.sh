#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `limpet unload` gives every listener the MSS back that its program had chosen, whoever has lowered
# it, and touches none that Limpet had not changed.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "listeners are as before after unload"
LAB_TARGETS=1

program=$LAB_ROOT/tests/net/listeners.py
none=536 # which is a choice as well: of one of those that are early

# listen_on NAME LISTENER...: on t1; its pid is then in NAME's file.
listen_on()
{
	local name=$1

	shift
	run_on t1 "$name" /usr/bin/python3 "$program" "$@"
	wait_until 10 "$name to listen" grep -q '^listening' "$LAB_DIR/t1/$name.log"
}

mss_of()
{
	on t1 /usr/bin/python3 "$program" --of "$(<"$LAB_DIR/t1/$1.pid")" "${@:2}"
}

is_not_served()
{
	[ "$(show t1 services "'443' in str(d)")" = false ]
}

check_mss()
{
	check_is "$1: $2" "$3" "$(mss_of "$1")"
}

lab_up || exit 1
# Those that are there before Limpet, of which limpetd lowers what it adopts.
listen_on early 203.0.113.10,443,600 203.0.113.10,443,1452 203.0.113.10,443,0 203.0.113.10,443,1451 \
	203.0.113.10,443,536 \
	127.0.0.1,443,600,alone 127.0.0.2,443,0,alone 127.0.0.3,443,1452 || exit 1
as_early="600 1452 $none 1451 536 600 $none 1452"
check_mss early "as its program says" "$as_early"
lab_serve || exit 1
wait_until 10 "the early ones to be adopted" instances_are t1 5 || exit 1
check_mss early "a service's are lowered" "600 1440 1440 1440 536 600 $none 1452"

# Those that come later, which the kernel's program lowers, adopted or not.
listen_on late 203.0.113.10,443,600 203.0.113.10,443,1452 203.0.113.10,443,0 \
	203.0.113.10,80,1452,alone 2001:db8:113::10,80,1430,alone \
	127.0.0.4,443,600,alone 127.0.0.5,443,0,alone || exit 1
wait_until 10 "the late ones to be adopted" instances_are t1 8 || exit 1
check_mss late "a service's are lowered" "600 1440 1440 1440 1420 600 $none"

# An agent that starts anew meets what was lowered already.
stop_limpetd t1 && start_limpetd t1 || exit 1
wait_until 10 "both to be adopted again" instances_are t1 8 || exit 1
check_mss early "lowered still" "600 1440 1440 1440 536 600 $none 1452"

# A later choice of the program's own is none of Limpet's.
mss_of late --set 600 700 >/dev/null
mss_of late --set 1420 1400 >/dev/null

node_bpf_objects t1 >"$LAB_DIR/t1/objects"
said=$(on t1 limpet unload 2>&1) || fail "limpet unload: $said"
check "unload says how many it has changed" grep -q "\b9 listeners as before" <<<"$said"
check_mss early "as before" "$as_early"
as_late="700 1452 $none 1452 1400 700 $none"
check_mss late "as before, but for its later choices" "$as_late"
check_is "unload warns of none" "" "$(grep "a listener on port" <<<"$said")"
check_soon "no listener holds the selector" 10 list_is_gone "$LAB_DIR/t1/objects"

# Without a limpetd, and with a service that is no longer configured.
node_serve t1 || exit 1
wait_until 10 "both to be adopted" instances_are t1 8 || exit 1
check_mss early "lowered again" "600 1440 1440 1440 536 600 $none 1452"
sed -i '/port: 443/s/443/444/' "$LAB_DIR"/r*/etc/limpet.yaml
for node in r1 r2; do
	check "$node: a service gives its port up" on $node limpet reload
done
check_soon "t1 serves it no more" 20 is_not_served
kill_limpetd t1 || exit 1
check "limpet unload" on t1 limpet unload
check_mss early "as before" "$as_early"
check_mss late "as before" "$as_late"
