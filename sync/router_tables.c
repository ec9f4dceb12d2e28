/* SPDX-License-Identifier: BSD-2-Clause */
/* router_tables.c - the pinned CRHT and the roster: written for the mirror, read after a restart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "roster.h"
#include "router_internal.h"

#define FULL_LOG_MS 10000

static int count_full(struct router_part *router, const char *table, int error)
{
	uint64_t now = agent_now_ms();

	/* A BPF hash says E2BIG when it is full. */
	if (error == -E2BIG)
		error = -ENOSPC;
	if (!error || error == -ENOENT)
		return error;
	router->full++;
	if (router->full_logged_ms && now - router->full_logged_ms < FULL_LOG_MS)
		return error;
	log_warning("table %s: %u entries found no room: %s; raise tables.%s", table, router->full,
		    strerror(-error), table);
	router->full_logged_ms = now;
	router->full = 0;
	return error;
}

int router_put_connection(void *context, const struct connection_key *key,
			  const struct router_connection *value)
{
	struct router_part *router = context;
	const struct maps *maps = &router->agent->maps;

	if (!value)
		return maps_delete(maps, MAP_ROUTER_CONNECTIONS, key);
	return count_full(router, "connections",
			  maps_put(maps, MAP_ROUTER_CONNECTIONS, key, value));
}

int router_put_affinity(void *context, const struct affinity_key *key,
			const struct router_affinity *value)
{
	struct router_part *router = context;
	const struct maps *maps = &router->agent->maps;

	if (!value)
		return maps_delete(maps, MAP_ROUTER_AFFINITIES, key);
	return count_full(router, "affinities", maps_put(maps, MAP_ROUTER_AFFINITIES, key, value));
}

int router_noted_target(const struct flow *flow, const struct router_role *role)
{
	if (flow->state != FLOW_STATE_NOTED || flow->since_ns < role->since_ns)
		return -ENOENT;
	return flow->target;
}

int router_noted(void *context, const struct connection_key *key)
{
	struct router_part *router = context;
	struct flow flow;
	int error = maps_get(&router->agent->maps, MAP_FLOWS, key, &flow);

	return error ? error : router_noted_target(&flow, &router->role);
}

/* ------------------------------------------------------------------------------------------------
 * services */

static int take_service(void *context, const void *key, const void *value)
{
	struct router_part *router = context;
	__u32 number = *(const __u32 *)key;

	if (number < MAX_SERVICES)
		memcpy(&router->services[number], value, sizeof(router->services[number]));
	return 0;
}

static int take_scope(void *context, const void *key, const void *value)
{
	struct router_part *router = context;
	__u32 number = *(const __u32 *)key;

	if (number < MAX_SERVICES)
		memcpy(&router->scopes[number], value, sizeof(router->scopes[number]));
	return 0;
}

static int take_service_state(void *context, const void *key, const void *value)
{
	struct router_part *router = context;
	__u32 number = *(const __u32 *)key;

	if (number < MAX_SERVICES)
		memcpy(&router->service_state[number], value,
		       sizeof(router->service_state[number]));
	return 0;
}

int router_read_services(struct router_part *router)
{
	const struct maps *maps = &router->agent->maps;
	int error = maps_walk(maps, MAP_ROUTER_SERVICES, take_service, router);

	if (!error)
		error = maps_walk(maps, MAP_ROUTER_SCOPES, take_scope, router);
	if (!error)
		error = maps_walk(maps, MAP_SERVICE_STATE, take_service_state, router);
	if (error)
		log_error("services: cannot be read from the pinned maps: %s", strerror(-error));
	return error;
}

/* ------------------------------------------------------------------------------------------------
 * restart */

static void roster_path(const struct router_part *router, char path[4096])
{
	snprintf(path, 4096, "%s/roster", router->agent->config->state_directory);
}

static int take_target(void *context, const void *key, const void *value)
{
	struct router_part *router = context;
	__u32 number = *(const __u32 *)key;

	if (number < MAX_TARGETS)
		memcpy(&router->forwards[number].pinned, value, sizeof(struct target));
	return 0;
}

static const struct roster_entry *roster_find(const struct roster_entry *entries, int count,
					      const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strncmp(entries[i].name, name, NAME_SIZE))
			return &entries[i];
	return NULL;
}

/* Who is in router/targets keeps the number; who is on the roster alone gets a free one. */
static void restore_targets(struct router_part *router, const struct roster_entry *entries,
			    int count)
{
	unsigned int free_number = 0;

	router->settled = true; /* nothing is pinned that is better than what will be reported */
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		const struct target *pinned = &router->forwards[i].pinned;
		const struct roster_entry *entry = roster_find(entries, count, pinned->name);

		if (!pinned->name[0])
			continue;
		router->settled = false;
		router_mirror_restore_target(router->mirror, (uint16_t)i, pinned->name,
					     entry ? entry->node_id : 0,
					     entry ? &entry->address : &pinned->address, entry);
		router_target_changed(router, (uint16_t)i);
	}
	for (int i = 0; i < count; i++) {
		if (router_mirror_find(router->mirror, entries[i].name) >= 0)
			continue;
		while (free_number < MAX_TARGETS && router->forwards[free_number].pinned.name[0])
			free_number++;
		if (free_number == MAX_TARGETS)
			return;
		router_mirror_restore_target(router->mirror, (uint16_t)free_number, entries[i].name,
					     entries[i].node_id, &entries[i].address, true);
		router_target_changed(router, (uint16_t)free_number++);
	}
}

static int take_connection(void *context, const void *key, const void *value)
{
	struct router_part *router = context;

	router_mirror_restore_connection(router->mirror, key, value);
	return 0;
}

static int take_affinity(void *context, const void *key, const void *value)
{
	struct router_part *router = context;

	router_mirror_restore_affinity(router->mirror, key, value);
	return 0;
}

int router_restore(struct router_part *router)
{
	const struct maps *maps = &router->agent->maps;
	struct roster_entry *entries;
	const char *why = "";
	char path[4096];
	int count, error;

	roster_path(router, path);
	count = roster_read(path, &entries, &why);
	if (count < 0) {
		log_error("%s: cannot be read: %s; restore it, or remove it and let every target "
			  "join before this router becomes active",
			  path, why);
		return count;
	}
	error = maps_walk(maps, MAP_TARGETS, take_target, router);
	if (!error) {
		restore_targets(router, entries, count);
		error = maps_walk(maps, MAP_ROUTER_CONNECTIONS, take_connection, router);
	}
	if (!error)
		error = maps_walk(maps, MAP_ROUTER_AFFINITIES, take_affinity, router);
	free(entries);
	if (error)
		log_error("tables: cannot be read from the pinned maps: %s", strerror(-error));
	else if (count)
		log_info("roster: %d targets are expected", count);
	return error;
}

void router_write_roster(struct router_part *router)
{
	struct roster_entry *entries = calloc(MAX_TARGETS, sizeof(*entries));
	char path[4096];
	size_t count = 0;
	int error;

	if (!entries)
		return;
	roster_path(router, path);
	for (unsigned int i = 0; i < router->forward_limit; i++) {
		const struct mirror_target *target =
			router_mirror_target(router->mirror, (uint16_t)i);

		if (!target || !target->name[0] || !target->in_roster)
			continue;
		memcpy(entries[count].name, target->name, NAME_SIZE);
		entries[count].node_id = target->node_id;
		entries[count++].address = target->address;
	}
	error = roster_write(path, entries, count);
	free(entries);
	/* Tried again with the next change; until then a restart would not know whom it misses. */
	router->roster_dirty = error != 0;
	if (error)
		log_error("%s: cannot be written: %s; make room or make it writable", path,
			  strerror(-error));
}
