/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * handshakes.h - what this router has itself seen go to a target and its target has not reported:
 * half-open flows, whose SYN alone was seen, and noted ones, whose handshake went on.
 *
 * It may forget, and may not be wrong: an entry is made only of a packet of that very flow, by XDP
 * alone. A half-open one matches only what follows its SYN's sequence number closely, so a forged
 * SYN draws no packet of another connection to itself. Each set has places for half-open flows,
 * which give way to each other, and others for noted ones: so a flood of SYNs pushes out nothing
 * but SYNs, and leaves them a place when all others are taken. A noted one gives way only if its
 * target is in sync, and so has reported it if there is anything to report, or is given up.
 *
 * Set and tag are all of an IPv4 flow's key. Of an IPv6 flow's hash they are 57 bits at least; a
 * noted one has 16 more in its guard, and a half-open one its sequence number.
 *
 * The ticks, the guard and the ISN stand beside the word. Two CPUs that write one place at once may
 * leave the one's word with the other's: of the same instant, and the wrong ISN or guard makes the
 * entry match nothing.
 */
#ifndef LIMPET_HANDSHAKES_H
#define LIMPET_HANDSHAKES_H

#include "flow_id.h"
#include "targets.h"

#define FLOOD_NS 1000000000ULL

struct handshake {
	__u64 ticks; /* since then */
	__u32 isn;   /* of its SYN; of a guess, the packet's number; if noted, the lower half */
	__u16 target;
};

static __always_inline volatile struct handshake_set *handshake_set(const struct settings *own,
								    const struct flow_id *id)
{
	__u32 set = id->hash >> (FLOW_KEY_BITS - own->handshake_bits);

	return bpf_map_lookup_elem(&handshakes, &set);
}

static __always_inline __u64 handshake_ticks(__u64 now_ns)
{
	return now_ns >> HANDSHAKE_TICK_SHIFT;
}

/* This place's time, of a word that was read there. */
static __always_inline __u64 ticks_at(volatile struct handshake_set *set, __u32 way, __u64 word)
{
	return word >> FLOW_STAMP_SHIFT << 32 | set->since[way];
}

/* An entry's word, without time and target. */
static __always_inline __u64 handshake_word(const struct flow_id *id)
{
	__u64 tag = id->hash & ((1ULL << HANDSHAKE_TAG_BITS) - 1);

	return tag << FLOW_TARGET_BITS | (id->word & FLOW_IPV6 ? HANDSHAKE_IPV6 : 0);
}

static __always_inline bool is_own(volatile struct handshake_set *set, __u32 way, __u64 word,
				   const struct flow_id *id)
{
	const __u64 stamp = 0xffULL << FLOW_STAMP_SHIFT;

	return word && !((word ^ handshake_word(id)) & ~(FLOW_TARGET_MASK | stamp)) &&
	       (way < HALF_OPEN_WAYS || set->check[way] >> 16 == id->guard);
}

/* A copy of what is in this place, if it is this flow's and nobody is writing there. */
static __always_inline bool read_way(volatile struct handshake_set *set, __u32 way,
				     const struct flow_id *id, struct handshake *handshake)
{
	__u64 word = set->word[way];

	if (!is_own(set, way, word, id))
		return false;
	handshake->ticks = ticks_at(set, way, word);
	handshake->isn = way < HALF_OPEN_WAYS ? set->check[way] : set->check[way] & 0xffff;
	handshake->target = word & FLOW_TARGET_MASK;
	return set->word[way] == word;
}

static __always_inline void write_way(volatile struct handshake_set *set, __u32 way,
				      const struct flow_id *id, __u16 target, __u32 isn,
				      __u64 now_ns)
{
	__u64 ticks = handshake_ticks(now_ns);

	set->word[way] = 0;
	set->check[way] = way < HALF_OPEN_WAYS ? isn : (__u32)id->guard << 16 | (isn & 0xffff);
	set->since[way] = (__u32)ticks;
	set->word[way] = handshake_word(id) | ticks >> 32 << FLOW_STAMP_SHIFT | target;
}

static __always_inline bool look_up_ways(const struct settings *own, const struct flow_id *id,
					 __u32 first, struct handshake *handshake)
{
	volatile struct handshake_set *set = handshake_set(own, id);

	if (!set)
		return false;
#pragma unroll
	for (__u32 i = 0; i < HALF_OPEN_WAYS; i++)
		if (read_way(set, first + i, id, handshake))
			return true;
	return false;
}

static __always_inline bool half_open_lookup(const struct settings *own, const struct flow_id *id,
					     struct handshake *handshake)
{
	return look_up_ways(own, id, 0, handshake);
}

static __always_inline bool noted_lookup(const struct settings *own, const struct flow_id *id,
					 struct handshake *handshake)
{
	return look_up_ways(own, id, HALF_OPEN_WAYS, handshake);
}

static __always_inline void forget_ways(const struct settings *own, const struct flow_id *id,
					__u32 first)
{
	volatile struct handshake_set *set = handshake_set(own, id);

	if (!set)
		return;
#pragma unroll
	for (__u32 i = 0; i < HALF_OPEN_WAYS; i++)
		if (is_own(set, first + i, set->word[first + i], id))
			set->word[first + i] = 0;
}

static __always_inline void half_open_forget(const struct settings *own, const struct flow_id *id)
{
	forget_ways(own, id, 0);
}

static __always_inline void noted_forget(const struct settings *own, const struct flow_id *id)
{
	forget_ways(own, id, HALF_OPEN_WAYS);
}

static __always_inline bool gives_way(__u32 way, __u64 word)
{
	return way < HALF_OPEN_WAYS ||
	       target_flags(word & FLOW_TARGET_MASK) & (TARGET_IN_SYNC | TARGET_DEAD);
}

/*
 * Its own place, a free one, else the oldest of those that give way; HANDSHAKE_WAYS: none. Which is
 * older is chosen without a branch: in a flood it would be mispredicted for each second SYN.
 */
static __always_inline __u32 find_place(volatile struct handshake_set *set,
					const struct flow_id *id, __u32 first)
{
	__u64 oldest = 1ULL << 62, place = HANDSHAKE_WAYS; /* no time is as late */

#pragma unroll
	for (__u32 i = 0; i < HALF_OPEN_WAYS; i++) {
		__u32 way = first + i;
		__u64 word = set->word[way], ticks;
		__s64 older; /* all bits, or none */

		if (is_own(set, way, word, id))
			return way;
		if (word && !gives_way(way, word))
			continue;
		ticks = word ? ticks_at(set, way, word) + 1 : 0;
		older = (__s64)(ticks - oldest) >> 63;
		barrier_var(older);
		oldest += (ticks - oldest) & older;
		place += (way - place) & older;
	}
	return place;
}

/* A SYN of this flow has gone to this target. */
static __always_inline void half_open_note(const struct settings *own, const struct flow_id *id,
					   __u16 target, __u32 isn, __u64 now_ns)
{
	volatile struct handshake_set *set = handshake_set(own, id);
	__u64 word;
	__u32 way;

	if (!set)
		return;
	way = find_place(set, id, 0);
	barrier_var(way); /* the verifier is to see the check */
	if (way >= HALF_OPEN_WAYS)
		return;
	word = set->word[way];
	if (word && !is_own(set, way, word, id) &&
	    handshake_ticks(now_ns) < ticks_at(set, way, word) + handshake_ticks(FLOOD_NS))
		count(COUNT_FLOW_DISPLACED);
	write_way(set, way, id, target, isn, now_ns);
}

/* This flow's packets have gone to this target since now. */
static __always_inline void noted_note(const struct settings *own, const struct flow_id *id,
				       __u16 target, __u32 isn, __u64 now_ns)
{
	volatile struct handshake_set *set = handshake_set(own, id);
	__u32 way;

	if (!set)
		return;
	way = find_place(set, id, HALF_OPEN_WAYS);
	barrier_var(way); /* the verifier is to see the check */
	if (way < HALF_OPEN_WAYS || way >= HANDSHAKE_WAYS) {
		count(COUNT_FLOW_FULL);
		return;
	}
	write_way(set, way, id, target, isn, now_ns);
}

/* Do this half-open flow's SYN and this sequence number belong to one handshake? */
static __always_inline bool half_open_follows(const struct handshake *handshake, __u32 sequence)
{
	__u32 distance = sequence - handshake->isn;

	return distance > 0 && distance <= ISN_WINDOW;
}

#endif
