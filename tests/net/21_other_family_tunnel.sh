#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# IPv4 services over IPv6 targets, and IPv6 over IPv6; all other tests have IPv4 targets, which serve
# IPv4 and IPv6 services.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "services over targets of the other family"

LAB_TUNNEL=6
lab_up && lab_serve && start_instances 2 || exit 1
check_is "the targets' addresses are IPv6" 2 \
	"$(show r1 targets 'sum(":" in t["address"] for t in d)')"
pid=$(ask_affinity 198.18.0.1) || fail "an IPv4 client gets an affinity"
check_all_reach "IPv4 in IPv6: 200 of 200" "$pid" 200 198.18.0.1
pid=$(ask_affinity 2001:db8:198::1 --to 2001:db8:113::10) || fail "an IPv6 client gets an affinity"
check_all_reach "IPv6 in IPv6: 200 of 200" "$pid" 200 2001:db8:198::1 --to 2001:db8:113::10
check_json "IPv4 in IPv6: 60 others are served" "d['failed'] == 0" "$(client many --source 198.18.1.1-60)"
check_json "a 10 MB upload over IPv4 passes" "d['same']" \
	"$(client upload --source 198.18.0.2 --bytes 10000000 --timeout 20)"
check_json "and over IPv6" "d['same']" \
	"$(client upload --source 2001:db8:198::2 --to 2001:db8:113::10 --bytes 10000000 --timeout 20)"
client_start held hold --source 198.18.1.1-20 --count 40
node_kill r1
takeover r2
report=$(client_end held)
check_json "and a takeover breaks none of 40" "d['broken'] == [] and d['opened'] == 40" "$report"
