/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* router_maps.h - the router's maps; pinned under PIN_PATH/v1/router/. One table, one writer
 * (include/layout.h). */
#ifndef LIMPET_ROUTER_MAPS_H
#define LIMPET_ROUTER_MAPS_H

#include "node_maps.h"

/* Of struct service_slot. */
struct service_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct service_slot));
	__uint(max_entries, SERVICE_SLOTS);
};

/* Written by `limpet load` and `reload`, whole; read by XDP. The commit point of a change of
 * services. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 1);
	__array(values, struct service_table);
} service_index SEC(".maps");

/* Written by `limpet load` and `reload`; read by XDP and limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct router_service);
	__uint(max_entries, MAX_SERVICES);
} services SEC(".maps");

/* Written by `limpet load` and `reload`; read by limpetd and `limpet`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct scope);
	__uint(max_entries, MAX_SERVICES);
} scopes SEC(".maps");

/* Written by limpetd; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct service_state);
	__uint(max_entries, MAX_SERVICES);
} service_state SEC(".maps");

/* Written by limpetd; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct unserved);
	__uint(max_entries, MAX_SERVICES);
} unserved SEC(".maps");

/* Of struct ring_element, which clang's BTF does not describe for an inner map: sizes alone. */
struct ring {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct ring_element));
	__uint(max_entries, RING_ELEMENTS);
};

/* One ring a service, and GUESS_RING; switched whole. Written by limpetd; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, MAX_SERVICES + 1);
	__array(values, struct ring);
} rings SEC(".maps");

/* Written by limpetd; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct target);
	__uint(max_entries, MAX_TARGETS);
} targets SEC(".maps");

/* Written by XDP and `router_agent`; may forget. Mappable, because the elements of such an array
 * begin at a page: each set is one cache line. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow_set);
	__uint(max_entries, 1);
} flows SEC(".maps");

/* Written by XDP; may forget. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct handshake_set);
	__uint(max_entries, 1);
} handshakes SEC(".maps");

/* Written by XDP only; may forget. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct sighting_set);
	__uint(max_entries, 1);
} sightings SEC(".maps");

/* The CRHT. Written by `router_agent` for limpetd on the targets' word; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct connection_key);
	__type(value, struct router_connection);
	__uint(max_entries, 1);
} connections SEC(".maps");

/* The CRHT. Written by `router_agent` for limpetd on the targets' word; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct affinity_key);
	__type(value, struct router_affinity);
	__uint(max_entries, 1);
} affinities SEC(".maps");

/* Written by `router_agent`; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} present SEC(".maps");

/* Written and read by `router_agent`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct present_counts);
	__uint(max_entries, 1);
} present_counts SEC(".maps");

/* Written by `limpet load`, `activate`, `deactivate`; read by XDP and limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct router_role);
	__uint(max_entries, 1);
} role SEC(".maps");

/* Written by limpetd; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct sync_state);
	__uint(max_entries, 1);
} sync_state SEC(".maps");

/* The clock of each CPU (clock.h); not pinned. */
struct tick {
	__u64 jiffies, now_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct tick);
	__uint(max_entries, 1);
} clocks SEC(".maps");

#endif
