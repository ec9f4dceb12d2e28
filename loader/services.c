/* SPDX-License-Identifier: BSD-2-Clause */
#include "services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

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

static int copy_service(void *context, const void *key, const void *value)
{
	struct router_service *services = context;

	memcpy(&services[*(const __u32 *)key], value, sizeof(*services));
	return 0;
}

static int copy_scope(void *context, const void *key, const void *value)
{
	struct scope *scopes = context;

	memcpy(&scopes[*(const __u32 *)key], value, sizeof(*scopes));
	return 0;
}

static int find_service(const struct router_service *services, const char *name)
{
	for (int i = 0; i < MAX_SERVICES; i++)
		if (services[i].name[0] && !strcmp(services[i].name, name))
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

static int number_service(struct services_plan *plan, const struct references *references,
			  const char *name)
{
	int number = find_service(plan->before, name);

	for (int i = 0; number < 0 && i < MAX_SERVICES; i++)
		if (!plan->before[i].name[0] && !plan->after[i].name[0] && !references->service[i])
			number = i;
	return number < 0 ? -ENOSPC : number;
}

static int plan_service(struct services_plan *plan, const struct references *references,
			const struct config_service *from)
{
	int scope = number_scope(plan, references, from->scope);
	int number = number_service(plan, references, from->name);
	struct router_service *service;

	if (number < 0 || scope < 0) {
		log_error("service %s: no number is free: connections or affinities of removed "
			  "services still hold theirs; try again when those have ended",
			  from->name);
		return -ENOSPC;
	}
	service = &plan->after[number];
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
	plan->is_new[number] = !plan->before[number].name[0];
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

struct services_plan *services_plan(const struct config *config, const struct maps *maps)
{
	struct services_plan *plan = calloc(1, sizeof(*plan));
	struct references references;
	int error;

	if (!plan) {
		log_error("out of memory");
		return NULL;
	}
	error = maps_walk(maps, MAP_ROUTER_SERVICES, copy_service, plan->before);
	if (!error)
		error = maps_walk(maps, MAP_ROUTER_SCOPES, copy_scope, plan->scopes_before);
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

/* Keys of one map that have a number which is used again. */
struct stale {
	const bool *is_new;
	struct connection_key *keys;
	size_t count, room;
};

static int collect_stale(void *context, const void *key, const void *value)
{
	const struct connection_key *connection = key;
	struct stale *stale = context;

	(void)value;
	if (connection->service >= MAX_SERVICES || !stale->is_new[connection->service])
		return 0;
	if (stale->count == stale->room) {
		size_t room = stale->room ? stale->room * 2 : 1024;
		void *keys = realloc(stale->keys, room * sizeof(*stale->keys));

		if (!keys)
			return -ENOMEM;
		stale->keys = keys;
		stale->room = room;
	}
	stale->keys[stale->count++] = *connection;
	return 0;
}

/* What XDP has noted under a number's former name is nobody's. */
static int forget_flows(const struct services_plan *plan, const struct maps *maps, enum map_id id)
{
	struct stale stale = {.is_new = plan->is_new};
	int error = maps_walk(maps, id, collect_stale, &stale);

	for (size_t i = 0; i < stale.count && !error; i++) {
		error = maps_delete(maps, id, &stale.keys[i]);
		if (error == -ENOENT)
			error = 0;
	}
	free(stale.keys);
	return error;
}

/* A number's former ring and readiness go before it gets a new name. */
static int clear_new(const struct services_plan *plan, const struct maps *maps)
{
	const struct service_state none = {0};
	int error = 0;

	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		if (!plan->is_new[i])
			continue;
		error = maps_delete(maps, MAP_RINGS, &i);
		if (!error || error == -ENOENT)
			error = maps_put(maps, MAP_SERVICE_STATE, &i, &none);
	}
	if (!error && plan->added)
		error = forget_flows(plan, maps, MAP_FLOWS);
	if (!error && plan->added)
		error = forget_flows(plan, maps, MAP_SIGHTINGS);
	return error;
}

/* The elements by number; of removed services only when nothing leads to them any more. */
static int put_elements(const struct services_plan *plan, const struct maps *maps, bool removed)
{
	int error = 0;

	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		bool is_removed = !plan->after[i].name[0];

		if (is_removed == removed &&
		    memcmp(&plan->before[i], &plan->after[i], sizeof(plan->after[i])))
			error = maps_put(maps, MAP_ROUTER_SERVICES, &i, &plan->after[i]);
	}
	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		bool is_removed = !plan->scopes_after[i].name[0];

		if (is_removed == removed && memcmp(&plan->scopes_before[i], &plan->scopes_after[i],
						    sizeof(plan->scopes_after[i])))
			error = maps_put(maps, MAP_ROUTER_SCOPES, &i, &plan->scopes_after[i]);
	}
	return error;
}

/* The key of the address alone: port 0, protocol 0. */
static struct service_key address_only(const struct service_key *key)
{
	struct service_key only = {.address = key->address};

	return only;
}

/* The commit point: from here on a service is one. */
static int put_keys(const struct services_plan *plan, const struct maps *maps)
{
	const __u32 none = NO_NUMBER;
	int error = 0;

	for (__u32 i = 0; i < MAX_SERVICES && !error; i++) {
		struct service_key only = address_only(&plan->after[i].key);

		if (!plan->after[i].name[0])
			continue;
		error = maps_put(maps, MAP_SERVICE_INDEX, &only, &none);
		if (!error)
			error = maps_put(maps, MAP_SERVICE_INDEX, &plan->after[i].key, &i);
	}
	return error;
}

static bool is_wanted(const struct services_plan *plan, const struct service_key *key)
{
	for (int i = 0; i < MAX_SERVICES; i++) {
		const struct router_service *service = &plan->after[i];
		struct service_key only = address_only(&service->key);

		if (service->name[0] && (!memcmp(&service->key, key, sizeof(*key)) ||
					 !memcmp(&only, key, sizeof(only))))
			return true;
	}
	return false;
}

struct unwanted {
	const struct services_plan *plan;
	struct service_key keys[MAX_SERVICES * 2];
	unsigned int count;
};

static int collect_unwanted(void *context, const void *key, const void *value)
{
	struct unwanted *unwanted = context;

	(void)value;
	if (!is_wanted(unwanted->plan, key) && unwanted->count < MAX_SERVICES * 2)
		memcpy(&unwanted->keys[unwanted->count++], key, sizeof(struct service_key));
	return 0;
}

static int remove_keys(const struct services_plan *plan, const struct maps *maps)
{
	struct unwanted *unwanted = calloc(1, sizeof(*unwanted));
	int error;

	if (!unwanted)
		return -ENOMEM;
	unwanted->plan = plan;
	error = maps_walk(maps, MAP_SERVICE_INDEX, collect_unwanted, unwanted);
	for (unsigned int i = 0; i < unwanted->count && !error; i++)
		error = maps_delete(maps, MAP_SERVICE_INDEX, &unwanted->keys[i]);
	free(unwanted);
	return error;
}

int services_apply(const struct services_plan *plan, const struct maps *maps)
{
	int error = clear_new(plan, maps);

	if (!error)
		error = put_elements(plan, maps, false);
	if (!error)
		error = put_keys(plan, maps);
	if (!error)
		error = remove_keys(plan, maps);
	if (!error)
		error = put_elements(plan, maps, true);
	if (error)
		log_error("the router's services cannot be written: %s", strerror(-error));
	return error;
}

int settings_apply(const struct config *config, const struct maps *maps)
{
	struct settings settings = {
		.hold_ns = config->router.hold_ms * 1000000ULL,
		.is_router = config->has_router,
		.is_target = config->has_target,
	};
	__u32 zero = 0;
	int error;

	if (config->has_router) {
		if (address_is_ipv4(&config->router.address))
			settings.source4 = config->router.address;
		settings.source6 = config->router.address6;
	}
	if (config->has_target)
		settings.target = config->target.address;
	error = maps_put(maps, MAP_SETTINGS, &zero, &settings);
	if (error)
		log_error("the settings cannot be written: %s", strerror(-error));
	return error;
}
