#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A forged SYN on the 4-tuple of an open connection, while the client's affinity points elsewhere,
# moves nothing.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a forged SYN on an open connection's 4-tuple"

lab_up && lab_serve && start_instances 1 || exit 1

# A connection at one target; then an affinity of the same client to the other one.
client_start victim forge --source 198.18.0.1 --count 50
t1=$(instance_pids t1)
t2=$(instance_pids t2)
check_soon "the router knows the connection" 5 connections_are r1 1
victim=$(show r1 connections 'd[0]["target"]')
[ "$victim" = t1 ] && avoid=$t1 || avoid=$t2
asked=$(ask_affinity 198.18.0.1 --avoid "$avoid") || fail "the client gets an affinity elsewhere"
say "  the connection is at $victim, the affinity at $(node_of_pid "$asked")"

# What the client has closed is told, too.
check_soon "the router's table is the union of the targets'" 5 table_is_union r1
check_soon "with the one connection" 5 connections_are r1 1
before=$(table r1)
report=$(client_end victim)
check_json "the connection lives on at its process" "d['after'] == [d['pid']]" "$report"
check_is "nothing was added to the router's table" "" \
	"$(comm -13 <(echo "$before") <(table r1))"
check_all_reach "the affinity is untouched" "$asked" 20 198.18.0.1
