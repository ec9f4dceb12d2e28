/* SPDX-License-Identifier: BSD-2-Clause */
/* target_view.c - what the target's part shows: `limpet show instances|routers|sync`. */
#include <string.h>

#include "listeners.h"
#include "pids.h"

static void add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

static void add_number(struct json_object *object, const char *name, uint64_t number)
{
	json_object_object_add(object, name, json_object_new_int64(number));
}

static const char *state_text(const struct instance *instance, const struct instance_load *load)
{
	if (instance->state == INSTANCE_ENDED)
		return "ended";
	if (load->shared)
		return "shared";
	return instance->state == INSTANCE_DRAINING ? "draining" : "ready";
}

/* All services that it has a listener for: "shop", or "shop,shop-tls". */
static void add_services(const struct target_part *target, struct json_object *object,
			 unsigned int slot)
{
	const struct instance_table *table = listeners_table(target->listeners);
	bool serves[MAX_SERVICES];
	char text[512] = "";

	instances_services(table, slot, target->numbers, serves);
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		size_t length = strlen(text);

		if (!serves[i])
			continue;
		snprintf(text + length, sizeof(text) - length, "%s%s", length ? "," : "",
			 target->numbers->service[i].name);
	}
	add_text(object, "service", text);
}

/* Who asks over its listeners is who accepts there: a worker, where a master listens. When that has
 * exited nobody can tell who accepts until the next one asks. */
static uint32_t accepting_pid(const struct target_part *target, const struct instance *instance,
			      const struct instance_load *load)
{
	uint32_t pid = (uint32_t)load->asker;
	struct process process;

	if (!pid || !pids_are_the_machines() ||
	    maps_get(&target->agent->maps, MAP_PROCESSES, &pid, &process) ||
	    process.incarnation != load->asker)
		return instance->pid;
	return pid;
}

static struct json_object *instance_json(const struct target_part *target, __u32 slot)
{
	const struct instance_entry *entry = &listeners_table(target->listeners)->instance[slot];
	const struct instance *instance = &entry->kernel;
	struct json_object *object = json_object_new_object();
	struct instance_load load = {0};
	char command[COMMAND_SIZE];
	uint32_t pid;

	maps_get(&target->agent->maps, MAP_INSTANCE_LOAD, &slot, &load);
	pid = accepting_pid(target, instance, &load);
	add_number(object, "id", instance->id);
	add_services(target, object, slot);
	add_number(object, "pid", pid);
	add_text(object, "command", process_command(pid, command));
	add_number(object, "listener_pid", instance->pid);
	add_number(object, "socket", listeners_inode(target->listeners, slot));
	add_text(object, "state", state_text(instance, &load));
	/* By itself, whether the whole target drains or not. */
	json_object_object_add(object, "drained", json_object_new_boolean(entry->drained));
	add_number(object, "connections", load.connections);
	add_number(object, "affinities", load.affinities);
	if (load.shared && instance->state != INSTANCE_ENDED)
		add_text(object, "remedy",
			 "several processes accept on one listener, so no client can be steered "
			 "to one of them; let each worker open its own with SO_REUSEPORT, or "
			 "start the program once for each process");
	else if (listeners_outranked(target->listeners, slot))
		add_text(object, "remedy", OUTRANKED);
	return object;
}

static struct json_object *unadoptable_json(const struct target_part *target,
					    const struct unadoptable *entry)
{
	struct json_object *object = json_object_new_object();

	add_number(object, "id", 0);
	add_text(object, "service", target->numbers->service[entry->service].name);
	add_number(object, "pid", entry->pid);
	add_text(object, "command", entry->command);
	add_text(object, "state", "unadoptable");
	add_number(object, "connections", 0);
	add_number(object, "affinities", 0);
	add_text(object, "remedy", entry->remedy);
	return object;
}

struct json_object *target_instances_json(const struct target_part *target)
{
	const struct instance_table *table = listeners_table(target->listeners);
	const struct unadoptables *unadoptable = listeners_unadoptable(target->listeners);
	struct json_object *list = json_object_new_array();

	for (__u32 i = 0; i < MAX_INSTANCES; i++)
		if (table->instance[i].kernel.state != INSTANCE_FREE)
			json_object_array_add(list, instance_json(target, i));
	for (unsigned int i = 0; i < unadoptable->count; i++)
		json_object_array_add(list, unadoptable_json(target, &unadoptable->entry[i]));
	return list;
}

/* Milliseconds since the router was heard; -1: never. */
static int64_t heard_ms(const struct target_part *target, unsigned int router)
{
	const struct router_link *link = &target->link[router];
	uint64_t last = link->session && link->up ? session_last_heard_ms(link->session)
						  : link->last_heard_ms;

	return last ? (int64_t)(agent_now_ms() - last) : -1;
}

static const char *peer_name(const struct router_link *link, char text[ADDRESS_TEXT])
{
	return link->name[0] ? link->name
			     : endpoint_format(&link->endpoint.address, link->endpoint.port, text);
}

struct json_object *target_routers_json(const struct target_part *target)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		const struct router_link *link = &target->link[i];
		const struct mirror_router *state = target_mirror_router(target->mirror, i);
		struct json_object *object;
		char text[ADDRESS_TEXT];

		if (!link->used)
			continue;
		object = json_object_new_object();
		add_text(object, "name", peer_name(link, text));
		add_text(object, "address",
			 endpoint_format(&link->endpoint.address, link->endpoint.port, text));
		add_text(object, "state", link->up ? "connected" : "disconnected");
		add_text(object, "role",
			 !link->up || !state	      ? "unknown"
			 : state->role == ROLE_ACTIVE ? "active"
						      : "standby");
		add_number(object, "epoch", link->up && state ? state->epoch : 0);
		json_object_object_add(object, "last_heard_ms",
				       json_object_new_int64(heard_ms(target, i)));
		json_object_array_add(list, object);
	}
	return list;
}

/* What a router has of our table. Whether it is the same there the router alone can tell: it gets
 * our sums each second, and asks for the table anew when they differ. */
struct json_object *target_sync_json(const struct target_part *target)
{
	struct json_object *list = json_object_new_array();
	uint64_t here = target_mirror_connections(target->mirror) +
			target_mirror_affinities(target->mirror);

	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		const struct router_link *link = &target->link[i];
		const struct mirror_router *state = target_mirror_router(target->mirror, i);
		uint64_t missing = link->up && state ? state->unsent : here;
		struct json_object *object;
		char text[ADDRESS_TEXT];

		if (!link->used)
			continue;
		object = json_object_new_object();
		if (missing > here)
			missing = here;
		add_text(object, "peer", peer_name(link, text));
		add_number(object, "here", here);
		add_number(object, "there", here - missing);
		add_number(object, "missing", missing);
		add_text(object, "digest",
			 link->up && state && state->synced ? "equal" : "different");
		json_object_object_add(object, "last_heard_ms",
				       json_object_new_int64(heard_ms(target, i)));
		json_object_array_add(list, object);
	}
	return list;
}
