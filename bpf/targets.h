/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* targets.h - what XDP asks of a target before it sends anything there. */
#ifndef LIMPET_TARGETS_H
#define LIMPET_TARGETS_H

#include <stdbool.h>

#include "router_maps.h"

static __always_inline __u16 target_flags(__u32 number)
{
	const struct target *target = bpf_map_lookup_elem(&targets, &number);

	return target ? target->flags : TARGET_DEAD;
}

static __always_inline bool target_dead(__u32 number)
{
	return target_flags(number) & TARGET_DEAD;
}

static __always_inline bool target_usable(__u32 number)
{
	return (target_flags(number) & (TARGET_USABLE | TARGET_DEAD)) == TARGET_USABLE;
}

/* Has it a listener for this service, as far as it has said? */
static __always_inline bool target_serves(__u32 number, __u32 service)
{
	const struct unserved *bits = bpf_map_lookup_elem(&unserved, &service);

	return !bits || number >= MAX_TARGETS || !(bits->word[number / 64] >> number % 64 & 1);
}

#endif
