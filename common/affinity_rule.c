/* SPDX-License-Identifier: BSD-2-Clause */
#include "affinity_rule.h"

enum affinity_phase affinity_phase(const struct target_affinity *affinity)
{
	return affinity->word & 0xff;
}

uint64_t affinity_id(const struct target_affinity *affinity)
{
	return affinity->word >> 8;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t affinity_expiry_ns(const struct target_affinity *affinity, uint32_t connections)
{
	uint64_t expiry = AFFINITY_NEVER;

	if (!connections) {
		expiry = affinity->idle_since_ns + affinity->idle_ns;
		/* A handshake that it has steered is about to become a connection. */
		if (affinity->steered_ns)
			expiry = later(expiry, affinity->steered_ns + STEERED_NS);
	}
	if (affinity->max_life_ns)
		expiry = sooner(expiry, affinity->created_ns + affinity->max_life_ns);
	return expiry;
}

enum affinity_end affinity_over(const struct target_affinity *affinity,
				const struct affinity_facts *facts)
{
	if (affinity_phase(affinity) != PHASE_LIVE)
		return affinity->end == END_NONE ? END_EXPIRED : affinity->end;
	if (facts->instance_state != INSTANCE_READY && facts->instance_state != INSTANCE_DRAINING)
		return END_INSTANCE;
	if (affinity->process && affinity->process != facts->process)
		return END_PROCESS;
	if (facts->now_ns > affinity_expiry_ns(affinity, facts->connections))
		return END_EXPIRED;
	return END_NONE;
}

void affinity_read_facts(const struct maps *maps, const struct affinity_key *key,
			 const struct target_affinity *affinity, uint64_t now_ns,
			 struct affinity_facts *facts)
{
	struct client_key client = {.client = *key, .instance = affinity->instance};
	struct client_count count;
	struct process process;
	struct instance instance;

	*facts = (struct affinity_facts){.now_ns = now_ns, .instance_state = INSTANCE_FREE};
	if (maps_get(maps, MAP_CLIENTS, &client, &count) == 0 && (__u32)count.word != CLIENT_DEAD)
		facts->connections = (__u32)count.word;
	if (affinity->process && maps_get(maps, MAP_PROCESSES, &affinity->pid, &process) == 0)
		facts->process = process.incarnation;
	if (maps_get(maps, MAP_INSTANCES, &affinity->instance, &instance) == 0)
		facts->instance_state = instance.state;
}
