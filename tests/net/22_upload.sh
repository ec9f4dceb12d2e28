#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A large upload: each segment must fit once it is encapsulated, or it hangs without any error.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a 10 MB upload passes"

lab_up && lab_serve && start_instances 1 || exit 1
check_json "10 MB over IPv4" "d['same']" \
	"$(client upload --source 198.18.0.1 --bytes 10000000 --timeout 20)"
check_json "10 MB over IPv6" "d['same']" \
	"$(client upload --source 2001:db8:198::1 --to 2001:db8:113::10 --bytes 10000000 --timeout 20)"
check_json "10 MB down" "d['same']" "$(client download --source 198.18.0.1 --bytes 10000000 --timeout 20)"
check_is "no packet was too large to encapsulate" 0 "$(counter r1 drop_encapsulation)"
paths_are_ok()
{
	[ "$(show r1 targets '" ".join(t["path"] for t in d)')" = "ok ok" ]
}
# It is judged by probes, one a second.
check_soon "the path to every target carries full packets" 10 paths_are_ok
