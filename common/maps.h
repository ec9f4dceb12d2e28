/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * maps.h - the pinned BPF maps, and the only access of user space to them. Opened by name from
 * PIN_PATH/v1/; key and value sizes are checked against layout.h. All functions return 0 or a
 * negative errno.
 */
#ifndef LIMPET_MAPS_H
#define LIMPET_MAPS_H

#include <stdbool.h>
#include <stddef.h>

#include "layout.h"

/* X(id, directory, name, key type, value type): the name of the pin and in the kernel. */
/* clang-format off */
#define LIMPET_MAPS(X)                                                                          \
	X(SETTINGS, "node", "settings", __u32, struct settings)                                 \
	X(COUNTERS, "node", "counters", __u32, __u64)                                           \
	/* per CPU */                                                                           \
	X(ROUTERS, "node", "routers", struct address, struct router)                            \
	X(SERVED, "node", "served", struct service_key, struct served)                          \
	X(PROBES, "node", "probes", struct address, struct probe)                               \
	X(SERVICE_INDEX, "router", "service_index", __u32, __u32)                               \
	X(ROUTER_SERVICES, "router", "services", __u32, struct router_service)                  \
	X(ROUTER_SCOPES, "router", "scopes", __u32, struct scope)                               \
	X(SERVICE_STATE, "router", "service_state", __u32, struct service_state)                \
	X(UNSERVED, "router", "unserved", __u32, struct unserved)                               \
	X(RINGS, "router", "rings", __u32, __u32)                                               \
	X(TARGETS, "router", "targets", __u32, struct target)                                   \
	X(FLOWS, "router", "flows", __u32, struct flow_set)                                     \
	X(HANDSHAKES, "router", "handshakes", __u32, struct handshake_set)                      \
	X(PRESENT, "router", "present", __u32, __u64)                                           \
	X(PRESENT_COUNTS, "router", "present_counts", __u32, struct present_counts)             \
	X(SIGHTINGS, "router", "sightings", __u32, struct sighting_set)                         \
	X(ROUTER_CONNECTIONS, "router", "connections", struct connection_key, struct router_connection) \
	X(ROUTER_AFFINITIES, "router", "affinities", struct affinity_key, struct router_affinity) \
	X(ROLE, "router", "role", __u32, struct router_role)                                    \
	X(SYNC_STATE, "router", "sync_state", __u32, struct sync_state)                         \
	X(TARGET_SERVICES, "target", "services", __u32, struct target_service)                  \
	X(TARGET_SCOPES, "target", "scopes", __u32, struct scope)                               \
	X(GROUPS, "target", "groups", struct group_key, struct group)                           \
	X(LISTENERS, "target", "listeners", __u32, __u64)                                       \
	X(INSTANCES, "target", "instances", __u32, struct instance)                             \
	X(INSTANCE_LOAD, "target", "instance_load", __u32, struct instance_load)                \
	X(SOCKET_NOTES, "target", "socket_notes", __u32, struct socket_note)                    \
	X(LOWERED_MSS, "target", "lowered_mss", __u32, struct lowered_mss)                      \
	X(TARGET_CONNECTIONS, "target", "connections", struct connection_key, struct target_connection) \
	X(SOCKETS, "target", "sockets", __u64, struct socket_connection)                        \
	X(CLIENTS, "target", "clients", struct client_key, struct client_count)                 \
	X(TARGET_AFFINITIES, "target", "affinities", struct affinity_key, struct target_affinity) \
	X(GRANTS, "target", "grants", struct affinity_key, struct grant)                        \
	X(PROCESSES, "target", "processes", __u32, struct process)                              \
	X(IDENTITY, "target", "identity", __u32, struct identity)
/* clang-format on */

enum map_id {
#define LIMPET_MAP_ENUM(id, directory, name, key, value) MAP_##id,
	LIMPET_MAPS(LIMPET_MAP_ENUM)
#undef LIMPET_MAP_ENUM
		MAP_EVENTS, /* target/events, a ring buffer */
	MAPS
};

struct map_description {
	const char *directory, *name;
	size_t key_size, value_size;
};
const struct map_description *map_description(enum map_id id);

/* The pins of one node. Maps of a role that is not loaded have fd -1. */
struct maps {
	int fd[MAPS];
};

/* -ENOENT: Limpet is not loaded at this pin path. */
int maps_open(struct maps *maps, const char *pin_path);
void maps_close(struct maps *maps);
/* PIN_PATH/v1/DIRECTORY/NAME into text; returns text. */
const char *maps_pin(const char *pin_path, const char *directory, const char *name,
		     char text[4096]);
/* An fd of what is pinned there (a map, a program or a link), or -errno. */
int maps_open_pin(const char *pin_path, const char *directory, const char *name);

int maps_get(const struct maps *maps, enum map_id id, const void *key, void *value);
int maps_put(const struct maps *maps, enum map_id id, const void *key, const void *value);
int maps_add(const struct maps *maps, enum map_id id, const void *key,
	     const void *value); /* -EEXIST */
int maps_delete(const struct maps *maps, enum map_id id, const void *key);

/* The first `count` elements of an array, into elements[count] of its values. */
int maps_get_all(const struct maps *maps, enum map_id id, void *elements, __u32 count);

/* Call each(context, key, value) for every entry of a hash map (in batches, which under churn miss
 * and double nothing) or every element of an array; stops when it returns nonzero, and returns
 * that. */
int maps_walk(const struct maps *maps, enum map_id id,
	      int (*each)(void *context, const void *key, const void *value), void *context);

/* Sums over the CPUs. */
int maps_counters(const struct maps *maps, __u64 counters[COUNTERS]);
int maps_counter(const struct maps *maps, enum counter counter, __u64 *sum); /* just one */
const char *counter_name(enum counter counter);				     /* "held_unknown" */
const char *counter_text(enum counter counter);

/* A new ring from slots[RING_SIZE] in place of the present one, in one step. */
int maps_put_ring(const struct maps *maps, __u32 number, const __u16 *slots);

/* The slots[RING_SIZE] of the ring; -ENOENT while there is none. */
int maps_read_ring(const struct maps *maps, __u32 number, __u16 *slots);

/* The target in a slot of the ring (NO_NUMBER: none), or -ENOENT while there is no ring. */
int maps_get_ring(const struct maps *maps, __u32 number, __u32 slot);

/* An element of router/services: packets that meet it half-written take nothing from it (layout.h).
 * service->sequence is set to the one written. */
int maps_put_service(const struct maps *maps, __u32 number, struct router_service *service);

/* router/service_index, made of services[MAX_SERVICES], in place of the present one, in one step.
 * -ENOSPC: cannot be (SERVICE_PROBES). */
int maps_put_service_index(const struct maps *maps, const struct router_service *services);

/* Run the `router_agent` program (layout.h) with this call; its result. */
int maps_router_call(int program, struct router_call *call);

/* Run target/agent (layout.h) with this call; its result. -ENOENT: not loaded. `program` from
 * maps_open_pin. */
int maps_agent_call(int program, struct agent_call *call);

#endif
