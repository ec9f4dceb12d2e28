/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * answer.h - what a router says to a client itself, in the service's name: that a packet is too big
 * for the way to its target, and that nobody serves. One answer for one packet of the client's, not
 * larger than it, back on the interface that it came by.
 */
#ifndef LIMPET_ANSWER_H
#define LIMPET_ANSWER_H

#include "build.h"

/* How much of the packet an ICMP error quotes: the largest IPv4 header and eight bytes (RFC 792);
 * for IPv6 the same, which more than covers the TCP header. */
#define ICMP_QUOTE 68

/* Cut the frame to this many bytes, and make room for that many in front. */
static __always_inline bool resize(struct xdp_md *context, __u32 length, __u32 front)
{
	long frame = (void *)(long)context->data_end - (void *)(long)context->data;

	/* Or else clang makes it a difference of 32 bits, which the verifier refuses of pointers.
	 */
	barrier_var(frame);
	if (bpf_xdp_adjust_tail(context, (int)(length - frame)))
		return false;
	return !front || !bpf_xdp_adjust_head(context, -(int)front);
}

static __always_inline bool put_too_big(struct cursor *cursor, const struct ip *ip, __u32 mtu)
{
	bool ip4 = ip->family == FAMILY_IP4;
	__be32 *icmp = cursor->at; /* type, code, checksum; MTU; quote */
	__u64 sum;

	if (cursor->at + ICMP_LENGTH + ICMP_QUOTE > cursor->end)
		return false;
	icmp[0] = ip4 ? bpf_htonl(ICMP4_UNREACHABLE << 24 | ICMP4_CODE_FRAG_NEEDED << 16)
		      : bpf_htonl(ICMP6_PACKET_TOO_BIG << 24);
	icmp[1] = bpf_htonl(mtu); /* RFC 1191: the lower half; an IPv4 packet's fits there */
	sum = (__u64)icmp[0] + icmp[1];
	sum += (__u32)bpf_csum_diff(NULL, 0, icmp + 2, ICMP_QUOTE, 0);
	if (!ip4)
		sum += checksum_pseudo(FAMILY_IP6, &ip->destination, &ip->source, PROTOCOL_ICMP6,
				       ICMP_LENGTH + ICMP_QUOTE);
	((__u16 *)icmp)[1] = checksum_fold(sum);
	return true;
}

/* Fragmentation needed (RFC 1191), packet too big (RFC 4443, 3.2). */
static __noinline int answer_too_big(const struct packet *packet, __u32 mtu)
{
	const struct ip *ip = &packet->ip;
	struct new_ip new = {.source = &ip->destination,
			     .destination = &ip->source,
			     .payload = ICMP_LENGTH + ICMP_QUOTE,
			     .protocol = ip->family == FAMILY_IP4 ? IPPROTO_ICMP : PROTOCOL_ICMP6};
	struct cursor cursor;
	struct link link = {};

	if (ip->total < ICMP_QUOTE || !read_link(packet, &link))
		return XDP_DROP;
	if (!resize(packet->context, packet->link_length + ICMP_QUOTE,
		    ip_length(ip->family) + ICMP_LENGTH))
		return XDP_DROP;
	reverse_link(&link);
	cursor_start(&cursor, packet->context);
	if (!put_link(&cursor, &link, ip->family) || !put_ip(&cursor, ip->family, &new) ||
	    !put_too_big(&cursor, ip, mtu))
		return XDP_DROP;
	return XDP_TX;
}

/* A RST for a SYN (RFC 9293, 3.10.7.1). */
static __noinline int answer_refused(const struct packet *packet)
{
	const struct ip *ip = &packet->ip;
	const struct tcp *tcp = &packet->tcp;
	union {
		struct tcphdr tcp;
		__u32 word[5];
	} rst = {.tcp = {.source = tcp->destination,
			 .dest = tcp->source,
			 .ack_seq = bpf_htonl(tcp->sequence + tcp->length),
			 .doff = sizeof(struct tcphdr) / 4,
			 .rst = 1,
			 .ack = 1}};
	struct new_ip new = {.source = &ip->destination,
			     .destination = &ip->source,
			     .payload = sizeof(struct tcphdr),
			     .protocol = IPPROTO_TCP};
	struct cursor cursor;
	struct link link = {};
	__u64 sum;

	if (!read_link(packet, &link) ||
	    !resize(packet->context,
		    packet->link_length + ip_length(ip->family) + sizeof(struct tcphdr), 0))
		return XDP_DROP;
	sum = checksum_pseudo(ip->family, new.source, new.destination, IPPROTO_TCP, new.payload);
	for (int i = 0; i < 5; i++)
		sum += rst.word[i];
	rst.tcp.check = checksum_fold(sum);
	reverse_link(&link);
	cursor_start(&cursor, packet->context);
	if (!put_link(&cursor, &link, ip->family) || !put_ip(&cursor, ip->family, &new) ||
	    cursor.at + sizeof(rst) > cursor.end)
		return XDP_DROP;
	__builtin_memcpy(cursor.at, &rst, sizeof(rst));
	return XDP_TX;
}

#endif
