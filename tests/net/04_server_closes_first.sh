#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A server that closes first is in FIN_WAIT2 while its client goes on: what the client still sends
# must arrive there, whether the server reads on (shutdown) or not (close: the kernel has reported
# the connection as closed by then, and the router lets it linger).
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the server closes first, the client goes on"

lab_up && lab_serve && start_instances 2 || exit 1

states()
{
	show r1 connections '" ".join(c["state"] for c in d)' --client "$1"
}

router_says()
{
	[ "$(states "$1")" = "$2" ]
}

in_no_socket()
{
	! on "$1" ss -Htan | grep -E "$2" | grep "$3"
}

client_start half finish --source 198.18.0.1 --bytes 2000000
check_soon "r1's table is the union of the targets'" 5 table_is_union r1
check "half closed, it is open to the router" router_says 198.18.0.1 open
report=$(client_end half)
check_json "the client saw the server close and could send everything" "d['ended']" "$report"
sum=$(json 'd["sha256"]' <<<"$report")
check_soon "every byte arrived at the server" 10 grep -q "finished 2000000 $sum" -r "$LAB_DIR"
check_soon "then it lingers" 10 router_says 198.18.0.1 lingers

client_start late late --source 198.18.0.2
check_soon "closed by the server on both sides: it lingers while the client has it open" 10 \
	router_says 198.18.0.2 lingers
before=$(counter r1 flow_connection)
report=$(client_end late)
check_json "the client was not reset" "d['ended'] and d['error'] == 0" "$report"
check_soon "its FIN went to the same target" 5 counter_is_above r1 flow_connection "$before"
check_soon "and was answered" 5 in_no_socket client 'LAST-ACK|CLOSE-WAIT' 198.18.0.2
for name in guess_affinity guess_distributed guess_unsynced held_sighting; do
	check_is "$name" 0 "$(counter r1 $name)"
done
