/* SPDX-License-Identifier: BSD-2-Clause */
#include "instances.h"

#include <errno.h>
#include <string.h>

#include "address.h"
#include "listener.h"

static bool same_group(const struct group_key *a, const struct group_key *b)
{
	return a->family == b->family && a->port == b->port && address_equal(&a->bound, &b->bound);
}

int instances_find(const struct instance_table *table, __u64 cookie)
{
	for (unsigned int i = 0; i < MAX_LISTENERS; i++)
		if (table->listener[i].cookie == cookie)
			return i;
	return -ENOENT;
}

int instances_find_id(const struct instance_table *table, __u64 id)
{
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (table->instance[i].kernel.state != INSTANCE_FREE &&
		    table->instance[i].kernel.id == id)
			return i;
	return -ENOENT;
}

static bool lives(const struct instance_entry *entry)
{
	return entry->kernel.state == INSTANCE_READY || entry->kernel.state == INSTANCE_DRAINING;
}

static bool is_owner(const struct instance_entry *entry, __u32 pid, __u64 start)
{
	return lives(entry) && entry->kernel.pid == pid && entry->start == start;
}

/* Has the process's instance number `ordinal` a listener in this group already? */
static bool ordinal_taken(const struct instance_table *table, const struct group_key *group,
			  __u32 pid, __u64 start, __u32 ordinal)
{
	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		const struct listener *listener = &table->listener[i];
		const struct instance_entry *entry;

		if (!listener->cookie || !same_group(&listener->group, group))
			continue;
		entry = &table->instance[listener->instance];
		if (is_owner(entry, pid, start) && entry->ordinal == ordinal)
			return true;
	}
	return false;
}

static enum instance_state wanted_state(const struct instance_table *table,
					const struct instance_entry *entry)
{
	return table->draining || entry->drained ? INSTANCE_DRAINING : INSTANCE_READY;
}

static int place_instance(struct instance_table *table, const struct group_key *group, __u32 pid,
			  __u64 start)
{
	__u32 ordinal = 0;
	int free = -ENOSPC;

	while (ordinal_taken(table, group, pid, start, ordinal))
		ordinal++;

	for (unsigned int i = 0; i < MAX_INSTANCES; i++) {
		const struct instance_entry *entry = &table->instance[i];

		if (is_owner(entry, pid, start) && entry->ordinal == ordinal)
			return i;
		if (free < 0 && entry->kernel.state == INSTANCE_FREE)
			free = i;
	}
	if (free < 0)
		return free;

	table->instance[free] = (struct instance_entry){
		.kernel = {.id = ++table->last_id,
			   .pid = pid,
			   .max_affinities = table->max_affinities,
			   .service = NO_NUMBER},
		.start = start,
		.ordinal = ordinal,
	};
	table->instance[free].kernel.state = wanted_state(table, &table->instance[free]);
	return free;
}

static unsigned int group_size(const struct instance_table *table, const struct group_key *group)
{
	unsigned int size = 0;

	for (unsigned int i = 0; i < MAX_LISTENERS; i++)
		if (table->listener[i].cookie && same_group(&table->listener[i].group, group))
			size++;
	return size;
}

int instances_add(struct instance_table *table, __u64 cookie, const struct group_key *group,
		  bool v6only, __u32 pid, __u64 start)
{
	int slot, instance;

	if (!cookie)
		return -EINVAL;
	if (instances_find(table, cookie) >= 0)
		return -EEXIST;
	if (group_size(table, group) >= MAX_MEMBERS)
		return -EMLINK;
	slot = instances_find(table, 0);
	if (slot < 0)
		return -ENOSPC;
	instance = place_instance(table, group, pid, start);
	if (instance < 0)
		return instance;

	table->listener[slot] = (struct listener){
		.cookie = cookie, .group = *group, .instance = instance, .v6only = v6only};
	table->instance[instance].kernel.listeners++;
	return slot;
}

int instances_remove(struct instance_table *table, unsigned int slot)
{
	struct listener *listener = &table->listener[slot];
	struct instance_entry *entry = &table->instance[listener->instance];
	int instance = listener->instance;

	if (!listener->cookie)
		return -1;
	memset(listener, 0, sizeof(*listener));
	if (entry->kernel.listeners)
		entry->kernel.listeners--;
	if (entry->kernel.listeners || !lives(entry))
		return -1;
	entry->kernel.state = INSTANCE_ENDED;
	return instance;
}

void instances_release(struct instance_table *table, unsigned int slot)
{
	if (table->instance[slot].kernel.state == INSTANCE_ENDED)
		memset(&table->instance[slot], 0, sizeof(table->instance[slot]));
}

static bool has_ordinal(const struct instance_table *table, __u32 pid, __u64 start, __u32 ordinal)
{
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (is_owner(&table->instance[i], pid, start) &&
		    table->instance[i].ordinal == ordinal)
			return true;
	return false;
}

void instances_reown(struct instance_table *table, unsigned int slot, __u32 pid, __u64 start)
{
	struct instance_entry *entry = &table->instance[slot];
	__u32 ordinal = entry->ordinal;

	if (has_ordinal(table, pid, start, ordinal))
		for (ordinal = 0; has_ordinal(table, pid, start, ordinal);)
			ordinal++;
	entry->ordinal = ordinal;
	entry->kernel.pid = pid;
	entry->start = start;
}

void instances_restore(struct instance_table *table, unsigned int slot,
		       const struct instance *instance, __u64 start)
{
	if (slot >= MAX_INSTANCES)
		return;
	table->instance[slot] = (struct instance_entry){.kernel = *instance, .start = start};
	table->instance[slot].kernel.listeners = 0;
	if (instance->id > table->last_id)
		table->last_id = instance->id;
}

void instances_restore_listener(struct instance_table *table, unsigned int slot, __u64 cookie,
				const struct group_key *group, bool v6only, __u32 instance)
{
	if (slot >= MAX_LISTENERS || instance >= MAX_INSTANCES || table->listener[slot].cookie)
		return;
	if (!lives(&table->instance[instance]))
		return;
	table->listener[slot] = (struct listener){
		.cookie = cookie, .group = *group, .instance = instance, .v6only = v6only};
	table->instance[instance].kernel.listeners++;
}

/* The order of a process's instances is that of their ids, which is how the ordinals were given. */
static __u32 rank(const struct instance_table *table, unsigned int slot)
{
	const struct instance_entry *entry = &table->instance[slot];
	__u32 before = 0;

	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (is_owner(&table->instance[i], entry->kernel.pid, entry->start) &&
		    table->instance[i].kernel.id < entry->kernel.id)
			before++;
	return before;
}

void instances_settle(struct instance_table *table)
{
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (lives(&table->instance[i]) && !table->instance[i].kernel.listeners)
			table->instance[i].kernel.state = INSTANCE_ENDED;
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (lives(&table->instance[i]))
			table->instance[i].ordinal = rank(table, i);
}

bool instances_update_state(struct instance_table *table, unsigned int slot)
{
	struct instance_entry *entry = &table->instance[slot];
	enum instance_state wanted = wanted_state(table, entry);

	if (!lives(entry) || entry->kernel.state == wanted)
		return false;
	entry->kernel.state = wanted;
	return true;
}

void instances_group(const struct instance_table *table, const struct group_key *key,
		     struct group *group)
{
	memset(group, 0, sizeof(*group));
	for (unsigned int i = 0; i < MAX_LISTENERS && group->members < MAX_MEMBERS; i++) {
		const struct listener *listener = &table->listener[i];

		if (!listener->cookie || !same_group(&listener->group, key))
			continue;
		group->v6only = listener->v6only;
		group->member[group->members++] =
			(struct member){.listener = i, .instance = listener->instance};
	}
}

void instances_services(const struct instance_table *table, unsigned int slot,
			const struct service_numbers *numbers, bool serves[MAX_SERVICES])
{
	memset(serves, 0, MAX_SERVICES * sizeof(serves[0]));
	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		const struct listener *listener = &table->listener[i];

		if (!listener->cookie || listener->instance != slot)
			continue;
		for (unsigned int service = 0; service < MAX_SERVICES; service++)
			serves[service] |= numbers->active[service] &&
					   listener_serves(&listener->group, listener->v6only,
							   &numbers->service[service].key);
	}
}

void instances_rank(const struct instance_table *table, const struct service_key *service,
		    bool outranked[MAX_INSTANCES])
{
	unsigned int rank[MAX_INSTANCES] = {0}, highest = 0; /* 0: serves it not */

	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		const struct listener *listener = &table->listener[i];
		unsigned int own;

		if (!listener->cookie ||
		    !listener_serves(&listener->group, listener->v6only, service))
			continue;
		own = 1 + listener_rank(&listener->group);
		if (own > rank[listener->instance])
			rank[listener->instance] = own;
		if (own > highest)
			highest = own;
	}
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		outranked[i] = rank[i] && rank[i] < highest;
}
