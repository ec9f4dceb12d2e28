/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners_reown.c - instances whose listeners have passed to another process. */
#include <stdlib.h>

#include "listeners_adopt.h"

struct holdings {
	struct socket_owner owner[MAX_INSTANCES]; /* of one listener of each instance */
	uint32_t instance[MAX_INSTANCES];
	unsigned int count;
};

static void list_holdings(const struct listeners *listeners, struct holdings *holdings)
{
	const struct instance_table *table = listeners->table;
	bool seen[MAX_INSTANCES] = {false};

	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		uint32_t slot = table->listener[i].instance;

		if (!table->listener[i].cookie || !listeners->inode[i] || seen[slot])
			continue;
		seen[slot] = true;
		holdings->owner[holdings->count].inode = listeners->inode[i];
		holdings->instance[holdings->count++] = slot;
	}
}

/* Take the instances of the first one's process out of the list; those whose listeners it does not
 * hold any more go to the orphans. */
static void ask_owner(const struct listeners *listeners, struct holdings *holdings,
		      struct holdings *orphans)
{
	const struct instance_entry *entries = listeners->table->instance;
	uint32_t pid = entries[holdings->instance[0]].kernel.pid;
	struct holdings *own = calloc(1, sizeof(*own));
	unsigned int rest = 0;

	if (!own) {
		holdings->count = 0;
		return;
	}
	for (unsigned int i = 0; i < holdings->count; i++) {
		struct holdings *to =
			entries[holdings->instance[i]].kernel.pid == pid ? own : holdings;
		unsigned int at = to == own ? own->count++ : rest++;

		to->owner[at] = holdings->owner[i];
		to->instance[at] = holdings->instance[i];
	}
	holdings->count = rest;
	process_find_sockets(pid, own->owner, own->count);
	for (unsigned int i = 0; i < own->count; i++) {
		if (own->owner[i].pid && own->owner[i].start == entries[own->instance[i]].start)
			continue;
		orphans->owner[orphans->count] =
			(struct socket_owner){.inode = own->owner[i].inode};
		orphans->instance[orphans->count++] = own->instance[i];
	}
	free(own);
}

/*
 * Instances whose process does not hold the listeners any more, while these live on, have a new
 * owner: nginx's first process makes the sockets, forks its master and exits. After the owners of
 * candidates have been found and before these are adopted: so the master's further listeners are
 * counted on from the ones that its parent has made.
 */
void listeners_reown(struct listeners *listeners)
{
	struct holdings *holdings = calloc(1, sizeof(*holdings));
	struct holdings *orphans = calloc(1, sizeof(*orphans));

	if (!holdings || !orphans)
		goto out;
	list_holdings(listeners, holdings);
	while (holdings->count)
		ask_owner(listeners, holdings, orphans);
	if (orphans->count)
		processes_find_sockets(orphans->owner, orphans->count);
	for (unsigned int i = 0; i < orphans->count; i++) {
		const struct socket_owner *owner = &orphans->owner[i];

		if (!owner->pid)
			continue;
		instances_reown(listeners->table, orphans->instance[i], owner->pid, owner->start);
		listener_write_instance(listeners, orphans->instance[i]);
	}
out:
	free(holdings);
	free(orphans);
}
