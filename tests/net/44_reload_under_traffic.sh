#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# `limpet reload` while connections talk and new ones are made: services come and go, and so do those
# that had their numbers before; the one that is talked to changes; a ring is built anew each time a
# target drains. No packet meets a half-written ring, service or target.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "services, targets and rings change under traffic"

RELOADS=12

lab_up && lab_serve && start_instances 2 || exit 1

# Services beside the three of the lab: $1 is what differs each time.
more_services()
{
	local i

	for ((i = 0; i < 20 + $1 % 3; i++)); do
		cat <<-END
		    - { name: more$(($1 % 5))-$i, address: 203.0.113.$((20 + i)), port: $((8000 + $1)), protocol: tcp }
		END
	done
}

# The lab's services, of which the first one changes each time: its name and all of its rules that an
# affinity outlives.
changed_services()
{
	local name=shop

	(($1 % 2)) || name=boutique
	sed "1s/.*/    - name: $name/
		s/port: 80$/&\n      affinity_idle: $((300 + $1))s\n      affinity_max_life: $(($1 % 2 * 3600))s/" <<<"$services"
}

# What meets a service or a target while that is being written is dropped, counted (drop_not_serving,
# drop_no_next_hop) and sent again. These are of what has been written.
refused()
{
	counter r1 refused_no_instance
}

# While the targets' tables are on the way, a flow that was not reported yet may find no place to be
# noted in (flow_full); its packets are then guessed, or dropped while there is nobody to guess among.
without_target()
{
	echo $(($(counter r1 drop_no_target) - $(counter r1 flow_full)))
}

client_start held hold --source 198.18.1.1-50 --count 100
asked=$(ask_affinity 198.18.9.1) || fail "a client gets an affinity"
services=$LAB_SERVICES
before=$(refused)
found=$(without_target)
client_start new many --source 198.18.4.1-200 --count 10

for ((turn = 1; turn <= RELOADS; turn++)); do
	LAB_SERVICES=$(changed_services $turn)$'\n'$(more_services $turn)
	configure r1
	on r1 limpet reload 2>/dev/null || fail "reload $turn"
	if ((turn % 2)); then on t2 limpet drain 2>/dev/null; else on t2 limpet resume 2>/dev/null; fi ||
		fail "drain or resume $turn"
done
say "  $RELOADS reloads, as many changes of the rings"
LAB_SERVICES=$services
configure r1
check "the former configuration" on r1 limpet reload

report=$(client_end new) || fail "the new clients end"
check_json "new connections were made all the while, and each was served" \
	"d['failed'] == 0 and sum(d['answers'].values()) > 10 * $RELOADS" "$report"
say "  $(json 'sum(d["answers"].values())' <<<"$report") of them"
check_is "no SYN was refused" "$before" "$(refused)"
check "no packet found no target, but of flows that could not be noted" \
	test "$(without_target)" -le "$found"
say "  dropped: $(counter r1 drop_not_serving) by a service, $(counter r1 drop_no_next_hop) by a target that was being written"
check_all_reach "the affinity holds" "$asked" 20 198.18.9.1
report=$(client_end held) || fail "the clients end"
check_json "none of 100 connections broke" "d['broken'] == []" "$report"
