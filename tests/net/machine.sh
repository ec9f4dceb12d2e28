# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# machine.sh - a lab's node as a machine with Debian's own systemd as its first process, and Limpet
# as `make install` puts it there. To be read after lab-lib.sh.
#
# The machine's root is this machine's, seen through an overlay that forgets; of its units only
# the journal is kept. Kernel settings other than net's are read-only, as in any container.

# What an init may not do to the machine that runs the tests.
MACHINE_WITHOUT=-sys_module,-sys_time,-sys_boot,-sys_rawio,-mknod,-wake_alarm,-mac_admin,-mac_override,-syslog

# Once, before the machines: what they find installed.
machine_install()
{
	make -s -C "$LAB_ROOT" BUILD="$LAB_BUILD" DESTDIR="$LAB_DIR/installed" install
}

# machine_root DIRECTORY INSTALLED: make the overlay at DIRECTORY/root, with Limpet in it.
machine_root()
{
	local root=$1/root units

	mount -t tmpfs -o mode=755 machine "$1"
	mkdir "$root" "$1"/{upper,work}
	mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$root"
	units=$root/lib/systemd/system
	rm -rf "$root"/etc/systemd/{system,network}/* "$root/lib/systemd/system-generators" \
		"$root"/{etc,usr/local/lib}/systemd/system-generators "$root/var/log/journal" "$root/var/lib/limpet"
	find "$units"/*.target.wants -mindepth 1 ! -name 'systemd-journald*' -delete
	: >"$root/etc/fstab"
	mkdir -p "$root/etc/limpet"
	# /lib is a link on a merged /usr.
	tar -C "$2" -c . | tar -C "$root" -x --keep-directory-symlink
	printf '%s\n' '[Unit]' 'Requires=basic.target' 'After=basic.target' 'AllowIsolate=yes' \
		>"$units/machine.target"
}

# The file systems of the machine, below its root.
machine_mounts()
{
	local root=$1 device

	mount -t proc proc "$root/proc"
	mount --bind "$root/proc/sys" "$root/proc/sys"
	mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
	mount -o remount,bind,ro "$root/proc/sys"
	[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"
	mount -t sysfs -o ro sysfs "$root/sys"
	mount -t bpf bpf "$root/sys/fs/bpf"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
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
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
}

# The first process of the machine: becomes systemd. Runs inside its namespaces.
machine_inside()
{
	set -e
	local directory=$1 root=$1/root init

	read -r init _ </proc/self/stat # of the outside's proc still: our number there
	echo "$init" >"$2"
	machine_root "$directory" "$4"
	cp "$3"/* "$root/etc/limpet/"
	machine_mounts "$root"
	cd "$root"
	pivot_root . mnt
	umount --lazy /mnt
	# shellcheck disable=SC2086
	exec setpriv --bounding-set $MACHINE_WITHOUT --inh-caps -all env -i container=lab TERM=dumb \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=machine.target \
		--log-target=journal --show-status=no
}

# machine_boot NODE: NODE, a router or target that lab_up has made, without Limpet.
machine_boot()
{
	local node=$1 dir=$LAB_DIR/$1 script

	mkdir -p "$dir/machine"
	script="MACHINE_WITHOUT=$MACHINE_WITHOUT
		$(declare -f machine_root machine_mounts machine_inside)
		machine_inside $dir/machine $dir/machine.init $dir/etc $LAB_DIR/installed"
	# A cgroup of its own: the node's has processes of the lab, a systemd's root may have none.
	run_on "$node" machine bash -c 'mkdir -p /sys/fs/cgroup/machine &&
		echo 0 >/sys/fs/cgroup/machine/cgroup.procs &&
		exec unshare --mount --pid --fork --ipc --cgroup --kill-child --propagation private bash -c "$1"' \
		machine "$script"
	wait_until 20 "systemd on $node to have started (see $dir/machine.log)" machine_is_up "$node" || {
		tail -n 20 "$dir/machine.log" >&2
		return 1
	}
}

# at NODE COMMAND...: run it in the machine.
at()
{
	local init

	init=$(cat "$LAB_DIR/$1/machine.init") || return 1
	shift
	nsenter --target "$init" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}

machine_is_up()
{
	at "$1" systemctl --quiet is-active machine.target
}
