#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A target puts up only those addresses that its owner allows, none before the sysctls that keep it
# from answering for them in the routers' place, and IPv6 ones without asking whether others have them.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "only what a target's owner allows"

LAB_TARGETS=1
LAB_SERVICES+='
    - { name: more, address: 203.0.113.11, port: 80 }
    - { name: more6, address: "2001:db8:113::11", port: 80 }'
lab_up || exit 1

# allow PREFIX...: t1's list.
allow()
{
	sed -i "s|service_addresses: .*|service_addresses: [ $* ]|" "$LAB_DIR/t1/etc/limpet.yaml"
}

sysctls()
{
	on t1 sysctl -n net.ipv4.conf.all.{arp_ignore,arp_announce} | paste -sd' '
}

# The service addresses on t1's lo.
addresses()
{
	on t1 ip -o address show dev lo | awk '$4 ~ /113/ { print $4 }' | LC_ALL=C sort | paste -sd' '
}

addresses_are()
{
	[ "$(addresses)" = "$1" ]
}

refusals()
{
	limpetd_log t1 | grep -c "service $1 of router r[12] is refused: $2 is not among target.service_addresses; add it there if this node shall serve it, then .limpet reload.$"
}

r1_serves_more()
{
	[ "$(show r1 services "[s['ready_instances'] for s in d if s['name'].startswith('more')]")" = "[1, 1]" ]
}

# check_more WHAT FAILED: connections to the addresses that only the second list has.
check_more()
{
	check_json "203.0.113.11: $1" "d['failed'] == $2" "$(client many --to 203.0.113.11)"
	check_json "2001:db8:113::11: $1" "d['failed'] == $2" \
		"$(client many --to 2001:db8:113::11 --source 2001:db8:198::1)"
}

narrow='203.0.113.10/32, "2001:db8:113::10/128"'
listed="2001:db8:113::10/128 203.0.113.10/32"
all="2001:db8:113::10/128 2001:db8:113::11/128 203.0.113.10/32 203.0.113.11/32"
allow "$narrow"
check_is "arp_ignore, arp_announce before" "0 0" "$(sysctls)"
together node_load r1 r2 t1 || exit 1
check_is "arp_ignore, arp_announce are set by limpet load" "1 2" "$(sysctls)"
check_is "before there is any service address" "" "$(addresses)"
together start_limpetd r1 r2 && start_limpetd t1 || exit 1
takeover r1
lab_wait_ready && start_instances 1 || exit 1

check_is "the addresses of the list are there" "$listed" "$(addresses)"
check_is "the refusal of more is logged once" 1 "$(refusals more 203.0.113.11)"
check_is "and that of more6" 1 "$(refusals more6 2001:db8:113::11)"
check_is "nothing else is refused" 2 "$(refusals '.*' '.*')"
check_json "what is allowed is served" "d['failed'] == 0" "$(client many)"
check_more "refused" 1

allow 203.0.113.0/24, '"2001:db8:113::/64"'
check "limpet reload with a longer list" on t1 limpet reload
check_soon "all addresses are there" 5 addresses_are "$all"
check_is "IPv6: nodad" 2 "$(on t1 ip -o -6 address show dev lo nodad | grep -c 113::1)"
check_is "arp_ignore, arp_announce" "1 2" "$(sysctls)"
check_soon "r1 knows that they are served" 10 r1_serves_more
check_more "served" 0

allow "$narrow"
check "limpet reload with the former list" on t1 limpet reload
check_soon "the addresses are gone again" 5 addresses_are "$listed"
check_json "what is allowed is served" "d['failed'] == 0" "$(client many)"
