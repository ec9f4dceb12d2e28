/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * weights.h - how the distribution methods differ: in the weights that go into the one consistent
 * hash (maglev.h). Pure; routers that have heard the same compute the same.
 */
#ifndef LIMPET_WEIGHTS_H
#define LIMPET_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/* A target as one service sees it. */
struct weight_input {
	const char *name;
	uint32_t configured;  /* its own target.weight */
	uint32_t instances;   /* ready for this service */
	uint32_t connections; /* established, of this service, as the target has reported */
	bool usable;	      /* takes new connections; false: down, dead, path broken */
	bool draining;
};

/*
 * weights[i] for targets[i]; 0 for a target that is not usable, is draining, has no ready instance
 * or is configured with 0.
 *
 * maglev      the configured weight.
 * leastconn   the configured weight, times how much fewer connections the target has than its share
 *             would be, in sixteenths:
 *
 *                16 * (share + d) / (connections + d),  at least 4 and at most 64
 *
 *             where share = all connections * configured / all configured, and the damping d = 8 +
 *             half the mean. With equal weights an empty target gets at most 3 times its part, one
 *             with twice the mean at least 0.6 times: fast enough to even out, too slow to swing;
 *             and whole sixteenths, so that single connections do not change the ring.
 * hotstandby  the highest configured weight takes all, of equal ones the first by name.
 */
void weights_compute(enum distribution distribution, const struct weight_input *targets,
		     size_t count, uint32_t *weights);

#endif
