/* SPDX-License-Identifier: BSD-2-Clause */
/* A router: its pinned tables, and the agent around the real mirror. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

int router_target_number(const struct node_router *router, unsigned int target)
{
	const char name[NAME_SIZE] = {'t', (char)('0' + target)};

	return router->mirror ? router_mirror_find(router->mirror, name) : -1;
}

unsigned int router_target_at(const struct node_router *router, uint16_t number)
{
	unsigned int target;

	if (number >= NUMBERS)
		return TARGETS;
	target = (unsigned int)(router->plane.targets[number].name[1] - '0');
	return target < TARGETS ? target : TARGETS;
}

/* ------------------------------------------------------------------------------------------------
 * what the mirror does */

/* From now on its packets go there, whatever happens to the agents; or it has ended. */
static void note_known(const struct node_router *router, unsigned int client, unsigned int port,
		       unsigned int target, bool open)
{
	struct conn *conn = target < TARGETS ? world.targets[target].sockets[client][port] : NULL;

	if (conn)
		conn->known[router->n] = open ? router->boots : 0;
}

static int put_connection(void *context, const struct connection_key *key,
			  const struct router_connection *value)
{
	struct node_router *router = context;
	struct plane_connection *entry;
	unsigned int client, port;
	int error;

	if (key->service != ROUTER_SERVICE || !model_connection(key, &client, &port)) {
		violated("protocol", "r%u: an unknown key", router->n);
		return -EINVAL;
	}
	entry = &router->plane.connections[client][port];
	if (entry->used)
		note_known(router, client, port, router_target_at(router, entry->value.target),
			   false);
	error = forward_put_connection(&router->plane, key, value);
	if (!error && value && value->state == CONNECTION_OPEN)
		note_known(router, client, port, router_target_at(router, value->target), true);
	return error;
}

static bool is_out(const struct node_router *router, unsigned int target)
{
	int number = router_target_number(router, target);
	enum target_state state = router_mirror_target(router->mirror, (uint16_t)number)->state;

	return number < 0 || state == TARGET_DOWN || state == TARGET_GONE;
}

static bool is_published(const struct node_target *target, unsigned int client)
{
	return target->held[client].present && target->grants[client].id == target->held[client].id;
}

static int put_affinity(void *context, const struct affinity_key *key,
			const struct router_affinity *value)
{
	struct node_router *router = context;
	unsigned int client = model_client_number(&key->client);
	struct plane_affinity *entry = &router->plane.affinities[client];
	int error;

	router->put_client = client;
	router->put_winner = entry->used ? router_target_at(router, entry->value.target) : TARGETS;
	if (entry->used && router->put_winner < TARGETS &&
	    (is_out(router, router->put_winner) ||
	     !is_published(&world.targets[router->put_winner], client)))
		world.targets[router->put_winner].held[client].seen &= ~(1u << router->n);
	error = forward_put_affinity(&router->plane, key, value);
	if (error || !value)
		return error;
	if (router_target_at(router, value->target) < TARGETS)
		world.targets[router_target_at(router, value->target)].held[client].seen |=
			1u << router->n;
	return 0;
}

static int noted(void *context, const struct connection_key *key)
{
	struct node_router *router = context;

	return forward_noted_target(&router->plane, key);
}

static bool in_sync(const struct node_router *router, unsigned int target)
{
	int number = router_target_number(router, target);

	return router_mirror_target(router->mirror, (uint16_t)number)->in_sync;
}

/* Does another target hold the client that this router does not hear, or has not heard of it? Which
 * of the two has the higher term is chance. */
static bool overlooks(const struct node_router *router, unsigned int target, unsigned int client)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct held *held = &world.targets[i].held[client];

		if (i == target || !is_published(&world.targets[i], client))
			continue;
		if (is_out(router, i) || (!(held->seen & 1u << router->n) && !in_sync(router, i)))
			return true;
	}
	return false;
}

/* Was it right to grant it, if somebody held the client? Who is given up or down holds nobody. */
static void note_grant(struct node_router *router, unsigned int target,
		       const struct message_answer *grant)
{
	unsigned int client = model_client_number(&grant->client);
	struct settled *settled = &world.settled[client];
	struct held *held = &world.targets[target].held[client];
	unsigned int before = router->put_client == client ? router->put_winner : target;

	router->put_client = CLIENTS;
	if (held->id != grant->id) /* it may have ended since, and nobody has noticed */
		return;
	held->legit |=
		before != TARGETS && before != target && (held->takeover || is_out(router, before));
	held->doubted = overlooks(router, target, client);
	held->granted_epoch[router->n] = router->plane.role.epoch;
	router->taken_over[client] = held->legit ? target : TARGETS;
	if (!settled->valid || settled->target == target)
		return;
	held->legit |= is_out(router, settled->target);
	router->taken_over[client] = held->legit ? target : TARGETS;
	settled->doubted |= held->doubted;
}

static void send(void *context, uint16_t number, const struct message *message)
{
	struct node_router *router = context;
	struct wire *wire = router->opening;
	const char *name = router_mirror_target(router->mirror, number)->name;

	if (!wire)
		wire = router->wires[name[1] - '0'];
	if (!wire)
		return;
	if (message->type == MESSAGE_GRANT)
		note_grant(router, wire->target, &message->answer);
	if (message->type == MESSAGE_REFUSE)
		promise_refusal(router, &message->answer);
	if (wire->open_at_target)
		wire_push(&wire->down, message);
}

static void changed(void *context, uint16_t target)
{
	struct node_router *router = context;

	(void)target;
	router->unpublished = true;
}

static void end_session(void *context, uint16_t number, enum goodbye_reason reason,
			const char *text)
{
	struct node_router *router = context;
	unsigned int target =
		(unsigned int)(router_mirror_target(router->mirror, number)->name[1] - '0');

	note("r%u ends the session of t%u: %s", router->n, target, text);
	world.statistics->resyncs += reason == GOODBYE_RESYNC;
	wire_close_at_router(router, target);
}

static void roster_changed(void *context)
{
	struct node_router *router = context;

	for (unsigned int i = 0; i < TARGETS; i++) {
		int number = router_target_number(router, i);

		router->roster[i] =
			number >= 0 &&
			router_mirror_target(router->mirror, (uint16_t)number)->in_roster;
	}
}

static const struct router_mirror_ops ops = {.connection = put_connection,
					     .affinity = put_affinity,
					     .noted = noted,
					     .send = send,
					     .target_changed = changed,
					     .end_session = end_session,
					     .roster_changed = roster_changed};

/* ------------------------------------------------------------------------------------------------
 * start and stop */

void router_boot(struct node_router *router)
{
	memset(&router->plane, 0, sizeof(router->plane));
	for (unsigned int i = 0; i < NUMBERS; i++)
		router->plane.targets[i].flags = TARGET_DEAD; /* no name: not in use */
	for (unsigned int i = 0; i < CLIENTS; i++)
		router->taken_over[i] = TARGETS;
	router->up = true;
	router->boots++;
	for (unsigned int i = 0; i < TARGETS * CLIENTS; i++)
		world.targets[i / CLIENTS].held[i % CLIENTS].seen &= ~(1u << router->n);
}

static void restore_targets(struct node_router *router)
{
	struct address address;

	for (uint16_t number = 0; number < NUMBERS; number++) {
		unsigned int target = router_target_at(router, number);

		if (target >= TARGETS)
			continue;
		address = model_node(target);
		router_mirror_restore_target(router->mirror, number,
					     router->plane.targets[number].name, target + 1u,
					     &address, router->roster[target]);
		if (router->plane.ring[number])
			router_mirror_restore_ready(router->mirror, number, ROUTER_SERVICE, 100);
	}
	for (unsigned int i = 0, number = draw(NUMBERS); i < TARGETS; i++) {
		const char name[NAME_SIZE] = {'t', (char)('0' + i)};

		if (!router->roster[i] || router_target_number(router, i) >= 0)
			continue;
		while (router->plane.targets[number % NUMBERS].name[0])
			number++;
		memcpy(router->plane.targets[number % NUMBERS].name, name, NAME_SIZE);
		address = model_node(i);
		router_mirror_restore_target(router->mirror, (uint16_t)(number % NUMBERS), name,
					     i + 1u, &address, true);
	}
}

static void restore_entries(struct node_router *router)
{
	for (unsigned int client = 0; client < CLIENTS; client++) {
		const struct affinity_key affinity = {.client = model_client(client),
						      .scope = ROUTER_SCOPE};
		const struct plane_affinity *held = &router->plane.affinities[client];

		if (held->used)
			router_mirror_restore_affinity(router->mirror, &affinity, &held->value);
		/* Of who held it before that nothing is remembered. */
		for (unsigned int i = 0; i < TARGETS; i++)
			if (!held->used || router_target_at(router, held->value.target) != i)
				world.targets[i].held[client].seen &= ~(1u << router->n);
		for (unsigned int port = 0; port < PORTS; port++) {
			const struct connection_key key =
				model_connection_key(client, port, ROUTER_SERVICE);
			const struct plane_connection *entry =
				&router->plane.connections[client][port];

			if (entry->used)
				router_mirror_restore_connection(router->mirror, &key,
								 &entry->value);
		}
	}
}

void router_start_agent(struct node_router *router)
{
	static struct router_service services[MAX_SERVICES];
	static struct scope scopes[MAX_SERVICES];
	const struct router_mirror_settings settings = {.node_id = 100 + router->n,
							.dead_after_ms = DEAD_AFTER_MS,
							.max_connections = 1000,
							.max_affinities = 1000,
							.sync_on_failure = router->on_failure};

	note("limpetd of r%u starts", router->n);
	services[ROUTER_SERVICE] = model_service();
	memcpy(scopes[ROUTER_SCOPE].name, "shop", 5);
	router->mirror = router_mirror_new(&ops, router, &settings);
	if (!router->mirror)
		abort();
	router->put_client = CLIENTS;
	router->settled = false;
	router->started_ms = now_ms();
	router->blind_ms = router->plane.role.epoch || router->plane.sync_state.affinities_in_sync
				   ? now_ms()
				   : 0;
	router_mirror_configure(router->mirror, services, scopes);
	restore_targets(router);
	restore_entries(router);
	router_notice_role(router);
	router->unpublished = true;
}

void router_stop_agent(struct node_router *router)
{
	note("limpetd of r%u dies", router->n);
	for (unsigned int i = 0; i < TARGETS; i++) {
		wire_close_at_router(router, i);
		wire_break(&world.targets[i], router, 0);
	}
	router_mirror_free(router->mirror);
	router->mirror = NULL;
}

void router_set_role(struct node_router *router, enum role role)
{
	struct router_role *pinned = &router->plane.role;

	if (pinned->role == (uint32_t)role)
		return;
	note("r%u: %s", router->n, role == ROLE_ACTIVE ? "activated" : "deactivated");
	pinned->role = (uint32_t)role;
	pinned->since_ns = world.now_us * 1000;
	pinned->epoch += role == ROLE_ACTIVE;
}

void router_notice_role(struct node_router *router)
{
	const struct router_role *pinned = &router->plane.role;

	if (!router->mirror)
		return;
	router->epoch = pinned->epoch;
	router_mirror_role(router->mirror, (enum role)pinned->role, pinned->epoch, now_ms());
	router->unpublished = true;
}

/* ------------------------------------------------------------------------------------------------
 * what XDP goes by */

static bool serves(const struct mirror_target *target)
{
	return target->name[0] && (target->state == TARGET_UP || target->state == TARGET_SYNCING ||
				   target->state == TARGET_UNATTENDED);
}

static void publish_target(struct node_router *router, uint16_t number)
{
	const struct mirror_target *target = router_mirror_target(router->mirror, number);
	struct target *pinned = &router->plane.targets[number];

	if (memcmp(pinned->name, target->name, NAME_SIZE))
		pinned->since_ns = world.now_us * 1000;
	memcpy(pinned->name, target->name, NAME_SIZE);
	pinned->flags = 0;
	if (target->in_sync)
		pinned->flags |= TARGET_IN_SYNC;
	if (target->state == TARGET_GONE)
		pinned->flags |= TARGET_DEAD;
	if (serves(target))
		pinned->flags |= TARGET_USABLE;
	router->plane.guess_ring[number] = target->name[0] && target->in_roster &&
					   !target->in_sync && target->state != TARGET_GONE;
}

static bool has_settled(const struct node_router *router)
{
	if (now_ms() > router->started_ms + SETTLE_MS)
		return true;
	for (uint16_t i = 0; i < NUMBERS; i++) {
		const struct mirror_target *target = router_mirror_target(router->mirror, i);

		if (target->name[0] && target->in_roster &&
		    (target->state == TARGET_UNATTENDED || target->state == TARGET_SYNCING))
			return false;
	}
	return true;
}

static void publish_ring(struct node_router *router)
{
	uint32_t instances = 0;

	router->settled = router->settled || has_settled(router);
	if (!router->settled)
		return;
	for (uint16_t i = 0; i < NUMBERS; i++) {
		const struct mirror_target *target = router_mirror_target(router->mirror, i);
		const struct message_ready *ready =
			router_mirror_ready(router->mirror, i, ROUTER_SERVICE);

		router->plane.ring[i] = serves(target) && ready && ready->instances &&
					target->weight && !target->draining;
		if (router->plane.ring[i])
			instances += ready->instances;
	}
	router->plane.service_state.ready_instances = instances;
}

void router_publish(struct node_router *router)
{
	struct sync_state *sync = &router->plane.sync_state;

	if (!router->mirror || !router->unpublished)
		return;
	router->unpublished = false;
	for (uint16_t i = 0; i < NUMBERS; i++)
		publish_target(router, i);
	publish_ring(router);
	sync->epoch = router->epoch;
	sync->in_sync = router_mirror_in_sync(router->mirror);
	sync->affinities_in_sync = router_mirror_affinities_in_sync(router->mirror);
	sync->missing = router_mirror_missing(router->mirror);
	if (sync->in_sync)
		sync->missing_since_ns = 0;
	else if (!sync->missing_since_ns)
		sync->missing_since_ns = world.now_us * 1000;
}
