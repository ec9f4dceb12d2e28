/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * next_hop.h - the Ethernet way to each target, as the kernel's routes and neighbours say, kept
 * fresh from rtnetlink. XDP has no time to ask; this is what router/targets is filled from.
 */
#ifndef LIMPET_NEXT_HOP_H
#define LIMPET_NEXT_HOP_H

#include <event2/event.h>
#include <stdbool.h>

#include "layout.h"

struct next_hop {
	bool resolved;
	bool local;  /* the address is this node's own */
	bool failed; /* the next hop was asked and has not answered */
	__u32 ifindex;
	__u8 mac[6], source_mac[6];
	__be16 vlan; /* the route leaves over a VLAN device: its tag, ifindex is the parent's */
	__u32 mtu;   /* bytes of IP; 0: no route */
};

struct next_hops;

/* `changed` is called from the event loop, and from next_hops_watch. NULL with a line in the log.
 */
struct next_hops *next_hops_start(struct event_base *base,
				  void (*changed)(void *context, __u16 number), void *context);
void next_hops_stop(struct next_hops *hops);

/* Follow the way to `address` under this number, below MAX_TARGETS, instead of what was followed
 * under it. 0 or -ENOMEM. */
int next_hops_watch(struct next_hops *hops, __u16 number, const struct address *address);
void next_hops_unwatch(struct next_hops *hops, __u16 number);
/* Never NULL; all zero for what is not followed. Valid until the next call. */
const struct next_hop *next_hops_get(const struct next_hops *hops, __u16 number);
/* Have the neighbour asked now whether it is still there; `failed` follows in 3 s if it is not.
 * Does nothing for a target behind a gateway, whose answer would say nothing. */
void next_hops_confirm(struct next_hops *hops, __u16 number);
/* Why it is not resolved, for the log and `limpet show`: "no route". */
const char *next_hops_why(const struct next_hops *hops, __u16 number);

#endif
