#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# In a container, limpetd and its applications have process numbers of their own, which the kernel's
# programs do not know: `show instances` has the container's, and their commands.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a PID namespace of its own"

# shellcheck disable=SC2034 # lab_up reads it
LAB_TARGETS=1
lab_up && lab_serve && stop_limpetd t1 || exit 1

# What it prints at last, when somebody has written to go, it prints without limpetd.
HERE=$LAB_DIR/t1
mkfifo "$HERE/go" || exit 1
# shellcheck disable=SC2016
run_on t1 container unshare --pid --fork --kill-child --mount-proc sh -c '
	cd "$1" || exit 1
	limpetd &
	agent=$!
	affinity_server -p 80 -n 2 &
	read -r go <go
	kill $agent
	wait $agent
	limpet show instances --json >shown.new
	mv shown.new shown
	wait' sh "$HERE"

check_own()
{
	check_json "$1: processes and commands are the container's" "len({i['pid'] for i in d}) == 2 and
		all(i['pid'] < 100 and i['command'] == 'affinity_server' for i in d)" "$2"
}

has_affinity()
{
	[ "$(show r1 affinities 'len(d)')" = 1 ]
}

wait_until 10 "both processes to be adopted" instances_are t1 2 || exit 1
check_soon "r1 knows them" 10 router_knows r1 t1 2
check "a client asks for its affinity" on client curl -sf --max-time 20 -o /dev/null http://203.0.113.10/login
check_soon "and has it" 5 has_affinity
check_own limpetd "$(on t1 limpet show instances --json)"
echo >"$HERE/go"
check_soon "limpetd ends" 10 test -e "$HERE/shown"
check_own "without limpetd" "$(cat "$HERE/shown")"
