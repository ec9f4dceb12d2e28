#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# client_prefix 24: the clients of one /24 are one client; the next /24 is another.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "two clients behind one /24 share one affinity"

LAB_SERVICES="    - name: shop
      address: 203.0.113.10
      port: 80
      client_prefix: 24"
lab_up && lab_serve && start_instances 2 || exit 1

pid=$(ask_affinity 198.18.7.1) || fail "a client gets an affinity"
check_is "the affinity is the prefix's" 198.18.7.0/24 \
	"$(show "$(node_of_pid "$pid")" affinities 'd[0]["client"]')"
check_all_reach "its neighbour reaches the same process" "$pid" 100 198.18.7.250
check_json "clients of the next prefix are spread" "len(d['answers']) > 1" \
	"$(client many --source 198.18.8.1-40 --count 2)"
again=$(client talk --source 198.18.8.1 --avoid "$pid" who affinity "wait 5000") ||
	fail "the next prefix gets an affinity of its own, elsewhere"
check_json "and it does" "d['answers'][2].endswith(' ok')" "$again"
check_all_reach "the first prefix stays where it is" "$pid" 50 198.18.7.3
