/* SPDX-License-Identifier: BSD-2-Clause */
/* router_tables.c - the pinned CRHT and the roster: written for the mirror, read after a restart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "roster.h"
#include "router_internal.h"

#define UNWRITTEN_LOG_MS 10000
#define ROSTER_RETRY_MS	 10000

static int judge_put(struct router_part *router, const char *table, int error)
{
	uint64_t now = agent_now_ms();

	/* A BPF hash says E2BIG when it is full. */
	if (error == -E2BIG)
		error = -ENOSPC;
	/* The mirror looks after what finds no room, and router_targets.c speaks of it. */
	if (!error || error == -ENOENT || error == -ENOSPC)
		return error;
	router->unwritten++;
	if (router->unwritten_logged_ms && now - router->unwritten_logged_ms < UNWRITTEN_LOG_MS)
		return error;
	log_warning("table %s: %u entries cannot be written: %s; they are tried again", table,
		    router->unwritten, strerror(-error));
	router->unwritten_logged_ms = now;
	router->unwritten = 0;
	return error;
}

int router_put_connection(void *context, const struct connection_key *key,
			  const struct router_connection *value)
{
	struct router_part *router = context;
	struct router_call call = {.op = ROUTER_DELETE_CONNECTION, .key = *key};

	if (value) {
		call.op = ROUTER_PUT_CONNECTION;
		call.value = *value;
	}
	return judge_put(router, "connections", maps_router_call(router->program, &call));
}

static void report_affinity(struct router_part *router, const struct affinity_key *key,
			    const struct router_affinity *value)
{
	struct json_object *event;
	char text[ADDRESS_TEXT];

	if (!control_has_listener(router->agent->control) || key->scope >= MAX_SERVICES)
		return;
	event = json_object_new_object();
	json_object_object_add(event, "event", json_object_new_string("affinity"));
	json_object_object_add(event, "client",
			       json_object_new_string(address_format(&key->client, text)));
	json_object_object_add(event, "scope",
			       json_object_new_string(router->scopes[key->scope].name));
	json_object_object_add(event, "state",
			       json_object_new_string(!value	       ? "ended"
						      : value->granted ? "granted"
								       : "everywhere"));
	if (value)
		json_object_object_add(
			event, "target",
			json_object_new_string(
				router_mirror_target(router->mirror, value->target)->name));
	control_event(router->agent->control, event);
}

int router_put_affinity(void *context, const struct affinity_key *key,
			const struct router_affinity *value)
{
	struct router_part *router = context;
	struct router_call call = {.op = ROUTER_DELETE_AFFINITY, .affinity_key = *key};
	int error;

	if (value) {
		call.op = ROUTER_PUT_AFFINITY;
		call.affinity = *value;
	}
	error = judge_put(router, "affinities", maps_router_call(router->program, &call));
	if (!error)
		report_affinity(router, key, value);
	return error;
}

int router_noted_target(const struct router_call *answer, const struct router_role *role)
{
	if (answer->state != FLOW_STATE_NOTED ||
	    answer->since_ns >> HANDSHAKE_TICK_SHIFT <= role->since_ns >> HANDSHAKE_TICK_SHIFT)
		return -ENOENT;
	return (int)answer->target;
}

int router_noted(void *context, const struct connection_key *key)
{
	struct router_part *router = context;
	struct router_call call = {.op = ROUTER_LOOK_UP, .key = *key};
	int error = maps_router_call(router->program, &call);

	return error ? error : router_noted_target(&call, &router->role);
}

int router_open_program(struct router_part *router)
{
	const char *pin_path = router->agent->config->pin_path;

	router->program = maps_open_pin(pin_path, "programs", "router_agent");
	if (router->program >= 0)
		return 0;
	log_error("%s: the program router_agent cannot be used: %s; run `limpet load`", pin_path,
		  strerror(-router->program));
	return router->program;
}

/* ------------------------------------------------------------------------------------------------
 * services */

int router_read_services(struct router_part *router)
{
	const struct maps *maps = &router->agent->maps;
	int error = maps_get_all(maps, MAP_ROUTER_SERVICES, router->services, MAX_SERVICES);

	if (!error)
		error = maps_get_all(maps, MAP_ROUTER_SCOPES, router->scopes, MAX_SERVICES);
	if (!error)
		error = maps_get_all(maps, MAP_SERVICE_STATE, router->service_state, MAX_SERVICES);
	if (!error)
		error = maps_get_all(maps, MAP_UNSERVED, router->unserved, MAX_SERVICES);
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

	if (number >= MAX_TARGETS)
		return 0;
	memcpy(&router->forwards[number].pinned, value, sizeof(struct target));
	router->forwards[number].pinned.sequence = 0;
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

/*
 * Who is in router/targets keeps the number; who is on the roster alone gets a free one: that is
 * after a boot. What is pinned is written before the file, which may be older for as long as it
 * could not be written: a pinned target that is not dead serves, and is missed until it is heard.
 */
static void restore_targets(struct router_part *router, const struct roster_entry *entries,
			    int count)
{
	unsigned int free_number = 0;

	router->settled = true; /* nothing is pinned that is better than what will be reported */
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		const struct target *pinned = &router->forwards[i].pinned;
		const struct roster_entry *entry = roster_find(entries, count, pinned->name);
		bool in_roster = !(pinned->flags & TARGET_DEAD);

		if (!pinned->name[0])
			continue;
		router->settled = false;
		if (in_roster != (entry != NULL))
			router->roster_dirty = true;
		router_mirror_restore_target(router->mirror, (uint16_t)i, pinned->name,
					     entry ? entry->node_id : 0, &pinned->address,
					     in_roster);
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

bool router_was_ready(const struct target *pinned, bool in_ring, bool unserved,
		      enum distribution distribution)
{
	if (!pinned->name[0] || pinned->flags & TARGET_DEAD || unserved)
		return false;
	if (in_ring)
		return true;
	return distribution == DISTRIBUTE_HOTSTANDBY && pinned->flags & TARGET_USABLE &&
	       pinned->weight;
}

static void restore_service_ready(struct router_part *router, __u16 service, const __u16 *slots)
{
	static bool in_ring[MAX_TARGETS];

	memset(in_ring, 0, sizeof(in_ring));
	for (unsigned int i = 0; i < RING_SIZE; i++)
		if (slots[i] < MAX_TARGETS)
			in_ring[slots[i]] = true;
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		const struct target *pinned = &router->forwards[i].pinned;
		bool unserved = router->unserved[service].word[i / 64] >> i % 64 & 1;

		if (router_was_ready(pinned, in_ring[i], unserved,
				     router->services[service].distribution))
			router_mirror_restore_ready(router->mirror, (uint16_t)i, service,
						    pinned->weight);
	}
}

/* A target without an agent says READY to nobody, and its kernel serves on: what it said to this
 * agent's predecessor is in the pinned rings. */
static int restore_ready(struct router_part *router)
{
	static __u16 slots[RING_SIZE];

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		int error;

		if (!router->services[i].name[0])
			continue;
		error = maps_read_ring(&router->agent->maps, i, slots);
		if (error == -ENOENT)
			continue;
		if (error)
			return error;
		restore_service_ready(router, (__u16)i, slots);
	}
	return 0;
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
		error = restore_ready(router);
	}
	if (!error)
		error = maps_walk(maps, MAP_ROUTER_CONNECTIONS, take_connection, router);
	if (!error)
		error = maps_walk(maps, MAP_ROUTER_AFFINITIES, take_affinity, router);
	free(entries);
	if (error)
		log_error("tables: cannot be read from the pinned maps: %s", strerror(-error));
	else if (router_mirror_missing(router->mirror))
		log_info("roster: %u targets are expected", router_mirror_missing(router->mirror));
	return error;
}

/* Says once that it cannot be written, and once that it can be again. */
static void judge_roster(struct router_part *router, const char *path, int error)
{
	if (error && !router->roster_failed)
		log_error("%s: cannot be written: %s; after a boot this router would not miss who "
			  "joins from now on; make room or make it writable; it is tried again "
			  "every %u s",
			  path, strerror(-error), ROSTER_RETRY_MS / 1000);
	if (!error && router->roster_failed)
		log_info("%s: written again", path);
	router->roster_failed = error != 0;
	router->roster_dirty = error != 0;
	router->roster_due_ms = error ? agent_now_ms() + ROSTER_RETRY_MS : 0;
}

void router_write_roster(struct router_part *router)
{
	struct roster_entry *entries = calloc(MAX_TARGETS, sizeof(*entries));
	char path[4096];
	size_t count = 0;

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
	judge_roster(router, path, roster_write(path, entries, count));
	free(entries);
}
