#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Applications with a reuseport program of their own: attached before, the listener is left alone and
# named; attached to an instance's listener it is refused and counted, and affinities go on holding.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "reuseport programs of applications"

LAB_TARGETS=1
lab_up || exit 1

steered()
{
	client talk --source 198.18.9.9 "row steer" "$@" | json 'd["answers"][0].split()[1]'
}

own=$(start_instance t1 --port 443 --bind 0.0.0.0) || exit 1
check_is "without Limpet an application attaches its own" ok "$(steered --to 10.7.0.11 --port 443)"
lab_serve || exit 1
for number in 1 2; do
	start_instance t1 >/dev/null || exit 1
done
check_soon "two instances, and one that is none" 10 instances_listed t1 3
check_json "it is named, with its process and the remedy" \
	"[i for i in d if i['state'] == 'unadoptable' and i['pid'] == $own and 'own' in i['remedy']] != []" \
	"$(on t1 limpet show instances --json)"
check "limpet check names it" grep -q "pid $own" <<<"$(on t1 limpet check 2>&1)"

pid=$(ask_affinity 198.18.0.1) || fail "a client gets an affinity"
check_is "an instance attaches its own: refused" EBUSY "$(steered)"
check_is "and counted" 1 "$(counter t1 steering_refused)"
check_all_reach "the affinity holds" "$pid" 50 198.18.0.1
stop_limpetd t1
check_is "refused without the agent too" EBUSY "$(steered)"
check "limpet unload gives the listeners back" on t1 limpet unload
check_is "then an application may again" ok \
	"$(steered --to 10.7.0.11)"
