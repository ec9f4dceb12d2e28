// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * selector.bpf.c - which listener of a reuseport group takes a new connection; and, when a listener
 * closes, which one takes over what it has not accepted.
 *
 * The service is the one that the packet is for, whatever the listener is bound to. The client's
 * affinity decides; without one, of the ready instances the one with the fewest connections, those
 * that it has not accepted yet included. One that accepts no more gets nothing as soon as its
 * listener's queue is half full, and recovers with it.
 *
 * Nothing is refused: the kernel answers a refusal (SK_DROP) with a RST, it has no silent one here;
 * and it asks only while the group has a listener. So as long as the routers do not know yet that
 * no instance is ready any more, one that drains takes the connection; and what none of ours can
 * take (SK_PASS, nothing selected) the kernel gives to any listener of the group: to one that came
 * after the last instance and is not adopted yet.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "connection.h"
#include "service.h"

/* Listeners that close between being found and being selected are passed over; so many in one
 * selection. */
#define SELECT_TRIES 4

/*
 * Kernels before 6.7 verify the callback of bpf_loop for its first round only, and cut out the code
 * that this round cannot reach. So what a callback both reads and writes must begin with a value
 * that the verifier does not know: it is taken from a map, where it is always 0.
 */
struct fewest {
	struct group *group;
	__u32 state;  /* of the instances that count: enum instance_state */
	bool stalled; /* those whose queue is half full count too */
	__u32 start;  /* where to begin, by the packet's hash: equal loads are shared */
	__u32 found;
	__u32 connections; /* of what is found */
	__u32 listener;
	__u32 instance;
	__u32 closed[SELECT_TRIES];
};

static __always_inline bool packet_addresses(struct sk_reuseport_md *ctx, struct ends *ends)
{
	struct ipv6hdr ipv6;
	struct iphdr ipv4;

	if (ctx->eth_protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes_relative(ctx, 0, &ipv4, sizeof(ipv4), BPF_HDR_START_NET))
			return false;
		address_from_ip4(&ends->client, ipv4.saddr);
		address_from_ip4(&ends->local, ipv4.daddr);
		return true;
	}
	if (ctx->eth_protocol != bpf_htons(ETH_P_IPV6))
		return false;
	if (bpf_skb_load_bytes_relative(ctx, 0, &ipv6, sizeof(ipv6), BPF_HDR_START_NET))
		return false;
	__builtin_memcpy(&ends->client, &ipv6.saddr, sizeof(ends->client));
	__builtin_memcpy(&ends->local, &ipv6.daddr, sizeof(ends->local));
	return true;
}

/* From the packet, which begins with the TCP header here; in a migration, which has none, from the
 * connection. */
static __always_inline bool selection_ends(struct sk_reuseport_md *ctx, struct ends *ends)
{
	struct bpf_sock *migrating = ctx->migrating_sk;
	__be16 ports[2];

	if (migrating) {
		ends_of_socket(migrating, ends);
		return true;
	}
	if (ctx->ip_protocol != IPPROTO_TCP || !packet_addresses(ctx, ends))
		return false;
	if (bpf_skb_load_bytes(ctx, 0, ports, sizeof(ports)))
		return false;
	ends->client_port = ports[0];
	ends->local_port = ports[1];
	return true;
}

static __always_inline bool try_listener(struct sk_reuseport_md *ctx, __u32 listener)
{
	return !bpf_sk_select_reuseport(ctx, &listeners, &listener, 0);
}

/* The members of the affinity's instance in this group: usually one. */
struct search {
	struct sk_reuseport_md *ctx;
	struct group *group;
	__u32 instance;
	__u32 found;
};

static long select_of_instance(__u32 index, struct search *search)
{
	struct group *group = search->group;
	struct member *member;

	if (index >= MAX_MEMBERS || index >= group->members)
		return 1;
	member = &group->member[index];
	if (member->instance != search->instance)
		return 0;
	search->found = try_listener(search->ctx, member->listener);
	return search->found;
}

static __always_inline bool select_affinity(struct sk_reuseport_md *ctx, struct group *group,
					    const struct affinity_key *key, __u32 *slot)
{
	struct search search = {.ctx = ctx, .group = group};
	__u64 now_ns = bpf_ktime_get_ns(), id;
	struct target_affinity *affinity;

	affinity = affinity_in_force(key, now_ns, slot, &id);
	if (!affinity)
		return false;
	search.instance = *slot;
	bpf_loop(MAX_MEMBERS, select_of_instance, &search, 0);
	if (!search.found) {
		count(COUNT_SELECT_AFFINITY_GONE);
		return false;
	}
	if (!ctx->migrating_sk)
		*(volatile __u64 *)&affinity->steered_ns = now_ns;
	return true;
}

/*
 * The socket in a slot of the array; NULL: closed, and the tables do not know yet. No helper tells,
 * so it is read where the array holds it. It may just be being freed: then it cannot be selected.
 */
static __always_inline struct sock *socket_of(__u32 listener)
{
	struct reuseport_array *array = kernel_address(&listeners);
	struct sock *sk = 0;

	if (listener < MAX_LISTENERS)
		bpf_core_read(&sk, sizeof(sk), &array->ptrs[0] + listener);
	return sk;
}

/* Is the queue of connections that wait to be accepted more than half full? A full one drops
 * handshakes. */
static __always_inline bool is_stalled(struct sock *sk)
{
	__u32 waiting = 0, room = 0;

	bpf_core_read(&waiting, sizeof(waiting), &sk->sk_ack_backlog);
	bpf_core_read(&room, sizeof(room), &sk->sk_max_ack_backlog);
	return waiting > room / 2;
}

static long compare_member(__u32 index, struct fewest *fewest)
{
	struct group *group = fewest->group;
	__u32 members = group->members, listener, slot;
	struct instance_load *load;
	struct instance *instance;
	struct sock *sk;

	if (index >= members)
		return 1;
	index += fewest->start;
	if (index >= members)
		index -= members;
	if (index >= MAX_MEMBERS)
		return 1;
	listener = group->member[index].listener;
	slot = group->member[index].instance;
	for (int i = 0; i < SELECT_TRIES; i++) {
		if (fewest->closed[i] == listener)
			return 0;
	}
	instance = bpf_map_lookup_elem(&instances, &slot);
	load = bpf_map_lookup_elem(&instance_load, &slot);
	if (!instance || !load || instance->state != fewest->state)
		return 0;
	if (fewest->found && load->connections >= fewest->connections)
		return 0;
	sk = socket_of(listener);
	if (!sk || (!fewest->stalled && is_stalled(sk)))
		return 0;
	fewest->found = 1;
	fewest->listener = listener;
	fewest->instance = slot;
	fewest->connections = load->connections;
	return 0;
}

static __always_inline bool select_fewest(struct sk_reuseport_md *ctx, struct group *group,
					  __u32 state, bool stalled, __u32 *slot)
{
	struct fewest fewest = {.group = group, .state = state, .stalled = stalled};
	__u32 members = group->members;

	if (!members || members > MAX_MEMBERS)
		return false;
	fewest.start = ctx->hash % members;
	__builtin_memset(fewest.closed, 0xff, sizeof(fewest.closed));
	for (int i = 0; i < SELECT_TRIES; i++) {
		fewest.found = group->zero;
		fewest.connections = group->zero;
		bpf_loop(MAX_MEMBERS, compare_member, &fewest, 0);
		if (!fewest.found)
			return false;
		if (try_listener(ctx, fewest.listener)) {
			*slot = fewest.instance;
			return true;
		}
		fewest.closed[i] = fewest.listener;
	}
	return false;
}

/* What has not been accepted is counted where it goes: nowhere, when that is not ours to say. The
 * cookie of a request for a connection is the connection's; one that is not established yet has no
 * entry. */
static __always_inline void migrated(struct bpf_sock *migrating, __u32 step, __u32 slot)
{
	count(step == COUNT_SELECT_NONE ? step : COUNT_SELECT_MIGRATED);
	connection_move(bpf_get_socket_cookie(migrating),
			step == COUNT_SELECT_NONE ? NO_INSTANCE : slot);
}

/* The step of the selection that found a listener, as its counter; SELECT_NONE: none did. */
static __always_inline __u32 select_listener(struct sk_reuseport_md *ctx, struct group *group,
					     const struct target_service *service,
					     const struct address *client, __u32 *slot)
{
	struct affinity_key key;

	if (service->affinity != AFFINITY_NONE) {
		affinity_key_make(&key, service->scope, service->client_prefix, client);
		if (select_affinity(ctx, group, &key, slot))
			return COUNT_SELECT_AFFINITY;
	}
	if (select_fewest(ctx, group, INSTANCE_READY, false, slot) ||
	    select_fewest(ctx, group, INSTANCE_READY, true, slot))
		return COUNT_SELECT_LEAST;
	if (select_fewest(ctx, group, INSTANCE_DRAINING, true, slot))
		return COUNT_SELECT_DRAINING;
	return COUNT_SELECT_NONE;
}

SEC("sk_reuseport/migrate")
int selector(struct sk_reuseport_md *ctx)
{
	struct target_service *service;
	struct bpf_sock *migrating;
	struct group *group;
	__u32 number = 0, slot = 0, step;
	struct ends ends;

	if (!selection_ends(ctx, &ends))
		return SK_PASS;
	service = service_of(&ends, &number);
	if (!service) {
		count(COUNT_SELECT_FOREIGN);
		return SK_PASS;
	}
	group = group_of(ctx->sk, ends.local_port);
	if (!group)
		return SK_PASS; /* not adopted yet */
	step = select_listener(ctx, group, service, &ends.client, &slot);
	migrating = ctx->migrating_sk;
	if (migrating)
		migrated(migrating, step, slot);
	else
		count(step);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
