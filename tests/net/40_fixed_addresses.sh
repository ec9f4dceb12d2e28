#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The addresses that packets are encapsulated with are those of the load: a reload with another is
# refused, and limpetd keeps to what is loaded. And a service that nothing gets through to is not
# taken for one without instances.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "the tunnel's addresses"

lab_up && lab_serve && start_instances 1 || exit 1

# another_address NODE FROM TO KEY: the configuration says TO; nobody has taken it over.
another_address()
{
	local node=$1 from=$2 to=$3 key=$4 file="$LAB_DIR/$1/etc/limpet.yaml" command said line

	on "$node" ip address add "$to/24" dev eth0
	line=$(grep -nE "^  address: \"?$from" "$file" | cut -d: -f1)
	sed -i "${line}s/$from/$to/" "$file"
	for command in reload load; do
		said=$(on "$node" limpet "$command" 2>&1 >/dev/null)
		check_is "$node: limpet $command with another $key" 1 $?
		check_is "one line" 1 "$(wc -l <<<"$said")"
		check "with the line and what to do: $said" grep -qE \
			"limpet.yaml:$line: $key: loaded with $from; .*limpet unload.*limpet load.*nothing is changed" <<<"$said"
	done
	check_json "$node: clients are served" "d['failed'] == 0" "$(client many --source 198.18.1.1-20)"
	stop_limpetd "$node"
	check "$node: limpetd starts" start_limpetd "$node"
	check "$node: and says by which address it goes" grep -q "$key: loaded with $from" <<<"$(limpetd_log "$node")"
	for router in r1 r2; do
		check_soon "$router is ready" 10 router_is_ready $router
	done
	check_json "$node: clients are served after a restart" "d['failed'] == 0" \
		"$(client many --source 198.18.2.1-20)"
	sed -i "${line}s/$to/$from/" "$file"
	check "$node: reload of the former configuration" on "$node" limpet reload
}

path_is()
{
	[ "$(show r1 targets '" ".join(sorted({t["path"] for t in d}))')" = "$1" ]
}

another_address r1 10.7.0.2 10.7.0.52 router.address
another_address t1 10.7.0.11 10.7.0.61 target.address

# Targets that take r1 for no router any more: nothing gets through, and all are in sync.
check_soon "the paths are whole" 10 path_is ok
for target in t1 t2; do
	on $target bpftool map delete pinned "$LAB_PIN/node/routers" \
		key 0 0 0 0 0 0 0 0 0 0 0xff 0xff 10 7 0 2 || fail "$target forgets r1"
done
check_soon "the paths are broken" 10 path_is broken
check "r1 is ready all the same" router_is_ready r1
dropped=$(counter r1 drop_no_target)
check_json "a new client gets no answer" "d['failed'] == 1" "$(client many --source 198.18.3.1 --timeout 2)"
check "its SYNs are dropped" counter_is_above r1 drop_no_target "$dropped"
check_is "and not refused" 0 "$(counter r1 refused_no_instance)"
for target in t1 t2; do
	stop_limpetd $target && start_limpetd $target || exit 1
done
check_soon "the paths are whole again" 10 path_is ok
check_json "clients are served again" "d['failed'] == 0" "$(client many --source 198.18.4.1-20)"
