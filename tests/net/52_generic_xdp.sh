#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Where drivers refuse native XDP, all of it works in generic mode: distribution, affinities, uploads
# of full packets, path probes, a takeover.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "routers and targets in generic XDP"

# A veth refuses native XDP while its peer may send more than fits into a page.
lab_up || exit 1
for node in r1 r2 t1 t2; do
	on net ip link set "$node" mtu 9000 || exit 1
done
said=$(on r1 limpet load 2>&1) || exit 1
check "load says so" grep -qx "limpet: eth0: generic XDP (driver refuses native: .*)" <<<"$said"
lab_serve && start_instances 2 || exit 1
for node in r1 r2 t1 t2; do
	check "$node: generic XDP" grep -q "xdpgeneric" <<<"$(on "$node" ip link show eth0)"
done

pid=$(ask_affinity 198.18.9.1) || fail "the client gets an affinity"
check_all_reach "200 of 200 connections reach the process that asked" "$pid" 200 198.18.9.1
pid6=$(ask_affinity 2001:db8:198::9 --to 2001:db8:113::10) || fail "an IPv6 client gets an affinity"
check_all_reach "50 of 50 over IPv6" "$pid6" 50 2001:db8:198::9 --to 2001:db8:113::10
report=$(client many --source 198.18.1.1-100)
check_json "100 other clients are served by all four instances" \
	"d['failed'] == 0 and len(d['answers']) == 4" "$report"
check_json "2 MB up" "d['same']" \
	"$(client upload --source 198.18.0.1 --bytes 2000000 --timeout 20)"
check_json "2 MB up over IPv6" "d['same']" \
	"$(client upload --source 2001:db8:198::1 --to 2001:db8:113::10 --bytes 2000000 --timeout 20)"
check_is "no packet was too large to encapsulate" 0 "$(counter r1 drop_encapsulation)"
paths_are_whole()
{
	[ "$(show r1 targets '[t["path"] for t in d]')" = '["ok", "ok"]' ]
}
check_soon "the path to every target carries full packets" 5 paths_are_whole

client_start held hold --source 198.18.2.1-20 --count 60 --interval 1
check_soon "r1 knows 60 connections" 30 connections_are r1 60
takeover r2
check_all_reach "the affinity through the other router" "$pid" 50 198.18.9.1
report=$(client_end held) || fail "the clients end"
check_json "no connection broke, each byte is right" "d['opened'] == 60 and d['broken'] == []" \
	"$report"
