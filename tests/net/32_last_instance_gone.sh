#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The last listener of a target closes and no agent is there to tell the routers: a new client's
# SYN that still comes here is dropped, not refused, and served elsewhere as soon as they know.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "nobody is refused by a target whose last listener is gone"

some_are_dropped()
{
	counter_is_above t1 decap_no_listener "$1"
}

lab_up && lab_serve && start_instances 1 || exit 1
kill_limpetd t1
kill -9 "$(instance_pids t1)"
before=$(counter t1 decap_no_listener)
(client many --source 198.18.0.1-40 --count 40 --timeout 20 >"$LAB_DIR/new") &
clients=$!
check_soon "t1 drops the SYNs that the routers still send there" 10 some_are_dropped "$before"
start_limpetd t1
wait $clients
check_json "all of 40 clients were served in the end, by the other target" \
	"not d['failed'] and list(d['answers']) == ['$(instance_pids t2)']" "$(cat "$LAB_DIR/new")"
