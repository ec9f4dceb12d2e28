/* SPDX-License-Identifier: BSD-2-Clause */
/* What must never happen, whatever else does; and what must be so when everything has come to rest.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

#define BLIND_MS   5000 /* after a restart, until the targets are back */
#define SILENCE_MS 2500
#define REPORT_MS  250 /* as SIGHTING_NS: so long a report may be on its way */

void violated(const char *promise, const char *format, ...)
{
	int length;
	va_list list;

	if (world.violation[0])
		return;
	length = snprintf(world.violation, sizeof(world.violation), "%s: ", promise);
	va_start(list, format);
	vsnprintf(world.violation + length, sizeof(world.violation) - (size_t)length, format, list);
	va_end(list);
	note("VIOLATION %s", world.violation);
}

/* XDP's view of a target; TARGET_DEAD if it is not known at all. */
static uint16_t flags_of(const struct node_router *router, unsigned int target)
{
	for (uint16_t i = 0; i < NUMBERS; i++) {
		if (router_target_at(router, i) == target)
			return router->plane.targets[i].flags;
	}
	return TARGET_DEAD;
}

/* A packet of a living connection went elsewhere, in a way that is known and accepted: its client
 * gets a RST. */
static void residue(struct conn *conn, unsigned long *counter)
{
	(*counter)++;
	note("c%u:%u #%u is lost, known residue", conn->client, conn->port, conn->id);
	conn->client_open = false;
	if (world.open[conn->client][conn->port] == conn)
		world.open[conn->client][conn->port] = NULL;
}

/* What no rule of ours can know, or what the design accepts: which one is it? NULL: none. */
static unsigned long *known_residue(const struct node_router *router, const struct conn *conn,
				    unsigned int target)
{
	const struct plane *plane = &router->plane;
	bool elsewhere = conn->router != router->n;
	bool guessed = forward_guessed(), lingered = forward_lingered();

	/* Nobody has told the data plane that its agent is dead. It takes the tables for complete,
	 * no longer believes what it has noted itself, and guesses. */
	if ((guessed || lingered) && now_ms() < router->blind_ms + BLIND_MS)
		return &world.statistics->blind_guess;
	/* Its target was given up: it is not to be had here. */
	if (flags_of(router, conn->target) & TARGET_DEAD)
		return &world.statistics->given_up;
	/* hold_time is over, and more than one target is missing. */
	if (forward_guessed_missing() && !(flags_of(router, conn->target) & TARGET_IN_SYNC))
		return &world.statistics->hold_over;
	/* The connection is new, and its target's silence has not been noticed yet. */
	if (guessed && world.cut[conn->target][router->n] &&
	    now_ms() < conn->opened_ms + SILENCE_MS)
		return &world.statistics->hold_over;
	if (!elsewhere)
		return NULL;
	/* Two active routers: a handshake, or a 4-tuple that was used again, went through both of
	 * them and back again before the note here is old or the report of it has arrived. */
	if (world.ecmp && (forward_noted() || (guessed && now_ms() < conn->opened_ms + REPORT_MS)))
		return &world.statistics->ecmp_stale;
	/* A client has lost its memory, and what this router knows is the remnant
	 * (sync/mirror_connections.c). */
	if (target < TARGETS && world.targets[target].sockets[conn->client][conn->port])
		return &world.statistics->remnant;
	/* A 4-tuple was used again elsewhere, and its old target, which is not in sync here, has
	 * not told of the end; or the new one has not been heard of for longer than hold_time. What
	 * is known is never held: it would stall every connection of a target whose agent restarts.
	 */
	if (forward_reported() &&
	    (lingered ? !plane->sync_state.in_sync : !(flags_of(router, target) & TARGET_IN_SYNC)))
		return &world.statistics->stale_entry;
	return NULL;
}

/* Promise 1. */
static void packet_of_connection(const struct node_router *router, struct conn *conn,
				 unsigned int target)
{
	unsigned long *counter;

	if (target == conn->target)
		return;
	counter = known_residue(router, conn, target);
	if (counter) {
		residue(conn, counter);
		return;
	}
	violated("P1", "packet of open connection c%u:%u #%u at t%u goes through r%u to t%u",
		 conn->client, conn->port, conn->id, conn->target, router->n, target);
}

static bool affinities_missing(const struct node_router *router)
{
	const struct sync_state *sync = &router->plane.sync_state;

	return sync->epoch != router->plane.role.epoch || !sync->affinities_in_sync ||
	       router->plane.role.role != ROLE_ACTIVE;
}

/* Promise 2. */
static void new_connection(const struct node_router *router, const struct conn *conn,
			   unsigned int target)
{
	const struct settled *settled = &world.settled[conn->client];
	const struct held *held = &world.targets[settled->target].held[conn->client];

	if (!settled->valid || !held->present || held->id != settled->id ||
	    target == settled->target)
		return;
	if (!(flags_of(router, settled->target) & TARGET_USABLE))
		return;
	if (world.ecmp && !(held->granted & 1u << router->n))
		return;
	/* By design: after 200 ms a SYN is not held any longer for affinities that do not come, nor
	 * at a router that was deactivated and to which packets still come. */
	if (affinities_missing(router)) {
		world.statistics->late_affinity++;
		return;
	}
	violated("P2",
		 "new connection c%u:%u #%u goes through r%u to t%u; t%u holds #%llu everywhere",
		 conn->client, conn->port, conn->id, router->n, target, settled->target,
		 (unsigned long long)settled->id);
}

void promise_packet(const struct node_router *router, struct conn *conn, bool syn, bool fresh,
		    int verdict)
{
	unsigned int target = verdict < 0 ? TARGETS : router_target_at(router, (uint16_t)verdict);

	if (verdict == DROPPED)
		return;
	if (!syn && conn->server == SERVER_OPEN && conn->client_open)
		packet_of_connection(router, conn, target);
	if (syn && fresh && conn->client_open)
		new_connection(router, conn, target);
}

/* Promise 2 again: who is in force everywhere loses it to nobody who was not entitled to it. */
void promise_affinity_ended(const struct node_target *target, unsigned int client,
			    const struct held *held, const char *why, bool legit)
{
	struct settled *settled = &world.settled[client];

	if (!settled->valid || settled->target != target->n || settled->id != held->id)
		return;
	settled->valid = false;
	if (legit || world.ecmp)
		return;
	for (unsigned int i = 0; i < TARGETS; i++)
		legit |= i != target->n && world.targets[i].held[client].legit;
	if (!legit)
		violated("P2", "t%u's affinity of c%u, in force everywhere, has ended: %s",
			 target->n, client, why);
}

/* ------------------------------------------------------------------------------------------------
 * at rest: every copy is equal to the truth (promises 3 and 5) */

static void rest_connection(const struct node_router *router, unsigned int client,
			    unsigned int port)
{
	const struct plane_connection *entry = &router->plane.connections[client][port];
	bool open = entry->used && entry->value.state == CONNECTION_OPEN;
	unsigned int at = open ? router_target_at(router, entry->value.target) : TARGETS;
	bool wanted = false;

	for (unsigned int i = 0; i < TARGETS; i++)
		wanted |= world.targets[i].sockets[client][port] != NULL;
	if (open != wanted)
		violated("P5", "at rest r%u has %s entry of c%u:%u", router->n, open ? "an" : "no",
			 client, port);
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

void promise_rest(void)
{
	for (unsigned int r = 0; r < ROUTERS; r++) {
		const struct node_router *router = &world.routers[r];

		for (unsigned int target = 0; target < TARGETS; target++)
			rest_target(router, target);
		for (unsigned int client = 0; client < CLIENTS; client++) {
			rest_affinity(router, client);
			for (unsigned int port = 0; port < PORTS; port++)
				rest_connection(router, client, port);
		}
	}
}
