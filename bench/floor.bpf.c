// SPDX-License-Identifier: BSD-2-Clause
/*
 * floor.bpf.c - what Limpet is measured against: `tx`, which does nothing, and the floors, the
 * least that a stateful balancer on one BPF hash map has to do: parse, one look-up, an outer
 * header. They check next to nothing and are no balancers.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "floor.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define OUTER4 bpf_htonl(0x0a070002) /* 10.7.0.2, the router's own address */

/* Sizes of 1 are set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct floor_key4);
	__type(value, struct floor_flow);
	__uint(max_entries, 1);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct floor_key6);
	__type(value, struct floor_flow);
	__uint(max_entries, 1);
} flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct floor_target);
	__uint(max_entries, FLOOR_TARGETS);
} targets SEC(".maps");

static __always_inline const struct floor_target *target_of(const struct floor_flow *flow)
{
	return bpf_map_lookup_elem(&targets, &flow->target);
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Room for an outer header of this size, and the link header in front of it; NULL: not to be had,
 * or nothing as large is behind it. */
static __always_inline void *wrap(struct xdp_md *context, const struct floor_target *target,
				  __u16 protocol, const int size)
{
	struct ethhdr *eth, *old;

	if (bpf_xdp_adjust_head(context, -size))
		return NULL;
	eth = (void *)(long)context->data;
	old = (void *)eth + size;
	if ((void *)(old + 1) + size > (void *)(long)context->data_end)
		return NULL;
	__builtin_memcpy(eth->h_source, old->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, target->mac, ETH_ALEN);
	eth->h_proto = bpf_htons(protocol);
	return eth + 1;
}

static __always_inline int send4(struct xdp_md *context, const struct floor_target *target)
{
	struct iphdr *outer = wrap(context, target, ETH_P_IP, sizeof(*outer)), *inner;
	__u32 sum = 0;

	if (!outer)
		return XDP_DROP;
	inner = (void *)(outer + 1) + ETH_HLEN;
	*(__u16 *)outer = bpf_htons(0x4500 | inner->tos);
	outer->tot_len = bpf_htons(bpf_ntohs(inner->tot_len) + sizeof(*outer));
	outer->id = 0;
	outer->frag_off = 0;
	outer->ttl = 64;
	outer->protocol = IPPROTO_IPIP;
	outer->check = 0;
	outer->saddr = OUTER4;
	outer->daddr = target->address[0];
#pragma unroll
	for (unsigned int i = 0; i < sizeof(*outer) / 2; i++)
		sum += ((__u16 *)outer)[i];
	outer->check = fold(sum);
	return XDP_TX;
}

static __always_inline int send6(struct xdp_md *context, const struct floor_target *target)
{
	struct ipv6hdr *outer = wrap(context, target, ETH_P_IPV6, sizeof(*outer)), *inner;

	if (!outer)
		return XDP_DROP;
	inner = (void *)(outer + 1) + ETH_HLEN;
	*(__u32 *)outer = bpf_htonl(0x60000000);
	outer->payload_len = bpf_htons(bpf_ntohs(inner->payload_len) + sizeof(*inner));
	outer->nexthdr = IPPROTO_IPV6;
	outer->hop_limit = 64;
	__builtin_memset(&outer->saddr, 0xfd, sizeof(outer->saddr));
	__builtin_memcpy(&outer->daddr, target->address, sizeof(outer->daddr));
	return XDP_TX;
}

static __always_inline int floor4(struct xdp_md *context)
{
	struct iphdr *ip = (void *)(long)context->data + ETH_HLEN;
	struct floor_key4 key = {};
	const struct floor_target *target;
	const struct floor_flow *flow;
	__be16 *port = (void *)(ip + 1);

	if ((void *)(port + 2) > (void *)(long)context->data_end)
		return XDP_DROP;
	if (ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff) || ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	key.client = ip->saddr;
	key.service = ip->daddr;
	key.client_port = port[0];
	key.service_port = port[1];
	key.protocol = ip->protocol;
	flow = bpf_map_lookup_elem(&flows4, &key);
	if (!flow)
		return XDP_PASS;
	target = target_of(flow);
	return target ? send4(context, target) : XDP_DROP;
}

static __always_inline int floor6(struct xdp_md *context)
{
	struct ipv6hdr *ip = (void *)(long)context->data + ETH_HLEN;
	struct floor_key6 key = {};
	const struct floor_target *target;
	const struct floor_flow *flow;
	__be16 *port = (void *)(ip + 1);

	if ((void *)(port + 2) > (void *)(long)context->data_end)
		return XDP_DROP;
	if (ip->nexthdr != IPPROTO_TCP)
		return XDP_PASS;
	__builtin_memcpy(key.client, &ip->saddr, sizeof(key.client));
	__builtin_memcpy(key.service, &ip->daddr, sizeof(key.service));
	key.client_port = port[0];
	key.service_port = port[1];
	key.protocol = ip->nexthdr;
	flow = bpf_map_lookup_elem(&flows6, &key);
	if (!flow)
		return XDP_PASS;
	target = target_of(flow);
	return target ? send6(context, target) : XDP_DROP;
}

/* The baseline: what the wrapper, the interface and the kernel cost. */
SEC("xdp")
int tx(struct xdp_md *context)
{
	return XDP_TX;
}

SEC("xdp")
int floor(struct xdp_md *context)
{
	struct ethhdr *eth = (void *)(long)context->data;

	if ((void *)(eth + 1) > (void *)(long)context->data_end)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return floor4(context);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return floor6(context);
	return XDP_PASS;
}

/* An ICMP error is sent after the packet that it quotes. */
SEC("xdp")
int floor_icmp(struct xdp_md *context)
{
	struct ethhdr *eth = (void *)(long)context->data;
	struct iphdr *ip = (void *)(eth + 1), *quoted = (void *)(ip + 1) + 8;
	__be16 *port = (void *)(quoted + 1);
	struct floor_key4 key = {};
	const struct floor_target *target;
	const struct floor_flow *flow;

	if ((void *)(port + 2) > (void *)(long)context->data_end)
		return XDP_DROP;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_ICMP)
		return XDP_PASS;
	key.client = quoted->daddr;
	key.service = quoted->saddr;
	key.client_port = port[1];
	key.service_port = port[0];
	key.protocol = quoted->protocol;
	flow = bpf_map_lookup_elem(&flows4, &key);
	if (!flow)
		return XDP_PASS;
	target = target_of(flow);
	return target ? send4(context, target) : XDP_DROP;
}

/* At the target: one look-up of the inner packet's connection, and off with the outer header. */
SEC("xdp")
int floor_decap(struct xdp_md *context)
{
	struct ethhdr *eth = (void *)(long)context->data, old;
	struct iphdr *outer = (void *)(eth + 1), *inner = (void *)(outer + 1);
	__be16 *port = (void *)(inner + 1);
	struct floor_key4 key = {};

	if ((void *)(port + 2) > (void *)(long)context->data_end)
		return XDP_DROP;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || outer->protocol != IPPROTO_IPIP)
		return XDP_PASS;
	key.client = inner->saddr;
	key.service = inner->daddr;
	key.client_port = port[0];
	key.service_port = port[1];
	key.protocol = inner->protocol;
	if (!bpf_map_lookup_elem(&flows4, &key))
		return XDP_DROP;
	old = *eth;
	if (bpf_xdp_adjust_head(context, sizeof(*outer)))
		return XDP_DROP;
	eth = (void *)(long)context->data;
	if ((void *)(eth + 1) > (void *)(long)context->data_end)
		return XDP_DROP;
	*eth = old;
	return XDP_PASS;
}
