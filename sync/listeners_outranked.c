/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listeners_outranked.c - instances that serve a service together, bound in different ways: the
 * kernel finds the most closely bound listeners before it asks the selector, which can choose among
 * those alone. So clients do not come back to the others, whatever affinities they have.
 */
#include <string.h>

#include "listeners_adopt.h"
#include "log.h"

static void find_outranked(const struct listeners *listeners, uint16_t found[MAX_INSTANCES])
{
	const struct service_numbers *numbers = listeners->target->numbers;
	bool outranked[MAX_INSTANCES];

	memset(found, 0, MAX_INSTANCES * sizeof(found[0]));
	for (uint16_t i = 0; i < MAX_SERVICES; i++) {
		if (!numbers->active[i])
			continue;
		instances_rank(listeners->table, &numbers->service[i].key, outranked);
		for (unsigned int slot = 0; slot < MAX_INSTANCES; slot++)
			if (outranked[slot] && !found[slot])
				found[slot] = i + 1;
	}
}

void listeners_rank(struct listeners *listeners)
{
	uint16_t before[MAX_INSTANCES];

	if (listeners->ranked)
		return;
	listeners->ranked = true;
	memcpy(before, listeners->outranked, sizeof(before));
	find_outranked(listeners, listeners->outranked);
	for (unsigned int i = 0; i < MAX_INSTANCES; i++) {
		const struct instance *instance = &listeners->table->instance[i].kernel;

		if (!listeners->outranked[i] || before[i])
			continue;
		log_warning("instance %llu (pid %u), service %s: " OUTRANKED,
			    (unsigned long long)instance->id, instance->pid,
			    listeners->target->numbers->service[listeners->outranked[i] - 1].name);
	}
}

bool listeners_outranked(struct listeners *listeners, unsigned int slot)
{
	listeners_rank(listeners);
	return listeners->outranked[slot];
}
