/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows.h - what this router has itself seen: handshakes that it has forwarded (router/flows) and
 * unknown flows that it waits for a report of (router/sightings).
 *
 * Both tables may forget at any time, and may not be wrong. Why they are not: an entry is made only
 * of a packet of that very 4-tuple, by XDP alone; a half-open one matches only what follows its
 * SYN's sequence number closely, so a forged SYN draws no packet of another connection to itself; a
 * noted one ends when its target's report has arrived, or should have, and when this router's role
 * changes (choose.h). What choose.h needs of the table are the calls below, which hand out copies:
 * how the table is kept is known here only.
 */
#ifndef LIMPET_FLOWS_H
#define LIMPET_FLOWS_H

#include <stdbool.h>

#include "router_maps.h"

/* Precise, not the cheaper clock of the last tick: compared with times of user space (role). */
static __always_inline __u64 flow_now_ns(void)
{
	return bpf_ktime_get_ns();
}

/* A copy of what is known of this flow; false: nothing. */
static __always_inline bool flow_lookup(const struct connection_key *key, struct flow *flow)
{
	const struct flow *entry = bpf_map_lookup_elem(&flows, key);

	if (!entry)
		return false;
	*flow = *entry;
	return true;
}

/* Note, in place of what was there, that this flow's packets have gone to this target since now. */
static __always_inline void flow_note(const struct connection_key *key, enum flow_state state,
				      __u16 target, __u32 isn, __u64 now_ns)
{
	struct flow flow = {.since_ns = now_ns, .isn = isn, .target = target, .state = (__u8)state};

	if (bpf_map_update_elem(&flows, key, &flow, BPF_ANY))
		count(COUNT_FLOW_FULL);
}

static __always_inline void flow_forget(const struct connection_key *key)
{
	bpf_map_delete_elem(&flows, key);
}

/* Do this half-open flow's SYN and this sequence number belong to one handshake? */
static __always_inline bool flow_follows(const struct flow *flow, __u32 sequence)
{
	__u32 distance = sequence - flow->isn;

	return distance > 0 && distance <= ISN_WINDOW;
}

/*
 * A packet of an unknown flow: has it been waited for long enough? The first one is noted and is
 * too early, as all within SIGHTING_NS. Once it has been waited for, the sighting is forgotten:
 * what is not noted in flows (RST, FIN) is waited for again. A sighting before `since_ns` counts
 * for nothing.
 */
static __always_inline bool sighting_ripe(const struct connection_key *key, __u64 since_ns,
					  __u64 now_ns)
{
	const struct sighting *seen = bpf_map_lookup_elem(&sightings, key);

	if (!seen || seen->first_ns < since_ns || now_ns >= seen->first_ns + SIGHTING_LAST_NS) {
		struct sighting first = {.first_ns = now_ns};

		bpf_map_update_elem(&sightings, key, &first, BPF_ANY);
		return false;
	}
	if (now_ns < seen->first_ns + SIGHTING_NS)
		return false;
	bpf_map_delete_elem(&sightings, key);
	return true;
}

#endif
