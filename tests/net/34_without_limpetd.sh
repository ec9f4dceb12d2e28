#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The commands where limpetd does not run, and where Limpet is not loaded: what can be told is told,
# the rest is one clear line and the right exit status. And the words of limpetd itself.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "without limpetd"

lab_up && lab_serve && start_instances 1 || exit 1
pid=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"
client_start held hold --source 198.18.0.1 --count 3
check_soon "r1 knows the connections" 5 connections_are r1 3
holder=$(holder r1 198.18.0.1)

# says NODE STATUS PHRASE COMMAND...: this exit status, and one line on standard error with this in it.
says()
{
	local node=$1 status=$2 phrase=$3 said code

	shift 3
	said=$(on "$node" "$@" 2>&1 >/dev/null)
	code=$?
	check_is "$node: $*" "$status" "$code"
	check_is "$node: one line" 1 "$(wc -l <<<"$said")"
	check "$node: says '$phrase'" grep -qF -- "$phrase" <<<"$said"
}

rows()
{
	on "$1" limpet show "$2" --json 2>/dev/null
}

kill_limpetd r1 || exit 1
check_json "status" "d['pid'] is None and d['router']['ready'] is None and
	d['router']['role'] == 'active'" "$(on r1 limpet status --json)"
check "status says that it does not run" grep -q "agent: not running" <<<"$(on r1 limpet status)"
says r1 0 "limpetd is not running" limpet show targets
check_json "targets, as XDP has them" "sorted((t['name'], t['address'], t['state']) for t in d) ==
	[('t1', '10.7.0.11', 'usable'), ('t2', '10.7.0.12', 'usable')]" "$(rows r1 targets)"
check_json "their counts are the tables'" "{t['name']: (t['connections'], t['affinities']) for t in d}['$holder']
	== (3, 1)" "$(rows r1 targets)"
check_json "what only limpetd knows is null" "all(t[m] is None for t in d
	for m in ('path', 'weight', 'ready_instances'))" "$(rows r1 targets)"
for list in services connections affinities; do
	says r1 0 "limpetd is not running" limpet show $list
	check_json "$list are there" "len(d) > 0" "$(rows r1 $list)"
done
for list in instances routers; do
	says r1 0 "this node is no target" limpet show $list
	check_json "no $list here" "d == []" "$(rows r1 $list)"
done
says r1 1 "limpetd of this node is not running" limpet show sync
says r1 2 "cannot tell: limpetd of this node is not running" limpet ready
says r1 1 "limpetd of this node is not running" limpet forget t1
says r1 1 "limpetd of this node is not running" limpet monitor
check "explain" grep -q "affinity in scope shop to $holder" <<<"$(on r1 limpet explain 198.18.0.1 shop)"
check "check" on r1 limpet check

kill_limpetd "$holder" || exit 1
says "$holder" 0 "limpetd is not running" limpet show instances
check_json "instances" "[(i['pid'], i['state'], i['connections'], i['affinities']) for i in d] ==
	[($pid, 'ready', 3, 1)]" "$(rows "$holder" instances)"
says "$holder" 0 "limpetd is not running" limpet show routers
check_json "routers" "{('r1', '10.7.0.2'), ('r2', '10.7.0.3')} <= {(r['name'], r['address']) for r in d}" \
	"$(rows "$holder" routers)"
says "$holder" 1 "limpetd of this node is not running" limpet drain
check_json "a target's own table needs nobody" "len(d) == 3" "$(rows "$holder" connections)"
check_is "nor does it need a note" "" "$(on "$holder" limpet show connections 2>&1 >/dev/null)"
client_end held >/dev/null

check "unload of the active router" on r1 limpet unload --force
for words in status "show targets" "show instances" "show connections" "show sync" "explain 198.18.0.1 shop" \
	monitor "forget t1" reload activate; do
	# shellcheck disable=SC2086
	says r1 1 "not loaded" limpet $words
done
says r1 2 "not loaded" limpet ready
says r1 1 "not loaded" limpetd
check "check" on r1 limpet check

for words in foo --bogus -x "--verbose foo" --config; do
	# shellcheck disable=SC2086
	says r1 2 "limpetd: " limpetd $words
done
says r1 1 "nowhere.yaml" limpetd --config nowhere.yaml
says r1 1 "no target" limpetd --leave
for program in limpet limpetd; do
	check "$program --help" grep -q "usage: $program" <<<"$(on r1 $program --help)"
	check "$program --version" grep -q "^$program [0-9]" <<<"$(on r1 $program --version)"
done
