# shellcheck shell=bash disable=SC2034,SC2153 # part of lab-lib.sh
# SPDX-License-Identifier: BSD-2-Clause
# life.sh - up and down, and the proof that nothing is left.

# Directories of the machine that nodes cover with their own. Made if they are not there, and then
# removed with the last lab.
lab_mount_points()
{
	local directory

	for directory in /etc/limpet /run/limpet /var/lib/limpet; do
		[ -d $directory ] && continue
		mkdir -p $directory && echo $directory >>"$LAB_BASE/.made"
	done
}

lab_save()
{
	local name

	for name in LAB_TARGETS LAB_MODE LAB_TUNNEL LAB_BUILD LAB_OWNER; do
		printf '%s=%q\n' "$name" "${!name}"
	done >"$LAB_DIR/settings"
}

lab_name()
{
	LAB_NAME=$1
	LAB_DIR=$LAB_BASE/$LAB_NAME
	LAB_CGROUP=$LAB_CGROUP_MOUNT/limpet-lab/$LAB_NAME
}

# A lab that was raised by somebody else: take its settings.
lab_attach()
{
	[ -e "$LAB_DIR/settings" ] || {
		complain "lab $LAB_NAME is not up: scripts/lab up"
		return 1
	}
	# shellcheck disable=SC1091
	. "$LAB_DIR/settings"
	LAB_PATH=$LAB_BUILD:$LAB_BUILD/examples:$LAB_BUILD/tests/net:/usr/sbin:/usr/bin:/sbin:/bin
}

process_start_time()
{
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# Labs whose owner (a test, a demo) was killed before it could clean up.
lab_purge()
{
	local directory owner

	for directory in "$LAB_BASE"/*/; do
		owner=$(sed -n 's/^LAB_OWNER=//p' "$directory/settings" 2>/dev/null)
		owner=${owner//[!0-9:]/}
		[ -n "$owner" ] || continue
		[ "$(process_start_time "${owner%:*}")" != "${owner#*:}" ] || continue
		LIMPET_LAB=$(basename "$directory") "$LAB_ROOT/scripts/lab" down
	done
}

lab_requirements()
{
	[ "$(id -u)" -eq 0 ] || {
		complain "the lab makes network namespaces and loads BPF programs: run it as root"
		return 1
	}
	[ -n "$LAB_CGROUP_MOUNT" ] || {
		complain "no cgroup2 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
		return 1
	}
	[[ $LAB_NAME =~ ^[A-Za-z0-9_-]+$ ]] || {
		complain "$LAB_NAME: a lab's name is letters, digits, dashes and underscores"
		return 1
	}
}

lab_up()
{
	local nodes node

	lab_requirements || return 1
	lab_purge
	lab_down || return 1
	mkdir -p "$LAB_DIR" "$LAB_CGROUP"
	LAB_OWNER=${LAB_OWNER:-}
	lab_save
	(
		flock 9
		lab_mount_points
	) 9>"$LAB_BASE/.lock"
	mapfile -t nodes < <(lab_nodes)
	together node_start "${nodes[@]}" || return 1
	net_connect && make_certificates || return 1
	together node_connect "${nodes[@]:1}" || return 1
	for node in "${nodes[@]:2}"; do
		configure "$node"
	done
}

# lab_up, and Limpet on every node; r1 is the active router.
lab_serve()
{
	local targets

	mapfile -t targets < <(lab_targets)
	# The kernel goes through every program: most of the time that all of this takes.
	together node_load r1 r2 "${targets[@]}" || return 1
	# Routers first: a target that finds nobody tries again only after a while.
	together start_limpetd r1 r2 || return 1
	together start_limpetd "${targets[@]}" || return 1
	takeover r1
	lab_wait_ready
}

# In the on-failure mode a standby knows nothing, on purpose.
lab_wait_ready()
{
	local node

	for node in r1 r2; do
		[ "$node" = r1 ] || [ "$LAB_MODE" = continuous ] || continue
		wait_until 20 "$node to have the table of every target" router_is_ready "$node" || {
			on "$node" limpet ready
			return 1
		}
	done
	wait_until 20 "every target to have joined r1" targets_joined
}

targets_joined()
{
	[ "$(show r1 targets 'sum(t["state"] == "up" for t in d)')" = "$LAB_TARGETS" ]
}

# The ids of every BPF object of the node's bpffs, and of what those hold: lines "map 12".
node_bpf_objects()
{
	local kind

	node_is_up "$1" || return 0
	for kind in prog map link; do
		on "$1" bpftool -jf "$kind" show 2>/dev/null | json "{'$kind': d}" 2>/dev/null
	done | /usr/bin/python3 "$LAB_ROOT/tests/net/objects.py"
}

# Gone from the kernel: lines "map 12" on standard input.
objects_are_gone()
{
	local kind id

	while read -r kind id; do
		! bpftool -j "$kind" show id "$id" >/dev/null 2>&1 || return 1
	done
}

list_is_gone()
{
	objects_are_gone <"$1"
}

# Processes of this lab, and whoever else is in its network namespaces, as "PID START". The number
# of a namespace says nothing once it is gone: the kernel gives it to the next one.
lab_processes()
{
	local pid networks

	{
		find "$LAB_CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null
		networks=$(sed 's|.*|/proc/&/ns/net|' "$LAB_DIR"/*/pid 2>/dev/null | xargs -r readlink)
		[ -z "$networks" ] || find /proc/[0-9]*/ns/net -printf '%l %p\n' 2>/dev/null |
			grep -F "$networks" | cut -d/ -f3
	} | sort -un | while read -r pid; do
		echo "$pid $(process_start_time "$pid")"
	done
}

# Lines "PID START" of the file.
processes_are_gone()
{
	local pid start

	while read -r pid start; do
		process_is_gone "$pid" || [ "$(process_start_time "$pid")" != "$start" ] || return 1
	done <"$1"
}

# A file for each node: they are listed at the same time. In lab_down.
note_bpf_objects()
{
	node_bpf_objects "$1" >"$left/objects.$1" 2>/dev/null
}

# Everything of this lab, whoever made it and however that ended. Proves that it is gone.
lab_down()
{
	local left

	[ -e "$LAB_DIR" ] || [ -e "$LAB_CGROUP" ] || return 0
	left=$(mktemp -d)
	lab_processes >"$left/processes"
	# shellcheck disable=SC2046
	together note_bpf_objects $(find "$LAB_DIR" -maxdepth 1 -name '[rt]*' -printf '%f\n')
	cat "$left"/objects.* >"$left/objects" 2>/dev/null
	if lab_remove && lab_prove_gone "$left"; then
		rm -rf "$left"
		return 0
	fi
	complain "lab $LAB_NAME: something is left; see $left"
	return 1
}

lab_remove()
{
	if [ -e "$LAB_CGROUP" ]; then
		echo 1 >"$LAB_CGROUP/cgroup.kill"
		wait_until 10 "every process of lab $LAB_NAME to end" grep -q 'populated 0' \
			"$LAB_CGROUP/cgroup.events" || return 1
		find "$LAB_CGROUP" -depth -type d -exec rmdir {} +
		rmdir "$LAB_CGROUP_MOUNT/limpet-lab" 2>/dev/null
	fi
	rm -rf "$LAB_DIR"
	mkdir -p "$LAB_BASE"
	(
		flock 9
		lab_last_out
	) 9>"$LAB_BASE/.lock"
	rmdir "$LAB_BASE" 2>/dev/null
	return 0
}

# With the last lab go the directories that labs made on the machine.
lab_last_out()
{
	local directory

	[ -z "$(ls "$LAB_BASE")" ] || return 0
	while read -r directory; do
		rmdir "$directory" 2>/dev/null
	done 2>/dev/null <"$LAB_BASE/.made"
	rm -f "$LAB_BASE/.made" "$LAB_BASE/.lock"
}

lab_prove_gone()
{
	[ ! -e "$LAB_DIR" ] && [ ! -e "$LAB_CGROUP" ] &&
		wait_until 10 "the processes of lab $LAB_NAME to go" processes_are_gone "$1/processes" &&
		wait_until 15 "the BPF objects of lab $LAB_NAME to go" list_is_gone "$1/objects"
}

# What the lab runs. Says so only when there is something to build.
build_if_needed()
{
	"$LAB_ROOT/scripts/install-packages" lab || return 1
	make -q -C "$LAB_ROOT" BUILD="$LAB_BUILD" lab >/dev/null 2>&1 && return 0
	say "building in $LAB_BUILD"
	make -s -j"$(nproc)" -C "$LAB_ROOT" BUILD="$LAB_BUILD" lab
}
