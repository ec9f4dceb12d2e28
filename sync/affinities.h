/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * affinities.h - ends affinities whose time, process, instance or service is over, and deletes the
 * entries of those that have ended. The kernel's programs look at all of this themselves at each
 * use; here it is made so for the routers, and the table is kept small.
 */
#ifndef LIMPET_AFFINITIES_H
#define LIMPET_AFFINITIES_H

#include "affinity_rule.h"
#include "target_part.h"

struct affinities;

struct affinities *affinities_new(struct target_part *target);
void affinities_free(struct affinities *affinities);

/* Look at every entry now. Each second, and soon after something has died. */
void affinities_sweep(struct affinities *affinities);
/* The same before the event loop waits again; many calls make one sweep. */
void affinities_sweep_soon(struct affinities *affinities);
/* Grants of affinities that are no more. */
void affinities_sweep_grants(struct affinities *affinities);

/* -ENOENT: it is no longer the one with this id. The kernel tells of the end by an event. */
int affinities_end(struct target_part *target, const struct affinity_key *key, uint64_t id,
		   enum affinity_end reason);
/* End those that match; how many. */
unsigned int affinities_end_where(struct target_part *target,
				  bool (*match)(void *context, const struct affinity_key *key,
						const struct target_affinity *value),
				  void *context, enum affinity_end reason);

#endif
