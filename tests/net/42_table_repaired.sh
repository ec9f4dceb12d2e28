#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the tracker says it could not do is put right soon, against the kernel's sockets: entries that
# are missing, entries whose socket is gone, counts that are wrong; and nothing else changes.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the table and its counts are repaired"

LAB_TARGETS=1
lab_up && lab_serve && start_instances 1 || exit 1
client_start held hold --source 198.18.0.1 --count 3
client_start other hold --source 198.18.0.2 --count 2
check_soon "five connections" 5 connections_are t1 5

# tamper MAP EXPRESSION: a Python program over d, the map's entries as {"key": bytes, "value": bytes}.
tamper()
{
	on t1 /usr/bin/python3 "$LAB_ROOT/tests/net/tamper.py" "$LAB_PIN/target/$1" "$2" || fail "tamper $1"
}

# As it is when the tracker counts track_retry.
retry()
{
	local number

	number=$(on t1 limpet status --json | json "list(d['counters']).index('track_retry')")
	on t1 /usr/bin/python3 "$LAB_ROOT/tests/net/tamper.py" "$LAB_PIN/node/counters" --add "$number"
}

counts_are()
{
	[ "$(on t1 bpftool -j map dump pinned "$LAB_PIN/target/clients" |
		json 'sorted(e["formatted"]["value"]["word"] & 0xffff for e in d)')" = "$1" ] &&
		[ "$(show t1 instances '[i["connections"] for i in d]')" = "$2" ]
}

entries()
{
	show t1 connections 'sorted((c["client"], c["client_port"]) for c in d)'
}

entries_are()
{
	[ "$(entries)" = "$1" ]
}

check_soon "their counts" 5 counts_are "[2, 3]" "[5]"

tamper instance_load 'put(0, u32(add(0, 7)))'
tamper clients 'put(first, u32(add(0, 4)))'
check "the counts are wrong" eval '! counts_are "[2, 3]" "[5]"'
retry
check_soon "the counts are right again" 20 counts_are "[2, 3]" "[5]"
check_is "nothing of it is counted twice" 1 "$(grep -c 'connections were counted' "$LAB_DIR/t1/limpetd.log")"

known=$(entries)
tamper connections 'delete(first)'
check "an entry is missing" connections_are t1 4
tamper connections 'copy(first, port=1, cookie=4711)'
check "an entry is one too many, and nothing but itself names it" connections_are t1 5
retry
check_soon "the one is entered again, and the other removed" 20 entries_are "$known"
check_soon "r1 knows the same" 5 table_is_union r1

check_json "no connection broke" "d['broken'] == []" "$(client_end held)"
check_json "nor of the other client's" "d['broken'] == []" "$(client_end other)"
check_soon "all are gone" 10 connections_are t1 0
retry
check_soon "and all counts are 0" 30 counts_are "[]" "[0]"
