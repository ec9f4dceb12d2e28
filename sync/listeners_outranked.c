/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listeners_outranked.c - instances that serve a service together, bound in different ways: the
 * kernel finds the most closely bound listeners before it asks the selector, which can choose among
 * those alone. So clients do not come back to the others, whatever affinities they have.
 */
#include <stdio.h>
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

/* One line for each service: they come by the hundred when a listener is opened that outranks them.
 */
static void warn(const struct listeners *listeners, const uint16_t before[MAX_INSTANCES])
{
	unsigned int new[MAX_SERVICES] = {0};

	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (listeners->outranked[i] && !before[i])
			new[listeners->outranked[i] - 1]++;
	for (unsigned int i = 0; i < MAX_INSTANCES; i++) {
		const struct instance *instance = &listeners->table->instance[i].kernel;
		unsigned int service = listeners->outranked[i] - 1u;
		char others[32] = "";

		if (!listeners->outranked[i] || before[i] || !new[service])
			continue;
		if (new[service] > 1)
			snprintf(others, sizeof(others), " and %u more", new[service] - 1);
		new[service] = 0;
		log_warning("instance %llu (pid %u)%s, service %s: " OUTRANKED,
			    (unsigned long long)instance->id, instance->pid, others,
			    listeners->target->numbers->service[service].name);
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
	warn(listeners, before);
}

bool listeners_outranked(struct listeners *listeners, unsigned int slot)
{
	listeners_rank(listeners);
	return listeners->outranked[slot];
}
