# shellcheck shell=bash disable=SC2034,SC2153 # part of lab-lib.sh
# SPDX-License-Identifier: BSD-2-Clause
# nodes.sh - nodes: namespaces, links, addresses; commands in them.

lab_nodes()
{
	local number

	printf 'net\nclient\nr1\nr2\n'
	for ((number = 1; number <= LAB_TARGETS; number++)); do
		echo "t$number"
	done
}

lab_targets()
{
	lab_nodes | grep '^t'
}

# The last part of a node's addresses.
node_number()
{
	case $1 in
	client) echo 100 ;;
	r*) echo $((${1#r} + 1)) ;;
	t*) echo $((${1#t} + 10)) ;;
	esac
}

node_address4()
{
	echo "10.7.0.$(node_number "$1")"
}

node_address6()
{
	echo "2001:db8:7::$(node_number "$1")"
}

node_pid()
{
	cat "$LAB_DIR/$1/pid"
}

node_is_up()
{
	[ -e "$LAB_DIR/$1/pid" ] && kill -0 "$(node_pid "$1")" 2>/dev/null
}

# on_exec NODE COMMAND...: become the command, in the node. The node's cgroup first: it is the
# socket's cgroup that counts for requests.
on_exec()
{
	local node=$1 pid

	shift
	pid=$(node_pid "$node") || exit 1
	echo 0 >"$LAB_CGROUP/$node/cgroup.procs" || exit 1
	exec nsenter --target "$pid" --net --mount --uts --cgroup --root --wd -- \
		env PATH="$LAB_PATH" LIMPET_NODE="$node" "$@"
}

# on NODE COMMAND...: run it there.
on()
{
	(on_exec "$@")
}

# run_on NODE NAME COMMAND...: run it there in the background; its pid is in NODE/NAME.pid, its
# output in NODE/NAME.log.
run_on()
{
	local node=$1 name=$2

	shift 2
	(
		exec </dev/null >>"$LAB_DIR/$node/$name.log" 2>&1
		on_exec "$node" setsid "$@"
	) &
	echo $! >"$LAB_DIR/$node/$name.pid"
	disown
}

# A child of this shell that has died stays in /proc until it is waited for: look at its state.
process_is_gone()
{
	local state

	state=$(sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null) || return 0
	[ -z "$state" ] || [ "$state" = Z ]
}

# process_lives_on NODE PID: that one, not another process that has its number by now.
process_lives_on()
{
	grep -qsE "^0::.*/limpet-lab/$LAB_NAME/$1(/|\$)" "/proc/$2/cgroup" && ! process_is_gone "$2"
}

# stop_process SIGNAL PID: and wait until it is gone.
stop_process()
{
	kill "-$1" "$2" 2>/dev/null
	wait_until 10 "process $2 to end after SIG$1" process_is_gone "$2"
}

# The first process of a node: makes it a machine of its own. Runs inside its namespaces.
node_inside()
{
	set -e
	cd /
	echo $$ >"$1/pid"
	hostname "$2"
	umount --recursive --lazy /sys
	mount -t sysfs sysfs /sys
	mount -t bpf bpf /sys/fs/bpf
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mount --bind "$1/etc" /etc/limpet
	mount --bind "$1/run" /run/limpet
	mount --bind "$1/lib" /var/lib/limpet
	touch "$1/up"
	exec sleep infinity
}

node_start()
{
	local node=$1 dir=$LAB_DIR/$1

	mkdir -p "$dir"/{etc,run,lib} "$LAB_CGROUP/$node"
	rm -rf "${dir:?}"/run/* "$dir/up"
	(
		echo 0 >"$LAB_CGROUP/$node/cgroup.procs"
		exec </dev/null >"$dir/node.log" 2>&1
		exec setsid unshare --net --mount --uts --cgroup --propagation private \
			bash -c "$(declare -f node_inside); node_inside $dir $node"
	) &
	disown
	wait_until 10 "node $node to start (see $dir/node.log)" test -e "$dir/up" || {
		cat "$dir/node.log" >&2
		return 1
	}
}

link_is_gone()
{
	! on net ip link show "$1"
}

# The machine dies: every process, all that its kernel knew. What it had on disk stays.
node_kill()
{
	local node=$1

	echo 1 >"$LAB_CGROUP/$node/cgroup.kill"
	wait_until 10 "every process of $node to end" grep -q 'populated 0' \
		"$LAB_CGROUP/$node/cgroup.events"
	rm -f "$LAB_DIR/$node"/{pid,up,limpetd.pid}
	[ "$node" = net ] || wait_until 10 "the link of $node to go" link_is_gone "$node"
}

node_sysctls()
{
	local node=$1

	on "$node" sysctl -qw net.ipv4.conf.{all,default}.{rp_filter,arp_ignore,arp_announce}=0 \
		net.ipv6.conf.{all,default}.accept_dad=0 net.ipv6.conf.default.accept_ra=0 \
		net.ipv4.conf.{all,default}.send_redirects=0 net.ipv4.tcp_syncookies=1
	[ "$node" != client ] ||
		on client sysctl -qw net.ipv6.ip_nonlocal_bind=1 net.ipv4.ip_nonlocal_bind=1 \
			net.ipv4.ip_local_port_range="10000 65000" net.ipv4.tcp_tw_reuse=0
}

# Put the node's eth0 on the bridge and give it addresses and routes.
node_connect()
{
	local node=$1 number pid
	number=$(node_number "$node")
	pid=$(node_pid "$node")

	node_sysctls "$node"
	on net ip -batch - <<END
link add $node type veth peer name eth0 netns $pid
link set $node master br0 up
END
	[ "$node" = client ] || on net ip link set "$node" xdp object "$LAB_BUILD/tests/net/pass.bpf.o" section xdp || return 1
	on "$node" ip -batch - <<END
link set lo up
link set eth0 address 02:07:00:00:00:$(printf %02x "$number")
link set eth0 up
address add $(node_address4 "$node")/24 dev eth0
address add $(node_address6 "$node")/64 dev eth0 nodad
END
	if [ "$node" = client ]; then
		# What XDP reads must have its checksum.
		on client ethtool -K eth0 tx off >/dev/null
		on client ip -batch - <<END
route add 203.0.113.0/24 via $LAB_ADDRESS4
route add 2001:db8:113::/64 via $LAB_ADDRESS6
route add local 198.18.0.0/16 dev lo
route add local 2001:db8:198::/64 dev lo
END
		return
	fi
	on "$node" ip -batch - <<END
route add 198.18.0.0/16 via $(node_address4 client)
route add 2001:db8:198::/64 via $(node_address6 client)
END
}

net_connect()
{
	on net sysctl -qw net.ipv6.conf.{all,default}.disable_ipv6=1
	on net ip -batch - <<END
link set lo up
link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set br0 up
END
}
