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

/* The connection of a socket that the tracker has not seen, or not as an instance's; or one whose
 * service has changed. */
static __always_inline int repair_open(const struct agent_call *call)
{
	struct opened opened = {.key = call->connection};
	struct target_service *service = service_by_number(opened.key.service);
	struct target_connection *entry;

	if (!service || !call->id ||
	    (call->instance >= MAX_INSTANCES && call->instance != NO_INSTANCE))
		return -EINVAL;
	entry = bpf_map_lookup_elem(&connections, &opened.key);
	if (entry && entry->cookie == call->id)
		return connection_count_anew(&opened.key, call->id, call->instance);
	if (call->op == AGENT_COUNT_ANEW)
		return -ENOENT;
	opened.scope = service->scope;
	opened.client_prefix = service->client_prefix;
	return connection_open(call->id, &opened, call->instance, true);
}

static __always_inline int repair_close(const struct agent_call *call)
{
	struct connection_key key = call->connection;

	return call->id ? connection_end(&key, call->id, CONNECTION_END_CLOSED) : -ENOENT;
}

static __always_inline int correct(__u32 *count, const struct agent_call *call)
{
	__u32 seen = call->id, right = call->count;

	return __sync_val_compare_and_swap(count, seen, right) == seen ? 0 : -EAGAIN;
}

static __always_inline int repair_load(const struct agent_call *call)
{
	__u32 slot = call->instance;
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);

	if (!load)
		return -EINVAL;
	return correct(call->op == AGENT_REPAIR_LOAD ? &load->connections : &load->affinities,
		       call);
}

static __always_inline int repair_client(const struct agent_call *call)
{
	struct client_key key = {.client = call->affinity, .instance = call->instance};

	if (key.instance >= MAX_INSTANCES)
		return -EINVAL;
	return client_correct(&key, call->id, call->count);
}

static __always_inline int end_affinity(const struct agent_call *call)
{
	struct affinity_key key = call->affinity;

	if (call->end <= END_NONE || call->end > END_SERVICE)
		return -EINVAL;
	return affinity_end(&key, call->id, call->end);
}

static __always_inline int set_asker(const struct agent_call *call)
{
	__u32 slot = call->instance, pid = call->count;
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);
	struct process *process = bpf_map_lookup_elem(&processes, &pid);

	if (!load)
		return -EINVAL;
	if (!process)
		return -ENOENT;
	if (__sync_val_compare_and_swap(&load->asker, call->id, process->incarnation) != call->id)
		return -EAGAIN;
	__sync_lock_test_and_set(&load->shared, 0);
	return 0;
}

static __always_inline int operate(const struct agent_call *call)
{
	switch (call->op) {
	case AGENT_END_AFFINITY:
		return end_affinity(call);
	case AGENT_REAP:
		return reap(&call->affinity);
	case AGENT_REPAIR_OPEN:
	case AGENT_COUNT_ANEW:
		return repair_open(call);
	case AGENT_REPAIR_CLOSE:
		return repair_close(call);
	case AGENT_REPAIR_LOAD:
	case AGENT_REPAIR_QUOTA:
		return repair_load(call);
	case AGENT_REPAIR_CLIENT:
		return repair_client(call);
	case AGENT_SET_ASKER:
		return set_asker(call);
	}
	return -EINVAL;
}

SEC("syscall")
int agent(struct agent_call *context)
{
	struct agent_call call = *context; /* the verifier allows no arithmetic on a context */

	context->result = operate(&call);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
