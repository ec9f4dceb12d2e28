/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netlink.h - the three questions and the two requests of next_hop.c to rtnetlink. They are
 * answered by the kernel at once, so they block. All return 0 or a negative errno.
 */
#ifndef LIMPET_NETLINK_H
#define LIMPET_NETLINK_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>

#include "layout.h"

struct route_answer {
	__u8 type; /* RTN_UNICAST, RTN_LOCAL, … */
	__u32 ifindex;
	struct address gateway; /* or the destination itself */
	__u32 mtu;		/* metric; 0: none */
};

struct link_answer {
	bool up, ethernet, is_vlan;
	__u8 mac[6];
	__u32 mtu;
	__u32 parent; /* of a VLAN device */
	__u16 vlan_id, vlan_protocol;
};

struct neighbour_answer {
	__u16 state; /* NUD_… */
	bool has_mac;
	__u8 mac[6];
};

int netlink_route(struct mnl_socket *socket, const struct address *address,
		  struct route_answer *answer);
int netlink_link(struct mnl_socket *socket, __u32 ifindex, struct link_answer *answer);
/* -ENOENT: none known. */
int netlink_neighbour(struct mnl_socket *socket, __u32 ifindex, const struct address *address,
		      struct neighbour_answer *answer);
/* Have the kernel resolve it, or confirm what it has. */
int netlink_use_neighbour(struct mnl_socket *socket, __u32 ifindex, const struct address *address);
/* Have the kernel ask it now, although it has an entry: it fails when there is no answer. */
int netlink_probe_neighbour(struct mnl_socket *socket, __u32 ifindex, const struct address *address,
			    const __u8 mac[6]);

/* Of a RTM_NEWNEIGH or RTM_DELNEIGH event. false: not of an address that we could follow. */
bool netlink_parse_neighbour(const struct nlmsghdr *message, __u32 *ifindex,
			     struct address *address);

#endif
