#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Four Python processes on one port of one target, and they come and go under traffic.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "four Python processes on one port; instances come and go under traffic"

LAB_TARGETS=2
lab_up && lab_serve && start_instances 4 || exit 1

client_start held hold --source 198.18.0.1-40 --count 80
extra=$(start_instance t1) || exit 1
check_soon "a fifth is adopted" 10 adopted t1 5
client_start more hold --source 198.18.2.1-40 --count 80
report=$(client_end more)
check_json "and gets connections" "'$extra' in d['pids'] and d['broken'] == []" "$report"
kill "$extra"
check_soon "it leaves" 10 instances_are t1 4
check_json "100 new connections are all served" "d['failed'] == 0" \
	"$(client many --source 198.18.4.1-100)"
report=$(client_end held)
check_json "none of 80 connections broke" "d['broken'] == []" "$report"
check_json "they are spread over all eight processes" "len(d['pids']) == 8" "$report"
check_json "evenly: nobody has more than three times his share" "max(d['pids'].values()) <= 30" "$report"
