/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * clock.h - the time of a packet that needs one, off the fast path: CLOCK_MONOTONIC as it was when
 * this CPU asked first in the present tick. Reading the tick's number costs nothing, the clock 36
 * ns.
 *
 * So the time is late by a tick at most, and never early. Every rule in choose.h bears that: holds
 * and waits are longer by a tick, and what is noted within the tick in which a role, a service or a
 * target began counts as older than that, and is void.
 */
#ifndef LIMPET_CLOCK_H
#define LIMPET_CLOCK_H

#include "router_maps.h"

static __always_inline __u64 clock_now_ns(void)
{
	__u64 jiffies = bpf_jiffies64();
	struct tick *tick;
	__u32 zero = 0;

	tick = bpf_map_lookup_elem(&clocks, &zero);
	if (!tick)
		return bpf_ktime_get_ns();
	if (tick->jiffies != jiffies) {
		tick->now_ns = bpf_ktime_get_ns();
		tick->jiffies = jiffies;
	}
	return tick->now_ns;
}

#endif
