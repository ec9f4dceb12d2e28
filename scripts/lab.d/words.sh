# shellcheck shell=bash disable=SC2034,SC2153 # part of lab-lib.sh
# SPDX-License-Identifier: BSD-2-Clause
# words.sh - say, poll, read JSON.

say()
{
	printf '%s\n' "$*"
}

complain()
{
	printf '%s\n' "$*" >&2
}

# poll LIMIT COMMAND...: until the command succeeds, at most LIMIT seconds. The command's own
# output is not shown.
poll()
{
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
		sleep 0.05 # this is the poll
	done
}

# wait_until LIMIT WHAT COMMAND...: poll; says what it waited for when that did not come.
wait_until()
{
	local limit=$1 what=$2

	shift 2
	poll "$limit" "$@" || {
		complain "waited $limit s in vain: $what"
		return 1
	}
}

# together COMMAND WORD...: COMMAND WORD for each word, all at the same time; all must succeed.
together()
{
	local command=$1 word job jobs=() status=0

	shift
	for word; do
		"$command" "$word" &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do
		wait "$job" || status=1
	done
	return $status
}

# Reads JSON, evaluates a Python expression over it as `d`, prints the result.
json()
{
	/usr/bin/python3 -c '
import json, sys
d = json.load(sys.stdin)
result = eval("(" + sys.argv[1] + ")")
print(json.dumps(result) if isinstance(result, (list, dict, bool)) else result)' "$1"
}
