# shellcheck shell=bash disable=SC2034,SC2153 # part of lab-lib.sh
# SPDX-License-Identifier: BSD-2-Clause
# checks.sh - what a test says and how it ends.

LAB_CHECKS=0

fail()
{
	complain "  FAILED: $*"
	exit 1
}

# check WHAT COMMAND...: it must succeed.
check()
{
	local what=$1 output

	shift
	output=$("$@" 2>&1) || fail "$what${output:+: $output}"
	LAB_CHECKS=$((LAB_CHECKS + 1))
	say "  ok: $what"
}

# check_is WHAT WANTED GOT
check_is()
{
	[ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
	LAB_CHECKS=$((LAB_CHECKS + 1))
	say "  ok: $1 ($3)"
}

# check_soon WHAT LIMIT COMMAND...: it must succeed within LIMIT seconds.
check_soon()
{
	local what=$1 limit=$2

	shift 2
	poll "$limit" "$@" || fail "$what: not within $limit s: $("$@" 2>&1 | tail -n 3)"
	LAB_CHECKS=$((LAB_CHECKS + 1))
	say "  ok: $what"
}

# check_json WHAT EXPRESSION JSON: a Python expression over d must be true.
check_json()
{
	local result

	result=$(json "$2" <<<"$3") || fail "$1: no such answer: $3"
	[ "$result" = true ] || fail "$1: '$2' is $result in $3"
	LAB_CHECKS=$((LAB_CHECKS + 1))
	say "  ok: $1"
}

# A test's first line: its lab is named after its file and this process, and goes away with it.
test_begin()
{
	lab_name "test-$(basename "$0" .sh)-$$"
	LAB_OWNER=$$:$(process_start_time $$)
	trap test_end EXIT
	trap 'exit 130' INT TERM HUP
	say "$*"
}

test_end()
{
	local status=$? file

	trap - EXIT
	if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
		for file in "$LAB_DIR"/*/limpetd.log; do
			[ ! -s "$file" ] || { say "--- $file" && tail -n 15 "$file"; } >&2
		done
	fi
	if [ "$status" -ne 0 ] && [ -n "${LAB_KEEP:-}" ]; then
		say "kept: LIMPET_LAB=$LAB_NAME scripts/lab exec NODE -- bash"
		exit "$status"
	fi
	lab_down || status=1
	[ "$status" -ne 0 ] || [ "$LAB_CHECKS" -gt 0 ] || {
		complain "  FAILED: nothing was checked"
		status=1
	}
	exit "$status"
}
