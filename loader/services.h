/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * services.h - the configuration's services in the router's maps, under numbers that are bound to
 * their addresses, ports and protocols. First plan, which changes nothing, then apply. Functions
 * that fail have said why in the log and return a negative errno.
 */
#ifndef LIMPET_SERVICES_H
#define LIMPET_SERVICES_H

#include "config.h"
#include "maps.h"

struct services_plan {
	struct router_service before[MAX_SERVICES], after[MAX_SERVICES];
	struct scope scopes_before[MAX_SERVICES], scopes_after[MAX_SERVICES];
	__u64 now_ns;
	bool is_new[MAX_SERVICES]; /* a number that this service has not had before */
	unsigned int added, removed, changed;
	unsigned int affinities; /* that end, since prefix, scope or affinity of their service
				    change */
	char changes[NAME_SIZE]; /* the first of those services */
};

/* NULL: said why. To be freed with free(). */
struct services_plan *services_plan(const struct config *config, const struct maps *maps);
/* No packet of a service that stays is without it for a moment. */
int services_apply(const struct services_plan *plan, const struct maps *maps);

/* node/settings as the configuration says. */
int settings_apply(const struct config *config, const struct maps *maps);

#endif
