/* SPDX-License-Identifier: BSD-2-Clause */
#include "outer.h"

#include <arpa/inet.h>
#include <string.h>

#include <linux/ip.h>

#include "address.h"

#define OUTER_TTL	 64
#define DO_NOT_FRAGMENT	 0x4000 /* RFC 791 */
#define IP6_PAYLOAD_WORD 1
#define IP6_SOURCE_WORD	 2
#define IP6_TARGET_WORD	 6

/* Sums of 32-bit words carry around, as those of 16 bits do (RFC 1071, 2). */
static __u32 sum(const __u32 *words, int count)
{
	__u64 total = 0;

	for (int i = 0; i < count; i++)
		total += words[i];
	while (total >> 32)
		total = (total & 0xffffffff) + (total >> 32);
	return (__u32)total;
}

static void fill_ip4(struct target *target, const struct address *source)
{
	struct iphdr header = {
		.version = 4, .ihl = 5, .frag_off = htons(DO_NOT_FRAGMENT), .ttl = OUTER_TTL};

	memcpy(&header.saddr, source->byte + 12, sizeof(header.saddr));
	memcpy(&header.daddr, target->address.byte + 12, sizeof(header.daddr));
	memcpy(target->outer, &header, sizeof(header));
	target->outer_sum = sum(target->outer, sizeof(header) / 4);
}

static void fill_ip6(struct target *target, const struct address *source)
{
	target->outer[0] = htonl(6U << 28);
	target->outer[IP6_PAYLOAD_WORD] = htonl(OUTER_TTL);
	memcpy(&target->outer[IP6_SOURCE_WORD], source, sizeof(*source));
	memcpy(&target->outer[IP6_TARGET_WORD], &target->address, sizeof(target->address));
}

void outer_fill(struct target *target, const struct address *source)
{
	bool ipv4 = address_is_ipv4(&target->address);

	memset(target->outer, 0, sizeof(target->outer));
	target->outer_sum = 0;
	target->flags &= ~(TARGET_IPV6 | TARGET_WRAPS);
	if (!ipv4)
		target->flags |= TARGET_IPV6;
	if (!source)
		return;
	target->flags |= TARGET_WRAPS;
	if (ipv4)
		fill_ip4(target, source);
	else
		fill_ip6(target, source);
}
