/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * present.h - is it worth asking the CRHT at all? A look-up in a hash map of a million entries
 * costs a SYN of a flood more than all the rest of its way. So there is a bit for the hash of each
 * entry's key, many entries' perhaps: where it is not set, there is no entry.
 *
 * The bit is set before an entry is made and cleared after the last one that has it is gone, both
 * by `router_agent`, of which one runs at a time. Whoever finds it clear has found that there was
 * no entry at that moment.
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

static __always_inline bool may_be_present(const struct settings *own, __u64 hash)
{
	__u32 index = present_word(own, hash);
	const volatile __u64 *word = bpf_map_lookup_elem(&present, &index);

	return !word || *word >> (hash & 63) & 1;
}

/* One entry more, or one less, that has this bit. */
static __always_inline void present_add(const struct settings *own, __u64 hash, int change)
{
	__u32 index = present_word(own, hash);
	struct present_counts *counts = bpf_map_lookup_elem(&present_counts, &index);
	volatile __u64 *word = bpf_map_lookup_elem(&present, &index);
	__u8 *count;

	if (!counts || !word)
		return;
	count = &counts->count[hash & 63];
	if (*count == PRESENT_STAYS)
		return;
	*count += change;
	if (*count)
		__sync_fetch_and_or(word, 1ULL << (hash & 63));
	else
		__sync_fetch_and_and(word, ~(1ULL << (hash & 63)));
}

#endif
