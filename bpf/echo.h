/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * echo.h - a path probe goes back to its router, unwrapped: so a router knows of a target whose
 * agent is gone that packets still get through to it. Both addresses change places, which leaves
 * every checksum as it was; the ports are the same.
 */
#ifndef LIMPET_ECHO_H
#define LIMPET_ECHO_H

#include "build.h"

static __always_inline bool turn_around(struct cursor *cursor, const struct ip *inner)
{
	struct iphdr *ip4 = cursor->at;
	struct ipv6hdr *ip6 = cursor->at;

	if (inner->family == FAMILY_IP4) {
		if ((void *)(ip4 + 1) > cursor->end)
			return false;
		ip4->saddr = address_to_ip4(&inner->destination);
		ip4->daddr = address_to_ip4(&inner->source);
		return true;
	}
	if ((void *)(ip6 + 1) > cursor->end)
		return false;
	__builtin_memcpy(&ip6->saddr, &inner->destination, sizeof(ip6->saddr));
	__builtin_memcpy(&ip6->daddr, &inner->source, sizeof(ip6->daddr));
	return true;
}

/* To whom the outer header says that it came from, and to nobody else. */
static __always_inline int echo_probe(const struct packet *packet, const struct ip *inner)
{
	const struct ip *outer = &packet->ip;
	struct cursor cursor;
	struct link link = {};

	if (!same_address(&inner->source, &outer->source) || !read_link(packet, &link) ||
	    bpf_xdp_adjust_head(packet->context, (int)outer->header))
		return XDP_DROP;
	reverse_link(&link);
	cursor_start(&cursor, packet->context);
	if (!put_link(&cursor, &link, inner->family) || !turn_around(&cursor, inner))
		return XDP_DROP;
	return XDP_TX;
}

#endif
