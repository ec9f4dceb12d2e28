#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A listener with TCP_DEFER_ACCEPT: the client is connected, and its target's kernel keeps that to
# itself until the first data comes. However late that is, and whatever has changed for new
# connections meanwhile, it reaches the target that has the handshake.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "clients that are connected and say nothing"

lab_up && lab_serve && start_instances 1 --defer 60 || exit 1

noted_for_longer_than_believed()
{
	((SECONDS > opened + 10)) # NOTED_NS
}

draining()
{
	[ "$(show r1 targets '[t["state"] for t in d if t["name"] == "t1"][0]')" = draining ]
}

both_have_some()
{
	local node

	for node in t1 t2; do
		[ -n "$(on $node ss -Htn state syn-recv)" ] || return 1
	done
}

# So few that hardly ever three meet in one place of `handshakes`, which has room for two: once in a
# million times. Therefore all may be at one target, once in a thousand.
for _ in {1..3}; do
	client_start silent silent --source 198.18.1.1-11 --count 11
	! both_have_some || break
	client_end silent >/dev/null
done
opened=$SECONDS
check_is "no target has reported them" 0 "$(show r1 connections 'len(d)')"
wait_until 30 "their flows to be older than a note is believed" noted_for_longer_than_believed
check "nobody is sent to t1 any more" on t1 limpet drain
check_soon "r1 knows it" 5 draining
report=$(client_end silent) || fail "the clients end"
check_json "each is answered" "d['opened'] == 11 and d['broken'] == []" "$report"
check_json "by both targets" "len(d['pids']) == 2" "$report"
check "r1 sent them where their handshakes went" counter_is_above r1 guess_noted 10
check_is "and guessed nothing else" 0 "$(($(counter r1 guess_distributed) + $(counter r1 guess_affinity)))"
