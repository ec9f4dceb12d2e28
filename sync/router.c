/* SPDX-License-Identifier: BSD-2-Clause */
/* router.c - the router part of limpetd: its start and stop, its role, its orders. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "router_internal.h"

#define TICK_MS 100

void router_event(struct router_part *router, const char *what, const char *name, const char *text)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "event", json_object_new_string(what));
	json_object_object_add(event, "name", json_object_new_string(name));
	json_object_object_add(event, "state", json_object_new_string(text));
	control_event(router->agent->control, event);
}

static void on_roster_changed(void *context)
{
	struct router_part *router = context;

	router->roster_dirty = true;
	router_update_soon(router);
}

static void on_next_hop(void *context, __u16 number)
{
	struct router_part *router = context;

	router_target_changed(router, number);
}

/* ------------------------------------------------------------------------------------------------
 * events */

/* `limpet activate` writes the role and needs no daemon: look, whether or not it could tell us. */
static void follow_role(struct router_part *router)
{
	struct router_role role;
	__u32 zero = 0;

	if (maps_get(&router->agent->maps, MAP_ROLE, &zero, &role) ||
	    (role.epoch == router->role.epoch && role.role == router->role.role))
		return;
	router->role = role;
	log_info("router: %s, epoch %u",
		 role.role == ROLE_ACTIVE ? "active: asking every target for its table" : "standby",
		 role.epoch);
	router_mirror_role(router->mirror, role.role, role.epoch, agent_now_ms());
	router_event(router, "role", router->agent->config->node,
		     role.role == ROLE_ACTIVE ? "active" : "standby");
	router_update(router);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	struct router_part *router = context;
	struct sync_state *published = &router->sync_state;

	(void)fd;
	(void)what;
	follow_role(router);
	router_mirror_tick(router->mirror, agent_now_ms());
	/* Waiting for affinities ends by time too. */
	if (published->affinities_in_sync != router_mirror_affinities_in_sync(router->mirror) ||
	    published->in_sync != router_mirror_in_sync(router->mirror) ||
	    published->missing != router_mirror_missing(router->mirror) || !router->settled)
		router_update_soon(router);
}

static void on_second(evutil_socket_t fd, short what, void *context)
{
	struct router_part *router = context;

	(void)fd;
	(void)what;
	router_probe_all(router);
	router_look_for_unattended(router);
	/* leastconn follows the counts, and what could not be written is tried again. */
	router_update_soon(router);
}

static void on_update(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	router_update(context);
}

/* ------------------------------------------------------------------------------------------------
 * life */

static void take_sources(struct router_part *router, const struct config_router *config)
{
	memset(&router->source4, 0, sizeof(router->source4));
	router->source6 = config->address6;
	if (address_is_ipv4(&config->address))
		router->source4 = config->address;
	else
		router->source6 = config->address;
}

static int start_events(struct router_part *router)
{
	const struct timeval tick = {0, TICK_MS * 1000}, second = {1, 0};
	struct event_base *base = router->agent->base;

	router->tick = event_new(base, -1, EV_PERSIST, on_tick, router);
	router->second = event_new(base, -1, EV_PERSIST, on_second, router);
	router->update = event_new(base, -1, 0, on_update, router);
	if (!router->tick || !router->second || !router->update || event_add(router->tick, &tick) ||
	    event_add(router->second, &second))
		return -ENOMEM;
	return 0;
}

static struct router_mirror *new_mirror(struct router_part *router)
{
	static const struct router_mirror_ops ops = {
		.connection = router_put_connection,
		.affinity = router_put_affinity,
		.noted = router_noted,
		.send = router_mirror_send,
		.target_changed = router_target_changed,
		.end_session = router_mirror_end_session,
		.roster_changed = on_roster_changed,
	};
	const struct config *config = router->agent->config;
	const struct router_mirror_settings settings = {
		.node_id = router->agent->node_id,
		.dead_after_ms = config->router.dead_ms,
		.max_connections = config->max_connections,
		.max_affinities = config->max_affinities,
		.sync_on_failure = config->router.sync_on_failure,
	};

	return router_mirror_new(&ops, router, &settings);
}

static int start_parts(struct router_part *router)
{
	struct agent *agent = router->agent;

	router->mirror = new_mirror(router);
	router->rings = rings_new(&agent->maps);
	if (!router->mirror || !router->rings || start_events(router)) {
		log_error("router: not begun: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	router->hops = next_hops_start(agent->base, on_next_hop, router);
	router->prober = prober_new();
	router->echoes = echoes_start(agent->base, router_echo_heard, router);
	return router->hops && router->prober && router->echoes ? 0 : -EIO;
}

/* Above what targets have noted of this router's earlier lives, and no stranger can tell it, who
 * would answer in the place of a target that is gone. */
static uint64_t first_sequence(void)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		log_debug("path probes: their numbers can be foreseen: %s", strerror(errno));
	return (uint64_t)time(NULL) << 32 | random;
}

struct router_part *router_start(struct agent *agent)
{
	struct router_part *router = calloc(1, sizeof(*router));
	__u32 zero = 0;

	if (!router)
		return NULL;
	router->agent = agent;
	router->started_ms = agent_now_ms();
	router->probe_sequence = first_sequence();
	TAILQ_INIT(&router->waiting);
	take_sources(router, &agent->config->router);
	if (router_open_program(router) || start_parts(router) || router_read_services(router))
		goto out;
	maps_get(&agent->maps, MAP_ROLE, &zero, &router->role);
	maps_get(&agent->maps, MAP_SYNC_STATE, &zero, &router->sync_state);
	router_mirror_configure(router->mirror, router->services, router->scopes);
	if (router_restore(router))
		goto out;
	router_mirror_role(router->mirror, router->role.role, router->role.epoch, agent_now_ms());
	router_update(router);
	if (router_sessions_start(router))
		goto out;
	log_info("router: %s, epoch %u", router->role.role == ROLE_ACTIVE ? "active" : "standby",
		 router->role.epoch);
	return router;
out:
	router_stop(router);
	return NULL;
}

void router_stop(struct router_part *router)
{
	struct event *events[] = {router->tick, router->second, router->update};

	router_sessions_stop(router);
	if (router->roster_dirty)
		router_write_roster(router);
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
		if (events[i])
			event_free(events[i]);
	echoes_stop(router->echoes);
	prober_free(router->prober);
	next_hops_stop(router->hops);
	rings_free(router->rings);
	router_mirror_free(router->mirror);
	if (router->program >= 0)
		close(router->program);
	free(router);
}

void router_role_changed(struct router_part *router)
{
	follow_role(router);
}

int router_reload(struct router_part *router, const struct config *config)
{
	int error = router_read_services(router);

	if (error)
		return error;
	take_sources(router, &config->router);
	router_mirror_set(router->mirror, config->router.dead_ms, config->router.sync_on_failure);
	router_mirror_configure(router->mirror, router->services, router->scopes);
	for (unsigned int i = 0; i < router->forward_limit; i++)
		router->forwards[i].dirty = true;
	router_update_soon(router);
	return 0;
}

int router_forget(struct router_part *router, const char *target)
{
	int error = router_mirror_forget(router->mirror, target, agent_now_ms());

	if (!error) {
		log_info("target %s: forgotten", target);
		router_update_soon(router);
	}
	return error;
}
