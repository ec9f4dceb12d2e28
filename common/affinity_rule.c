/* SPDX-License-Identifier: BSD-2-Clause */
#include "affinity_rule.h"

#include "../bpf/expiry.h" /* the one function that the kernel uses too */

enum affinity_phase affinity_phase(const struct target_affinity *affinity)
{
	return affinity->word & 0xff;
}

uint64_t affinity_id(const struct target_affinity *affinity)
{
	return affinity->word >> 8;
}

enum affinity_end affinity_over(const struct target_affinity *affinity,
				const struct affinity_facts *facts)
{
	if (affinity_phase(affinity) != PHASE_LIVE && affinity_phase(affinity) != PHASE_CHANGING)
		return affinity->end == END_NONE ? END_EXPIRED : affinity->end;
	if (facts->instance_state != INSTANCE_READY && facts->instance_state != INSTANCE_DRAINING)
		return END_INSTANCE;
	if (affinity->process && affinity->process != facts->process)
		return END_PROCESS;
	if (affinity_is_drained(affinity, facts->instance_state, facts->connections) ||
	    facts->now_ns >= affinity_expires_ns(affinity, facts->connections))
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
	if (maps_get(maps, MAP_CLIENTS, &client, &count) == 0)
		facts->connections = CLIENT_CONNECTIONS(count.word);
	if (affinity->process && maps_get(maps, MAP_PROCESSES, &affinity->pid, &process) == 0)
		facts->process = process.incarnation;
	if (maps_get(maps, MAP_INSTANCES, &affinity->instance, &instance) == 0)
		facts->instance_state = instance.state;
}
