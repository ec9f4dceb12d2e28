/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent.h - limpetd on one node: what its parts share. One thread, one event loop (libevent). A
 * part has x_start, which registers its events and returns NULL with a line in the log when it
 * cannot, and x_stop.
 */
#ifndef LIMPET_AGENT_H
#define LIMPET_AGENT_H

#include <event2/event.h>
#include <json-c/json.h>

#include "config.h"
#include "maps.h"
#include "wire.h"

struct agent {
	struct event_base *base;
	struct config *config;
	struct maps maps;
	uint64_t node_id;	    /* random, STATE/node_id */
	struct tls_context *tls;    /* session.h */
	struct router_part *router; /* NULL: no router here */
	struct target_part *target; /* NULL: no target here */
	struct control_part *control;
	struct interface_watch *interfaces;
	unsigned int sessions; /* that are not freed yet; session.c */
	int lock;	       /* RUNTIME/limpetd.lock */
	int pins;	       /* PIN_PATH/v1, locked too */
	bool leaving;	       /* stops because the node unloads: GOODBYE_LEAVING to the routers */
};

uint64_t agent_now_ms(void); /* CLOCK_MONOTONIC; clock.c */
uint64_t agent_now_ns(void);
/* loop.c: one in which no work, however much, delays timers and sockets. NULL: no memory. */
struct event_base *agent_loop_new(void);
/* agent.c: what the parts stand on but the maps; and all of it, with the parts, in the order of
 * their start. -1 with a line in the log; then agent_stop still is due. Takes the configuration. */
int agent_open(struct agent *agent, struct config *config);
int agent_start(struct agent *agent, struct config *config);
/* GOODBYE to every peer, then everything down. */
void agent_stop(struct agent *agent);
int agent_read_settings(const struct agent *agent, struct settings *loaded);
/*
 * reload.c: read the configuration file again and hand it to the parts (SIGHUP, POST /reload).
 * -errno: one line in error and in the log, and the old configuration stays.
 */
int agent_reload(struct agent *agent, char error[CONFIG_ERROR]);
/* Would it be taken over? Changes nothing. -errno: one line in error. */
int agent_reload_check(const struct agent *agent, char error[CONFIG_ERROR]);
/* `limpet unload`: end, and tell the routers that the target leaves. From the event loop. */
void agent_leave(struct agent *agent);

/* router.c: sessions of targets, roster, rings, sync_state. */
struct router_part *router_start(struct agent *agent);
void router_stop(struct router_part *router); /* says GOODBYE(stopping) */
/* The role in the pinned map has changed, or the configuration has. */
void router_role_changed(struct router_part *router);
int router_reload(struct router_part *router, const struct config *config);
int router_forget(struct router_part *router, const char *target); /* -ENOENT, -EBUSY */

/* router_view.c. */
/* 0 ready, 1 not: a target is missing (comma separated, in text), none has joined, or an interface
 * has no XDP program. */
int router_ready(const struct router_part *router, char *text, size_t size);
/* Is the roster on disk the present one? */
bool router_roster_written(const struct router_part *router);
/* Arrays of objects with the fields of `limpet show targets|sync --json`, by the targets' names. */
struct json_object *router_targets_json(const struct router_part *router);
struct json_object *router_sync_json(const struct router_part *router);
/* For metrics: what router_mirror.h counts. */
struct mirror_counts;
const struct mirror_counts *router_counts(const struct router_part *router);

/* target.c: sessions to routers, services, listeners, addresses. */
struct target_part *target_start(struct agent *agent);
void target_stop(struct target_part *target);
int target_reload(struct target_part *target, const struct config *config);
/* instance 0: the whole target. */
int target_drain(struct target_part *target, uint64_t instance, bool end_affinities);
int target_resume(struct target_part *target, uint64_t instance);
int target_release(struct target_part *target, const struct address *client,
		   const char *service); /* -ENOENT; -ENXIO: no such service */
struct json_object *target_routers_json(const struct target_part *target);
struct json_object *target_sync_json(const struct target_part *target);
struct json_object *target_instances_json(const struct target_part *target);

/* control.c: HTTP+JSON on RUNTIME/control.sock, /metrics. */
struct control_part *control_start(struct agent *agent);
void control_stop(struct control_part *control);
/* For `limpet monitor`: one line of JSON to whoever listens. Takes the reference. */
void control_event(struct control_part *control, struct json_object *event);
/* Does anybody listen? For those whose events are many. */
bool control_has_listener(const struct control_part *control);

#endif
