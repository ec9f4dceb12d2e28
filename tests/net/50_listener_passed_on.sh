#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A hot restart: a process hands its listener to its successor, closes it, and serves its connections
# on. Both live, and one accepts: it may ask for affinities, and those that there are hold.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a listener that is passed on"

LAB_TARGETS=1
lab_up && lab_serve || exit 1
run_on t1 first "$LAB_ROOT/tests/net/successor.py"
wait_until 10 "the instance on t1" adopted t1 1 || exit 1
first=$(ask_affinity 198.18.0.1) || fail "the client gets an affinity"

# A connection that the first process keeps.
rm -f "$LAB_DIR/go" "$LAB_DIR/go.open"
client talk --source 198.18.0.3 --meanwhile "$LAB_DIR/go" who affinity >"$LAB_DIR/kept" &
talker=$!
wait_until 10 "the connection" test -e "$LAB_DIR/go.open" || exit 1

kill -USR2 "$first"
wait_until 10 "the listener to be passed on" grep -q "passed on" "$LAB_DIR/t1/first.log" || exit 1

# may_ask SOURCE: prints who answers, when it may.
may_ask()
{
	client talk --source "$1" who affinity | json '" ".join(d["answers"])' | grep -x '\([0-9]*\) \1 ok'
}
check_soon "its successor may ask for affinities" 5 may_ask 198.18.0.2
answer=$(may_ask 198.18.0.2) || fail "it may ask again"
second=${answer%% *}
check "it is another process" test "$second" != "$first"
check_is "while the first one is still there" 0 "$(process_is_gone "$first"; echo $((1 - $?)))"
check "the affinity that the first has asked for holds" holder_is t1 198.18.0.1 t1

touch "$LAB_DIR/go"
wait $talker
check_json "the first one may ask no more" "d['answers'] == ['$first', '$first EOPNOTSUPP']" "$(cat "$LAB_DIR/kept")"
check_soon "which takes nothing from its successor" 5 may_ask 198.18.0.4
for source in 198.18.0.1 198.18.0.2 198.18.0.4; do
	check "$source has its affinity" holder_is t1 $source t1
done
check_is "limpet shows who asks" "[[$second, \"ready\"]]" "$(show t1 instances '[[i["pid"], i["state"]] for i in d]')"

stop_process TERM "$first" || exit 1
check_soon "with the first process end the affinities that it has asked for" 5 holder_is t1 198.18.0.1 ""
check "and no others" holder_is t1 198.18.0.2 t1
