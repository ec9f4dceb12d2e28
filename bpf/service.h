/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* service.h - which service a connection is for, and under which key its client has affinities. */
#ifndef LIMPET_SERVICE_H
#define LIMPET_SERVICE_H

#include "ip_address.h"
#include "kernel.h"
#include "target_maps.h"

/* Both ends of a connection, as the target sees it. */
struct ends {
	struct address client;
	struct address local;
	__be16 client_port;
	__be16 local_port;
};

/* The ends of a socket, or of a request for one. An IPv4 connection of an IPv6 socket has mapped
 * addresses already; on such a socket the IPv4 members are garbage. */
static __always_inline void ends_of_socket(struct bpf_sock *sk, struct ends *ends)
{
	__u32 *client = (__u32 *)&ends->client, *local = (__u32 *)&ends->local;

	ends->client_port = sk->dst_port;
	ends->local_port = bpf_htons(sk->src_port);
	if (sk->family == AF_INET) {
		address_from_ip4(&ends->client, sk->dst_ip4);
		address_from_ip4(&ends->local, sk->src_ip4);
		/* The verifier wants each member read at a constant offset: the compiler is not to
		 * join these reads with those below. */
		barrier();
		return;
	}
	client[0] = sk->dst_ip6[0];
	client[1] = sk->dst_ip6[1];
	client[2] = sk->dst_ip6[2];
	client[3] = sk->dst_ip6[3];
	local[0] = sk->src_ip6[0];
	local[1] = sk->src_ip6[1];
	local[2] = sk->src_ip6[2];
	local[3] = sk->src_ip6[3];
}

/* The reuseport group of a listener: as it is bound, which is not what its packets are for. NULL:
 * it has no instances. */
static __always_inline struct group *group_of(struct bpf_sock *sk, __be16 port)
{
	struct group_key key = {.port = port, .family = sk->family};
	__u32 *bound = (__u32 *)&key.bound;

	if (sk->family == AF_INET) {
		if (sk->src_ip4)
			address_from_ip4(&key.bound, sk->src_ip4);
	} else {
		bound[0] = sk->src_ip6[0];
		bound[1] = sk->src_ip6[1];
		bound[2] = sk->src_ip6[2];
		bound[3] = sk->src_ip6[3];
	}
	return bpf_map_lookup_elem(&groups, &key);
}

static __always_inline struct target_service *service_by_number(__u32 number)
{
	struct target_service *service = bpf_map_lookup_elem(&services, &number);

	return service && service->name[0] ? service : 0;
}

/* The service that the local end belongs to, its number into *number; NULL: none. */
static __always_inline struct target_service *service_of(const struct ends *ends, __u32 *number)
{
	struct service_key key = {
		.address = ends->local, .port = ends->local_port, .protocol = IPPROTO_TCP};
	struct served *entry = bpf_map_lookup_elem(&served, &key);

	if (!entry || entry->service == NO_NUMBER)
		return 0;
	*number = entry->service;
	return service_by_number(*number);
}

static __always_inline void affinity_key_make(struct affinity_key *key, __u16 scope, __u32 prefix,
					      const struct address *client)
{
	key->client = *client;
	key->scope = scope;
	key->zero = 0;
	mask_address(&key->client, prefix);
}

#endif
