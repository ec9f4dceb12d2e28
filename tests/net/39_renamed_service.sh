#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A service gets another name by a reload, one router after the other: its connections and affinities
# stay in both tables, and none breaks when they are needed there.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a renamed service"

lab_up && lab_serve && start_instances 2 || exit 1

held=$(ask_affinity 198.18.0.1) || fail "the client's affinity"
client_start open hold --source 198.18.1.1-20 --count 40
wait_until 20 "40 connections" client_is_open open || exit 1

named()
{
	[ "$(show "$1" connections '",".join({c["service"] for c in d if c["state"] == "open"})')" = "$2" ]
}

check_tables()
{
	for router in r1 r2; do
		check_soon "$1: $router is ready" 10 router_is_ready $router
		check_soon "$1: $router knows all connections" 10 connections_are $router 40
	done
	check_all_reach "$1: the affinity holds" "$held" 20 198.18.0.1
	check_soon "$1: $2 has the union of the targets' tables" 10 table_is_union "$2"
}

check_soon "all are here under the old name" 10 named r1 shop
LAB_SERVICES=${LAB_SERVICES/name: shop$'\n'/name: store$'\n'}
configure r1
check "reload of the active router" on r1 limpet reload
check_soon "the targets follow the active router" 10 named t1 store
check_tables "after the first" r1
configure r2
check "reload of the other" on r2 limpet reload
check_soon "r2: the new name" 10 named r2 store
check_tables "after both" r2

# What is no longer in flows is found in the table alone.
takeover r2
check "r1 is standby" on r1 limpet deactivate
check "limpet drain" on t1 limpet drain
check_all_reach "the affinity holds after the takeover" "$held" 20 198.18.0.1
check_json "none of 40 connections broke" "d['opened'] == 40 and d['broken'] == []" "$(client_end open)"
