#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The active router's machine dies; the other becomes the owner of the address and of the table
# (promises 1, 2 and 4). With standby_sync: continuous it has kept up; with on-failure it knows
# nothing and asks the targets for all of it, as in the patent's claim 1.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "takeover with 200 open connections, none breaks"

declare -A holders
asked=(198.18.9.1 198.18.9.2 198.18.9.3 198.18.9.4 198.18.9.5 2001:db8:198::9:1 2001:db8:198::9:2)

# The service's address for a client's family.
service_for()
{
	[[ $1 = *:* ]] && echo 2001:db8:113::10 || echo 203.0.113.10
}

# Once both targets have joined it, as a standby.
says_why()
{
	on r2 limpet ready 2>&1 | grep "missing t1, t2; .*on-failure.*when it becomes active"
}

before_failure()
{
	local client

	for client in "${asked[@]}"; do
		holders[$client]=$(ask_affinity "$client" --to "$(service_for "$client")") ||
			fail "$client gets an affinity"
	done
	client_start held hold --source 198.18.1.1-50 --count 150
	client_start held6 hold --source 2001:db8:198::1-40 --count 50 --to 2001:db8:113::10
	client_start long download --source 198.18.3.1 --bytes 12000000 --rate 1500000
	check_soon "r1's table is the union of the targets'" 5 table_is_union r1
	if [ "$LAB_MODE" = continuous ]; then
		check_soon "r2 knows the same" 5 table_is_union r2
	else
		check_is "r2 knows nothing" "" "$(table r2)"
		check_soon "limpet ready says why" 5 says_why
	fi
}

after_takeover()
{
	local client name report

	check_soon "r2 is ready" 20 router_is_ready r2
	check_soon "its table is the union of the targets', entry by entry" 5 table_is_union r2
	say "  ($(table r2 | wc -l) entries)"
	for client in "${asked[@]}"; do
		check_all_reach "the affinity of $client holds" "${holders[$client]}" 20 "$client" \
			--to "$(service_for "$client")"
	done
	for name in held held6; do
		report=$(client_end $name) || fail "the clients end"
		check_json "no connection of $name broke, each byte is right" "d['broken'] == []" "$report"
		say "  $(json 'd["opened"]' <<<"$report") connections, longest wait for an answer" \
			"$(json 'd["longest_gap_ms"]' <<<"$report") ms"
	done
	report=$(client_end long) || fail "the download ends"
	check_json "the download has every byte" "d['same'] and d['bytes'] == 12000000" "$report"
	say "  its longest gap: $(json 'd["longest_gap_ms"]' <<<"$report") ms"
}

for LAB_MODE in continuous on-failure; do
	say " standby_sync: $LAB_MODE"
	lab_up && lab_serve && start_instances 3 || exit 1
	before_failure
	node_kill r1
	say "  r1 is dead"
	takeover r2
	after_takeover

	node_boot r1 || fail "r1 comes back"
	takeover r1
	check_soon "r1 comes back, takes over and is ready" 20 router_is_ready r1
	check_soon "its table is the union of the targets'" 5 table_is_union r1
	client=${asked[0]}
	check_all_reach "the affinity of $client holds" "${holders[$client]}" 20 "$client"
done
