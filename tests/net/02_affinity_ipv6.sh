#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The same over IPv6: two clients of one /64 have affinities of their own.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "IPv6: an affinity is one client's, all 128 bits of it"

lab_up && lab_serve && start_instances 3 || exit 1
service="--to 2001:db8:113::10"

# shellcheck disable=SC2086
first=$(ask_affinity 2001:db8:198::1 $service) || fail "the first client gets an affinity"
other=2001:db8:198::2
# shellcheck disable=SC2086
second=$(ask_affinity $other $service --avoid "$first") ||
	fail "the second gets one of another process"

# shellcheck disable=SC2086
check_all_reach "1000 of 1000 of the first client" "$first" 1000 2001:db8:198::1 $service
# shellcheck disable=SC2086
check_all_reach "200 of 200 of the second, at another process" "$second" 200 "$other" $service

client_start others hold --source 2001:db8:198::101-150 --count 50 --to 2001:db8:113::10
report=$(client_end others)
check_json "50 other clients are spread over all six instances" "len(d['pids']) == 6" "$report"
check_json "none of their connections broke" "d['broken'] == []" "$report"
