#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# More listeners on one address and port than a group has room for: those that have none are named,
# and as soon as others have gone they are adopted, without a word from anybody.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "more listeners than a group has room for"

LAB_TARGETS=1
lab_up && lab_serve || exit 1
listener=::,80,0
run_on t1 first /usr/bin/python3 "$LAB_ROOT/tests/net/listeners.py" $listener $listener $listener $listener
wait_until 10 "4 instances" instances_are t1 4 || exit 1
mapfile -t many < <(yes $listener | head -n 255)
run_on t1 many /usr/bin/python3 "$LAB_ROOT/tests/net/listeners.py" "${many[@]}"

refused_are()
{
	[ "$(show t1 instances 'sum(i["state"] == "unadoptable" for i in d)')" = "$1" ]
}

refusals()
{
	grep -c "256 listeners share this address and port already" "$LAB_DIR/t1/limpetd.log"
}

check_soon "256 are instances" 20 instances_are t1 256
check_soon "3 are not, and limpet names them" 5 refused_are 3
check_is "the log, too" 3 "$(refusals)"

stop_process TERM "$(cat "$LAB_DIR/t1/first.pid")" || exit 1
check_soon "when 4 have gone, the 3 are adopted" 20 instances_are t1 255
check "and no more named" refused_are 0
check_is "the log has no more to say of them" 3 "$(refusals)"
check "one more" start_instance t1
check_soon "finds room" 10 instances_are t1 256
