/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * present.h - is it worth asking the CRHT at all? A look-up in a hash map of a million entries
 * costs a SYN of a flood more than all the rest of its way. So the hash of each entry's key has two
 * bits in one word (Bloom: Space/Time Trade-offs in Hash Coding with Allowable Errors, 1970), which
 * it perhaps shares with others: where one of them is not set, there is no entry.
 *
 * The bits are set before an entry is made and cleared after the last one that has them is gone,
 * both by `router_agent`, of which one runs at a time. Whoever finds one clear has found that there
 * was no entry at that moment.
 */
#ifndef LIMPET_PRESENT_H
#define LIMPET_PRESENT_H

#include "flow_id.h"
#include "router_maps.h"

#define PRESENT_STAYS 255

static __always_inline __u32 present_word(const struct settings *own, __u64 hash)
{
	return (hash >> 6) & ((1U << (own->present_bits & 31)) - 1);
}

/* Which of the word's bits: 0 or 1. */
static __always_inline __u32 present_bit(__u64 hash, int which)
{
	return (which ? hash >> 32 : hash) & 63;
}

static __always_inline bool may_be_present(const struct settings *own, __u64 hash)
{
	__u64 bits = 1ULL << present_bit(hash, 0) | 1ULL << present_bit(hash, 1);
	__u32 index = present_word(own, hash);
	const volatile __u64 *word = bpf_map_lookup_elem(&present, &index);

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
static __always_inline void present_add(const struct settings *own, __u64 hash, int change)
{
	__u32 index = present_word(own, hash);
	struct present_counts *counts = bpf_map_lookup_elem(&present_counts, &index);
	volatile __u64 *word = bpf_map_lookup_elem(&present, &index);

	if (!counts || !word)
		return;
	present_count(counts, word, present_bit(hash, 0), change);
	present_count(counts, word, present_bit(hash, 1), change);
}

#endif
