#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A flood of SYNs from addresses that are nobody's, as fast as one core can send them, while 1,000
# connections exchange data and new clients arrive. None breaks, the new ones are served, and nothing
# of the flood gets into the table (promises 1 and 8).
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a flood of SYNs while 1,000 connections talk and new clients arrive"

FLOOD_S=200 # at most: it is ended

lab_up && lab_serve && start_instances 3 || exit 1

client_start held hold --source 198.18.1.1-50 --count 1000 --interval 2
check_soon "r1 knows 1,000 connections" 30 connections_are r1 1000
asked=$(ask_affinity 198.18.9.1) || fail "a client gets an affinity"
before=$(counter r1 service_packets)

for kind in syns pairs; do
	displaced=$(counter r1 flow_displaced)
	run_on client "flood-$kind" "$LAB_BUILD/tests/net/flood" $FLOOD_S 80 203.0.113.10 "$kind"
	flood=$(cat "$LAB_DIR/client/flood-$kind.pid")
	check_soon "the router is flooded with $kind" 5 \
		counter_is_above r1 service_packets $((before + 50000))
	report=$(client many --source 198.18.2.1-100 --timeout 20)
	check_json "of 100 new clients 99 at least are served" "d['failed'] <= 1" "$report"
	check_all_reach "the affinity holds" "$asked" 5 198.18.9.1
	check "the flood still runs" eval "! process_is_gone $flood"
	stop_process TERM "$flood" || exit 1
	report=$(cat "$LAB_DIR/client/flood-$kind.log")
	say "  $(json 'd["sent"] // d["ms"]' <<<"$report") thousand packets a second"
	before=$(counter r1 service_packets)
	check_is "nothing of the flood is in the table" 0 \
		"$(show r1 connections 'sum(c["client"].startswith("198.19.") for c in d)')"
	check "the flood was counted" counter_is_above r1 flow_displaced $((displaced + 1000))
done

report=$(client_end held) || fail "the clients end"
check_json "none of 1,000 connections broke, each byte is right" \
	"d['opened'] == 1000 and d['broken'] == []" "$report"
say "  $(json 'd["exchanges"]' <<<"$report") exchanges, the longest wait" \
	"$(json 'd["longest_gap_ms"]' <<<"$report") ms"
check_soon "what is in the table is what the targets know" 30 table_is_union r1
