#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A router whose machine has restarted knows nothing: it is not ready, holds what it does not know
# and guesses nothing, until the targets have told it (promise 4).
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a router that restarts empty is not ready and guesses nothing"

# However long the machine takes: clients send less and less often, and wait as long again as it took.
LAB_ROUTER_EXTRA="  hold_time: 180s"
lab_up && lab_serve && start_instances 2 || exit 1
client_start held hold --source 198.18.0.1-20 --count 40 --timeout 180

# Nobody is there to tell it.
kill_limpetd t1 && kill_limpetd t2 || exit 1
node_kill r2
node_kill r1
# Numbers are given in the roster's order: the answers are not to depend on it.
/usr/bin/python3 - "$LAB_DIR/r1/lib/roster" <<'END' || fail "the roster is a list"
import json, sys
with open(sys.argv[1]) as file:
    targets = json.load(file)
with open(sys.argv[1], "w") as file:
    json.dump(sorted(targets, key=lambda target: target["name"], reverse=True), file)
END
node_boot r1 || fail "r1 starts again"
takeover r1
check_is "r1 is not ready" 1 "$(on r1 limpet ready >/dev/null 2>&1; echo $?)"
missing=$(on r1 limpet ready 2>&1)
check "and names who is missing, by their names: $missing" grep -q "missing t1, t2" <<<"$missing"
check_is "limpet show targets" "t1 t2" "$(show r1 targets "' '.join(t['name'] for t in d)")"
check_soon "packets of connections that it does not know are held" 60 counter_is_above r1 held_unknown 20
for name in guess_unsynced guess_affinity guess_distributed refused_no_instance; do
	check_is "$name" 0 "$(counter r1 $name)"
done

kill_limpetd r1
check_is "the same without limpetd" "t1 t2" \
	"$(show r1 targets "' '.join(t['name'] for t in d)" 2>/dev/null)"
start_limpetd r1 || exit 1

start_limpetd t1 || exit 1
check_is "not ready with one of two" 1 "$(on r1 limpet ready >/dev/null 2>&1; echo $?)"
start_limpetd t2 || exit 1
check_soon "ready once both have handed over" 20 router_is_ready r1
check_soon "its table is the union of the targets'" 5 table_is_union r1
report=$(client_end held)
check_json "none of 40 connections broke" "d['broken'] == [] and d['opened'] == 40" "$report"

kill_limpetd t1 && kill_limpetd t2 || exit 1
node_kill r1
rm -rf "$LAB_DIR"/r1/lib/*
node_boot r1 || fail "r1 starts with nothing on its disk"
check_is "with an empty roster it is not ready either" 1 "$(on r1 limpet ready >/dev/null 2>&1; echo $?)"
