#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# scripts/lab as a user has it: up, exec, status, takeover, down.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the lab as a playground"

export LIMPET_LAB=$LAB_NAME
lab=$LAB_ROOT/scripts/lab

check "lab up --targets 3 --instances 2" "$lab" up --targets 3 --instances 2
check "lab status lists the nodes" grep -qE '^t3 +yes +10.7.0.13' <<<"$("$lab" status)"
check_json "lab exec r1 -- limpet show targets" "len(d) == 3 and all(t['state'] == 'up' for t in d)" \
	"$("$lab" exec r1 -- limpet show targets --json)"
check "lab exec client -- curl" grep -q '^pid=' <<<"$("$lab" exec client -- curl -s http://203.0.113.10/)"
check "over IPv6" grep -q '^pid=' <<<"$("$lab" exec client -- curl -s 'http://[2001:db8:113::10]/')"
check_is "exec gives the command's exit status" 7 "$("$lab" exec t1 -- sh -c 'exit 7'; echo $?)"
check_is "a node knows its name" t2 "$("$lab" exec t2 -- hostname)"
check_is "no node has another link than its own" "eth0 lo " "$("$lab" exec t2 -- ls /sys/class/net | tr '\n' ' ')"
check "lab takeover r2" "$lab" takeover r2
check "the service is there" grep -q '^pid=' <<<"$("$lab" exec client -- curl -s http://203.0.113.10/)"
check_is "a wrong option" 2 "$("$lab" up --targets many 2>/dev/null; echo $?)"
check "lab down" "$lab" down
check "lab down again" "$lab" down
check_is "lab status of a lab that is down" 1 "$("$lab" status >/dev/null; echo $?)"
