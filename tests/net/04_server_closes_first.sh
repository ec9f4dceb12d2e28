#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A server that closes first is in FIN_WAIT2 while its client still sends: those bytes must arrive
# there (docs/ARCHITECTURE.md, lingering connections), whatever the client's affinity says by then.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the server closes first, the client goes on sending"

lab_up && lab_serve && start_instances 2 || exit 1

no_open_connection()
{
	[ "$(show r1 connections 'sum(c["state"] == "open" for c in d)')" = 0 ]
}

client_start half finish --source 198.18.0.1 --bytes 2000000
check_soon "the router has heard that the connection is closed" 10 no_open_connection
report=$(client_end half)
check_json "the client saw the server close and could send everything" "d['ended']" "$report"
sum=$(json 'd["sha256"]' <<<"$report")
check_soon "every byte arrived at the server" 10 grep -q "finished 2000000 $sum" -r "$LAB_DIR"
