/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * forward.h - send a packet towards a target: an outer header in front of it (IPv4 or IPv6 in IPv4:
 * RFC 2003, RFC 4213; in IPv6: RFC 2473), the next hop from the target's entry. The packet itself
 * stays as the client has sent it.
 */
#ifndef LIMPET_FORWARD_H
#define LIMPET_FORWARD_H

#include "answer.h"
#include "router_maps.h"

/* In place of the link header that the packet came with: the target's, and the outer header. */
static __always_inline bool encapsulate(const struct packet *packet, const struct target *target,
					const struct address *source)
{
	enum family family = target->flags & TARGET_IPV6 ? FAMILY_IP6 : FAMILY_IP4;
	const struct ip *ip = &packet->ip;
	struct new_ip outer = {.source = source,
			       .destination = &target->address,
			       .payload = ip->total,
			       .protocol = ip->family == FAMILY_IP4 ? IPPROTO_IPIP : IPPROTO_IPV6,
			       .tos = ip->tos};
	struct link out = {.tags = !!target->vlan,
			   .tag = {{.type = bpf_htons(ETH_P_8021Q), .control = target->vlan}}};
	int gone = link_length(&packet->link);
	struct cursor cursor;

	__builtin_memcpy(out.destination, target->mac, ETH_ALEN);
	__builtin_memcpy(out.source, target->source_mac, ETH_ALEN);
	if (bpf_xdp_adjust_head(packet->context,
				gone - (int)(link_length(&out) + ip_length(family))))
		return false;
	cursor_start(&cursor, packet->context);
	return put_link(&cursor, &out, family) && put_ip(&cursor, family, &outer);
}

/* No answer to an ICMP error (RFC 1122, 3.2.2). */
static __always_inline int too_big(const struct packet *packet, __u32 mtu)
{
	count(COUNT_DROP_TOO_BIG);
	return packet->ip.protocol == IPPROTO_TCP ? answer_too_big(packet, mtu) : XDP_DROP;
}

static __noinline int forward(const struct packet *packet, __u32 number)
{
	const struct target *target = bpf_map_lookup_elem(&targets, &number);
	const struct settings *settings = packet->settings;
	const struct address *source;
	__u32 outer, room;

	if (!target) {
		count(COUNT_DROP_NO_TARGET);
		return XDP_DROP;
	}
	if (target->flags & TARGET_LOCAL) {
		count(COUNT_FORWARDED_LOCAL);
		return XDP_PASS;
	}
	if (!(target->flags & TARGET_RESOLVED)) {
		count(COUNT_DROP_NO_NEXT_HOP);
		return XDP_DROP;
	}
	outer = ip_length(target->flags & TARGET_IPV6 ? FAMILY_IP6 : FAMILY_IP4);
	room = target->mtu > outer ? target->mtu - outer : 0;
	if (packet->ip.total > room)
		return too_big(packet, room);
	source = target->flags & TARGET_IPV6 ? &settings->source6 : &settings->source4;
	if (no_address(source) || !encapsulate(packet, target, source)) {
		count(COUNT_DROP_ENCAPSULATION);
		return XDP_DROP;
	}
	count(COUNT_FORWARDED_PACKETS);
	if (target->ifindex == packet->context->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(target->ifindex, 0);
}

#endif
