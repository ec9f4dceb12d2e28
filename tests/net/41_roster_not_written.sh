#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The router's state directory cannot be written. A target that joins meanwhile is missed all the
# same when limpetd starts again: what is pinned knows it, and it serves on.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a roster that cannot be written"

lab_up || exit 1
for node in r1 r2 t1; do
	node_serve $node || exit 1
done
takeover r1
check_soon "r1 is ready with one target" 10 router_is_ready r1

state_is()
{
	[ "$(show r1 targets '"".join(t["state"] for t in d if t["name"] == "t2")')" = "$1" ]
}

written()
{
	[ "$(on r1 limpet status --json | json 'd["router"]["roster_written"]')" = "$1" ]
}

said()
{
	limpetd_log r1 | grep -c "$1"
}

on r1 mount -o remount,ro,bind /var/lib/limpet || fail "a read-only state directory"
node_serve t2 || exit 1
start_instances 1 || exit 1
check_soon "the new target is up" 10 state_is up
check_soon "status says that the roster is not written" 5 written false
client_start held hold --source 198.18.1.1-10 --count 20
wait_until 20 "20 connections" client_is_open held || exit 1
check_soon "r1 knows them" 5 connections_are r1 20
check "r1 is ready: it knows everybody" router_is_ready r1
check_is "the log says it once" 1 "$(said 'roster: cannot be written')"

# Both agents are away; r1's comes back.
kill_limpetd t2 && kill_limpetd r1 || exit 1
start_limpetd r1 || exit 1
check "t2 is not forgotten" state_is unattended
check "r1 is not ready" eval '! router_is_ready r1'
check "and names it" grep -q "missing.*t2" <<<"$(on r1 limpet ready)"
since=$SECONDS
longer_than_a_restart()
{
	((SECONDS > since + 6))
}
wait_until 10 "the time in which targets come back to be over" longer_than_a_restart
check "t2 unwraps packets, so it is not down" state_is unattended
start_limpetd t2 || exit 1
check_soon "it is back" 10 state_is up
check_soon "r1 is ready" 10 router_is_ready r1
check_json "no connection broke" "d['opened'] == 20 and d['broken'] == []" "$(client_end held)"

on r1 mount -o remount,rw,bind /var/lib/limpet
check_soon "the roster is written again" 15 written true
check "with the new target" grep -q '"t2"' "$LAB_DIR/r1/lib/roster"
check_is "the log says that too, once" 1 "$(said 'roster: written again')"
