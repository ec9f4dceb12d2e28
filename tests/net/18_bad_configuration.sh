#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each wrong configuration gives one line that names the file and the line, and changes nothing,
# whether `limpet check`, `load` or `reload` meets it.
set -u
# shellcheck source=scripts/lab-lib.sh
. "$(dirname "$0")/../../scripts/lab-lib.sh"
test_begin "each wrong configuration gives one clear line and changes nothing"

lab_up && lab_serve && start_instances 1 || exit 1
good=$LAB_DIR/r1/etc/limpet.yaml
cp "$good" "$LAB_DIR/good.yaml"
both_are_served()
{
	[ "$(show r1 services "[s['ready_instances'] for s in d if s['name'] in ('shop', 'shop6')] == [2, 2]")" = true ]
}
wait_until 5 "the instances of each service at r1" both_are_served || exit 1
before=$(on r1 limpet show services --json)

# row NODE WHAT SED-SCRIPT WORDS: the file after the script is refused, in one line with these words.
row()
{
	local node=$1 what=$2 script=$3 said=$4 output status file line
	file=/etc/limpet/bad.yaml
	sed -E "$script" "$LAB_DIR/$node/etc/limpet.yaml" >"$LAB_DIR/$node/etc/bad.yaml"

	cmp -s "$LAB_DIR/$node/etc/limpet.yaml" "$LAB_DIR/$node/etc/bad.yaml" &&
		fail "$what: the row changes nothing"
	output=$(on "$node" limpet check $file 2>&1 >/dev/null)
	status=$?
	check_is "$what: refused" 1 $status
	line=$(head -n 1 <<<"$output")
	check_is "$what: one line" 1 "$(wc -l <<<"$output")"
	check "$what: it names the file and the line: ${line}" grep -qE "$file:[0-9]+: " <<<"$line"
	check "$what: it says '$said'" grep -qE "$said" <<<"$line"
	check_is "$what: load refuses it too" 1 \
		"$(on "$node" limpet load --config $file >/dev/null 2>&1; echo $?)"
}

row r1 "unknown key" 's/^  listen:/  lisen:/' 'lisen'
row r1 "duplicate key" 's/^(  address: .*)$/\1\n\1/' 'address'
row r1 "not a port" '0,/port: 80/s//port: 80000/' '80000|port'
row r1 "a number with an exponent" '0,/port: 80/s//port: 8e1/' "port: '8e1' is not a number"
row r1 "a second document" '$ s/$/\n---\nnode: r2/' 'second YAML document'
row r1 "not an address" '0,/address: 10.7.0.2$/s//address: 10.7.0.300/' '10\.7\.0\.300'
row r1 "overlapping services" 's/port: 443/port: 80/' 'shop'
row r1 "the same name twice" 's/name: shop-tls/name: shop/' 'shop'
row r1 "no such interface" 's/interfaces: \[eth0\]/interfaces: [eth9]/' 'eth9'
row r1 "the loopback" 's/interfaces: \[eth0\]/interfaces: [lo]/' 'interfaces\[0\]: no packet .* lo'
row t1 "the loopback" 's/interfaces: \[eth0\]/interfaces: [lo]/' 'interfaces\[0\]: no packet .* lo'
row r1 "a service of the loopback" '0,/address: 203.0.113.10$/s//address: 127.0.0.1/' '127.0.0.1 is the loopback'
row r1 "a link-local service" '0,/address: 203.0.113.10$/s//address: fe80::1/' 'fe80::1 is link-local'
row r1 "pins elsewhere than on a bpffs" '$ s/$/\npin_path: \/run\/pins/' 'pin_path: .* not on a bpffs'
row r1 "pins nowhere" '$ s/$/\npin_path: \/nowhere\/pins/' 'pin_path: .*No such file'
row r1 "no directory for what runs" '$ s/$/\nruntime_directory: \/nowhere\/run/' 'runtime_directory: .* no directory /nowhere'
row t1 "no directory for what stays" '$ s/$/\nstate_directory: limpet.yaml/' 'state_directory: .* is no directory'
row r1 "no such file" 's/key: r1.key/key: nokey.key/' 'nokey\.key'
row r1 "another node's key" 's/ca: ca.pem, certificate: r1.pem, key: r1.key/ca: ca.pem, certificate: r1.pem, key: ca.pem/' 'ca\.pem'
row r1 "no such mode" 's/standby_sync: .*/standby_sync: sometimes/' 'sometimes|standby_sync'
row r1 "a prefix that is too long" '0,/scope: shop/s//client_prefix: 33/' '33|client_prefix'
row r1 "a name that is too long" "0,/name: shop/s//name: $(printf 'x%.0s' {1..40})/" 'name|x{31}'
row r1 "not YAML" 's/^router:/router: [/' '.'
row t1 "not a prefix" 's/203.0.113.0\/24/203.0.113.0\/99/' '203\.0\.113\.0/99'
row t1 "not an endpoint" 's/10.7.0.3:7562/10.7.0.3/' '10\.7\.0\.3'
row t1 "no such cgroup" 's/^(  interfaces: .*)$/\1\n  cgroup: \/nowhere/' '/nowhere'

echo "MemTotal: 100000 kB" >"$LAB_DIR/r1/etc/meminfo"
on r1 mount --bind /etc/limpet/meminfo /proc/meminfo || exit 1
row r1 "tables that the memory cannot hold" '$ s/$/\ntables: { affinities: 150000 }/' \
	'tables: full, those of 1000000 connections and 150000 affinities take [0-9]+ MiB, .* has 97 MiB'
on r1 umount /proc/meminfo || exit 1

# note NODE KEY COMMAND...: where KEY is an address that this machine has not, the command says so.
note()
{
	local node=$1 key=$2 said

	shift 2
	sed -E "0,/^(  $key: \"?)[0-9.]+/s//\110.7.0.99/" "$LAB_DIR/$node/etc/limpet.yaml" >"$LAB_DIR/$node/etc/odd.yaml"
	said=$(on "$node" limpet "$@" 2>&1)
	check "$node, $key: $1 says so: $said" grep -qE \
		"/etc/limpet/odd.yaml:[0-9]+: [a-z]+\.$key: 10.7.0.99 is no address of this machine" <<<"$said"
}

for node in r1 t1; do
	note $node address check /etc/limpet/odd.yaml
	note $node address load --config /etc/limpet/odd.yaml
done
note r1 listen check /etc/limpet/odd.yaml
check_is "a good configuration has no such note" "" "$(on r1 limpet check 2>&1 | grep "no address")"

chmod 000 "$LAB_DIR/r1/etc/r1.key"
# Root reads everything: without that capability the key is as unreadable as to anybody else.
output=$(on r1 setpriv --bounding-set -dac_override,-dac_read_search \
	--inh-caps -dac_override,-dac_read_search limpet check 2>&1 >/dev/null)
check_is "an unreadable key: refused" 1 $?
check "an unreadable key: $output" grep -qE '^[^ ]*/limpet.yaml:[0-9]+: .*r1\.key' <<<"${output#limpet: }"
chmod 600 "$LAB_DIR/r1/etc/r1.key"

cp "$LAB_DIR/r1/etc/bad.yaml" "$good"
check_is "reload refuses" 1 "$(on r1 limpet reload >/dev/null 2>&1; echo $?)"
cp "$LAB_DIR/good.yaml" "$good"
check_is "the services are what they were" "$before" "$(on r1 limpet show services --json)"
check_json "and are served" "d['failed'] == 0" "$(client many --source 198.18.1.1-20)"
check "the good configuration is good" on r1 limpet check
