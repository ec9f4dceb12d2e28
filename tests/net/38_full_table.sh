#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# More connections than the routers' tables have room for: none breaks, however old its flow is; the
# router says that it does not know everything; what has ended gives way to what waits.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a full table of connections"

LAB_EXTRA="tables: { connections: 512 }"
lab_up && lab_serve && start_instances 1 || exit 1

not_ready()
{
	[ "$(on r1 limpet ready 2>&1 | grep -c 'not ready: .*the tables have no room')" = 1 ]
}

missing_are()
{
	[ "$(show r1 sync 'sum(p["missing"] for p in d)')" = "$1" ]
}

noted_for_longer_than_believed()
{
	((SECONDS > opened + 10)) # NOTED_NS
}

lines()
{
	limpetd_log r1 | grep -c "$1"
}

# So few are too many that, of those that are noted alone, hardly ever three meet in one place of
# `handshakes`, which has room for two: once in two million times.
client_start held hold --source 198.18.1.1-60 --count 522 --interval 1
wait_until 60 "522 connections" client_is_open held || exit 1
opened=$SECONDS
check_soon "10 of them have no entry at r1" 5 missing_are 10
metrics_say_so()
{
	on r1 curl -s --unix-socket /run/limpet/control.sock http://limpet/metrics |
		grep -qF 'limpet_table_waiting_entries{table="connections"} 10'
}
check_soon "metrics say so" 5 metrics_say_so
check_soon "r1 is not ready, and says why" 5 not_ready
check_is "limpet ready" 1 "$(on r1 limpet ready >/dev/null 2>&1; echo $?)"
wait_until 30 "their flows to be older than a note is believed" noted_for_longer_than_believed
client_round held || exit 1
report=$(client_end held)
check_json "no connection broke" "d['opened'] == 522 and d['broken'] == []" "$report"
check_is "no flow was given up" 0 "$(counter r1 flow_expired)"
for guess in guess_noted guess_affinity guess_distributed guess_unsynced; do
	check_is "$guess" 0 "$(counter r1 $guess)"
done

check_soon "all have ended" 10 connections_are r1 0
check_is "and linger" 512 "$(show r1 connections 'len(d)')"
client_start again hold --source 198.18.2.1-30 --count 300
wait_until 60 "300 connections more" client_is_open again || exit 1
check_soon "what has ended gives way" 10 connections_are r1 300
check_json "none breaks" "d['opened'] == 300 and d['broken'] == []" "$(client_end again)"
check_soon "r1 is ready again" 20 router_is_ready r1
for line in "the tables have no room for all" "the tables have room for all"; do
	check "the log says once for a target: $line" test "$(lines "$line")" -ge 1 -a "$(lines "$line")" -le 2
done
