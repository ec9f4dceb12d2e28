/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rings.h - the pinned rings that XDP distributes over: built by Maglev from weights, and only when
 * these have changed.
 */
#ifndef LIMPET_RINGS_H
#define LIMPET_RINGS_H

#include <stdbool.h>

#include "maglev.h"
#include "maps.h"

/* What a ring is made of, to tell whether it is to be made anew. */
struct ring_recipe {
	struct ring_member {
		char name[NAME_SIZE];
		uint32_t weight;
		uint16_t number;
	} * members;
	size_t count;
	bool known; /* false: nothing has been made yet */
};

/* Does this make another ring than the recipe did? */
bool ring_differs(const struct ring_recipe *recipe, const struct maglev_target *targets,
		  size_t count);
/* 0 or -ENOMEM; then the recipe is as it was. */
int ring_remember(struct ring_recipe *recipe, const struct maglev_target *targets, size_t count);
void ring_forget(struct ring_recipe *recipe);

struct rings;

struct rings *rings_new(const struct maps *maps);
void rings_free(struct rings *rings);

/* Ring `number` (of a service, or GUESS_RING) from these targets, in the order of their numbers.
 * 1: a new ring is pinned; 0: it is as it was; or -errno, and the old one stays. */
int rings_set(struct rings *rings, __u32 number, const struct maglev_target *targets, size_t count);

#endif
