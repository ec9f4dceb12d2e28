#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How affinities end: released, idle for too long (and only once the last connection has closed), the
# asking process gone; each time at the target and at both routers, and the next connection is
# distributed anew.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "how an affinity ends"

lab_up && lab_serve && start_instances 2 || exit 1

ended_everywhere()
{
	check_soon "$1: ended at $2" 10 holder_is "$2" "$3" ""
	check_soon "$1: ended at r1" 10 holder_is r1 "$3" ""
	check_soon "$1: ended at r2" 10 holder_is r2 "$3" ""
}

answer=$(client talk --source 198.18.0.1 who affinity "wait 5000" release status) || fail "talk"
check_json "released by the application" \
	"d['answers'][3].endswith(' ok') and '\"none\"' in d['answers'][4] and 'released' in d['answers'][4]" "$answer"
ended_everywhere "release" "$(node_of_pid "$(json 'd["answers"][0]' <<<"$answer")")" 198.18.0.1

# Idle 1.5 s: it stays while a connection is open, ends after the last one.
rm -f "$LAB_DIR/go" "$LAB_DIR/go.open"
client talk --source 198.18.0.2 --meanwhile "$LAB_DIR/go" --first "affinity 1500" "wait 5000" status \
	>"$LAB_DIR/idle" &
talker=$!
wait_until 10 "the affinity" test -e "$LAB_DIR/go.open" || exit 1
pid=$(client talk --source 198.18.0.2 who | json 'd["answers"][0]')
node=$(node_of_pid "$pid")
start=${EPOCHREALTIME/./}
ended=
twice_the_idle_time_is_over()
{
	holder_is "$node" 198.18.0.2 "$node" || ended=early
	[ -n "$ended" ] || [ $((${EPOCHREALTIME/./} - start)) -gt 3000000 ]
}
wait_until 20 "twice the idle time" twice_the_idle_time_is_over || exit 1
check_is "with a connection open it stays, twice its idle time" "" "$ended"
touch "$LAB_DIR/go"
wait $talker
check_json "one connection counted" "'\"connections\": 1' in d['answers'][1]" "$(cat "$LAB_DIR/idle")"
ended_everywhere "idle" "$node" 198.18.0.2

answer=$(client talk --source 198.18.0.3 who "affinity 0" "wait 5000") || fail "talk"
ended_everywhere "idle 0: with the last connection" "$(node_of_pid "$(json 'd["answers"][0]' <<<"$answer")")" 198.18.0.3

pid=$(ask_affinity 198.18.0.4) || fail "the client gets an affinity"
node=$(node_of_pid "$pid")
kill "$pid"
ended_everywhere "the process has exited" "$node" 198.18.0.4
check_json "the next connections are distributed anew" "d['failed'] == 0 and '$pid' not in d['answers']" \
	"$(client many --source 198.18.0.4 --count 30)"

pid=$(ask_affinity 198.18.0.5) || fail "the client gets an affinity"
check_all_reach "one more, for good measure" "$pid" 30 198.18.0.5
check_is "limpet affinity release" 0 \
	"$(on "$(node_of_pid "$pid")" limpet affinity release 198.18.0.5 shop >/dev/null 2>&1; echo $?)"
ended_everywhere "released by the operator" "$(node_of_pid "$pid")" 198.18.0.5

# The listener ends, the process lives on, and so does the connection, which is told.
pid=$(client talk --source 198.18.0.6 who | json 'd["answers"][0]')
node=$(node_of_pid "$pid")
answer=$(client talk --source 198.18.0.6 who affinity "wait 5000" unlisten status affinity release) || fail "talk"
check_json "the listener is closed: status says so, and the process can have no more" \
	"d['answers'][3].endswith(' ok') and '\"none\"' in d['answers'][4] and '\"instance\"' in d['answers'][4] and
	[a.split()[1] for a in d['answers'][5:]] == ['EPERM', 'ENOENT']" "$answer"
pid=$(json 'd["answers"][0]' <<<"$answer")
ended_everywhere "the listener is closed" "$(node_of_pid "$pid")" 198.18.0.6
check "its process lives" test -e "/proc/$pid"
check_json "the next connections are distributed anew" "d['failed'] == 0 and '$pid' not in d['answers']" \
	"$(client many --source 198.18.0.6 --count 30)"

# A master holds the listener and a worker accepts: the worker's end is the affinity's.
for pid in $(instance_pids t1) $(instance_pids t2); do
	kill "$pid"
done
for node in t1 t2; do
	check_soon "all have ended at $node" 10 instances_are $node 0
done
master=$(start_instance t1 --master) || exit 1
check_soon "a master and its worker are one instance" 10 adopted t1 1
worker=$(ask_affinity 198.18.0.7) || fail "the worker asks"
named()
{
	[ "$(show t1 instances '[i["pid"] for i in d if i["state"] == "ready"][0]')" = "$1" ]
}
check "limpet show instances names the worker" named "$worker"
kill -9 "$worker"
ended_everywhere "the worker has exited, its listener is open" t1 198.18.0.7
check_soon "the next worker asks" 5 eval "next=\$(ask_affinity 198.18.0.7) && [ \$next != $worker ]"
kill -9 "$(ask_affinity 198.18.0.7)"
check_soon "the master is named, as nobody has asked since" 5 named "$master"
