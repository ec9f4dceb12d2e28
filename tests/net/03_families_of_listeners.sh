#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One process, one instance, however its listeners are bound: the wildcard of both families serves
# IPv4 clients, and an IPv4 client is the same client there.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "an IPv4 client of an IPv6 wildcard listener, and listeners bound in other ways"

LAB_TARGETS=1
lab_up && lab_serve || exit 1
wait_until 10 "the service address on t1" on t1 sh -c 'ip address show dev lo | grep -q 203.0.113.10'

both=$(start_instance t1) || exit 1
wait_until 10 "it to be adopted" adopted t1 1
pid=$(ask_affinity 198.18.0.7) || fail "an IPv4 client gets an affinity of the IPv6 wildcard listener"
check_is "that process" "$both" "$pid"
check_is "t1 shows the client as IPv4" t1 "$(holder t1 198.18.0.7)"
check_all_reach "its connections come back" "$both" 50 198.18.0.7

# Listeners that are bound more closely are groups of their own, and the kernel prefers those: they
# serve all new connections, whoever has an affinity elsewhere (sk_reuseport(7) chooses in a group).
bound=$(start_instance t1 --bind 203.0.113.10) || exit 1
bound6=$(start_instance t1 --bind 2001:db8:113::10) || exit 1
check_soon "all three are adopted" 10 adopted t1 3
check_all_reach "a listener bound to the service's address gets new clients" "$bound" 5 198.18.0.8
check_all_reach "and its like for IPv6" "$bound6" 5 2001:db8:198::8 --to 2001:db8:113::10
pid=$(ask_affinity 198.18.0.9) || fail "a client of the bound listener gets an affinity"
check_is "of that process" "$bound" "$pid"
outranked()
{
	show t1 instances "' '.join(str(i['pid']) for i in d if 'bound more closely' in i.get('remedy', ''))"
}
is_outranked()
{
	[ "$(outranked)" = "$1" ]
}
check_is "limpet names who is outranked" "$both" "$(outranked)"
check_is "the log does, once" 1 "$(limpetd_log t1 | grep -c "(pid $both), service shop.*: new connections go to listeners that are bound more closely")"

# The next one in its slot is another, and is said to be outranked as well. Nobody asks in between:
# who is outranked is found for an answer, too.
said()
{
	limpetd_log t1 | grep -q "(pid $1)$2, service shop: new connections go to listeners"
}
is_released()
{
	on t1 bpftool -j map dump pinned "$LAB_PIN/target/instances" |
		json "all(e['formatted']['value']['pid'] != $1 for e in d)" | grep -qx true
}
check_soon "there are three" 10 adopted t1 3
for round in first next; do
	another=$(start_instance t1) || exit 1
	check_soon "the $round one on the wildcard is said to be outranked" 10 said "$another" ""
	kill "$another"
	check_soon "it ends, and its slot is free" 10 is_released "$another"
done
# However many they are: one line for a service.
another=$(start_instance t1) || exit 1
check_soon "two are outranked" 10 adopted t1 4
stop_limpetd t1
start_limpetd t1 || exit 1
check_soon "both are in one line of the next agent's" 5 said "$both" " and 1 more"
check_is "and in no other" 1 "$(limpetd_log t1 | grep -c " more, service shop: ")"
kill "$another"
check_soon "one ends" 10 adopted t1 3

kill "$bound"
check_soon "the bound one ends" 10 instances_are t1 2
check_all_reach "the wildcard serves IPv4 again, the affinity holds" "$both" 50 198.18.0.7
check_json "and serves the others" "d['answers'] == {'$both': 21} and not d['failed']" \
	"$(client many --source 198.18.0.20-40)"

kill "$bound6"
check_soon "the bound ones have ended" 10 instances_are t1 1
check_is "nobody is outranked" "" "$(outranked)"
wildcard=$(start_instance t1 --bind 0.0.0.0) || exit 1
check_soon "an IPv4 wildcard is adopted" 10 adopted t1 2
check_all_reach "it serves IPv4 clients" "$wildcard" 5 198.18.0.50
check_all_reach "the one for both families serves IPv6 clients" "$both" 5 2001:db8:198::50 --to 2001:db8:113::10

# By services that are served: there is none that both would serve on another port.
check_is "it is outranked for IPv4 clients" "$both" "$(outranked)"
for LAB_SERVICES in "${LAB_SERVICES/port: 80$'\n'/port: 8080$'\n'}" "$LAB_SERVICES"; do
	for router in r1 r2; do
		configure $router
		check "reload of $router" on $router limpet reload --end-affinities
	done
	[[ $LAB_SERVICES != *8080* ]] || check_soon "nobody is" 5 is_outranked ""
done
check_soon "it is again" 5 is_outranked "$both"

for pid in $both $wildcard; do
	kill "$pid"
done
check_soon "they end" 10 instances_are t1 0
only=$(start_instance t1 --only) || exit 1
check_soon "a listener for IPv6 alone is adopted" 10 adopted t1 1
ready_for()
{
	[ "$(show "$1" services "[s['ready_instances'] for s in d if s['name'] == '$2'][0]")" = "$3" ]
}
for node in t1 r1; do
	check_soon "$node: it is ready for IPv6" 5 ready_for $node shop6 1
	check_soon "$node: and not for IPv4" 5 ready_for $node shop 0
done
check_all_reach "it serves IPv6 clients" "$only" 5 2001:db8:198::51 --to 2001:db8:113::10
stop_limpetd t1
check "t1 says the same without its agent" ready_for t1 shop 0
start_limpetd t1 || exit 1
check "and with the next one" ready_for t1 shop 0
