#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The examples do what README says of them: the server in C (with liblimpet) and the one in Python
# (with the bare system call).
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the examples, in C and in Python"

LAB_TARGETS=1
lab_up || exit 1
start_example t1 1 c
on t1 ip address add 203.0.113.10/32 dev lo
without_limpet()
{
	on t1 curl -s http://203.0.113.10/login | grep 'affinity=unknown error=ENOPROTOOPT'
}
check_soon "without Limpet they serve as ever" 5 without_limpet
stop_example t1 c || exit 1
on t1 ip address del 203.0.113.10/32 dev lo
lab_serve || exit 1

for language in c python; do
	start_example t1 3 $language
	check "$language: three instances, and the routers know" wait_adopted 3
	answer=$(client http --source 198.18.0.1 /wait | json 'd["last"]')
	check "$language: $answer" grep -q 'affinity=everywhere error=0' <<<"$answer"
	pid=${answer#pid=}
	pid=${pid%% *}
	report=$(client http --source 198.18.0.1 --count 100)
	check_json "$language: 100 of 100 come back to process $pid" "d['answers'] == {'$pid': 100}" "$report"
	check_json "$language: which remembers every visit" "'visits=101 ' in d['last']" "$report"
	report=$(client http --source 198.18.1.1-30 --together)
	check_json "$language: 30 others are spread over the three" "len(d['answers']) == 3" "$report"
	check_json "$language: logged out" "'affinity=none error=0' in d['last']" \
		"$(client http --source 198.18.0.1 /logout)"
	check_soon "$language: the affinity is gone" 5 holder_is r1 198.18.0.1 ""
	stop_example t1 $language || exit 1
	check_soon "$language: the instances are gone" 10 instances_listed t1 0
done
