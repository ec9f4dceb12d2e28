#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the commands say, and with which exit status.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the commands"

# What is there, a target says each second.
is_in_sync()
{
	[ "$(show "$1" sync "len(d) == 2 and all(p['missing'] == 0 and p['here'] == p['there'] and
		p['digest'] == 'equal' for p in d)")" = true ]
}

lab_up && lab_serve && start_instances 2 || exit 1
pid=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"
node=$(node_of_pid "$pid")
client_start held hold --source 198.18.0.1 --count 2
check_soon "two connections are open" 5 connections_are "$node" 2
check_soon "r1 knows them" 5 table_is_union r1

# Now: what has been closed lingers for a minute.
has_sample()
{
	on r1 curl -s --unix-socket /run/limpet/control.sock http://limpet/metrics | grep -F "limpet_$1"
}
for sample in 'table_entries{table="connections"} 3' 'lingering_connections 1' 'table_entries{table="affinities"} 1' \
	'claims_granted_total 1' 'digests_different_total 0' 'router_active 1' 'router_ready 1'; do
	check_soon "metrics: $sample" 5 has_sample "$sample"
done

for where in r1 t1; do
	for what in services targets instances connections affinities routers sync; do
		check_json "$where: show $what --json is an array" "isinstance(d, list)" \
			"$(on $where limpet show $what --json)"
		check "$where: show $what" on $where limpet show $what
	done
	check_json "$where: status --json" "d['node'] == '$where' and bool(d['roles'])" \
		"$(on $where limpet status --json)"
	check "$where: status" on $where limpet status
	check "$where: check" on $where limpet check
done
fields="client service scope target instance state connections idle_ms expires_in_ms age_ms pid reason"
check_json "an affinity has its fields" "set('$fields'.split()) <= set(d[0]) and d[0]['pid'] == $pid and
	d[0]['state'] == 'everywhere' and d[0]['connections'] == 2" "$(on "$node" limpet show affinities --json)"
check_soon "sync: nothing is missing" 5 nothing_is_missing r1
check_soon "sync: what is here, there and missing" 5 is_in_sync r1
targets_are_fine()
{
	[ "$(show r1 targets "sum(t['affinities'] for t in d) == 1 and {t['path'] for t in d} == {'ok'}")" = true ]
}
check_soon "targets" 10 targets_are_fine
check "explain says why" grep -q "$node" <<<"$(on r1 limpet explain 198.18.0.1 shop)"
metrics=$(on r1 curl -s --unix-socket /run/limpet/control.sock http://limpet/metrics)
check_is "metrics: no name twice" "" "$(grep '^# TYPE' <<<"$metrics" | sort | uniq -d)"

check_is "an unknown command" 2 "$(on r1 limpet frobnicate >/dev/null 2>&1; echo $?)"
check_is "ready on a target: cannot tell" 2 "$(on t1 limpet ready >/dev/null 2>&1; echo $?)"

# wrong STATUS NODE WORDS COMMAND...: refused with that status, in one line that says these words.
wrong()
{
	local status=$1 node=$2 phrase=$3 said code

	shift 3
	said=$(on "$node" limpet "$@" 2>&1 >/dev/null)
	code=$?
	check_is "$*" "$status" "$code"
	check "one line" test "$(wc -l <<<"$said")" -eq 1
	check "says '$phrase'" grep -qF -- "$phrase" <<<"$said"
}
for row in "t1 targets no router" "r1 instances no target" "r1 routers no target"; do
	read -r where what phrase <<<"$row"
	said=$(on "$where" limpet show "$what" --json 2>"$LAB_DIR/said")
	check_is "$where: show $what" 0 $?
	check_json "is empty" "d == []" "$said"
	check_is "and it says why, in one line" "limpet: this node is $phrase: $what are known to ${phrase#no }s" \
		"$(<"$LAB_DIR/said")"
done
check_is "a list that the node has says nothing more" "" "$(on t1 limpet show instances 2>&1 >/dev/null)"
wrong 2 r1 "unknown option '--bogus'" show services --bogus
wrong 2 r1 "--client: what value?" show connections --client
wrong 2 r1 "no list 'things'" show things
wrong 2 r1 "--client does not choose" show targets --client 198.18.0.1
wrong 1 r1 "no service 'none'" show connections --service none
wrong 1 t1 "no service 'none'" show instances --service none
wrong 2 t1 "not a time" drain --timeout -5s
wrong 2 t1 "not a time" drain --timeout 99999999999999999999h
wrong 2 t1 "unknown option '-1'" drain instance -1
wrong 2 t1 "no instance's id" drain instance 1x
wrong 1 t1 "no such instance" drain instance 999
wrong 1 r1 "this node is none" drain
wrong 1 t1 "no such service" affinity release 198.18.0.1 none
wrong 1 t1 "this client has no affinity here" affinity release 198.18.9.9 shop
wrong 1 r1 "no service ''" show connections --service ""
wrong 2 r1 "--config needs a file" --config= status
for words in status "show connections --json" "show targets" "explain 198.18.0.1 shop" monitor; do
	check_is "$words, to a full device" "1: limpet: standard output cannot be written: No space left on device" \
		"$(on r1 sh -c "limpet $words 2>&1 >/dev/full; echo \$?" | tac | tr '\n' ' ' | sed 's/ /: /; s/ $//')"
done
# By its descriptor: nobody may not get to where it was built.
exec 9<"$LIMPET_BUILD/limpet"
for words in status "show sync" "show connections" ready monitor drain activate; do
	said=$(on t1 setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "/proc/self/fd/9 $words" 2>&1)
	check "$words, not as root: $said" grep -qx "limpet: .*/sys/fs/bpf/limpet: Permission denied: run it as root" <<<"$said"
done
exec 9<&-
wrong 1 r1 "its session is open" forget t1
wrong 1 r1 "no such target" forget nobody
check_json "none of these has drained anything" "{i['state'] for i in d} == {'ready'}" \
	"$(on t1 limpet show instances --json)"
check_json "instances of one service" "len(d) == 2" "$(on t1 limpet show instances --service shop6 --json)"
check_json "instances of another" "d == []" "$(on t1 limpet show instances --service shop-tls --json)"
check "explain: a client of the other family" grep -q "no IPv6 client" \
	<<<"$(on r1 limpet explain 2001:db8:198::1 shop)"

epoch=$(on r2 limpet status --json | json 'd["router"]["epoch"]')
takeover r2
check_json "activate counts the epoch up" "d['router']['role'] == 'active' and d['router']['epoch'] == $((epoch + 1))" \
	"$(on r2 limpet status --json)"
check "deactivate" on r2 limpet deactivate
check_json "standby" "d['router']['role'] == 'standby'" "$(on r2 limpet status --json)"
takeover r1
check_soon "active again, it is ready" 20 router_is_ready r1
node_kill t2
check_soon "a target that has died makes the router not ready" 10 eval '! router_is_ready r1'
check "and is named" grep -q t2 <<<"$(on r1 limpet ready 2>&1)"
check "limpet forget" on r1 limpet forget t2
check_soon "then it is ready" 5 router_is_ready r1
client_end held >/dev/null
