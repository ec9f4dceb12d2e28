#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# More connections than the targets' own tables have room for: none breaks, however old its flow is
# and wherever new ones go by then; the routers know that the targets do not tell them everything;
# when there is room, everything is entered.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "targets' tables are full"

lab_up || exit 1
for node in t1 t2; do
	echo "tables: { connections: 2 }" >>"$LAB_DIR/$node/etc/limpet.yaml"
done
lab_serve && start_instances 1 || exit 1

not_ready()
{
	[ "$(on r1 limpet ready 2>&1 | grep -c 'not ready: .*its own table has no room for all')" = 1 ]
}

noted_for_longer_than_believed()
{
	((SECONDS > since + 10)) # NOTED_NS
}

draining()
{
	[ "$(show r1 targets '[t["state"] for t in d if t["name"] == "t1"][0]')" = draining ]
}

guesses()
{
	local name sum=0

	for name in flow_expired guess_noted guess_affinity guess_distributed guess_unsynced; do
		sum=$((sum + $(counter r1 "$name")))
	done
	echo $sum
}

some_are_left_out()
{
	[ "$(counter t1 track_full)" -gt 0 ] && [ "$(counter t2 track_full)" -gt 0 ]
}

# So few that, of those that are noted alone, hardly ever three meet in one place of `handshakes`,
# which has room for two: about once in two million times.
client_start held hold --source 198.18.1.1-60 --count 0 --each 4 --interval 1
since=$SECONDS
check "both targets have left some out" some_are_left_out
check_soon "the routers know of those that have found room" 10 connections_are r1 4
check_soon "r1 is not ready, and says why" 5 not_ready
check_is "limpet ready" 1 "$(on r1 limpet ready >/dev/null 2>&1; echo $?)"
wait_until 30 "their flows to be older than a note is believed" noted_for_longer_than_believed
client_round held || exit 1
check "the ring changes" on t1 limpet drain
check_soon "r1 sends new ones to t2" 5 draining
client_round held || exit 1
check_is "nothing was guessed" 0 "$(guesses)"

kill_limpetd t2 && start_limpetd t2 || exit 1
check_soon "t2's agent, started anew, says so, too" 10 not_ready
client_round held || exit 1
check_is "nothing was guessed then" 0 "$(guesses)"
check_json "no connection broke" "d['opened'] >= 8 and d['broken'] == []" "$(client_end held)"
check_soon "r1 is ready again" 30 router_is_ready r1
for node in t1 t2; do
	check "$node: the log says that there is room again" \
		grep -q "has room for all connections again" "$LAB_DIR/$node/limpetd.log"
done
