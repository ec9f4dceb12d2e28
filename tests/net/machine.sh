# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# machine.sh - a lab's node as a machine with Debian's own systemd as its first process, and Limpet
# as `make install` puts it there. To be read after lab-lib.sh; then `on NODE` is in the machine.
#
# The machine's root is this machine's, seen through an overlay that forgets; of its units only the
# journal is kept. Kernel settings other than the network's are read-only, as in any container.

# What an init may not do to the machine that runs the tests.
MACHINE_WITHOUT=-sys_module,-sys_time,-sys_boot,-sys_rawio,-mknod,-wake_alarm,-mac_admin,-mac_override,-syslog
MACHINE_PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Once, before the machines: what they find installed.
machine_install()
{
	make -s -C "$LAB_ROOT" BUILD="$LAB_BUILD" DESTDIR="$LAB_DIR/installed" install
}

# Make the overlay at $directory/root, with Limpet and its configuration in it.
machine_root()
{
	local units=$root/lib/systemd/system

	mount -t tmpfs -o mode=755 machine "$directory"
	mkdir "$root" "$directory"/{upper,work}
	mount -t overlay -o "lowerdir=/,upperdir=$directory/upper,workdir=$directory/work" overlay "$root"
	rm -rf "$root"/etc/systemd/{system,network}/* "$root"/{lib,etc,usr/local/lib}/systemd/system-generators \
		"$root/var/log/journal" "$root/var/lib/limpet"
	find "$units"/*.target.wants -mindepth 1 ! -name 'systemd-journald*' -delete
	: >"$root/etc/fstab"
	# /lib is a link on a merged /usr.
	tar -C "$installed" -c . | tar -C "$root" -x --keep-directory-symlink
	mkdir -p "$root/etc/limpet"
	cp "$configuration"/* "$root/etc/limpet/"
	printf '%s\n' '[Unit]' 'Requires=basic.target' 'After=basic.target' 'AllowIsolate=yes' \
		>"$units/machine.target"
}

machine_devices()
{
	local device

	mount -t tmpfs -o mode=755 tmpfs "$root/dev"
	for device in null zero full random urandom tty; do
		touch "$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	mkdir "$root/dev/"{pts,shm}
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
}

# The file systems of the machine, below its root.
machine_mounts()
{
	mount -t proc proc "$root/proc"
	mount --bind "$root/proc/sys" "$root/proc/sys"
	mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
	mount -o remount,bind,ro "$root/proc/sys"
	[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"
	mount -t sysfs -o ro sysfs "$root/sys"
	mount -t bpf bpf "$root/sys/fs/bpf"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
	machine_devices
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
	# If it is a file system of its own.
	mkdir -p "$root$LAB_ROOT"
	mount --bind -o ro "$LAB_ROOT" "$root$LAB_ROOT"
}

# The first process of the machine: becomes systemd. Runs inside its namespaces.
machine_inside()
{
	local directory=$1 installed=$2 configuration=$3 root=$1/root init

	set -e
	read -r init _ </proc/self/stat # still the proc of outside, and the number there
	machine_root
	machine_mounts
	echo "$init" >"${directory%/*}/machine.init"
	cd "$root"
	pivot_root . mnt
	umount --lazy /mnt
	exec setpriv --bounding-set "$MACHINE_WITHOUT" --inh-caps -all env -i container=lab TERM=dumb \
		PATH="$MACHINE_PATH" /lib/systemd/systemd --unit=machine.target --log-target=journal \
		--show-status=no
}

# machine_boot NODE: a router or target that lab_up has made. Limpet is there, not started.
machine_boot()
{
	local node=$1 dir=$LAB_DIR/$1 script

	mkdir -p "$dir/machine"
	script="LAB_ROOT=$LAB_ROOT MACHINE_WITHOUT=$MACHINE_WITHOUT MACHINE_PATH=$MACHINE_PATH
		$(declare -f machine_root machine_devices machine_mounts machine_inside)
		machine_inside $dir/machine $LAB_DIR/installed $dir/etc"
	# A cgroup of its own: the node's has processes of the lab, a systemd's root may have none.
	# shellcheck disable=SC2016
	run_on "$node" machine bash -c 'mkdir -p /sys/fs/cgroup/machine/lab &&
		echo 0 >/sys/fs/cgroup/machine/cgroup.procs &&
		exec unshare --mount --pid --fork --ipc --cgroup --kill-child --propagation private bash -c "$1"' \
		machine "$script"
	wait_until 20 "systemd on $node to have started" machine_is_up "$node" || {
		tail -n 20 "$dir/machine.log" >&2
		return 1
	}
	(on_exec "$node" journalctl --quiet --follow --no-tail -o short-precise \
		-u limpet -u limpetd) >"$dir/limpetd.log" 2>&1 </dev/null &
	disown
}

machine_is_up()
{
	[ -e "$LAB_DIR/$1/machine.init" ] && on "$1" systemctl --quiet is-active machine.target
}

eval "node_$(declare -f on_exec)" # of a node that is no machine

on_exec()
{
	local node=$1 init

	[ -e "$LAB_DIR/$node/machine.init" ] || node_on_exec "$@"
	shift
	init=$(<"$LAB_DIR/$node/machine.init") || exit 1
	echo 0 >"$LAB_CGROUP/$node/machine/lab/cgroup.procs" || exit 1
	exec nsenter --target "$init" --all env -i PATH="$MACHINE_PATH" TERM=dumb "$@"
}

# unit NODE NAME PROPERTY: its value.
unit()
{
	on "$1" systemctl show --value --property "$3" "$2"
}

unit_is()
{
	[ "$(unit "$1" "$2" "$3")" = "$4" ]
}
