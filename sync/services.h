/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * services.h - which services a target serves, of those that its routers list, and by which
 * numbers. Pure: no I/O; target_services.c writes the maps.
 */
#ifndef LIMPET_SERVICES_H
#define LIMPET_SERVICES_H

#include <stdbool.h>

#include "wire.h"

#define NO_ROUTER MAX_ROUTERS

/* One configured router, and the last complete list of services that it has sent. */
struct router_list {
	bool configured;
	bool heard; /* has sent a list since this agent started */
	bool connected;
	bool active; /* role */
	unsigned int count;
	struct message_service *service;
};

struct wanted_service {
	struct message_service service;
	unsigned int router; /* whose word it is; NO_ROUTER: kept from before this agent started */
};

struct service_conflict {
	const struct message_service *kept, *dropped;
	unsigned int kept_router, dropped_router; /* NO_ROUTER as above */
};

/*
 * What is to be served: everything that any router lists. A service is an address, a port and a
 * protocol; its name is a label. Where two define one differently, a connected active router's word
 * counts most, then a connected standby's, then the last word of one that is not connected.
 * `present` is what is served already: it stays while a configured router has not been heard since
 * this agent started, for that one may have listed it.
 *
 * At most MAX_SERVICES into wanted[]; their number is returned. conflict may be NULL.
 */
unsigned int
services_merge(const struct router_list lists[MAX_ROUTERS], const struct message_service *present,
	       unsigned int present_count, struct wanted_service wanted[MAX_SERVICES],
	       void (*conflict)(void *context, const struct service_conflict *conflict),
	       void *context);

struct service_numbers {
	struct target_service service[MAX_SERVICES]; /* empty name: number not in use */
	struct scope scope[MAX_SERVICES];
	bool active[MAX_SERVICES]; /* served; else something may still refer to the number */
};

/* The number of the service with this address, port and protocol, given one where it has none: a
 * number that nothing refers to, and this name. -ENOSPC. */
int services_number(struct service_numbers *numbers, const char *name,
		    const struct service_key *key);
/* The same for a scope's name. */
int services_scope_number(struct service_numbers *numbers, const char *name);
/* The number of the served service with this name, or -ENOENT. */
int services_find(const struct service_numbers *numbers, const char *name);
/* Is the scope among those of the served services? */
bool services_scope_active(const struct service_numbers *numbers, unsigned int scope);
/* Numbers that are neither served nor named in referred[] / scope_referred[] are free again. */
void services_release(struct service_numbers *numbers, const bool referred[MAX_SERVICES],
		      const bool scope_referred[MAX_SERVICES]);

void service_from_message(const struct message_service *message, unsigned int scope,
			  struct target_service *service);
void service_to_message(const struct service_numbers *numbers, unsigned int number,
			struct message_service *message);
bool service_key_equal(const struct service_key *a, const struct service_key *b);

#endif
