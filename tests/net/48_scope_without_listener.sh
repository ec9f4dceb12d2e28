#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A scope of two services, and a target where only one of them has a listener. A client with an
# affinity there is not sent into the void for the other one: another target serves it. As soon as
# the target listens for both, the affinity holds for both; a listener that drains is one, too.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a scope whose affinity's target does not serve every service"

lab_up && lab_serve && start_instance t1 >/dev/null || exit 1
wait_until 10 "the instance on t1" adopted t1 1 || exit 1
pid=$(ask_affinity 198.18.9.1) || fail "the client gets an affinity"
both=$(start_instance t2 --also 443) || exit 1
wait_until 10 "the instance on t2" adopted t2 1 || exit 1

explained()
{
	on r1 limpet explain 198.18.9.1 shop-tls | grep -qF "$1"
}

other_is_served()
{
	[ "$(show r1 services "[s['ready_instances'] for s in d if s['name'] == 'shop-tls']")" = "[1]" ]
}

check_soon "r1 knows that t2 serves the other service" 5 other_is_served
check_soon "r1 knows that t1 does not serve the other service" 5 \
	explained "which has no listener for this service"
check_all_reach "the affinity holds for the service that t1 serves" "$pid" 20 198.18.9.1
check_all_reach "and the other service is served by t2" "$both" 20 198.18.9.1 --port 443

kill_limpetd r1 && start_limpetd r1 || exit 1
wait_until 20 "r1 to be ready" router_is_ready r1 || exit 1
check_all_reach "by a router's agent that has started anew, too" "$both" 20 198.18.9.1 --port 443

second=$(start_instance t1 --port 443) || exit 1
wait_until 10 "the listener on t1" adopted t1 2 || exit 1
check_soon "r1 knows that t1 serves it now" 5 explained "which is usable"
check_all_reach "the affinity's target serves both" "$second" 20 198.18.9.1 --port 443

id=$(show t1 instances "[i['id'] for i in d if i['pid'] == $second][0]")
check "it drains" on t1 limpet drain instance "$id"
check_soon "r1 knows it" 5 router_knows r1 t1 1
check_all_reach "and is there for the client with the affinity" "$second" 20 198.18.9.1 --port 443
check_all_reach "while others go to t2" "$both" 20 198.18.9.2 --port 443
