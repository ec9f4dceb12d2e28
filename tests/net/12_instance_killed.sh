#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# An instance dies by SIGKILL while it has connections and affinities: those end with it, at both
# levels, and nobody is sent to a socket that is gone (promise 3).
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "an instance is killed with -9 in the middle"

lab_up && lab_serve && start_instances 3 || exit 1
victim=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"
node=$(node_of_pid "$victim")
mapfile -t others < <(for name in $(lab_targets); do instance_pids "$name"; done | grep -vx "$victim")

client_start bystanders hold --source 198.18.1.1-60 --count 120
(client many --source 198.18.2.1-60 --count 20 >"$LAB_DIR/stream") &
stream=$!
# A process that is killed lives until its threads have been scheduled once more, and may accept.
stop_process KILL "$victim" || exit 1
check_json "the client's next connections are served, by others" \
	"not d['failed'] and '$victim' not in d['answers']" \
	"$(client many --source 198.18.0.1 --count 50)"
wait $stream
check_json "of 1200 new connections none was refused or hung; one may have been in the process" \
	"d['failed'] <= 1 and not any('refused' in e or 'timed' in e for e in d['errors'])" \
	"$(cat "$LAB_DIR/stream")"
check_soon "the affinity has ended at $node" 5 holder_is "$node" 198.18.0.1 ""
check_soon "and at r1" 5 holder_is r1 198.18.0.1 ""
check_soon "and at r2" 5 holder_is r2 198.18.0.1 ""
check_soon "$node shows two instances" 5 instances_are "$node" 2
check_soon "the router's table is the union of the targets'" 5 table_is_union r1
report=$(client_end bystanders)
lost=$(json "d['pids'].get('$victim', 0)" <<<"$report")
check_json "only the $lost connections of the dead process broke" "len(d['broken']) == $lost" "$report"
pid=$(ask_affinity 198.18.0.1) || fail "the client gets a new affinity"
check "with a living process" grep -qx "$pid" <(printf '%s\n' "${others[@]}")
