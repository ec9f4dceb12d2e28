#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A client that has an affinity reaches the same process 1000 times of 1000, while 50 others spread
# over all instances, on both targets.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a client with an affinity always reaches the same process, others spread"

lab_up && lab_serve && start_instances 3 --also 443 || exit 1

pid=$(ask_affinity 198.18.9.1) || fail "the client gets an affinity"
check_is "r1 knows who holds the client" "$(node_of_pid "$pid")" "$(holder r1 198.18.9.1)"
check_soon "r2 knows it too" 5 holder_is r2 198.18.9.1 "$(node_of_pid "$pid")"

client_start others hold --source 198.18.1.1-50 --count 50
check_all_reach "1000 of 1000 connections reach the process that asked" "$pid" 1000 198.18.9.1
report=$(client_end others)
check_json "50 other clients are spread over all six instances" "len(d['pids']) == 6" "$report"
check_json "none of their connections broke" "d['broken'] == []" "$report"

takeover r2
check_all_reach "100 of 100 through the other router" "$pid" 100 198.18.9.1
check_all_reach "and on another port of the same scope" "$pid" 50 198.18.9.1 --port 443
