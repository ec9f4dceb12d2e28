/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * distribute.h - which slot of a service's ring (Maglev) a connection falls into.
 *
 * A pure function of the connection as the wire shows it, the same at every router: no number and
 * no key of this node goes into it. Plain C for BPF and user space alike (`limpet explain`).
 */
#ifndef LIMPET_DISTRIBUTE_H
#define LIMPET_DISTRIBUTE_H

#include <linux/types.h>

#include "layout.h"

/* The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
 * OOPSLA 2014): every bit in changes every bit out with a probability near one half. */
static inline __attribute__((always_inline)) __u64 distribute_mix(__u64 word)
{
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ULL;
	word = (word ^ word >> 27) * 0x94d049bb133111ebULL;
	return word ^ word >> 31;
}

/* Four bytes in the order of the address, whatever the host's order is. */
static inline __attribute__((always_inline)) __u64 distribute_word(const struct address *address,
								   int index)
{
	__u32 word = ((const __u32 *)address->byte)[index];

	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(word) : word;
}

static inline __attribute__((always_inline)) __u64 distribute_port(__be16 port)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap16(port) : port;
}

static inline __attribute__((always_inline)) __u32
distribute_hash(const struct service_key *service, const struct address *client, __be16 client_port)
{
	__u64 hash = distribute_port(service->port) << 24 | distribute_port(client_port) << 8 |
		     service->protocol;

	for (int i = 0; i < 4; i += 2) {
		hash = distribute_mix(hash + (distribute_word(&service->address, i) << 32 |
					      distribute_word(&service->address, i + 1)));
		hash = distribute_mix(
			hash + (distribute_word(client, i) << 32 | distribute_word(client, i + 1)));
	}
	return hash >> 32;
}

/* Below RING_SIZE; element slot / RING_LANES, lane slot % RING_LANES of the ring. */
static inline __attribute__((always_inline)) __u32
distribute_slot(const struct service_key *service, const struct address *client, __be16 client_port)
{
	return ((__u64)distribute_hash(service, client, client_port) * RING_SIZE) >> 32;
}

#endif
