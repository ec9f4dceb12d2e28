// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * agent.bpf.c - what limpetd may do to the tables that the kernel's programs write. It runs these
 * operations in the kernel, by the same rules, instead of writing the maps itself: one table, one
 * kind of writer.
 */
#include "connection.h"
#include "service.h"

/* An entry that is in force stays. One that is over is ended first, so that `status` can tell why,
 * and is deleted by a later call. */
static __always_inline int reap(const struct affinity_key *key)
{
	struct target_affinity *affinity = bpf_map_lookup_elem(&affinities, key);
	__u64 word;
	int error;

	if (!affinity)
		return -ENOENT;
	word = read_once(&affinity->word);
	if (affinity_phase(word) == PHASE_LIVE) {
		if (affinity_over(key, affinity, bpf_ktime_get_ns()) == END_NONE)
			return -EBUSY;
		error = affinity_conclude(key, affinity, word);
		return error ? error : -EAGAIN;
	}
	if (affinity_phase(word) != PHASE_ENDED && affinity_phase(word) != PHASE_REAPED)
		return -EBUSY;
	/* One that is REAPED already was left so by a deletion that failed. */
	if (affinity_phase(word) == PHASE_ENDED &&
	    !affinity_swap(affinity, word, affinity_word(word >> 8, PHASE_REAPED)))
		return -EBUSY;
	error = bpf_map_delete_elem(&affinities, key);
	return error == -ENOENT ? error : error ? -EBUSY : 0;
}

/* The connection of a socket that the tracker has not seen, or not as an instance's. */
static __always_inline int repair_open(const struct agent_call *call)
{
	struct socket_connection socket = {.key = call->connection};
	struct target_service *service = service_by_number(socket.key.service);
	struct target_connection *entry;

	if (!service || !call->id ||
	    (call->instance >= MAX_INSTANCES && call->instance != NO_INSTANCE))
		return -EINVAL;
	entry = bpf_map_lookup_elem(&connections, &socket.key);
	if (entry && entry->cookie == call->id) {
		if (entry->instance != NO_INSTANCE || call->instance == NO_INSTANCE)
			return -EEXIST;
		return connection_move(call->id, call->instance);
	}
	socket.scope = service->scope;
	socket.client_prefix = service->client_prefix;
	return connection_open(call->id, &socket, call->instance, false);
}

static __always_inline int repair_close(const struct agent_call *call)
{
	struct connection_key key = call->connection;
	struct target_connection *entry = bpf_map_lookup_elem(&connections, &key);

	if (!entry || !call->id || entry->cookie != call->id)
		return -ENOENT;
	return connection_close(call->id, CONNECTION_END_CLOSED);
}

SEC("syscall")
int agent(struct agent_call *call)
{
	struct affinity_key key = call->affinity;

	switch (call->op) {
	case AGENT_END_AFFINITY:
		if (call->end <= END_NONE || call->end > END_SERVICE)
			call->result = -EINVAL;
		else
			call->result = affinity_end(&key, call->id, call->end);
		break;
	case AGENT_REAP:
		call->result = reap(&key);
		break;
	case AGENT_REPAIR_OPEN:
		call->result = repair_open(call);
		break;
	case AGENT_REPAIR_CLOSE:
		call->result = repair_close(call);
		break;
	default:
		call->result = -EINVAL;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
