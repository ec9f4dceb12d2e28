#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A reload that limpetd or the kernel cannot follow changes nothing and says in one line which key it is
# and what that needs; what limpetd can follow, it follows.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a reload is all or nothing"

LAB_MODE=on-failure
lab_up && lab_serve && start_instances 1 || exit 1
MORE='s/^( *)- name: shop$/\1- { name: more, address: 203.0.113.11, port: 8080 }\n&/'

file()
{
	echo "$LAB_DIR/$1/etc/limpet.yaml"
}

# state NODE: what a reload could have changed, without what changes by itself.
state()
{
	on "$1" limpet show services --json | sed -E 's/,"ready_instances":[0-9]+//'
	on "$1" bpftool map dump pinned "$LAB_PIN/node/settings"
}

# refused NODE WHAT SED-SCRIPT WORDS: with a service more besides, which must not come.
refused()
{
	local node=$1 what=$2 script=$3 phrase=$4 as_loaded said

	as_loaded=$(state "$node")
	cp "$(file "$node")" "$LAB_DIR/good.yaml"
	sed -i -E "$MORE; $script" "$(file "$node")"
	said=$(on "$node" limpet reload 2>&1 >/dev/null)
	check_is "$node, $what: refused" 1 $?
	check_is "$what: one line" 1 "$(wc -l <<<"$said")"
	check "$what: $said" grep -qE "$phrase" <<<"$said"
	check_is "$what: nothing is changed" "" "$(diff <(echo "$as_loaded") <(state "$node"))"
	cp "$LAB_DIR/good.yaml" "$(file "$node")"
	check "$what: as before: reload" on "$node" limpet reload
}

restart='needs a restart of limpetd .*nothing is changed$'
anew='needs .limpet unload., with the former configuration, and .limpet load.; nothing is changed$'

refused r1 listen '/^  listen:/s/7562/7563/' "limpet.yaml:[0-9]+: router.listen: has changed; that $restart"
refused r1 state_directory '$ s/$/\nstate_directory: \/var\/lib\/other/' "limpet.yaml:[0-9]+: state_directory: has changed; that $restart"
refused r1 runtime_directory '$ s/$/\nruntime_directory: \/run\/limpet\/other/' "another runtime_directory than /run/limpet/other, which $anew"
refused t1 runtime_directory '$ s/$/\nruntime_directory: \/run\/limpet\/other/' "another runtime_directory than /run/limpet/other, which $anew"
refused r1 tables '$ s/$/\ntables: { connections: 5000 }/' 'tables: [a-z]+ has room for .* needs .limpet unload. and .limpet load.'
on t1 mkdir /sys/fs/cgroup/other || exit 1
refused t1 cgroup 's/^  interfaces:.*/&\n  cgroup: \/sys\/fs\/cgroup\/other/' 'cgroup /sys/fs/cgroup/other: .* another one: run .limpet load.'

# ---- a limpetd that the configuration does not lead to
sed '$ s/$/\nruntime_directory: \/run\/limpet\/other/' "$(file r1)" >"$LAB_DIR/r1/etc/other.yaml"
said=$(on r1 limpetd --config /etc/limpet/other.yaml 2>&1)
check_is "a second limpetd is refused" 1 $?
check "and says why: $said" grep -q "limpet/v1: held by another limpetd, with another runtime_directory" <<<"$said"
said=$(on r1 limpet load --config /etc/limpet/other.yaml 2>&1)
check_is "load is refused" 1 $?
check "and says why: $said" grep -q "limpetd runs with another runtime_directory" <<<"$said"
on r1 limpet deactivate >/dev/null
said=$(on r1 limpet unload --config /etc/limpet/other.yaml 2>&1)
check_is "unload is refused" 1 $?
check "and says why: $said" grep -q "limpetd runs with another runtime_directory" <<<"$said"
takeover r1

# ---- what a restart of limpetd takes over, a reload then does
sed -i -E "$MORE; \$ s/\$/\nstate_directory: \/var\/lib\/limpet\/other/" "$(file r2)"
stop_limpetd r2 && start_limpetd r2 || exit 1
check "r2: reload after a restart" on r2 limpet reload
check_json "r2: has the service" "'more' in {s['name'] for s in d}" "$(on r2 limpet show services --json)"

# ---- what limpetd follows
state_is()
{
	[ "$(show r1 targets "{t['name']: t['state'] for t in d}['t2']")" = "$1" ]
}

check "r2, standby, has not asked for tables" eval '! router_is_ready r2'
sed -i 's/standby_sync: on-failure/standby_sync: continuous/' "$(file r2)"
check "r2: reload" on r2 limpet reload
check_soon "r2 has asked, and is ready" 20 router_is_ready r2
sed -i 's/^  listen:/  dead_time: 2s\n&/' "$(file r1)"
check "r1: reload" on r1 limpet reload
node_kill t2
check_soon "t2 is dead after the dead_time of the reload" 20 state_is dead
