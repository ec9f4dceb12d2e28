#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A claim for a client that another target holds is refused (takeover: refuse), and with the
# take-over flag and the service's consent it moves the affinity.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "a claim for a client that another target holds"

LAB_SERVICES="    - name: shop
      address: 203.0.113.10
      port: 80
    - name: free
      address: 203.0.113.11
      port: 80
      takeover: allow"
lab_up && lab_serve && start_instances 1 || exit 1
t1=$(instance_pids t1)
t2=$(instance_pids t2)

# A connection that was open at t2 before the client's affinity came to be at t1.
claim()
{
	local to=$1 flags=$2 answer

	answer=$(client talk --source 198.18.0.1 --avoid "$t1" --to "$to" --meanwhile "$LAB_DIR/go" \
		"affinity 4294967295 0 $flags" "wait 5000" status) || fail "the connection at t2 lives"
	echo "$answer"
}

for row in "203.0.113.10 0 EEXIST $t1" "203.0.113.10 1 EEXIST $t1" "203.0.113.11 0 EEXIST $t1" \
	"203.0.113.11 1 ok $t2"; do
	read -r to flags wanted winner <<<"$row"
	rm -f "$LAB_DIR/go"
	claim "$to" "$flags" >"$LAB_DIR/claim" &
	claimant=$!
	wait_until 10 "the connection at t2" test -e "$LAB_DIR/go.open" || exit 1
	ask_affinity 198.18.0.1 --to "$to" --avoid "$t2" >/dev/null || fail "t1 gets the client"
	touch "$LAB_DIR/go"
	wait $claimant
	check_json "$to, take-over flag $flags: the claimant sees $wanted" \
		"d['answers'][1] == '$t2 $wanted'" "$(cat "$LAB_DIR/claim")"
	check_all_reach "and the client's connections go to $winner" "$winner" 50 198.18.0.1 --to "$to"
	for node in t1 t2; do
		on $node limpet affinity release 198.18.0.1 "$([ "$to" = 203.0.113.10 ] && echo shop || echo free)" \
			>/dev/null 2>&1
	done
	check_soon "released by the operator" 5 holder_is r1 198.18.0.1 ""
	rm -f "$LAB_DIR/go.open"
done
