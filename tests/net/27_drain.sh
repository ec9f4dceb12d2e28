#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A target that is drained gets no new client; its connections stay, and its affinity clients are
# served until --end-affinities.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "drain and resume"

lab_up && lab_serve && start_instances 2 || exit 1
t1=$(instance_pids t1 | tr '\n' ' ')
held=$(client talk --source 198.18.0.1 --avoid "$(instance_pids t2 | paste -sd,)" who affinity "wait 5000" |
	json 'd["answers"][0]') || fail "a client gets an affinity at t1"
client_start open hold --source 198.18.1.1-20 --count 40

drained()
{
	[ "$(show "$1" targets '[t["state"] for t in d if t["name"] == "t1"][0]')" = "$2" ]
}

check "limpet drain" on t1 limpet drain
for router in r1 r2; do
	check_soon "$router shows t1 draining" 5 drained $router draining
done
check_json "100 new clients: none at t1" "d['failed'] == 0 and not set(d['answers']) & set('$t1'.split())" \
	"$(client many --source 198.18.2.1-100)"
check_all_reach "the client with an affinity is still served there" "$held" 50 198.18.0.1

expires()
{
	show t1 affinities 'd[0]["expires_in_ms"]'
}
is_idle()
{
	[ "$(show t1 affinities '[a["connections"] for a in d]')" = "[0]" ]
}

check_soon "it has closed all of its connections" 5 is_idle
before=$(expires)
left=$(on t1 limpet drain --timeout 300ms 2>&1)
check_is "--timeout ends the waiting" 1 $?
after=$(expires)
check "says what is left: $left" grep -q "connections and 1 affinities are left after the timeout" <<<"$left"
said=$(sed -n 's/.* expires in \([0-9]*\)\.\([0-9]\) s$/\1\200/p' <<<"$left")
check "and when the last affinity expires: from $after, cut to tenths, to $before ms" \
	test $((after - 100)) -lt "$said" -a "$said" -le "$before"
check "limpet drain --end-affinities" on t1 limpet drain --end-affinities
check_soon "the affinity ends" 5 holder_is r1 198.18.0.1 ""
check_json "and its client goes elsewhere" "d['failed'] == 0 and not set(d['answers']) & set('$t1'.split())" \
	"$(client many --source 198.18.0.1 --count 30)"
check "limpet resume" on t1 limpet resume
check_soon "t1 is up again" 5 drained r1 up
check_json "and gets new clients" "bool(set(d['answers']) & set('$t1'.split()))" \
	"$(client many --source 198.18.3.1-60)"

# An instance that was drained by itself is resumed by itself, and nobody is left to guess.
id=$(show t1 instances 'd[0]["id"]')
draining()
{
	show t1 instances '" ".join(str(i["id"]) for i in d if i["state"] == "draining")'
}
check "limpet drain instance $id" on t1 limpet drain instance "$id"
check "limpet drain" on t1 limpet drain
check_is "limpet resume says what still drains" \
	"still drained, each by itself: instance $id; \`limpet resume instance ID\` resumes one" "$(on t1 limpet resume)"
check_is "that one alone" "$id" "$(draining)"
check "limpet drain" on t1 limpet drain
check_is "limpet resume instance $id says that the target drains" \
	"instance $id still drains with the whole target; \`limpet resume\` resumes that" \
	"$(on t1 limpet resume instance "$id")"
check_is "limpet resume has nothing to say then" "" "$(on t1 limpet resume)"
check_is "and nobody drains" "" "$(draining)"

check_soon "t1 is up again" 5 drained r1 up

# What cannot be written down is in force all the same, and says so.
ask_affinity 198.18.0.9 --avoid "$(instance_pids t2 | paste -sd,)" >/dev/null || fail "a client gets an affinity at t1"
on t1 sh -c 'mount --bind /var/lib/limpet /var/lib/limpet && mount -o remount,bind,ro /var/lib/limpet' || exit 1
LOST="limpet: in force, but lost with a restart of limpetd, for target.json in state_directory cannot be written: Read-only file system"
said=$(on t1 limpet drain --end-affinities 2>&1)
check_is "limpet drain, with a state directory that is read-only" 1 $?
check_is "says what is the matter" "$LOST" "$said"
check_soon "r1 shows t1 draining" 5 drained r1 draining
check_soon "the affinity ends" 5 holder_is r1 198.18.0.9 ""
check_is "limpet resume says the same" "$LOST" "$(on t1 limpet resume 2>&1)"
check_soon "t1 is up again" 5 drained r1 up
on t1 umount /var/lib/limpet
report=$(client_end open)
check_json "none of 40 connections broke" "d['broken'] == []" "$report"
