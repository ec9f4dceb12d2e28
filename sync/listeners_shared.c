/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listeners_shared.c - two living processes have asked over one instance's listeners. Do both
 * accept there? Who does not hold a listener cannot accept on it: then it was passed on (a hot
 * restart), and who holds it is the one that asks.
 */
#include <stdlib.h>
#include <string.h>

#include "listeners_adopt.h"
#include "log.h"

static bool holds(const struct listeners *listeners, unsigned int slot, uint32_t pid)
{
	const struct instance_table *table = listeners->table;

	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		struct socket_owner owner = {.inode = listeners->inode[i]};

		if (!table->listener[i].cookie || table->listener[i].instance != slot ||
		    !owner.inode)
			continue;
		process_find_sockets(pid, &owner, 1);
		if (owner.pid)
			return true;
	}
	return false;
}

/* Unless somebody else asks by now. */
static bool set_asker(const struct listeners *listeners, unsigned int slot, uint64_t asker,
		      uint32_t pid)
{
	struct agent_call call = {
		.op = AGENT_SET_ASKER, .instance = slot, .id = asker, .count = pid};

	if (maps_agent_call(listeners->target->agent_program, &call))
		return false;
	log_info("instance %llu: process %u alone may ask for affinities over its listeners: the "
		 "other one that has asked does not hold them",
		 (unsigned long long)listeners->table->instance[slot].kernel.id, pid);
	return true;
}

bool listeners_shared(struct listeners *listeners, unsigned int slot)
{
	struct sharing *known = &listeners->sharing[slot];
	struct instance_load load;
	__u32 key = slot;

	if (maps_get(&listeners->target->agent->maps, MAP_INSTANCE_LOAD, &key, &load) ||
	    !load.shared)
		return false;
	if (known->asker == load.asker && known->other == load.shared)
		return true;
	if (holds(listeners, slot, (uint32_t)load.asker)) {
		if (known->asker != load.asker && !holds(listeners, slot, load.shared) &&
		    set_asker(listeners, slot, load.asker, (uint32_t)load.asker))
			return false;
	} else if (holds(listeners, slot, load.shared) &&
		   set_asker(listeners, slot, load.asker, load.shared)) {
		return false;
	}
	*known = (struct sharing){.asker = load.asker, .other = load.shared};
	return true;
}
