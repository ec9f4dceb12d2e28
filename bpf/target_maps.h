/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* target_maps.h - the target's maps; pinned under PIN_PATH/v1/target/. One table, one writer
 * (include/layout.h). */
#ifndef LIMPET_TARGET_MAPS_H
#define LIMPET_TARGET_MAPS_H

#include "node_maps.h"

/* Written by limpetd as the routers say; read by selector, tracker, request. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct target_service);
	__uint(max_entries, MAX_SERVICES);
} services SEC(".maps");

/* Written by limpetd; read by limpetd and `limpet`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct scope);
	__uint(max_entries, MAX_SERVICES);
} scopes SEC(".maps");

/* Written by limpetd; read by selector. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct group_key);
	__type(value, struct group);
	__uint(max_entries, MAX_GROUPS);
} groups SEC(".maps");

/* Written by limpetd, emptied by the kernel when a listener closes; read by selector. */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, MAX_LISTENERS);
} listeners SEC(".maps");

/* Written by limpetd; read by selector, request. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct instance);
	__uint(max_entries, MAX_INSTANCES);
} instances SEC(".maps");

/* Written by tracker, selector, request, agent; read by selector and limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct instance_load);
	__uint(max_entries, MAX_INSTANCES);
} instance_load SEC(".maps");

/* Written by limpetd for listeners, by the tracker for connections; read by tracker, request. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, struct socket_note);
} socket_notes SEC(".maps");

/* Written by the tracker and limpetd, whichever lowers it; read by `limpet unload`. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct lowered_mss);
} lowered_mss SEC(".maps");

/* The CRHT. Written by tracker, selector (migration) and agent; read by request and limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct connection_key);
	__type(value, struct target_connection);
	__uint(max_entries, 1);
} connections SEC(".maps");

/* Written by tracker and agent; read by tracker, selector, request. As many as connections. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct socket_connection);
	__uint(max_entries, 1);
} sockets SEC(".maps");

/* Written by tracker, selector (migration) and agent; read by all. As many as connections. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct client_key);
	__type(value, struct client_count);
	__uint(max_entries, 1);
} clients SEC(".maps");

/* The CRHT. Written by request, tracker (timed) and agent; read by selector and limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct affinity_key);
	__type(value, struct target_affinity);
	__uint(max_entries, 1);
} affinities SEC(".maps");

/* Written by limpetd; read by request (status). As many as affinities. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct affinity_key);
	__type(value, struct grant);
	__uint(max_entries, 1);
} grants SEC(".maps");

/* Written by request (first question) and tracker (exit); read by selector. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct process);
	__uint(max_entries, 65536);
} processes SEC(".maps");

/* Written by all by atomic add. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct identity);
	__uint(max_entries, 1);
} identity SEC(".maps");

/* Written by tracker, selector, request, agent; read by limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

#endif
