#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A reload that ends affinities: refused unless it is told to; then they end at the targets and at
# both routers, whichever is reloaded first, and the new definition is in force everywhere.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "reload --end-affinities"

lab_up && lab_serve && start_instances 2 || exit 1

# services PREFIX SCOPE: of both IPv4 services.
services()
{
	LAB_SERVICES="    - { name: shop, address: 203.0.113.10, port: 80, scope: $2, client_prefix: $1 }
    - { name: shop-tls, address: 203.0.113.10, port: 443, scope: $2, client_prefix: $1 }
    - { name: shop6, address: \"2001:db8:113::10\", port: 80, scope: shop }"
}

# affinities_are N: at both routers, and at the targets together.
affinities_are()
{
	[ "$(table r1 | grep -c ^affinity)" = "$1" ] && [ "$(table r2 | grep -c ^affinity)" = "$1" ] &&
		[ "$(table t1 t2 | grep -c ^affinity)" = "$1" ]
}

targets_complain()
{
	limpetd_log t1 | grep -q "r1 and r2 define it differently.*r1's definition holds"
}

check_ready()
{
	for router in r1 r2; do
		check_soon "$1: $router is ready" 10 router_is_ready $router
		check_soon "$1: its table is the union of the targets'" 10 table_is_union $router
	done
}

first=$(ask_affinity 198.18.0.1) || fail "the first client's affinity"
ask_affinity 198.18.1.1 >/dev/null || fail "the second client's affinity"
client_start held hold --source 198.18.2.1-10 --count 20
# Its application will ask for an affinity only after all of this.
client talk --source 198.18.3.1 --timeout 120 --first who --meanwhile "$LAB_DIR/go" "affinity 0" status \
	>"$LAB_DIR/older" &
older=$!
older_is_open()
{
	[ -e "$LAB_DIR/go.open" ]
}
wait_until 10 "the older connection" older_is_open || exit 1

services 24 shop
configure r1 && configure r2
said=$(on r1 limpet reload 2>&1)
check_is "refused" 1 $?
check "says how many would end, and how" grep -q "would end 2 affinities.*--end-affinities" <<<"$said"
check_is "one line" 1 "$(wc -l <<<"$said")"
check_json "nothing has changed" "[s['client_prefix'] for s in d if s['name'] == 'shop'] == [32]" \
	"$(on r1 limpet show services --json)"
check_all_reach "the affinities hold" "$first" 20 198.18.0.1
check_soon "both everywhere" 5 affinities_are 2

# The active router first.
said=$(on r1 limpet reload --end-affinities 2>&1) || fail "reload --end-affinities: $said"
check "says how many end, and that the other router is next" grep -q "2 affinities end.*other routers" <<<"$said"
check_soon "they have ended at the targets and at both routers" 5 affinities_are 0
check_soon "the targets say that the routers differ" 5 targets_complain
check "the affinity is new" ask_affinity 198.18.0.1
said=$(on r2 limpet reload --end-affinities 2>&1) || fail "reload of the other: $said"
check_ready "after both"
# By now it is counted as the service's prefix says.
counted_anew()
{
	local node

	for node in t1 t2; do
		[ "$(show $node connections 'len(d)' --client 198.18.3.1)" = 0 ] ||
			limpetd_log $node | grep -q "connections are counted under the scope and prefix"
	done
}
check_soon "the connections are counted anew" 5 counted_anew
touch "$LAB_DIR/go"
wait "$older" || fail "the older connection: $(cat "$LAB_DIR/older")"
check_json "an affinity that is asked over an older one knows of it, and does not end while it is open" \
	"d['answers'][0].endswith(' ok') and [
		(s['state'] != 'none', s['connections'], s['expires_in_ms'])
		for s in [json.loads(d['answers'][1].split(' ', 1)[1])]] == [(True, 1, None)]" "$(cat "$LAB_DIR/older")"
check_soon "it ends with it" 10 affinities_are 1
holder=$(ask_affinity 198.18.0.7) || fail "a client of the same prefix"
check_all_reach "one affinity for the whole prefix" "$holder" 20 198.18.0.200
check_is "it is one" 1 "$(table r1 | grep -c '^affinity 198')"
takeover r2
check "r1 is standby" on r1 limpet deactivate
check_soon "r2 is ready" 10 router_is_ready r2
check_all_reach "by way of the other router too" "$holder" 20 198.18.0.201

# The standby first (now r1): nothing ends before the active one has the change.
services 24 store
configure r1 && configure r2
check "reload of the standby" on r1 limpet reload --end-affinities
check_all_reach "the active router's definition holds" "$holder" 20 198.18.0.202
check_is "at the targets" 1 "$(table t1 t2 | grep -c '^affinity 198.* shop ')"
check_is "and at the active router" 1 "$(table r2 | grep -c '^affinity 198.* shop ')"
check "reload of the active router" on r2 limpet reload --end-affinities
check_soon "then it has ended everywhere" 5 affinities_are 0
check_ready "after both"
holder=$(ask_affinity 198.18.0.1) || fail "an affinity in the new scope"
r1_has_the_new_scope()
{
	[ "$(table r1 | grep -c '^affinity 198.* store ')" = 1 ]
}
check_soon "in the new scope, at the standby too" 5 r1_has_the_new_scope
takeover r1
check_all_reach "it holds after a takeover" "$holder" 20 198.18.0.1

report=$(client_end held)
check_json "none of the connections broke" "d['broken'] == [] and d['opened'] == 20" "$report"
