/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse.h - the only place where packets are read: a cursor that every header moves on.
 *
 * A parser returns false when its header cannot be read; then nothing behind it is looked at. Which
 * family and which protocol follow are named by fields of different types, so that an EtherType in
 * network byte order is never taken for an IP protocol number.
 */
#ifndef LIMPET_PARSE_H
#define LIMPET_PARSE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ip_address.h"

#define MAX_TAGS 2 /* 802.1Q in 802.1ad */

/* frag_off, host order (RFC 791) */
#define IP4_MORE   0x2000
#define IP4_DONT   0x4000
#define IP4_OFFSET 0x1fff

#define PROTOCOL_ICMP6	  58
#define PROTOCOL_FRAGMENT 44 /* IPv6 fragment header (RFC 8200, 4.5) */

/* ICMP (RFC 792), whose header linux/icmp.h brings all of libc along; ICMPv6 (RFC 4443). */
#define ICMP_LENGTH	       8 /* type, code, checksum, four bytes more; of both */
#define ICMP4_UNREACHABLE      3
#define ICMP4_TIME_EXCEEDED    11
#define ICMP4_PARAMETER	       12
#define ICMP4_CODE_FRAG_NEEDED 4 /* of ICMP4_UNREACHABLE */
#define ICMP6_UNREACHABLE      1
#define ICMP6_PACKET_TOO_BIG   2
#define ICMP6_PARAMETER	       4

struct cursor {
	void *at, *end;
};

enum family { FAMILY_OTHER, FAMILY_IP4, FAMILY_IP6 };

/* 802.1Q: what stands between the addresses and the EtherType. */
struct vlan_tag {
	__be16 type; /* ETH_P_8021Q or ETH_P_8021AD */
	__be16 control;
};

struct link {
	__be16 destination[ETH_ALEN / 2], source[ETH_ALEN / 2];
	struct vlan_tag tag[MAX_TAGS];
	__u32 tags;
	__u32 length; /* bytes, tags included */
};

struct ip {
	struct address source, destination;
	__u32 total;  /* bytes of the packet, header included, as the header says */
	__u32 header; /* bytes of the header, options included */
	enum family family;
	__u8 protocol;	 /* of what follows; behind a fragment header too */
	__u8 tos;	 /* traffic class */
	bool fragment;	 /* any but a whole packet */
	bool whole;	 /* all of `total` is here */
	bool has_header; /* IPv6: `protocol` follows a fragment header */
};

struct tcp {
	__be16 source, destination;
	__u32 sequence; /* host order */
	__u32 length;	/* of the segment, in sequence numbers: data, SYN and FIN */
	bool syn;	/* opens a connection: SYN without ACK or RST */
	bool rst, fin;
};

/* What the steps of a packet's way hand on. */
struct packet {
	struct xdp_md *context;
	const struct settings *settings;
	__u32 link_length;
	struct ip ip;
	struct tcp tcp; /* of a service's packet */
};

static __always_inline void cursor_start(struct cursor *cursor, struct xdp_md *context)
{
	cursor->at = (void *)(long)context->data;
	cursor->end = (void *)(long)context->data_end;
}

/* Past a header of at most 63 bytes: the mask is for the verifier, the barrier keeps clang from
 * leaving it out. */
static __always_inline void cursor_skip(struct cursor *cursor, __u32 bytes)
{
	barrier_var(bytes);
	cursor->at += bytes & 63;
}

/* By two bytes, as Ethernet headers are aligned: by one it would be twice as many steps. */
static __always_inline void copy_mac(__be16 *to, const void *from)
{
	const __be16 *word = from;

	to[0] = word[0];
	to[1] = word[1];
	to[2] = word[2];
}

static __always_inline bool parse_link(struct cursor *cursor, struct link *link,
				       enum family *family)
{
	struct ethhdr *eth = cursor->at;
	__be16 *type = (void *)eth + 2 * ETH_ALEN;
	long length;

	if ((void *)(eth + 1) > cursor->end)
		return false;
	copy_mac(link->destination, eth->h_dest);
	copy_mac(link->source, eth->h_source);
	link->tags = 0;
#pragma unroll
	for (int i = 0; i < MAX_TAGS; i++) {
		struct vlan_tag *tag = (void *)type;

		if (*type != bpf_htons(ETH_P_8021Q) && *type != bpf_htons(ETH_P_8021AD))
			break;
		/* The tag and the type that follows it. */
		if ((void *)(tag + 1) + sizeof(*type) > cursor->end)
			return false;
		link->tag[i] = *tag;
		link->tags = i + 1;
		type = (void *)(tag + 1);
	}
	*family = *type == bpf_htons(ETH_P_IP)	   ? FAMILY_IP4
		  : *type == bpf_htons(ETH_P_IPV6) ? FAMILY_IP6
						   : FAMILY_OTHER;
	/* A difference is any number to the verifier, which would go through all that follows once
	 * for each number of tags. */
	length = (void *)(type + 1) - cursor->at;
	link->length = length;
	cursor_skip(cursor, length);
	return true;
}

/* Are so many bytes here? For a length from the packet, which the 6.1 verifier does not take for
 * bounded; the barrier keeps clang from adding it to the pointer. */
static __always_inline bool cursor_holds(const struct cursor *cursor, __u32 bytes)
{
	long here = cursor->end - cursor->at;

	barrier_var(here);
	return bytes <= here;
}

/* The link header of a packet that is as it came: to be written again in front of another one. */
static __always_inline bool read_link(const struct packet *packet, struct link *link)
{
	struct cursor cursor;
	enum family family;

	cursor_start(&cursor, packet->context);
	return parse_link(&cursor, link, &family);
}

/* Behind the IP header, as parsed before. */
static __always_inline void cursor_at_payload(struct cursor *cursor, const struct packet *packet)
{
	cursor_start(cursor, packet->context);
	cursor_skip(cursor, packet->link_length);
	cursor_skip(cursor, packet->ip.header);
}

static __always_inline bool parse_ip4(struct cursor *cursor, struct ip *ip)
{
	struct iphdr *header = cursor->at;

	if ((void *)(header + 1) > cursor->end || header->version != 4 || header->ihl < 5)
		return false;
	ip->family = FAMILY_IP4;
	ip->header = header->ihl * 4;
	ip->total = bpf_ntohs(header->tot_len);
	ip->protocol = header->protocol;
	ip->tos = header->tos;
	ip->fragment = header->frag_off & bpf_htons(IP4_MORE | IP4_OFFSET);
	ip->has_header = false;
	address_from_ip4(&ip->source, header->saddr);
	address_from_ip4(&ip->destination, header->daddr);
	ip->whole = ip->total >= ip->header && cursor_holds(cursor, ip->total);
	cursor_skip(cursor, ip->header);
	return cursor->at <= cursor->end;
}

static __always_inline bool parse_ip6(struct cursor *cursor, struct ip *ip)
{
	struct ipv6hdr *header = cursor->at;

	if ((void *)(header + 1) > cursor->end || header->version != 6)
		return false;
	ip->family = FAMILY_IP6;
	ip->header = sizeof(*header);
	ip->total = sizeof(*header) + bpf_ntohs(header->payload_len);
	ip->protocol = header->nexthdr;
	ip->tos = header->priority << 4 | header->flow_lbl[0] >> 4;
	ip->fragment = false;
	ip->has_header = false;
	__builtin_memcpy(&ip->source, &header->saddr, sizeof(ip->source));
	__builtin_memcpy(&ip->destination, &header->daddr, sizeof(ip->destination));
	/* Not on the wire (RFC 4942, 2.2): it would pass for the IPv4 address. */
	if (is_mapped(&ip->source) || is_mapped(&ip->destination))
		return false;
	ip->whole = cursor_holds(cursor, ip->total);
	cursor->at = header + 1;
	if (ip->protocol != PROTOCOL_FRAGMENT)
		return true;
	/* RFC 8200, 4.5: also a fragment header of a packet that is whole by itself. */
	ip->fragment = true;
	ip->has_header = true;
	if (cursor->at + 8 > cursor->end)
		return true;
	ip->protocol = *(__u8 *)cursor->at;
	return true;
}

static __always_inline bool parse_ip(struct cursor *cursor, enum family family, struct ip *ip)
{
	if (family == FAMILY_IP4)
		return parse_ip4(cursor, ip);
	if (family == FAMILY_IP6)
		return parse_ip6(cursor, ip);
	return false;
}

/* The ports alone, as an ICMP error quotes them. */
static __always_inline bool parse_ports(struct cursor *cursor, __be16 *source, __be16 *destination)
{
	__be16 *port = cursor->at;

	if ((void *)(port + 2) > cursor->end)
		return false;
	*source = port[0];
	*destination = port[1];
	return true;
}

static __always_inline bool parse_tcp(struct cursor *cursor, const struct ip *ip, struct tcp *tcp)
{
	struct tcphdr *header = cursor->at;
	__u32 length = ip->total - ip->header; /* ip->whole: total >= header */

	if ((void *)(header + 1) > cursor->end || header->doff < 5 || header->doff * 4 > length)
		return false;
	tcp->source = header->source;
	tcp->destination = header->dest;
	tcp->sequence = bpf_ntohl(header->seq);
	tcp->length = length - header->doff * 4 + header->syn + header->fin;
	tcp->syn = header->syn && !header->ack && !header->rst;
	tcp->rst = header->rst;
	tcp->fin = header->fin;
	return true;
}

static __always_inline bool parse_icmp(struct cursor *cursor, __u8 *type)
{
	if (cursor->at + ICMP_LENGTH > cursor->end)
		return false;
	*type = *(__u8 *)cursor->at;
	cursor->at += ICMP_LENGTH;
	return true;
}

static __always_inline bool is_icmp(const struct ip *ip)
{
	return ip->protocol == (ip->family == FAMILY_IP4 ? IPPROTO_ICMP : PROTOCOL_ICMP6);
}

/* Errors speak of a packet and quote it (RFC 792; RFC 4443, 2.1). */
static __always_inline bool is_icmp_error(enum family family, __u8 type)
{
	if (family == FAMILY_IP6)
		return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER;
	return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED || type == ICMP4_PARAMETER;
}

#endif
