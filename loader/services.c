/* SPDX-License-Identifier: BSD-2-Clause */
#include "services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "objects.h"
#include "settings.h"

/* Which numbers do entries of the tables still refer to? */
struct references {
	bool service[MAX_SERVICES];
	unsigned int affinities[MAX_SERVICES]; /* by scope */
};

static int refer_connection(void *context, const void *key, const void *value)
{
	const struct connection_key *connection = key;
	struct references *references = context;

	(void)value;
	if (connection->service < MAX_SERVICES)
		references->service[connection->service] = true;
	return 0;
}

static int refer_affinity(void *context, const void *key, const void *value)
{
	const struct affinity_key *affinity = key;
	struct references *references = context;

	(void)value;
	if (affinity->scope < MAX_SERVICES)
		references->affinities[affinity->scope]++;
	return 0;
}

static int read_references(const struct maps *maps, struct references *references)
{
	int error;

	memset(references, 0, sizeof(*references));
	error = maps_walk(maps, MAP_ROUTER_CONNECTIONS, refer_connection, references);
	if (!error)
		error = maps_walk(maps, MAP_ROUTER_AFFINITIES, refer_affinity, references);
	if (error)
		log_error("the router's tables cannot be read: %s", strerror(-error));
	return error;
}

static int find_service(const struct router_service *services, const struct service_key *key)
{
	for (int i = 0; i < MAX_SERVICES; i++)
		if (services[i].name[0] && !memcmp(&services[i].key, key, sizeof(*key)))
			return i;
	return -ENOENT;
}

static int find_scope(const struct scope *scopes, const char *name)
{
	for (int i = 0; i < MAX_SERVICES; i++)
		if (scopes[i].name[0] && !strcmp(scopes[i].name, name))
			return i;
	return -ENOENT;
}

/* A number for this scope: the one that it has, or one that nothing refers to. */
static int number_scope(struct services_plan *plan, const struct references *references,
			const char *name)
{
	int number = find_scope(plan->scopes_after, name);

	if (number < 0)
		number = find_scope(plan->scopes_before, name);
	for (int i = 0; number < 0 && i < MAX_SERVICES; i++)
		if (!plan->scopes_before[i].name[0] && !plan->scopes_after[i].name[0] &&
		    !references->affinities[i])
			number = i;
	if (number < 0)
		return -ENOSPC;
	snprintf(plan->scopes_after[number].name, NAME_SIZE, "%s", name);
	return number;
}

/* Connections are known by what is on the wire, so a service is its address, port and protocol; its
 * name may change. */
static int number_service(struct services_plan *plan, const struct references *references,
			  const struct service_key *key)
{
	int number = find_service(plan->before, key);

	for (int i = 0; number < 0 && i < MAX_SERVICES; i++)
		if (!plan->before[i].name[0] && !plan->after[i].name[0] && !references->service[i])
			number = i;
	return number < 0 ? -ENOSPC : number;
}

static int plan_service(struct services_plan *plan, const struct references *references,
			const struct config_service *from)
{
	int scope = number_scope(plan, references, from->scope);
	int number = number_service(plan, references, &from->key);
	struct router_service *service;

	if (number < 0 || scope < 0) {
		log_error("service %s: no number is free: connections or affinities of removed "
			  "services still hold theirs; try again when those have ended",
			  from->name);
		return -ENOSPC;
	}
	service = &plan->after[number];
	plan->is_new[number] = !plan->before[number].name[0];
	service->sequence = plan->before[number].sequence;
	service->since_ns = plan->is_new[number] ? plan->now_ns : plan->before[number].since_ns;
	memcpy(service->name, from->name, NAME_SIZE);
	service->key = from->key;
	service->scope = scope;
	service->affinity = from->affinity;
	service->client_prefix = from->client_prefix;
	service->serving = 1;
	service->distribution = from->distribution;
	service->takeover = from->takeover;
	service->affinity_idle_ms = from->affinity_idle_ms;
	service->affinity_max_life_ms = from->affinity_max_life_ms;
	return 0;
}

/* Under another prefix or in another scope affinities would not be found again. A change between
 * requested and timed leaves those that there are. */
static bool ends_affinities(const struct router_service *old, const struct router_service *new)
{
	return old->scope != new->scope || old->client_prefix != new->client_prefix ||
	       (old->affinity != new->affinity &&new->affinity == AFFINITY_NONE);
}

/* What differs between before and after; whose affinities end by that. */
static void compare(struct services_plan *plan, const struct references *references)
{
	bool ends[MAX_SERVICES] = {false};

	for (int i = 0; i < MAX_SERVICES; i++) {
		const struct router_service *old = &plan->before[i], *new = &plan->after[i];

		plan->added += plan->is_new[i];
		plan->removed += old->name[0] && !new->name[0];
		if (!old->name[0] || !new->name[0] || !memcmp(old, new, sizeof(*old)))
			continue;
		plan->changed++;
		if (!ends_affinities(old, new))
			continue;
		if (old->scope >= MAX_SERVICES || ends[old->scope] ||
		    !references->affinities[old->scope])
			continue;
		ends[old->scope] = true;
		if (!plan->affinities)
			memcpy(plan->changes, old->name, NAME_SIZE);
		plan->affinities += references->affinities[old->scope];
	}
}

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

struct services_plan *services_plan(const struct config *config, const struct maps *maps)
{
	struct services_plan *plan = calloc(1, sizeof(*plan));
	struct references references;
	int error;

	if (!plan) {
		log_error("out of memory");
		return NULL;
	}
	plan->now_ns = now_ns();
	error = maps_get_all(maps, MAP_ROUTER_SERVICES, plan->before, MAX_SERVICES);
	if (!error)
		error = maps_get_all(maps, MAP_ROUTER_SCOPES, plan->scopes_before, MAX_SERVICES);
	if (error)
		log_error("the router's services cannot be read: %s", strerror(-error));
	else
		error = read_references(maps, &references);
	for (unsigned int i = 0; i < config->router.service_count && !error; i++)
		error = plan_service(plan, &references, &config->router.services[i]);
	if (error) {
		free(plan);
		return NULL;
	}
	compare(plan, &references);
	return plan;
}

/* ------------------------------------------------------------------------------------------
 * apply */

/* A number's former ring and readiness go before it gets a new name. What XDP has noted under the
 * former name is older than the service's since_ns. */
static int clear_new(const struct services_plan *plan, const struct maps *maps)
{
	const struct service_state none = {0};
	const struct unserved nobody = {0};
	int error = 0;

	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		if (!plan->is_new[i])
			continue;
		error = maps_delete(maps, MAP_RINGS, &i);
		if (!error || error == -ENOENT)
			error = maps_put(maps, MAP_SERVICE_STATE, &i, &none);
		if (!error)
			error = maps_put(maps, MAP_UNSERVED, &i, &nobody);
	}
	return error;
}

/* The elements by number; of removed services only when nothing leads to them any more. */
static int put_elements(const struct services_plan *plan, const struct maps *maps, bool removed)
{
	int error = 0;

	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		struct router_service after = plan->after[i];

		if (!after.name[0] == removed &&
		    (after.sequence & 1 || memcmp(&plan->before[i], &after, sizeof(after))))
			error = maps_put_service(maps, i, &after);
	}
	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		bool is_removed = !plan->scopes_after[i].name[0];

		if (is_removed == removed && memcmp(&plan->scopes_before[i], &plan->scopes_after[i],
						    sizeof(plan->scopes_after[i])))
			error = maps_put(maps, MAP_ROUTER_SCOPES, &i, &plan->scopes_after[i]);
	}
	return error;
}

int services_apply(const struct services_plan *plan, const struct maps *maps)
{
	int error = clear_new(plan, maps);

	if (!error)
		error = put_elements(plan, maps, false);
	if (!error) /* the commit point: from here on a service is one, and another is none */
		error = maps_put_service_index(maps, plan->after);
	if (!error)
		error = put_elements(plan, maps, true);
	if (error)
		log_error("the router's services cannot be written: %s", strerror(-error));
	return error;
}

/* Drawn once: with another one, all that XDP remembers would be lost. */
static int keep_secret(const struct maps *maps, struct settings *settings)
{
	struct settings before;
	__u32 zero = 0;
	int error = maps_get(maps, MAP_SETTINGS, &zero, &before);

	if (error)
		return error;
	memcpy(settings->flow_secret, before.flow_secret, sizeof(settings->flow_secret));
	if (settings->flow_secret[0] | settings->flow_secret[1])
		return 0;
	if (getentropy(settings->flow_secret, sizeof(settings->flow_secret)))
		return -errno;
	return 0;
}

int settings_apply(const struct config *config, const struct maps *maps)
{
	struct settings settings;
	__u32 zero = 0;
	int error;

	settings_from(config, &settings);
	settings.flow_bits = objects_map_bits(config, MAP_FLOWS);
	settings.handshake_bits = objects_map_bits(config, MAP_HANDSHAKES);
	settings.sighting_bits = objects_map_bits(config, MAP_SIGHTINGS);
	settings.present_bits = objects_map_bits(config, MAP_PRESENT);
	settings.present_affinity_bits = objects_affinity_bits(config);
	error = keep_secret(maps, &settings);
	if (!error)
		error = maps_put(maps, MAP_SETTINGS, &zero, &settings);
	if (error)
		log_error("the settings cannot be written: %s", strerror(-error));
	return error;
}
