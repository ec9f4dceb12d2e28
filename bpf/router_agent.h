/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * router_agent.h - what user space does to the router's CRHT, and asks of what XDP has noted. In
 * the kernel, so that a change of an entry and of all that rests on it is one step, which no signal
 * ends halfway; and so that how flows are found is known here only.
 */
#ifndef LIMPET_ROUTER_AGENT_H
#define LIMPET_ROUTER_AGENT_H

#include <linux/errno.h>

#include "flows.h"
#include "handshakes.h"
#include "present.h"

/* An entry of either table, new or in place of what is there. */
static __always_inline int put(void *map, const void *key, const void *value,
			       const struct presence *presence)
{
	int error = bpf_map_update_elem(map, key, value, BPF_EXIST);

	if (error != -ENOENT)
		return error;
	present_add(presence, 1);
	error = bpf_map_update_elem(map, key, value, BPF_NOEXIST);
	if (error)
		present_add(presence, -1);
	return error;
}

static __always_inline int remove(void *map, const void *key, const struct presence *presence)
{
	int error = bpf_map_delete_elem(map, key);

	if (!error)
		present_add(presence, -1);
	return error;
}

static __always_inline int change_connection(const struct router_call *call,
					     const struct settings *own, const struct flow_id *id)
{
	struct router_connection value = call->value;
	struct connection_key key = call->key;
	struct presence presence = connection_presence(own, id->hash);
	int error;

	flow_changes(id);
	if (call->op == ROUTER_PUT_CONNECTION)
		error = put(&connections, &key, &value, &presence);
	else
		error = remove(&connections, &key, &presence);
	flow_changed(id);
	return error;
}

static __always_inline int change_affinity(const struct router_call *call,
					   const struct settings *own)
{
	struct affinity_key key = call->affinity_key;
	struct router_affinity value = call->affinity;
	struct presence presence = affinity_presence(own, &key);

	if (call->op == ROUTER_PUT_AFFINITY)
		return put(&affinities, &key, &value, &presence);
	return remove(&affinities, &key, &presence);
}

/*
 * In one run of a program, so that no end of limpetd leaves an entry half-written, which nothing
 * would be sent to. An exchange orders what is around it everywhere (flows.h).
 */
static __always_inline int put_target(const struct router_call *call)
{
	__u32 number = call->target, sequence;
	struct target *entry = bpf_map_lookup_elem(&targets, &number);

	if (!entry)
		return -EINVAL;
	sequence = entry->sequence | 1;
	__sync_lock_test_and_set(&entry->sequence, sequence);
	entry->ifindex = call->entry.ifindex;
	__builtin_memcpy(&entry->since_ns, &call->entry.since_ns,
			 sizeof(*entry) - __builtin_offsetof(struct target, since_ns));
	__sync_lock_test_and_set(&entry->sequence, sequence + 1);
	return 0;
}

/* Of any age: whoever asks knows what to make of it. */
static __always_inline void look_up(const struct settings *own, const struct flow_id *id,
				    struct router_call *call)
{
	struct handshake handshake = {.target = NO_NUMBER};
	enum flow_state state = FLOW_STATE_NONE;

	if (noted_lookup(own, id, &handshake))
		state = FLOW_STATE_NOTED;
	else if (half_open_lookup(own, id, &handshake))
		state = FLOW_STATE_HALF_OPEN;
	call->state = state;
	call->target = handshake.target;
	call->since_ns = handshake.ticks << HANDSHAKE_TICK_SHIFT;
}

int router_agent(struct router_call *call);

SEC("syscall")
int router_agent(struct router_call *call)
{
	struct connection_key key = call->key;
	const struct settings *own;
	__u32 zero = 0;
	struct flow_id id;

	call->result = -ENOENT;
	own = bpf_map_lookup_elem(&settings, &zero);
	if (!own)
		return 0;
	flow_identify(own, &key, &id);
	call->set = id.set;
	switch (call->op) {
	case ROUTER_PUT_CONNECTION:
	case ROUTER_DELETE_CONNECTION:
		call->result = change_connection(call, own, &id);
		break;
	case ROUTER_PUT_AFFINITY:
	case ROUTER_DELETE_AFFINITY:
		call->result = change_affinity(call, own);
		break;
	case ROUTER_LOOK_UP:
		look_up(own, &id, call);
		call->result = 0;
		break;
	case ROUTER_PUT_TARGET:
		call->result = put_target(call);
		break;
	default:
		call->result = -EINVAL;
	}
	return 0;
}

#endif
