/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rings.h - the pinned rings that XDP distributes over: built by Maglev from weights, and only when
 * these have changed.
 */
#ifndef LIMPET_RINGS_H
#define LIMPET_RINGS_H

#include "maps.h"

struct ring_member {
	char name[NAME_SIZE]; /* what the ring is a function of, so that all routers agree */
	__u32 weight;
	__u16 target; /* what is written into it */
};

struct rings;

struct rings *rings_new(const struct maps *maps);
void rings_free(struct rings *rings);

/* The members of ring `number`, at most MAX_TARGETS, in any order; those of weight 0 do not count.
 * 1: a new ring is pinned; 0: it is as it was; or -errno, and the old one stays. */
int rings_set(struct rings *rings, __u32 number, const struct ring_member *members, size_t count);

#endif
