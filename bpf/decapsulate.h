/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decapsulate.h - the target's part: packets that a router has wrapped for this node are unwrapped
 * and passed to its own kernel, and never routed again, so that no packet goes round between a
 * router and a target. From routers only, and for what is served here only.
 */
#ifndef LIMPET_DECAPSULATE_H
#define LIMPET_DECAPSULATE_H

#include "echo.h"
#include "node_maps.h"

static __always_inline bool is_encapsulated(const struct packet *packet)
{
	const struct settings *settings = packet->settings;
	const struct ip *outer = &packet->ip;

	return settings->is_target &&
	       (outer->protocol == IPPROTO_IPIP || outer->protocol == IPPROTO_IPV6) &&
	       same_address(&outer->destination, &settings->target) &&
	       !no_address(&settings->target);
}

/* A probe of the path from a router: the agent tells how far it has come, while there is one. */
static __always_inline enum counter take_probe(struct cursor *cursor, const struct settings *own,
					       const struct ip *outer, const struct ip *inner)
{
	struct udphdr *udp = cursor->at;
	struct probe_payload *payload = (void *)(udp + 1);
	struct probe first = {}, *probe;
	__u64 sequence;

	if (!same_address(&inner->destination, &own->target))
		return COUNT_DECAP_NO_SERVICE;
	if ((void *)(payload + 1) > cursor->end)
		return COUNT_DECAP_MALFORMED;
	if (udp->dest != bpf_htons(PROBE_PORT))
		return COUNT_DECAP_NO_SERVICE;
	if (payload->magic != bpf_htonl(PROBE_MAGIC) || payload->kind > PROBE_FULL)
		return COUNT_DECAP_MALFORMED;
	sequence = bpf_be64_to_cpu(payload->sequence);
	probe = bpf_map_lookup_elem(&probes, &outer->source);
	if (!probe) {
		bpf_map_update_elem(&probes, &outer->source, &first, BPF_NOEXIST);
		probe = bpf_map_lookup_elem(&probes, &outer->source);
	}
	if (!probe)
		return COUNT_DECAP_MALFORMED;
	if (payload->kind == PROBE_FULL)
		probe->full_sequence = sequence;
	else
		probe->small_sequence = sequence;
	return COUNT_DECAP_PROBES;
}

/*
 * Does the kernel have a socket for this segment: a connection of these ends, whatever its state,
 * or a listener? Without one it would refuse the client; so a SYN that comes in while the routers
 * do not know yet that the last listener has closed is dropped instead, and its retransmission goes
 * where somebody serves. A call of its own, for the stack.
 */
static __noinline bool has_socket(struct xdp_md *context, const struct ip *ip,
				  const struct tcp *tcp)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *socket;

	if (ip->family == FAMILY_IP4) {
		tuple.ipv4.saddr = address_to_ip4(&ip->source);
		tuple.ipv4.daddr = address_to_ip4(&ip->destination);
		tuple.ipv4.sport = tcp->source;
		tuple.ipv4.dport = tcp->destination;
		socket = bpf_skc_lookup_tcp(context, &tuple, sizeof(tuple.ipv4),
					    BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &ip->source, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, &ip->destination, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = tcp->source;
		tuple.ipv6.dport = tcp->destination;
		socket = bpf_skc_lookup_tcp(context, &tuple, sizeof(tuple.ipv6),
					    BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* What becomes of a router's packet, by what is in it; only COUNT_DECAP_PACKETS goes on. */
static __always_inline enum counter judge_inner(struct cursor *cursor, const struct settings *own,
						const struct ip *outer, struct ip *inner,
						struct tcp *tcp)
{
	struct service_key service = {};
	__u8 type;

	if (outer->fragment)
		return COUNT_DECAP_MALFORMED;
	if (!parse_ip(cursor, outer->protocol == IPPROTO_IPIP ? FAMILY_IP4 : FAMILY_IP6, inner))
		return COUNT_DECAP_MALFORMED;
	if (inner->fragment || !inner->whole)
		return COUNT_DECAP_MALFORMED;
	if (inner->protocol == IPPROTO_UDP)
		return take_probe(cursor, own, outer, inner);
	service.address = inner->destination;
	if (inner->protocol == IPPROTO_TCP) {
		if (!parse_tcp(cursor, inner, tcp))
			return COUNT_DECAP_MALFORMED;
		service.port = tcp->destination;
		service.protocol = IPPROTO_TCP;
	} else if (is_icmp(inner)) {
		if (!parse_icmp(cursor, &type))
			return COUNT_DECAP_MALFORMED;
		if (!is_icmp_error(inner->family, type))
			return COUNT_DECAP_NO_SERVICE;
	} else {
		return COUNT_DECAP_NO_SERVICE;
	}
	return bpf_map_lookup_elem(&served, &service) ? COUNT_DECAP_PACKETS
						      : COUNT_DECAP_NO_SERVICE;
}

/* The outer header goes; the link header, with its tags, moves up to the inner one. */
static __noinline int decapsulate(const struct packet *packet)
{
	const struct ip *outer = &packet->ip;
	enum counter verdict;
	struct cursor cursor;
	struct link link = {};
	struct ip inner = {};
	struct tcp tcp = {};

	if (!bpf_map_lookup_elem(&routers, &outer->source)) {
		count(COUNT_DECAP_NOT_ROUTER);
		return XDP_DROP;
	}
	cursor_at_payload(&cursor, packet);
	verdict = judge_inner(&cursor, packet->settings, outer, &inner, &tcp);
	if (verdict == COUNT_DECAP_PACKETS && tcp.syn && !has_socket(packet->context, &inner, &tcp))
		verdict = COUNT_DECAP_NO_LISTENER;
	if (verdict == COUNT_DECAP_PACKETS) {
		if (!read_link(packet, &link) ||
		    bpf_xdp_adjust_head(packet->context, (int)outer->header))
			verdict = COUNT_DECAP_MALFORMED;
		cursor_start(&cursor, packet->context);
		if (!put_link(&cursor, &link, inner.family))
			verdict = COUNT_DECAP_MALFORMED;
	}
	count(verdict);
	if (verdict == COUNT_DECAP_PROBES)
		return echo_probe(packet, &inner);
	return verdict == COUNT_DECAP_PACKETS ? XDP_PASS : XDP_DROP;
}

#endif
