/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ip_address.h - an address of either family: IPv4 ones are mapped into IPv6 (RFC 4291, 2.5.5.2).
 */
#ifndef LIMPET_IP_ADDRESS_H
#define LIMPET_IP_ADDRESS_H

#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"

static __always_inline void address_from_ip4(struct address *address, __be32 ip4)
{
	__u32 *word = (__u32 *)address->byte;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = ip4;
}

static __always_inline __be32 address_to_ip4(const struct address *address)
{
	return ((const __u32 *)address->byte)[3];
}

/* From the last word on, where they are most likely to differ. */
static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	const __u32 *x = (const __u32 *)a->byte, *y = (const __u32 *)b->byte;

	return x[3] == y[3] && x[2] == y[2] && x[1] == y[1] && x[0] == y[0];
}

static __always_inline bool is_mapped(const struct address *address)
{
	const __u32 *word = (const __u32 *)address->byte;

	return word[2] == bpf_htonl(0xffff) && !(word[0] | word[1]);
}

static __always_inline bool no_address(const struct address *address)
{
	const __u32 *word = (const __u32 *)address->byte;

	return !(word[0] | word[1] | word[2] | word[3]);
}

/*
 * Clear the bits beyond the prefix. Without a branch: a word that is zero on one path and not on
 * another is two states to the verifier, and all that follows is verified for each.
 */
static __always_inline void mask_address(struct address *address, __u32 prefix)
{
	__u32 *word = (__u32 *)address->byte;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		__s64 cut = 32 * (i + 1) - (__s64)prefix, sign = cut >> 63, kept;

		barrier_var(sign);
		cut &= ~sign; /* bits of this word and the following ones that are not kept */
		kept = 32 - cut;
		sign = kept >> 63;
		barrier_var(sign);
		kept &= ~sign;
		word[i] &= bpf_htonl(0xffffffffULL << (32 - kept));
	}
}

#endif
