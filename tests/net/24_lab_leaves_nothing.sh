#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A lab whose owner was killed is found and removed by the next one.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a lab that was abandoned is removed by the next"

abandoned=test-abandoned-$$
LIMPET_LAB=$abandoned bash -c '. "$1/scripts/lab-lib.sh"
	LAB_OWNER=$$:$(process_start_time $$)
	LAB_TARGETS=1
	lab_up && lab_serve && kill -9 $$' bash "$LAB_ROOT" 2>/dev/null
check "it is still there: its owner could not clean up" test -d "$LAB_BASE/$abandoned"
processes=$(mktemp)
(lab_name $abandoned && lab_processes) >"$processes"
check "with its processes: $(wc -l <"$processes")" test -s "$processes"
LAB_TARGETS=1
lab_up || exit 1
check "the next lab has removed it" test ! -e "$LAB_BASE/$abandoned"
check "its cgroup too" test ! -e "$LAB_CGROUP_MOUNT/limpet-lab/$abandoned"
check_soon "and its processes, and with them its namespaces" 10 processes_are_gone "$processes"
rm "$processes"
lab_down || exit 1
check "down twice is no error" lab_down
