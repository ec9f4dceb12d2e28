/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows.h - the fast path's memory: copies of what router/connections says of open connections, one
 * cache line for one packet. It may forget anything at any time. Why it is never wrong:
 *
 *  1. An entry is one word, and tells its flow from all others by itself (flow_id.h).
 *  2. An entry counts only while its stamp is the version of its set. `router_agent` makes the
 *     version odd before it changes router/connections, and even again afterwards. Nothing is
 *     remembered under an odd version: so while the change is being made, however long that takes,
 *     no answer is given from here, and afterwards none that is older. XDP raises the version by
 *     two when it has noted a handshake, which comes before a report (choose.h).
 *  3. Who makes an entry has read the version before anything that the answer rests on. If there
 *     was a change since, the stamp is already out of date.
 *  4. A stamp is a byte and comes round after 128 changes. By then the entry is gone: a change
 *     empties the set, and who makes an entry takes it back if the version is another one by then.
 *     To be misled, a CPU would have to stand still within these few instructions while one set,
 *     out of at least 65,536, sees 128 changes.
 *
 * Programs on different CPUs need no locks for this. The version is changed and checked by atomic
 * operations that return what was there: what comes before them in a program comes before on every
 * CPU, and what comes after them after. Of those that return nothing this is true on x86, and not
 * on arm64 (Linux: Documentation/atomic_t.txt, "ORDERING").
 */
#ifndef LIMPET_FLOWS_H
#define LIMPET_FLOWS_H

#include "flow_id.h"
#include "router_maps.h"

#define NO_FLOW -1

#define FLOW_CHANGES 1 /* in a version: odd */

static __always_inline volatile struct flow_set *flow_set(const struct flow_id *id)
{
	__u32 set = id->set;

	return bpf_map_lookup_elem(&flows, &set);
}

static __always_inline __u64 flow_word(const struct flow_id *id, __u64 version)
{
	return id->word | version << FLOW_STAMP_SHIFT;
}

/* The target of an open connection, or NO_FLOW: ask the tables. */
static __always_inline int flow_recall(const struct flow_id *id)
{
	volatile struct flow_set *set = flow_set(id);
	__u64 wanted;

	if (!set)
		return NO_FLOW;
	wanted = flow_word(id, set->version);
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		__u64 word = set->word[way];

		if (!((word ^ wanted) & ~FLOW_TARGET_MASK) && set->guard[way] == id->guard)
			return word & FLOW_TARGET_MASK;
	}
	return NO_FLOW;
}

/* The version, before anything is read that an entry is to be made of. */
static __always_inline __u64 flow_version(const struct flow_id *id)
{
	volatile struct flow_set *set = flow_set(id);

	return set ? __sync_fetch_and_add(&set->version, 0) : 0;
}

static __always_inline __u32 flow_turn(volatile struct flow_set *set)
{
	__u32 way = set->next;

	set->next = way + 1 < FLOW_WAYS ? way + 1 : 0;
	return way;
}

/* Its own place, else one that does not count, else the next in turn. */
static __always_inline __u32 flow_place(volatile struct flow_set *set, const struct flow_id *id,
					__u64 version)
{
	__u32 free = FLOW_WAYS;

#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		__u64 word = set->word[way];

		if (!((word ^ flow_word(id, version)) & ~FLOW_TARGET_MASK) &&
		    set->guard[way] == id->guard)
			return way;
		if (!(word & FLOW_USED) || (word ^ version << FLOW_STAMP_SHIFT) >> FLOW_STAMP_SHIFT)
			free = way;
	}
	return free < FLOW_WAYS ? free : flow_turn(set);
}

static __always_inline void flow_remember(const struct flow_id *id, __u16 target, __u64 version)
{
	volatile struct flow_set *set = flow_set(id);
	__u32 way;

	if (!set || version & FLOW_CHANGES)
		return;
	way = flow_place(set, id, version);
	barrier_var(way); /* the verifier is to see the check */
	if (way >= FLOW_WAYS)
		return;
	set->word[way] = 0;
	set->guard[way] = id->guard;
	set->word[way] = flow_word(id, version) | target;
	if (__sync_fetch_and_add(&set->version, 0) != version)
		set->word[way] = 0;
}

static __always_inline void flow_step(const struct flow_id *id, __u64 by)
{
	volatile struct flow_set *set = flow_set(id);

	if (!set)
		return;
	/* Somebody has to want the result: else it is an operation that returns nothing. */
	asm volatile("" : : "r"(__sync_fetch_and_add(&set->version, by)));
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++)
		set->word[way] = 0;
}

/* router/connections is about to change for this flow; one change at a time, and flow_changed
 * follows. */
static __always_inline void flow_changes(const struct flow_id *id)
{
	flow_step(id, FLOW_CHANGES);
}

static __always_inline void flow_changed(const struct flow_id *id)
{
	flow_step(id, FLOW_CHANGES);
}

/* A handshake of this flow has been noted; on any CPU, also while a change is being made. */
static __always_inline void flow_noted(const struct flow_id *id)
{
	flow_step(id, 2 * FLOW_CHANGES);
}

#endif
