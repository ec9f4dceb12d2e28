#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Applications with a reuseport program of their own: attached before, the listener is left alone and
# named; attached to an instance's listener it is refused and counted, and affinities go on holding.
# Where it could not be refused, the whole group's listeners are named until it is gone.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "reuseport programs of applications"

LAB_TARGETS=1
lab_up || exit 1

steered()
{
	client talk --source 198.18.9.9 "row steer" "$@" | json 'd["answers"][0].split()[1]'
}

own=$(start_instance t1 --port 443 --bind 0.0.0.0) || exit 1
check_is "without Limpet an application attaches its own" ok "$(steered --to 10.7.0.11 --port 443)"
lab_serve || exit 1
for number in 1 2; do
	start_instance t1 >/dev/null || exit 1
done
check_soon "two instances, and one that is none" 10 instances_listed t1 3
wait_adopted 2 || exit 1
check_json "it is named, with its process and the remedy" \
	"[i for i in d if i['state'] == 'unadoptable' and i['pid'] == $own and 'own' in i['remedy']] != []" \
	"$(on t1 limpet show instances --json)"
check "limpet check names it" grep -q "pid $own" <<<"$(on t1 limpet check 2>&1)"

pid=$(ask_affinity 198.18.0.1) || fail "a client gets an affinity"
check_is "an instance attaches its own: refused" EBUSY "$(steered)"
check_is "and counted" 1 "$(counter t1 steering_refused)"
check_all_reach "the affinity holds" "$pid" 50 198.18.0.1
early=$(start_instance t1 --steer) || exit 1
check_is "nor right after listen(), before it is adopted" "steer: EBUSY" \
	"$(grep '^steer' "$LAB_DIR/t1/instance.$early.log")"
check_soon "it becomes an instance like the others" 10 instances_are t1 3
kill "$early"
check_soon "and ends" 10 instances_are t1 2

# A container's listener is nobody's business here, though it is bound alike.
run_on t1 container unshare --net /usr/bin/python3 "$LAB_ROOT/tests/net/server.py" --steer
check_soon "a container on the node attaches its own" 10 grep -qx "steer: ok" "$LAB_DIR/t1/container.log"
check_is "which concerns no instance" 2 "$(show t1 instances 'sum(i["state"] == "ready" for i in d)')"
stop_process KILL "$(cat "$LAB_DIR/t1/container.pid")"

# A socket of another cgroup, which the program that refuses is not attached to.
nsenter --target "$(node_pid t1)" --net --mount --root -- \
	/usr/bin/python3 "$LAB_ROOT/tests/net/server.py" --steer >"$LAB_DIR/outside" 2>&1 &
outside=$!
check_soon "from outside the cgroup nobody refuses" 10 grep -qx "steer: ok" "$LAB_DIR/outside"
check_soon "no listener of the group is an instance then" 10 instances_are t1 0
three_are_named()
{
	[ "$(show t1 instances "sum(i['state'] == 'unadoptable' and i['service'] != 'shop-tls' and
		'own' in i['remedy'] for i in d)")" = 3 ]
}
check_soon "each is named with the remedy" 5 three_are_named
check "limpet check names them" grep -q "pid $outside" <<<"$(on t1 limpet check 2>&1)"
none_is_ready()
{
	[ "$(show r1 targets 'd[0]["ready_instances"]')" = 0 ]
}
check_soon "the routers know" 5 none_is_ready
check_soon "the affinity has ended" 5 holder_is t1 198.18.0.1 ""
# Nothing is forwarded any more: a client at the node itself.
check_is "the program is detached" ok "$(on t1 /usr/bin/python3 "$LAB_ROOT/tests/net/client.py" talk \
	--source 10.7.0.11 --to 203.0.113.10 "row unsteer" | json 'd["answers"][0].split()[1]')"
check_soon "all three are instances again" 15 instances_are t1 3
kill $outside
check_soon "the one outside ends" 10 adopted t1 2
pid=$(ask_affinity 198.18.0.1) || fail "a client gets an affinity again"
check_all_reach "it holds" "$pid" 50 198.18.0.1

stop_limpetd t1
check_is "refused without the agent too" EBUSY "$(steered)"
check "limpet unload gives the listeners back" on t1 limpet unload
check_is "then an application may again" ok \
	"$(steered --to 10.7.0.11)"
