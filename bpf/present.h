/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * present.h - is it worth asking the CRHT at all? A look-up in a hash map of a million entries
 * costs a SYN of a flood more than all the rest of its way. So the hash of each entry's key has
 * PRESENT_HASHES bits in one word (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom
 * Filters, 2007), which it perhaps shares with others: where one of them is not set, there is no
 * entry. Connections and affinities have words of their own: where affinities are few, next to
 * nothing is looked up for want of knowing better.
 *
 * The bits are set before an entry is made and cleared after the last one that has them is gone,
 * both by `router_agent`, of which one runs at a time. Whoever finds one clear has found that there
 * was no entry at that moment.
 */
#ifndef LIMPET_PRESENT_H
#define LIMPET_PRESENT_H

#include "flow_id.h"
#include "router_maps.h"

#define PRESENT_STAYS  255
#define PRESENT_HASHES 4 /* six bits of an entry's hash each; those above them choose the word */

struct presence {
	__u64 hash;
	__u32 word;
};

static __always_inline __u32 present_word(__u64 hash, __u8 bits)
{
	return (hash >> (6 * PRESENT_HASHES)) & ((1U << (bits & 31)) - 1);
}

static __always_inline struct presence connection_presence(const struct settings *own, __u64 hash)
{
	return (struct presence){hash, present_word(hash, own->present_bits)};
}

/* Behind the connections' words. */
static __always_inline struct presence affinity_presence(const struct settings *own,
							 const struct affinity_key *key)
{
	__u64 hash = affinity_hash(own, key);
	__u32 first = 1U << (own->present_bits & 31);

	return (struct presence){hash, first + present_word(hash, own->present_affinity_bits)};
}

/* Which of the word's bits; the hash's lowest four times six bits. */
static __always_inline __u32 present_bit(__u64 hash, int which)
{
	return (hash >> (6 * which)) & 63;
}

static __always_inline bool may_be_present(const struct presence *presence)
{
	const volatile __u64 *word = bpf_map_lookup_elem(&present, &presence->word);
	__u64 bits = 0;

#pragma unroll
	for (int which = 0; which < PRESENT_HASHES; which++)
		bits |= 1ULL << present_bit(presence->hash, which);
	return !word || (*word & bits) == bits;
}

static __always_inline void present_count(struct present_counts *counts, volatile __u64 *word,
					  __u32 bit, int change)
{
	__u8 *count = &counts->count[bit & 63];

	if (*count == PRESENT_STAYS)
		return;
	*count += change;
	if (*count)
		__sync_fetch_and_or(word, 1ULL << bit);
	else
		__sync_fetch_and_and(word, ~(1ULL << bit));
}

/* One entry more, or one less. */
static __always_inline void present_add(const struct presence *presence, int change)
{
	struct present_counts *counts = bpf_map_lookup_elem(&present_counts, &presence->word);
	volatile __u64 *word = bpf_map_lookup_elem(&present, &presence->word);

	if (!counts || !word)
		return;
#pragma unroll
	for (int which = 0; which < PRESENT_HASHES; which++)
		present_count(counts, word, present_bit(presence->hash, which), change);
}

#endif
