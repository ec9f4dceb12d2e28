# shellcheck shell=bash disable=SC2034,SC2153 # part of lab-lib.sh
# SPDX-License-Identifier: BSD-2-Clause
# limpet.sh - Limpet on a node: configuration, daemon, takeover, what the nodes say.

indent()
{
	[ -z "$1" ] || printf '%s\n' "$1"
}

router_section()
{
	local node=$1

	cat <<END
router:
  interfaces: [eth0]
  address: $(node_address4 "$node")
  address6: "$(node_address6 "$node")"
  listen: "$(node_address4 "$node"):7562"
  standby_sync: $LAB_MODE
$(indent "$LAB_ROUTER_EXTRA")
  services:
$LAB_SERVICES
END
}

target_section()
{
	local node=$1 address
	address=$(node_address"$LAB_TUNNEL" "$node")

	cat <<END
target:
  interfaces: [eth0]
  address: "$address"
  routers: [ "$(node_address4 r1):7562", "$(node_address4 r2):7562" ]
  service_addresses: [ 203.0.113.0/24, "2001:db8:113::/64" ]
$(indent "$LAB_TARGET_EXTRA")
END
}

# The node's /etc/limpet/limpet.yaml, as LAB_* say now.
configure()
{
	local node=$1 role=router

	[[ $node = r* ]] || role=target
	{
		echo "node: $node"
		"${role}_section" "$node"
		echo "tls: { ca: ca.pem, certificate: $node.pem, key: $node.key }"
		indent "$LAB_EXTRA"
	} >"$LAB_DIR/$node/etc/limpet.yaml"
}

make_certificates()
{
	local node words=()

	for node in $(lab_nodes | grep '^[rt]'); do
		[[ $node = r* ]] && words+=("$node:router") || words+=("$node:target")
		words+=("$(node_address4 "$node")" "$(node_address6 "$node")")
	done
	"$LAB_ROOT/scripts/make-certs" "$LAB_DIR/certs" "${words[@]}" || return 1
	for node in $(lab_nodes | grep '^[rt]'); do
		cp "$LAB_DIR/certs/"{ca.pem,"$node.pem","$node.key"} "$LAB_DIR/$node/etc/"
	done
}

limpetd_pid()
{
	cat "$LAB_DIR/$1/limpetd.pid" 2>/dev/null
}

limpetd_is_up()
{
	local pid

	pid=$(limpetd_pid "$1") && [ -n "$pid" ] && process_lives_on "$1" "$pid"
}

limpetd_answers()
{
	limpetd_is_up "$1" && on "$1" curl -s -o /dev/null --max-time 1 \
		--unix-socket /run/limpet/control.sock http://limpet/metrics
}

start_limpetd()
{
	local node=$1

	run_on "$node" limpetd limpetd
	wait_until 10 "limpetd on $node to answer" limpetd_answers "$node" || {
		tail -n 20 "$LAB_DIR/$node/limpetd.log" >&2
		return 1
	}
}

# stop_limpetd NODE [SIGNAL]
stop_limpetd()
{
	stop_process "${2:-TERM}" "$(limpetd_pid "$1")" && rm -f "$LAB_DIR/$1/limpetd.pid"
}

kill_limpetd()
{
	stop_limpetd "$1" KILL
}

limpetd_log()
{
	cat "$LAB_DIR/$1/limpetd.log"
}

# The node as after a boot: network, `limpet load`, limpetd.
node_boot()
{
	local node=$1

	node_start "$node" && node_connect "$node" || return 1
	case $node in r* | t*) ;; *) return 0 ;; esac
	configure "$node"
	[ -e "$LAB_DIR/$node/etc/ca.pem" ] || return 0
	node_serve "$node"
}

node_load()
{
	on "$1" limpet load
}

node_serve()
{
	node_load "$1" && start_limpetd "$1"
}

# The router's address, as keepalived would move it: the role first, then the address.
move_address()
{
	local node=$1 other

	for other in r1 r2; do
		[ "$other" != "$node" ] || continue
		node_is_up "$other" || continue
		on "$other" ip address del "$LAB_ADDRESS4/24" dev eth0 2>/dev/null
		on "$other" ip address del "$LAB_ADDRESS6/64" dev eth0 2>/dev/null
	done
	on "$node" ip address add "$LAB_ADDRESS4/24" dev eth0 2>/dev/null
	on "$node" ip address add "$LAB_ADDRESS6/64" dev eth0 nodad 2>/dev/null
	on "$node" "$LAB_ROOT/scripts/announce.py" eth0 "$LAB_ADDRESS4" "$LAB_ADDRESS6"
}

# The node becomes the active router.
takeover()
{
	on "$1" limpet activate && move_address "$1"
}


# show NODE WHAT EXPRESSION [OPTION...]: a Python expression over `limpet show WHAT --json`, as d.
show()
{
	local node=$1 what=$2 expression=$3

	shift 3
	on "$node" limpet show "$what" --json "$@" | json "$expression"
}

# counter NODE NAME: sum over the CPUs.
counter()
{
	on "$1" limpet status --json | json "d['counters']['$2']"
}

counter_is_above()
{
	[ "$(counter "$1" "$2")" -gt "$3" ]
}

router_is_active()
{
	[ "$(on "$1" limpet status --json | json 'd["router"]["role"]')" = active ]
}

router_is_ready()
{
	on "$1" limpet ready
}

# table NODE...: what they know of open connections and affinities, one entry a line, in the same
# words for targets and routers.
table()
{
	local node

	for node in "$@"; do
		show "$node" connections '"\n".join(" ".join(map(str, ("connection", c["client"],
			c["client_port"], c["service"], c["target"]))) for c in d if c["state"] == "open")'
		show "$node" affinities '"\n".join(" ".join(("affinity", a["client"], a["scope"],
			a["target"])) for a in d)'
	done | sed '/^$/d' | sort
}

# Is the router's table the union of the targets', entry by entry?
table_is_union()
{
	# shellcheck disable=SC2046
	diff <(table "$1") <(table $(lab_targets))
}

# holder NODE CLIENT: the target that holds the client's affinity, as this node knows; empty: none.
holder()
{
	show "$1" affinities "' '.join(a['target'] for a in d)" --client "$2"
}

holder_is()
{
	[ "$(holder "$1" "$2")" = "$3" ]
}

# Open ones; at a router, those that linger are not counted.
connections_are()
{
	[ "$(show "$1" connections 'sum(c["state"] == "open" for c in d)')" = "$2" ]
}

# limpet show sync: here is what is there, and the digests say so too.
nothing_is_missing()
{
	[ "$(show "$1" sync 'all(p["missing"] == 0 and p["digest"] == "equal" for p in d)')" = true ]
}
