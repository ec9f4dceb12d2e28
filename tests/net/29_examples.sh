#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The examples do what README says of them: the server in C (with liblimpet) and the one in Python
# (with the bare system call).
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the examples, in C and in Python"

LAB_TARGETS=1
lab_up && lab_serve || exit 1
for language in c python; do
	LAB_EXAMPLE=$language
	for number in 1 2 3; do
		start_example t1 >/dev/null || fail "the example in $language starts"
	done
	check_soon "$language: three instances" 10 instances_are t1 3
	first=$(example_ask 198.18.0.1 affinity) || fail "the example answers"
	check_soon "$language: the client's affinity is in force everywhere" 5 holder_is r1 198.18.0.1 t1
	for ((number = 0; number < 100; number++)); do
		example_ask 198.18.0.1
	done | sort -u >"$LAB_DIR/answers"
	check_is "$language: 100 of 100 come back to the same process" "$first" "$(cat "$LAB_DIR/answers")"
	for pid in $(instance_pids t1); do
		stop_process TERM "$pid" || exit 1
	done
	check_soon "$language: they are gone" 10 instances_listed t1 0
	check_soon "$language: and the affinity with them" 5 holder_is r1 198.18.0.1 ""
done
