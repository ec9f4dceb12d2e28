/* SPDX-License-Identifier: BSD-2-Clause */
/* router_view.c - what the router's part shows: `limpet ready`, `limpet show targets|sync`. */
#include <stdlib.h>
#include <string.h>

#include "interfaces.h"
#include "router_internal.h"

static int compare_names(const void *left, const void *right, void *context)
{
	const struct router_mirror *mirror = context;

	return strverscmp(router_mirror_target(mirror, *(const uint16_t *)left)->name,
			  router_mirror_target(mirror, *(const uint16_t *)right)->name);
}

/* The numbers of those that have a name, ordered by it, t2 before t10: numbers are given as targets
 * join, and tell a reader nothing. */
static unsigned int targets_by_name(const struct router_part *router, uint16_t numbers[MAX_TARGETS])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < router->forward_limit; i++) {
		const struct mirror_target *target =
			router_mirror_target(router->mirror, (uint16_t)i);

		if (target && target->name[0])
			numbers[count++] = (uint16_t)i;
	}
	qsort_r(numbers, count, sizeof(*numbers), compare_names, router->mirror);
	return count;
}

int router_ready(const struct router_part *router, char *text, size_t size)
{
	uint16_t numbers[MAX_TARGETS];
	unsigned int count;
	size_t length = 0;

	text[0] = 0;
	if (router_mirror_in_sync(router->mirror))
		return interface_without_xdp(router->agent->config) ? 1 : 0;
	count = targets_by_name(router, numbers);
	for (unsigned int i = 0; i < count; i++) {
		const struct mirror_target *target =
			router_mirror_target(router->mirror, numbers[i]);
		const char *why = "";
		int added;

		if (!target->in_roster || target->in_sync)
			continue;
		if (target->state == TARGET_UP)
			why = target->crowded ? " (its own table has no room for all)"
					      : " (the tables have no room for it)";
		added = snprintf(text + length, size - length, "%s%s%s", length ? ", " : "",
				 target->name, why);
		if (added < 0 || (size_t)added >= size - length)
			return 1;
		length += (size_t)added;
	}
	if (length && router_mirror_asks_late(router->mirror))
		snprintf(text + length, size - length,
			 "; with standby_sync: on-failure a standby asks when it becomes active");
	return 1;
}

/* `limpet ready` does not ask for this: whoever is to be missed now is known, and a takeover would
 * help nobody. */
bool router_roster_written(const struct router_part *router)
{
	return !router->roster_failed;
}

const struct mirror_counts *router_counts(const struct router_part *router)
{
	return router_mirror_counts(router->mirror);
}

static struct json_object *target_json(const struct router_part *router, uint16_t number)
{
	const struct mirror_target *target = router_mirror_target(router->mirror, number);
	const struct forward *forward = &router->forwards[number];
	bool local = forward->pinned.flags & TARGET_LOCAL;
	struct json_object *object = json_object_new_object();
	char address[ADDRESS_TEXT];

	address_format(&target->address, address);
	json_object_object_add(object, "name", json_object_new_string(target->name));
	json_object_object_add(object, "address", json_object_new_string(address));
	json_object_object_add(object, "state", json_object_new_string(router_state_name(target)));
	json_object_object_add(object, "path",
			       json_object_new_string(local ? "ok" : path_name(forward->path)));
	json_object_object_add(object, "weight", json_object_new_int64(target->weight));
	json_object_object_add(object, "ready_instances", json_object_new_int64(target->instances));
	json_object_object_add(object, "connections", json_object_new_uint64(target->connections));
	json_object_object_add(object, "affinities", json_object_new_uint64(target->affinities));
	json_object_object_add(
		object, "next_hop",
		json_object_new_string(local ? "this node"
				       : next_hops_get(router->hops, number)->resolved
					       ? "resolved"
					       : next_hops_why(router->hops, number)));
	return object;
}

struct json_object *router_targets_json(const struct router_part *router)
{
	struct json_object *array = json_object_new_array();
	uint16_t numbers[MAX_TARGETS];
	unsigned int count = targets_by_name(router, numbers);

	for (unsigned int i = 0; i < count; i++)
		json_object_array_add(array, target_json(router, numbers[i]));
	return array;
}

static struct json_object *sync_json(const struct mirror_target *target, uint64_t now)
{
	uint64_t here = target->connections + target->affinities - target->waiting;
	uint64_t there = target->reported_connections + target->reported_affinities;
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "peer", json_object_new_string(target->name));
	json_object_object_add(object, "here", json_object_new_uint64(here));
	json_object_object_add(object, "there", json_object_new_uint64(there));
	json_object_object_add(object, "missing",
			       json_object_new_uint64(there > here ? there - here : 0));
	json_object_object_add(
		object, "digest",
		json_object_new_string(target->digest_equal ? "equal" : "different"));
	json_object_object_add(object, "last_heard_ms",
			       json_object_new_uint64(now - target->last_heard_ms));
	return object;
}

struct json_object *router_sync_json(const struct router_part *router)
{
	struct json_object *array = json_object_new_array();
	uint16_t numbers[MAX_TARGETS];
	unsigned int count = targets_by_name(router, numbers);
	uint64_t now = agent_now_ms();

	for (unsigned int i = 0; i < count; i++)
		json_object_array_add(
			array, sync_json(router_mirror_target(router->mirror, numbers[i]), now));
	return array;
}
