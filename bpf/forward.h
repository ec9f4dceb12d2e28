/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * forward.h - send a packet towards a target: an outer header in front of it (IPv4 or IPv6 in IPv4:
 * RFC 2003, RFC 4213; in IPv6: RFC 2473) from the target's entry, where only the length, the
 * traffic class, the protocol and the checksum are missing (common/outer.h), and the next hop from
 * there too. The packet itself stays as the client has sent it.
 */
#ifndef LIMPET_FORWARD_H
#define LIMPET_FORWARD_H

#include "answer.h"
#include "router_maps.h"

/* The Ethernet header, with the target's tag. */
static __always_inline bool put_hop(struct cursor *cursor, const struct target *target, __be16 type,
				    bool tagged)
{
	struct ethhdr *eth = cursor->at;
	__be16 *tag = cursor->at + sizeof(*eth);

	if ((void *)(eth + 1) > cursor->end)
		return false;
	copy_mac((__be16 *)eth->h_dest, target->mac);
	copy_mac((__be16 *)eth->h_source, target->source_mac);
	cursor->at = eth + 1;
	if (!tagged) {
		eth->h_proto = type;
		return true;
	}
	if ((void *)(tag + 2) > cursor->end)
		return false;
	eth->h_proto = bpf_htons(ETH_P_8021Q);
	tag[0] = target->vlan;
	tag[1] = type;
	cursor->at = tag + 2;
	return true;
}

static __always_inline bool put_outer4(struct cursor *cursor, const struct target *target,
				       const struct ip *ip, __u8 protocol)
{
	__be32 first = bpf_htonl((__u32)ip->tos << 16 | (sizeof(struct iphdr) + ip->total));
	__be32 third = bpf_htonl((__u32)protocol << 16);
	__be32 *to = cursor->at;

	if ((void *)(to + 5) > cursor->end)
		return false;
	to[0] = target->outer[0] | first;
	to[1] = target->outer[1];
	to[2] = target->outer[2] | third |
		bpf_htonl(bpf_ntohs(checksum_fold((__u64)target->outer_sum + first + third)));
	to[3] = target->outer[3];
	to[4] = target->outer[4];
	return true;
}

static __always_inline bool put_outer6(struct cursor *cursor, const struct target *target,
				       const struct ip *ip, __u8 protocol)
{
	__be32 *to = cursor->at;

	if ((void *)(to + 10) > cursor->end)
		return false;
	to[0] = target->outer[0] | bpf_htonl((__u32)ip->tos << 20);
	to[1] = target->outer[1] | bpf_htonl(ip->total << 16 | (__u32)protocol << 8);
#pragma unroll
	for (int i = 2; i < 10; i++)
		to[i] = target->outer[i];
	return true;
}

/* In place of the link header that the packet came with: the target's, and the outer header. */
static __always_inline bool encapsulate(const struct packet *packet, const struct target *target,
					enum family family)
{
	const struct ip *ip = &packet->ip;
	__u8 protocol = ip->family == FAMILY_IP4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	bool tagged = target->vlan;
	int room = ETH_HLEN + ip_length(family) + (tagged ? sizeof(struct vlan_tag) : 0);
	struct cursor cursor;

	if (bpf_xdp_adjust_head(packet->context, (int)packet->link_length - room))
		return false;
	cursor_start(&cursor, packet->context);
	if (family == FAMILY_IP4)
		return put_hop(&cursor, target, bpf_htons(ETH_P_IP), tagged) &&
		       put_outer4(&cursor, target, ip, protocol);
	return put_hop(&cursor, target, bpf_htons(ETH_P_IPV6), tagged) &&
	       put_outer6(&cursor, target, ip, protocol);
}

/* No answer to an ICMP error (RFC 1122, 3.2.2). */
static __always_inline int too_big(const struct packet *packet, __u32 mtu)
{
	count(COUNT_DROP_TOO_BIG);
	return packet->ip.protocol == IPPROTO_TCP ? answer_too_big(packet, mtu) : XDP_DROP;
}

static __always_inline int forward(const struct packet *packet, __u32 number)
{
	const struct target *target = bpf_map_lookup_elem(&targets, &number);
	enum family family;
	__u32 outer, room, sequence;

	if (!target) {
		count(COUNT_DROP_NO_TARGET);
		return XDP_DROP;
	}
	sequence = *(const volatile __u32 *)&target->sequence;
	if (target->flags & TARGET_LOCAL) {
		count(COUNT_FORWARDED_LOCAL);
		return XDP_PASS;
	}
	if (!(target->flags & TARGET_RESOLVED)) {
		count(COUNT_DROP_NO_NEXT_HOP);
		return XDP_DROP;
	}
	family = target->flags & TARGET_IPV6 ? FAMILY_IP6 : FAMILY_IP4;
	outer = ip_length(family);
	room = target->mtu > outer ? target->mtu - outer : 0;
	if (packet->ip.total > room)
		return too_big(packet, room);
	if (!(target->flags & TARGET_WRAPS) || !encapsulate(packet, target, family)) {
		count(COUNT_DROP_ENCAPSULATION);
		return XDP_DROP;
	}
	/* Half of it may be another target's. */
	if (sequence & 1 || *(const volatile __u32 *)&target->sequence != sequence) {
		count(COUNT_DROP_NO_NEXT_HOP);
		return XDP_DROP;
	}
	count(COUNT_FORWARDED_PACKETS);
	if (target->ifindex == packet->context->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(target->ifindex, 0);
}

#endif
