/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * maglev.h - the consistent hash over weights: Maglev (Eisenbud et al., "Maglev: A Fast and
 * Reliable Software Network Load Balancer", NSDI 2016, section 3.4), with weights as different
 * numbers of turns. Pure: a function of names and weights alone, so every router computes the same
 * ring, whatever numbers its targets have and in whatever order they came.
 */
#ifndef LIMPET_MAGLEV_H
#define LIMPET_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct maglev_target {
	uint16_t number;  /* what is put into the slots */
	const char *name; /* what its slots depend on; each name once */
	uint32_t weight;  /* 0: no slots */
};

/* Fills all slots; with NO_NUMBER when no target has a weight. 0 or -ENOMEM (slots untouched). A
 * target's share of the slots is its share of the weights, to within one turn. */
int maglev_fill(const struct maglev_target *targets, size_t count, uint16_t slots[RING_SIZE]);

#endif
