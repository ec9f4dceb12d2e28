/* SPDX-License-Identifier: BSD-2-Clause */
#include "offline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pids.h"

static void add_text(struct json_object *row, const char *member, const char *text)
{
	json_object_object_add(row, member, text ? json_object_new_string(text) : NULL);
}

static void add_number(struct json_object *row, const char *member, __u64 number)
{
	json_object_object_add(row, member, json_object_new_int64((int64_t)number));
}

static void add_unknown(struct json_object *row, const char *const members[])
{
	for (; *members; members++)
		json_object_object_add(row, *members, NULL);
}

/* ------------------------------------------------------------------------------------------
 * targets */

struct target_counts {
	__u64 connections[MAX_TARGETS], affinities[MAX_TARGETS];
};

static int count_connection(void *context, const void *key, const void *value)
{
	const struct router_connection *connection = value;
	struct target_counts *counts = context;

	(void)key;
	if (connection->target < MAX_TARGETS && connection->state == CONNECTION_OPEN)
		counts->connections[connection->target]++;
	return 0;
}

static int count_affinity(void *context, const void *key, const void *value)
{
	const struct router_affinity *affinity = value;
	struct target_counts *counts = context;

	(void)key;
	if (affinity->target < MAX_TARGETS)
		counts->affinities[affinity->target]++;
	return 0;
}

static struct json_object *target_row(const struct target *target)
{
	static const char *const unknown[] = {"path", "weight", "ready_instances", NULL};
	struct json_object *row = json_object_new_object();
	char text[ADDRESS_TEXT];

	add_text(row, "name", target->name);
	add_text(row, "address", address_format(&target->address, text));
	add_text(row, "state",
		 target->flags & TARGET_DEAD	 ? "dead"
		 : target->flags & TARGET_USABLE ? "usable"
						 : "unusable");
	add_unknown(row, unknown);
	return row;
}

static int compare_names(const void *left, const void *right, void *context)
{
	const struct node *node = context;

	return strverscmp(node->targets[*(const __u16 *)left].name,
			  node->targets[*(const __u16 *)right].name);
}

/* As the agent does: ordered by their names, t2 before t10. */
static unsigned int targets_by_name(struct node *node, __u16 numbers[MAX_TARGETS])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < MAX_TARGETS; i++)
		if (node->targets[i].name[0])
			numbers[count++] = (__u16)i;
	qsort_r(numbers, count, sizeof(*numbers), compare_names, node);
	return count;
}

int offline_targets(struct node *node, const struct crht_filter *filter, struct listing *listing)
{
	struct target_counts *counts;
	__u16 numbers[MAX_TARGETS];
	unsigned int count;
	int error;

	(void)filter;
	if (!node->is_router)
		return 0;
	counts = calloc(1, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	error = maps_walk(&node->maps, MAP_ROUTER_CONNECTIONS, count_connection, counts);
	if (!error)
		error = maps_walk(&node->maps, MAP_ROUTER_AFFINITIES, count_affinity, counts);
	count = targets_by_name(node, numbers);
	for (unsigned int i = 0; i < count && !error; i++) {
		const struct target *target = &node->targets[numbers[i]];
		struct json_object *row = target_row(target);

		add_number(row, "connections", counts->connections[numbers[i]]);
		add_number(row, "affinities", counts->affinities[numbers[i]]);
		add_text(row, "next_hop",
			 target->flags & TARGET_LOCAL	   ? "this node"
			 : target->flags & TARGET_RESOLVED ? "resolved"
							   : NULL);
		listing_row(listing, row);
	}
	free(counts);
	return error;
}

/* ------------------------------------------------------------------------------------------
 * instances */

/* NULL: that process is gone. */
static const char *command_of(__u32 pid, char command[64])
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return NULL;
	if (!fgets(command, 64, file))
		command[0] = 0;
	fclose(file);
	command[strcspn(command, "\n")] = 0;
	return command;
}

static const char *instance_state(const struct instance *instance, const struct instance_load *load)
{
	if (instance->state == INSTANCE_ENDED)
		return "ended";
	if (load->shared)
		return "shared";
	return instance->state == INSTANCE_DRAINING ? "draining" : "ready";
}

static struct json_object *instance_row(const struct instance *instance,
					const struct instance_load *load, const char *service)
{
	struct json_object *row = json_object_new_object();
	__u32 pid = load->asker && pids_are_the_machines() ? (__u32)load->asker : instance->pid;
	char command[64];

	add_number(row, "id", instance->id);
	add_text(row, "service", service);
	add_number(row, "pid", pid);
	add_text(row, "command", command_of(pid, command));
	add_text(row, "state", instance_state(instance, load));
	add_number(row, "connections", load->connections);
	add_number(row, "affinities", load->affinities);
	return row;
}

int offline_instances(struct node *node, const struct crht_filter *filter, struct listing *listing)
{
	for (__u32 slot = 0; node->is_target && slot < MAX_INSTANCES; slot++) {
		const struct instance *instance = &node->instances[slot];
		const char *service = NULL;
		struct instance_load load = {};

		if (instance->state == INSTANCE_FREE)
			continue;
		if (instance->service < MAX_SERVICES)
			service = node->target_services[instance->service].name;
		/* One of several services may be the one that is asked for. */
		if (filter->service && service && strcmp(filter->service, service))
			continue;
		maps_get(&node->maps, MAP_INSTANCE_LOAD, &slot, &load);
		listing_row(listing, instance_row(instance, &load, service));
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------
 * routers */

static int router_row(void *context, const void *key, const void *value)
{
	static const char *const unknown[] = {"state", "role", "epoch", "last_heard_ms", NULL};
	struct json_object *row = json_object_new_object();
	const struct router *router = value;
	char text[ADDRESS_TEXT];

	address_format(key, text);
	add_text(row, "name", router->name[0] ? router->name : text);
	add_text(row, "address", text);
	add_unknown(row, unknown);
	listing_row(context, row);
	return 0;
}

int offline_routers(struct node *node, const struct crht_filter *filter, struct listing *listing)
{
	(void)filter;
	return node->is_target ? maps_walk(&node->maps, MAP_ROUTERS, router_row, listing) : 0;
}
