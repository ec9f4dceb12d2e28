#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Requests that are refused, and with which error (include/limpet/limpet.h); promise 7.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "requests that are refused"

LAB_TARGETS=1
lab_up || exit 1
plain=$(start_instance t1 --port 8080) || exit 1

# row WANTED WHAT LINE [OPTION...]: the server's answer to LINE.
row()
{
	local wanted=$1 what=$2 line=$3

	shift 3
	check_is "$what" "$wanted" "$(client talk --source 198.18.0.1 "$line" "$@" |
		json 'd["answers"][0].split(" ", 1)[1]')"
}

row ENOPROTOOPT "Limpet is not loaded: request" affinity --to 10.7.0.11 --port 8080
row ENOPROTOOPT "Limpet is not loaded: release" release --to 10.7.0.11 --port 8080
lab_serve && wait_until 10 "the service on t1" on t1 sh -c 'ip address show dev lo | grep -q 203.0.113.10' ||
	exit 1
instance=$(start_instance t1) || exit 1
check_soon "the instance is adopted" 10 adopted t1 1

row EPERM "a listener" "row listener"
row EPERM "a socket that was never connected" "row fresh"
row EPERM "a client's own socket" "row outgoing 10.7.0.11 8080"
row EPERM "a client's own socket, to a service" "row outgoing 203.0.113.10 80"
row EPERM "a connection of a listener that is no service's" affinity --to 10.7.0.11 --port 8080
for kind in short empty size flags; do
	row EINVAL "a malformed structure: $kind" "row malformed $kind"
done
row ENOPROTOOPT "an option that does not exist" "row option 99"
row ENOENT "a release of nothing" release

client reset --source 198.18.0.1 row reset >/dev/null
check_soon "a connection that was reset" 5 grep -qx "row reset: EPERM" "$LAB_DIR/t1/instance.$instance.log"
client reset --source 198.18.0.1 row reconnect 10.7.0.11 8080 >/dev/null
check_soon "a child that was disconnected and connected elsewhere" 5 \
	grep -qx "row reconnect: EPERM" "$LAB_DIR/t1/instance.$instance.log"
check_is "none of these made an affinity" "" "$(show t1 affinities '" ".join(a["client"] for a in d)')"

kill "$instance" "$plain"
check_soon "the instance ends" 10 instances_are t1 0
shared=$(start_instance t1 --fork 3) || exit 1
check_soon "a listener that four processes share is seen" 10 instances_listed t1 1

# Nobody can tell who accepts as long as nobody asks; but who might.
four_hold_it()
{
	on t1 limpet check 2>&1 | grep "4 processes hold the listener of .*pid $shared"
}
check_soon "limpet check says how many hold it" 5 four_hold_it

# Who asks shows that it is shared: the second process at the latest.
shared_is_refused()
{
	client talk --source 198.18.0.1 affinity | grep -q EOPNOTSUPP
}
check_soon "a request over it" 10 shared_is_refused
check_json "limpet show instances names it, with the remedy" \
	"d[0]['state'] == 'shared' and 'reuseport' in str(d[0]).lower()" "$(on t1 limpet show instances --json)"
check "limpet check names the process" grep -qE "$shared|python" <<<"$(on t1 limpet check 2>&1)"
check_soon "no affinity remains" 5 holder_is t1 198.18.0.1 ""
