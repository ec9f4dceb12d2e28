/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent of a target, around the real mirror. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static struct connection_key connection_key(unsigned int client, unsigned int port)
{
	return model_connection_key(client, port, TARGET_SERVICE);
}

static struct affinity_key affinity_key(unsigned int client)
{
	struct affinity_key key = {.client = model_client(client), .scope = TARGET_SCOPE};

	return key;
}

static int read_connection(void *context, const struct connection_key *key,
			   struct target_connection *value)
{
	const struct node_target *target = context;
	unsigned int client, port;

	if (!model_connection(key, &client, &port) || !target->sockets[client][port])
		return -ENOENT;
	*value = (struct target_connection){.cookie = target->sockets[client][port]->id};
	return 0;
}

static int read_affinity(void *context, const struct affinity_key *key,
			 struct target_affinity *value)
{
	const struct node_target *target = context;
	const struct held *held = &target->held[model_client_number(&key->client)];

	if (!held->present)
		return -ENOENT;
	*value = (struct target_affinity){.word = held->id << 8 | PHASE_LIVE,
					  .instance = held->instance,
					  .flags = held->takeover ? AFFINITY_FLAG_TAKEOVER : 0};
	return 0;
}

static void agent_end_affinity(void *context, const struct affinity_key *key, uint64_t id,
			       enum affinity_end reason)
{
	struct node_target *target = context;
	unsigned int client = model_client_number(&key->client);

	if (!target->held[client].present || target->held[client].id != id)
		return;
	world.statistics->lost += reason == END_LOST;
	target_end_affinity(target, client, reason == END_LOST ? "lost" : "refused", false);
}

/* Granted by a router that was deactivated before this target has read it, and has another target
 * been granted the client by the next owner? Nobody told this one. */
static bool is_outdated(const struct node_target *target, unsigned int client)
{
	const struct held *held = &target->held[client];
	bool outdated = false, taken = false;

	for (unsigned int i = 0; i < ROUTERS; i++) {
		const struct router_role *role = &world.routers[i].plane.role;

		outdated |= held->granted & 1u << i &&
			    (role->role != ROLE_ACTIVE || role->epoch != held->granted_epoch[i]);
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct held *other = &world.targets[i].held[client];

		taken |= i != target->n && other->present &&
			 world.targets[i].grants[client].id == other->id;
	}
	return outdated && taken;
}

static void publish(void *context, const struct affinity_key *key, uint64_t id,
		    const struct term *term)
{
	struct node_target *target = context;
	unsigned int client = model_client_number(&key->client);

	target->grants[client] = (struct pinned_grant){.id = id, .term = *term};
	if (!target->held[client].present || target->held[client].id != id)
		return;
	note("t%u: affinity of c%u #%llu is in force everywhere, term %llu/%llu", target->n, client,
	     (unsigned long long)id, (unsigned long long)term->clock,
	     (unsigned long long)term->router);
	world.statistics->published++;
	world.settled[client] = (struct settled){.valid = true,
						 .doubted = target->held[client].doubted ||
							    is_outdated(target, client),
						 .target = target->n,
						 .id = id,
						 .since_ms = now_ms()};
	promise_published(target, client, term);
}

static bool published(void *context, const struct affinity_key *key, uint64_t id, struct term *term)
{
	const struct node_target *target = context;
	const struct pinned_grant *grant = &target->grants[model_client_number(&key->client)];

	if (grant->id != id)
		return false;
	*term = grant->term;
	return true;
}

static void wake(void *context, unsigned int router)
{
	(void)context;
	(void)router;
}

void target_tell(struct node_target *target)
{
	const struct message_target condition = {.weight = 100, .draining = target->draining};
	struct message_ready ready = {0};

	if (!target->mirror)
		return;
	for (unsigned int i = 0; i < INSTANCES; i++)
		ready.instances += target->ready[i];
	target_mirror_ready(target->mirror, TARGET_SERVICE, &ready);
	target_mirror_condition(target->mirror, &condition);
}

static void configure(struct node_target *target)
{
	static struct target_service services[MAX_SERVICES];
	static struct scope scopes[MAX_SERVICES];
	struct target_service *shop = &services[TARGET_SERVICE];

	memcpy(shop->name, "shop", 5);
	memcpy(scopes[TARGET_SCOPE].name, "shop", 5);
	shop->key = model_service_key();
	shop->scope = TARGET_SCOPE;
	shop->affinity = AFFINITY_BY_REQUEST;
	shop->client_prefix = 128;
	shop->takeover = 1;
	target_tell(target);
	target_mirror_configure(target->mirror, services, scopes);
}

static void services_changed(void *context, unsigned int router)
{
	(void)router;
	configure(context);
}

static const struct target_mirror_ops ops = {.read_connection = read_connection,
					     .read_affinity = read_affinity,
					     .end_affinity = agent_end_affinity,
					     .publish = publish,
					     .published = published,
					     .wake = wake,
					     .services_changed = services_changed};

static void rescan(struct node_target *target)
{
	target_mirror_rescan_begin(target->mirror);
	for (unsigned int client = 0; client < CLIENTS; client++) {
		struct affinity_key key = affinity_key(client);

		if (target->held[client].present)
			target_mirror_affinity(target->mirror, &key);
		for (unsigned int port = 0; port < PORTS; port++) {
			struct connection_key connection = connection_key(client, port);

			if (target->sockets[client][port])
				target_mirror_connection(target->mirror, &connection, 0);
		}
	}
	target_mirror_rescan_end(target->mirror);
}

void target_start_agent(struct node_target *target)
{
	target->mirror = target_mirror_new(&ops, target);
	if (!target->mirror)
		abort();
	target->lost = false;
	target->events = 0;
	configure(target);
	rescan(target);
}

void target_stop_agent(struct node_target *target, enum goodbye_reason goodbye)
{
	note("agent of t%u dies", target->n);
	target->slow_ring = target->slow_streams = false; /* its streams end */
	for (unsigned int i = 0; i < ROUTERS; i++)
		wire_break(target, &world.routers[i], goodbye);
	target_mirror_free(target->mirror);
	target->mirror = NULL;
}

bool target_read_event(struct node_target *target)
{
	struct kernel_event event;

	if (!target->mirror)
		return false;
	if (target->lost) {
		target->lost = false;
		rescan(target);
		return true;
	}
	if (!target->events)
		return false;
	event = target->ring[0];
	memmove(target->ring, target->ring + 1, --target->events * sizeof(event));
	if (event.affinity) {
		struct affinity_key key = affinity_key(event.client);

		target_mirror_affinity(target->mirror, &key);
	} else {
		struct connection_key key = connection_key(event.client, event.port);

		target_mirror_connection(target->mirror, &key, event.how);
	}
	return true;
}
