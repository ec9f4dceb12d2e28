/* SPDX-License-Identifier: BSD-2-Clause */
/* When everything has come to rest every copy is equal to the truth (promises 3 and 5), and packets
 * go where they belong. */
#include "world.h"

/* Of a remnant the entry may point to what has ended after it, and lingers. */
static bool is_remnants(const struct plane_connection *entry, const struct conn *conn)
{
	return entry->used && entry->value.state == CONNECTION_LINGERS &&
	       conn->opened_ms < world.remnant_ms[conn->client][conn->port];
}

static void rest_connection(const struct node_router *router, unsigned int client,
			    unsigned int port)
{
	const struct plane_connection *entry = &router->plane.connections[client][port];
	bool open = entry->used && entry->value.state == CONNECTION_OPEN;
	unsigned int at = open ? router_target_at(router, entry->value.target) : TARGETS;
	bool wanted = false;

	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct conn *conn = world.targets[i].sockets[client][port];

		wanted |= conn && conn->client_open && !is_remnants(entry, conn);
	}
	if (wanted && !open)
		violated("P5", "at rest r%u has no entry of c%u:%u", router->n, client, port);
	else if (open && (at == TARGETS || !world.targets[at].sockets[client][port]))
		violated("P5", "at rest r%u has c%u:%u at t%u, which has it not", router->n, client,
			 port, at);
}

static void rest_affinity(const struct node_router *router, unsigned int client)
{
	const struct plane_affinity *entry = &router->plane.affinities[client];
	unsigned int at = entry->used ? router_target_at(router, entry->value.target) : TARGETS;
	unsigned int owner = TARGETS, owners = 0;

	for (unsigned int i = 0; i < TARGETS; i++) {
		if (!world.targets[i].held[client].present)
			continue;
		owner = i;
		owners++;
	}
	if (owners > 1)
		violated("P2", "at rest %u targets hold c%u", owners, client);
	else if (at != owner)
		violated("P3", "at rest r%u sends c%u to t%u; t%u holds it", router->n, client, at,
			 owner);
	else if (owners &&
		 (world.targets[owner].grants[client].id != world.targets[owner].held[client].id ||
		  entry->value.clock != world.targets[owner].grants[client].term.clock))
		violated("P5", "at rest r%u has c%u at t%u, not as published", router->n, client,
			 at);
}

static void rest_target(const struct node_router *router, unsigned int target)
{
	int number = router_target_number(router, target);
	const struct mirror_target *known = router_mirror_target(router->mirror, (uint16_t)number);
	uint64_t sockets = 0;

	for (unsigned int i = 0; i < CLIENTS * PORTS; i++)
		sockets += world.targets[target].sockets[i / PORTS][i % PORTS] != NULL;
	if (number < 0 || !known->in_sync || known->state != TARGET_UP || !known->digest_equal)
		violated("P5", "at rest t%u is not in sync at r%u", target, router->n);
	else if (known->connections != sockets)
		violated("P5", "at rest r%u knows of %llu connections of t%u, which has %llu",
			 router->n, (unsigned long long)known->connections, target,
			 (unsigned long long)sockets);
}

/* Every connection goes on, and every client is served: where it belongs, if it belongs anywhere.
 */
static void rest_packets(struct node_router *router, unsigned int client, unsigned int port)
{
	struct conn *conn = world.open[client][port];
	int verdict;

	if (!conn || conn->server != SERVER_OPEN || has_remnant(conn) ||
	    is_remnants(&router->plane.connections[client][port], conn))
		return;
	verdict = forward_packet(&router->plane, client, port, false, conn->sequence + 1,
				 world.now_us * 1000);
	if (verdict < 0 || router_target_at(router, (uint16_t)verdict) != conn->target)
		violated("P1", "at rest r%u sends c%u:%u #%u to %d, not to t%u", router->n, client,
			 port, conn->id, verdict, conn->target);
}

static void rest_new(struct node_router *router, unsigned int client)
{
	int verdict = forward_packet(&router->plane, client, PORTS, true, 1, world.now_us * 1000);
	unsigned int at = verdict < 0 ? TARGETS : router_target_at(router, (uint16_t)verdict);
	bool serves = false;

	for (unsigned int i = 0; i < TARGETS; i++) {
		const struct node_target *target = &world.targets[i];

		if (target->held[client].present && at != i)
			violated("P2", "at rest r%u sends c%u to t%u; t%u holds it", router->n,
				 client, at, i);
		for (unsigned int j = 0; j < INSTANCES; j++)
			serves |= target->ready[j] && !target->draining;
	}
	if (at == TARGETS && serves)
		violated("P3", "at rest r%u serves c%u not: %d", router->n, client, verdict);
}

void promise_rest(void)
{
	for (unsigned int r = 0; r < ROUTERS; r++) {
		struct node_router *router = &world.routers[r];

		for (unsigned int target = 0; target < TARGETS; target++)
			rest_target(router, target);
		for (unsigned int client = 0; client < CLIENTS; client++) {
			rest_affinity(router, client);
			if (is_active(router))
				rest_new(router, client);
			for (unsigned int port = 0; port < PORTS; port++)
				rest_connection(router, client, port);
			for (unsigned int port = 0; is_active(router) && port < PORTS; port++)
				rest_packets(router, client, port);
		}
	}
}
