#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Listeners that were there before Limpet was loaded, with connections already open, are adopted.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "listeners there before the agent"

lab_up || exit 1
for node in t1 t2; do
	for number in 1 2 3; do
		start_instance $node >/dev/null || exit 1
	done
done
lab_serve && wait_adopted 3 || exit 1
pid=$(ask_affinity 198.18.0.1) || fail "an instance that is older than the agent gives an affinity"
check_all_reach "100 of 100" "$pid" 100 198.18.0.1
check_all_reach "over IPv6 too, as a client of its own" \
	"$(ask_affinity 2001:db8:198::1 --to 2001:db8:113::10)" 50 2001:db8:198::1 --to 2001:db8:113::10
client_start spread hold --source 198.18.1.1-50 --count 50
check_json "50 clients are spread over all six" "len(d['pids']) == 6 and not d['broken']" \
	"$(client_end spread)"
