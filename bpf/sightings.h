/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sightings.h - unknown flows that this router waits for a report of, and since when: sets of one
 * cache line, where the oldest gives way. A flood of unknown packets touches as much memory as the
 * table has, and no more.
 *
 * A word is all of an IPv4 flow's key, or 57 bits of an IPv6 flow's hash. Two CPUs that write one
 * place at once may leave the one's word with the other's time: of the same instant.
 */
#ifndef LIMPET_SIGHTINGS_H
#define LIMPET_SIGHTINGS_H

#include "flow_id.h"
#include "router_maps.h"

static __always_inline volatile struct sighting_set *sighting_set(const struct settings *own,
								  const struct flow_id *id)
{
	__u32 set = id->hash >> (FLOW_KEY_BITS - own->sighting_bits);

	return bpf_map_lookup_elem(&sightings, &set);
}

static __always_inline __u64 sighting_word(const struct flow_id *id)
{
	return SIGHTING_USED | (id->word & FLOW_IPV6 ? SIGHTING_IPV6 : 0) | id->hash;
}

/* Its own place, a free one, else the oldest. */
static __always_inline __u32 sighting_place(volatile struct sighting_set *set, __u64 wanted)
{
	__u64 oldest = ~0ULL;
	__u32 place = 0;

#pragma unroll
	for (__u32 way = 0; way < SIGHTING_WAYS; way++) {
		__u64 word = set->word[way], first_ns = word ? set->first_ns[way] : 0;

		if (word == wanted)
			return way;
		if (first_ns >= oldest)
			continue;
		oldest = first_ns;
		place = way;
	}
	return place;
}

/*
 * A packet of an unknown flow: has it been waited for long enough? The first one is noted and is
 * too early, as all within SIGHTING_NS. Once it has been waited for, the sighting is forgotten:
 * what is not noted (RST, FIN) is waited for again. A sighting before `since_ns` counts for
 * nothing.
 */
static __always_inline bool sighting_ripe(const struct settings *own, const struct flow_id *id,
					  __u64 since_ns, __u64 now_ns)
{
	volatile struct sighting_set *set = sighting_set(own, id);
	__u64 wanted = sighting_word(id), first_ns;
	__u32 way;

	if (!set)
		return false;
	way = sighting_place(set, wanted);
	barrier_var(way); /* the verifier is to see the check */
	if (way >= SIGHTING_WAYS)
		return false;
	first_ns = set->first_ns[way];
	if (set->word[way] != wanted || first_ns <= since_ns ||
	    now_ns >= first_ns + SIGHTING_LAST_NS) {
		set->word[way] = 0;
		set->first_ns[way] = now_ns;
		set->word[way] = wanted;
		return false;
	}
	if (now_ns < first_ns + SIGHTING_NS)
		return false;
	set->word[way] = 0;
	return true;
}

#endif
