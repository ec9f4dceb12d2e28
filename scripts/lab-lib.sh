# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# lab-lib.sh - a Limpet cluster on one machine: the verbs that lab, demo, tests and benchmarks share.
#
#   client            r1       r2            t1       t2  ...
#   10.7.0.100      .2 (.1)    .3            .11      .12          2001:db8:7::100, ::2, ...
#   198.18.0.0/16     |        |             |        |
#     |               |        |             |        |
#     +---------------+--- br0 (node "net") --+--------+
#
# Each node is a network, mount, cgroup and host name namespace of its own, kept by one sleeping
# process, with its own bpffs, /etc/limpet, /run/limpet and /var/lib/limpet, and its own piece of
# cgroup2, which is the whole of /sys/fs/cgroup there: so the commands run as on a machine of its
# own. Nothing is connected to the machine's interfaces. The client reaches the service addresses
# (203.0.113.0/24, 2001:db8:113::/64) by way of 10.7.0.1 or 2001:db8:7::1, which the active router
# holds as it would under keepalived; the targets answer the client directly. The client may use
# any source address of 198.18.0.0/16 and 2001:db8:198::/64.
#
# A lab has a name, $LIMPET_LAB; everything of it is in /run/limpet-lab/NAME and in the cgroup
# limpet-lab/NAME. Killing that cgroup and removing both is all it takes to be rid of it.

LAB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB_BUILD=${LIMPET_BUILD:-$LAB_ROOT/build}
LAB_BASE=/run/limpet-lab
LAB_ADDRESS4=10.7.0.1
LAB_ADDRESS6=2001:db8:7::1
# shellcheck disable=SC2034 # for those who include this
LAB_PIN=/sys/fs/bpf/limpet/v1
LAB_PATH=$LAB_BUILD:$LAB_BUILD/examples:$LAB_BUILD/tests/net:/usr/sbin:/usr/bin:/sbin:/bin

# What lab_up raises; set before it is called.
LAB_TARGETS=${LAB_TARGETS:-2}
LAB_MODE=${LAB_MODE:-continuous}    # standby_sync
LAB_TUNNEL=${LAB_TUNNEL:-4}         # family of the targets' addresses
LAB_ROUTER_EXTRA=${LAB_ROUTER_EXTRA:-} # more lines of the router: section, indented by two
LAB_TARGET_EXTRA=${LAB_TARGET_EXTRA:-}
LAB_EXTRA=${LAB_EXTRA:-}            # more lines at the top level
LAB_SERVICES=${LAB_SERVICES:-"    - name: shop
      address: 203.0.113.10
      port: 80
      scope: shop
    - name: shop-tls
      address: 203.0.113.10
      port: 443
      scope: shop
    - name: shop6
      address: \"2001:db8:113::10\"
      port: 80
      scope: shop"}

LAB_CGROUP_MOUNT=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)

# shellcheck source=scripts/lab.d/words.sh
. "$LAB_ROOT/scripts/lab.d/words.sh"
# shellcheck source=scripts/lab.d/nodes.sh
. "$LAB_ROOT/scripts/lab.d/nodes.sh"
# shellcheck source=scripts/lab.d/limpet.sh
. "$LAB_ROOT/scripts/lab.d/limpet.sh"
# shellcheck source=scripts/lab.d/actors.sh
. "$LAB_ROOT/scripts/lab.d/actors.sh"
# shellcheck source=scripts/lab.d/life.sh
. "$LAB_ROOT/scripts/lab.d/life.sh"
# shellcheck source=scripts/lab.d/checks.sh
. "$LAB_ROOT/scripts/lab.d/checks.sh"

lab_name "${LIMPET_LAB:-lab}"
