/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* node_maps.h - maps that programs of both roles use; pinned under PIN_PATH/v1/node/
 * (include/layout.h). */
#ifndef LIMPET_NODE_MAPS_H
#define LIMPET_NODE_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "layout.h"

/* Sizes of 1 are set by `limpet load` from the configuration's `tables`. */

/* Written by `limpet load` and `reload`; read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct settings);
	__uint(max_entries, 1);
} settings SEC(".maps");

/* Written by every program, read by `limpet` and limpetd. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, COUNTERS);
} counters SEC(".maps");

/* Whose encapsulated packets are accepted. Written by limpetd (target); read by XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address);
	__type(value, struct router);
	__uint(max_entries, MAX_ROUTERS * 2);
} routers SEC(".maps");

/* What this target serves. Written by limpetd (target); read by XDP, selector, tracker, request. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct service_key);
	__type(value, struct served);
	__uint(max_entries, MAX_SERVICES * 2);
} served SEC(".maps");

/* The last path probes that have arrived. Written by XDP (target); read by limpetd, which echoes
 * them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct address);
	__type(value, struct probe);
	__uint(max_entries, MAX_ROUTERS * 2);
} probes SEC(".maps");

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		(*value)++;
}

#endif
