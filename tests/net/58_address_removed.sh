#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Somebody else takes a service address from lo, as tools that configure networks do: limpetd says so
# and adds it again. What is no service's it leaves alone.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "service addresses that others remove"

LAB_TARGETS=1
lab_up && lab_serve && start_instances 1 || exit 1

# on_lo ADDRESS...: all of them.
on_lo()
{
	local address

	for address; do
		on t1 ip address show dev lo | grep -q " $address/" || return 1
	done
}

# said ADDRESS: that somebody has removed it.
said()
{
	grep -q "service address $1 has been removed from lo, not by Limpet" "$LAB_DIR/t1/limpetd.log"
}

check_soon "they are there" 5 on_lo 203.0.113.10 2001:db8:113::10
on t1 ip address add 192.0.2.1/32 dev lo || exit 1
on t1 ip address del 192.0.2.1/32 dev lo || exit 1
on t1 ip address del 203.0.113.10/32 dev lo || exit 1
check_soon "the one that is removed is back" 5 on_lo 203.0.113.10
check "the log says so" said 203.0.113.10
check_is "and nothing of others" 1 "$(grep -c 'has been removed' "$LAB_DIR/t1/limpetd.log")"
check_json "clients are served" "d['failed'] == 0" "$(client many --source 198.18.1.1-10)"
on t1 ip address del 2001:db8:113::10/128 dev lo || exit 1
on t1 ip address del 203.0.113.10/32 dev lo || exit 1
check_soon "all are back when all are removed" 5 on_lo 203.0.113.10 2001:db8:113::10
check "the log says so" said 2001:db8:113::10
check_json "clients are served" "d['failed'] == 0" "$(client many --source 198.18.2.1-10)"
check_json "over IPv6, too" "d['failed'] == 0" \
	"$(client many --source 2001:db8:198::1-10 --to 2001:db8:113::10)"

# As tools do that set addresses anew: nobody else may be quicker.
for _ in {1..50}; do
	printf 'address %s 203.0.113.10/32 dev lo\n' del add
done >"$LAB_DIR/anew"
# Who takes longer than a second over it, on a busy machine, may be.
set_anew()
{
	local start=${EPOCHREALTIME/./}

	on t1 ip -batch "$LAB_DIR/anew" && return 0
	((${EPOCHREALTIME/./} - start < 900000)) || echo "too late"
	return 1
}
for _ in {1..5}; do
	said=$(set_anew 2>&1)
	status=$?
	[ "${said##*$'\n'}" = "too late" ] || break
	check_soon "it took too long: once more" 5 on_lo 203.0.113.10
done
[ "$status" -eq 0 ] || complain "$said"
check_is "whoever sets an address anew is not disturbed" 0 "$status"
check "nor whoever takes all away" on t1 ip address flush dev lo
check_soon "and all are back" 5 on_lo 203.0.113.10 2001:db8:113::10
check "unload" on t1 limpet unload
check_is "removes them" "" "$(on t1 ip -br address show dev lo | grep -oE '203.0.113.10|2001:db8:113::10')"
