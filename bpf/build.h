/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* build.h - write headers: each writes at the cursor and moves it on; false: no room there. */
#ifndef LIMPET_BUILD_H
#define LIMPET_BUILD_H

#include "parse.h"

#define OUTER_TTL 64

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u64 checksum_address(const struct address *address)
{
	const __u32 *word = (const __u32 *)address->byte;

	return (__u64)word[0] + word[1] + word[2] + word[3];
}

/* The pseudo header of TCP (RFC 9293, 3.1) or ICMPv6 (RFC 8200, 8.1). */
static __always_inline __u64 checksum_pseudo(enum family family, const struct address *source,
					     const struct address *destination, __u8 protocol,
					     __u32 length)
{
	__u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(protocol);

	if (family == FAMILY_IP4)
		return sum + address_to_ip4(source) + address_to_ip4(destination);
	return sum + checksum_address(source) + checksum_address(destination);
}

/* The link header, with its tags, in front of a packet of this family. */
static __always_inline bool put_link(struct cursor *cursor, const struct link *link,
				     enum family family)
{
	struct ethhdr *eth = cursor->at;
	__be16 *type = (void *)eth + 2 * ETH_ALEN;

	if ((void *)(eth + 1) > cursor->end)
		return false;
	copy_mac((__be16 *)eth->h_dest, link->destination);
	copy_mac((__be16 *)eth->h_source, link->source);
#pragma unroll
	for (__u32 i = 0; i < MAX_TAGS; i++) {
		struct vlan_tag *tag = (void *)type;

		if (i >= link->tags)
			break;
		if ((void *)(tag + 1) + sizeof(*type) > cursor->end)
			return false;
		*tag = link->tag[i];
		type = (void *)(tag + 1);
	}
	*type = family == FAMILY_IP4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	cursor->at = type + 1;
	return true;
}

/* Back to where it came from, tags and all. */
static __always_inline void reverse_link(struct link *link)
{
	__be16 from[ETH_ALEN / 2];

	copy_mac(from, link->source);
	copy_mac(link->source, link->destination);
	copy_mac(link->destination, from);
}

/* What differs between the headers written here: the rest is as RFC 2003 and RFC 2473 have it. */
struct new_ip {
	const struct address *source, *destination;
	__u32 payload; /* bytes */
	__u8 protocol, tos;
};

static __always_inline bool put_ip4(struct cursor *cursor, const struct new_ip *new)
{
	union {
		struct iphdr ip;
		__u32 word[5];
	} header = {.ip = {.version = 4,
			   .ihl = 5,
			   .tos = new->tos,
			   .tot_len = bpf_htons(sizeof(struct iphdr) + new->payload),
			   .frag_off = bpf_htons(IP4_DONT),
			   .ttl = OUTER_TTL,
			   .protocol = new->protocol,
			   .saddr = address_to_ip4(new->source),
			   .daddr = address_to_ip4(new->destination)}};
	struct iphdr *to = cursor->at;

	if ((void *)(to + 1) > cursor->end)
		return false;
	header.ip.check = checksum_fold((__u64)header.word[0] + header.word[1] + header.word[2] +
					header.word[3] + header.word[4]);
	*to = header.ip;
	cursor->at = to + 1;
	return true;
}

static __always_inline bool put_ip6(struct cursor *cursor, const struct new_ip *new)
{
	struct ipv6hdr *to = cursor->at;

	if ((void *)(to + 1) > cursor->end)
		return false;
	*(__be32 *)to = bpf_htonl(6U << 28 | (__u32) new->tos << 20);
	to->payload_len = bpf_htons(new->payload);
	to->nexthdr = new->protocol;
	to->hop_limit = OUTER_TTL;
	__builtin_memcpy(&to->saddr, new->source, sizeof(to->saddr));
	__builtin_memcpy(&to->daddr, new->destination, sizeof(to->daddr));
	cursor->at = to + 1;
	return true;
}

static __always_inline bool put_ip(struct cursor *cursor, enum family family,
				   const struct new_ip *new)
{
	return family == FAMILY_IP4 ? put_ip4(cursor, new) : put_ip6(cursor, new);
}

static __always_inline __u32 ip_length(enum family family)
{
	return family == FAMILY_IP4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

#endif
