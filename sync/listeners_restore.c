/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners_restore.c - an agent that starts recognises what its predecessor has adopted, by the
 * cookies in target/listeners. */
#include <errno.h>
#include <stdlib.h>

#include "listeners_adopt.h"

static int restore_instance(void *context, const void *key, const void *value)
{
	const struct instance *instance = value;
	struct listeners *listeners = context;

	if (instance->state != INSTANCE_FREE)
		instances_restore(listeners->table, *(const __u32 *)key, instance,
				  process_start(instance->pid));
	return 0;
}

static int restore_group(void *context, const void *key, const void *value)
{
	struct listeners *listeners = context;
	const struct group *group = value;
	__u64 cookie;

	for (unsigned int i = 0; i < group->members && i < MAX_MEMBERS; i++) {
		__u32 slot = group->member[i].listener;

		if (maps_get(&listeners->target->agent->maps, MAP_LISTENERS, &slot, &cookie) == 0)
			instances_restore_listener(listeners->table, slot, cookie, key,
						   group->v6only, group->member[i].instance);
	}
	return 0;
}

/* A group as it is now: what has closed while no agent was there is a member no more. */
static void rewrite_groups(struct listeners *listeners, const struct group_key *keys,
			   unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		listener_write_group(listeners, &keys[i]);
}

struct keys {
	struct group_key key[MAX_GROUPS];
	unsigned int count;
};

static int note_key(void *context, const void *key, const void *value)
{
	struct keys *keys = context;

	(void)value;
	if (keys->count < MAX_GROUPS)
		keys->key[keys->count++] = *(const struct group_key *)key;
	return 0;
}

/* What this agent's predecessor has adopted: instances keep their ids, whatever happened since. */
int listeners_restore(struct listeners *listeners)
{
	const struct maps *maps = &listeners->target->agent->maps;
	struct keys *keys = calloc(1, sizeof(*keys));
	int err;

	if (!keys)
		return -ENOMEM;
	err = maps_walk(maps, MAP_INSTANCES, restore_instance, listeners);
	if (!err)
		err = maps_walk(maps, MAP_GROUPS, restore_group, listeners);
	if (!err)
		err = maps_walk(maps, MAP_GROUPS, note_key, keys);
	if (!err) {
		instances_settle(listeners->table);
		rewrite_groups(listeners, keys->key, keys->count);
	}
	free(keys);
	if (err)
		return err;
	err = target_state_load(listeners->target, listeners->table);
	for (unsigned int i = 0; i < MAX_INSTANCES; i++) {
		if (listeners->table->instance[i].kernel.state == INSTANCE_FREE)
			continue;
		instances_update_state(listeners->table, i);
		listener_write_instance(listeners, i);
	}
	return err;
}
