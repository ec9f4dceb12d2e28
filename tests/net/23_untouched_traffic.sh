#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What is for no service passes a router and a target untouched.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "traffic for no service is untouched"

lab_up && lab_serve && start_instances 1 || exit 1
for node in r1 t1; do
	number=$(node_number $node)
	start_instance $node --port 8080 >/dev/null || exit 1
	check "$node answers ping" on client ping -q -c 2 -i 0.2 -W 2 "10.7.0.$number"
	check "$node answers ping over IPv6" on client ping -q -c 2 -i 0.2 -W 2 "2001:db8:7::$number"
	check "$node answers large, fragmented pings" on client ping -q -c 2 -i 0.2 -W 2 -s 4000 "10.7.0.$number"
	check_json "$node's own TCP server is reached" "d['same']" \
		"$(client upload --to "10.7.0.$number" --port 8080 --source 10.7.0.100 --bytes 3000000)"
done
check_json "a port of the service's address that is no service gets no answer of a target" \
	"d['failed'] == 1" "$(client many --port 8080 --timeout 2)"
check "such packets are counted as passed" counter_is_above r1 pass_no_service 0

# From somebody who is no router, an encapsulated packet is dropped.
before=$(counter t1 decap_not_router)
on client /usr/bin/python3 "$LAB_ROOT/tests/net/encapsulate.py" 10.7.0.100 10.7.0.11 198.18.0.1 203.0.113.10 80
check_soon "encapsulated packets of others are dropped" 5 counter_is_above t1 decap_not_router "$before"
