/* SPDX-License-Identifier: BSD-2-Clause */
/* What clients and applications do. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define LIFETIME_MS 2000 /* of a packet on its way; what is older has been sent again */

/* A connection that its client believes in, in this state or a later one; NULL: none. */
static struct conn *any_open(enum server_state least)
{
	struct conn *found = NULL;
	unsigned int count = 0;

	for (unsigned int i = 0; i < CLIENTS * PORTS; i++) {
		struct conn *conn = world.open[i / PORTS][i % PORTS];

		if (!conn || conn->server < least || conn->server == SERVER_CLOSED)
			continue;
		if (!draw(++count))
			found = conn;
	}
	return found;
}

static struct conn *new_conn(unsigned int client, unsigned int port)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		abort();
	conn->id = ++world.next_conn;
	conn->client = client;
	conn->port = port;
	conn->sequence = conn->id * 0x00500000u;
	conn->client_open = true;
	conn->next = world.conns;
	world.conns = conn;
	return conn;
}

static void send_packet(struct conn *conn, bool syn)
{
	if (world.packet_count < PACKETS)
		world.packets[world.packet_count++] = (struct packet){conn, syn, now_ms()};
}

/* ------------------------------------------------------------------------------------------------
 * packets */

static struct node_router *router_of(const struct conn *conn)
{
	struct node_router *owners[ROUTERS];
	unsigned int count = 0, hash = conn->client * 7 + conn->port * 13 + world.salt;

	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (is_active(&world.routers[i]))
			owners[count++] = &world.routers[i];
	}
	return count ? owners[hash * 2654435761u >> 16 & 0xff ? hash % count : 0] : NULL;
}

static void break_handshake(struct conn *conn)
{
	world.statistics->handshakes_broken++;
	world.targets[conn->target].half[conn->client][conn->port] = NULL;
	conn->server = SERVER_CLOSED;
	conn->client_open = false;
	if (world.open[conn->client][conn->port] == conn)
		world.open[conn->client][conn->port] = NULL;
}

/* While what this router knows of the 4-tuple is not yet the connection that is there. */
static void note_forged(const struct node_router *router, const struct conn *fake)
{
	struct conn *victim = world.open[fake->client][fake->port];

	if (victim && victim != fake && victim->known[router->n] != router->boots)
		victim->forged |= 1u << router->n;
}

static void deliver(const struct packet *packet)
{
	struct conn *conn = packet->conn;
	struct node_router *router = router_of(conn);
	struct connection_key key;
	unsigned int target, noted;
	bool fresh;
	int verdict;

	if (!router)
		return;
	if (!router->mirror)
		router->blind_ms = now_ms();
	if (packet->syn && conn->server == SERVER_CLOSING) /* too late to be true */
		return;
	key = model_connection_key(conn->client, conn->port, ROUTER_SERVICE);
	fresh = forward_look_up(&router->plane, &key, &noted) == FLOW_STATE_NONE &&
		!router->plane.connections[conn->client][conn->port].used;
	if (packet->syn && !conn->client_open)
		note_forged(router, conn);
	verdict = forward_packet(&router->plane, conn->client, conn->port, packet->syn,
				 conn->sequence + (packet->syn ? 0 : 1 + draw(1000)),
				 world.now_us * 1000);
	target = verdict < 0 ? TARGETS : router_target_at(router, (uint16_t)verdict);
	note("%s c%u:%u #%u through r%u: %s %u%s", packet->syn ? "SYN" : "data", conn->client,
	     conn->port, conn->id, router->n,
	     verdict == DROPPED	  ? "dropped"
	     : verdict == REFUSED ? "refused"
				  : "to t",
	     verdict < 0 ? 0 : target, forward_reason());
	world.statistics->packets++;
	world.statistics->dropped += verdict == DROPPED;
	world.statistics->refused += verdict == REFUSED;
	promise_packet(router, conn, packet->syn, fresh, verdict);
	if (verdict < 0)
		return;
	world.statistics->forwarded++;
	if (target == TARGETS) {
		violated("P1", "r%u sends a packet to number %d, which is nobody's", router->n,
			 verdict);
		return;
	}
	if (!packet->syn && conn->server == SERVER_HALF && conn->target != target &&
	    conn->client_open)
		break_handshake(conn);
	else if (reaches(router, target) &&
		 target_arrive(&world.targets[target], conn, packet->syn)) {
		conn->router = router->n;
		conn->boot = router->boots;
		conn->unnoted = forward_reported();
		conn->strayed = conn->forged = 0;
	} else if (packet->syn && conn->server >= SERVER_HALF && target != conn->target) {
		conn->strayed |= 1u << router->n;
	}
}

void do_deliver(void)
{
	struct packet packet;
	unsigned int i;

	if (!world.packet_count)
		return;
	i = draw(world.packet_count);
	packet = world.packets[i];
	world.packets[i] = world.packets[--world.packet_count];
	if (!chance(10) && now_ms() < packet.sent_ms + LIFETIME_MS)
		deliver(&packet);
}

void do_connect(void)
{
	unsigned int client = draw(CLIENTS), port = draw(PORTS);
	struct conn *conn = world.open[client][port];

	if (!conn)
		conn = world.open[client][port] = new_conn(client, port);
	if (conn->server == SERVER_NONE)
		send_packet(conn, true); /* the first, or again */
}

void do_data(void)
{
	struct conn *conn = any_open(SERVER_HALF);

	if (conn)
		send_packet(conn, false);
}

void do_rehash(void)
{
	world.salt++;
}

void do_close(void)
{
	struct conn *conn = any_open(SERVER_OPEN);
	uint8_t how;

	if (!conn)
		return;
	how = conn->server == SERVER_OPEN && chance(50) ? CONNECTION_END_CLOSED
							: CONNECTION_END_RESET;
	note("close c%u:%u #%u%s", conn->client, conn->port, conn->id,
	     how == CONNECTION_END_CLOSED ? ", its client goes on sending" : "");
	target_close_socket(&world.targets[conn->target], conn, how);
}

static void reap_orphans(void)
{
	for (unsigned int i = 0; i < TARGETS * CLIENTS * PORTS; i++) {
		struct node_target *target = &world.targets[i / (CLIENTS * PORTS)];
		struct conn *conn = target->sockets[i / PORTS % CLIENTS][i % PORTS];

		if (conn && !conn->client_open && chance(30))
			target_close_socket(target, conn, CONNECTION_END_RESET);
	}
}

/* A client forgets a connection without a word; its target keeps an orphan for a while. */
void do_vanish(void)
{
	struct conn *conn = any_open(SERVER_NONE);

	if (conn) {
		note("the client forgets c%u:%u #%u", conn->client, conn->port, conn->id);
		world.open[conn->client][conn->port] = NULL;
		conn->client_open = false;
		if (conn->server == SERVER_HALF)
			world.targets[conn->target].half[conn->client][conn->port] = NULL;
	}
	reap_orphans();
}

/* A blind attacker's SYN with the 4-tuple of somebody's open connection. */
void do_spoof(void)
{
	const struct conn *victim = any_open(SERVER_OPEN);
	struct conn *fake;

	if (!victim)
		return;
	fake = new_conn(victim->client, victim->port);
	fake->client_open = false;
	send_packet(fake, true);
}

/* A flood of SYNs pushes a half-open flow out, never one that was noted; the fast path may forget
 * at any time. */
void do_evict(void)
{
	struct connection_key key =
		model_connection_key(draw(CLIENTS), draw(PORTS), ROUTER_SERVICE);
	struct node_router *router = any_router();

	forward_forget_half_open(&router->plane, &key);
	if (!draw(4))
		forward_forget_fast(&router->plane);
}

/* ------------------------------------------------------------------------------------------------
 * applications */

void do_request(void)
{
	struct conn *conn = any_open(SERVER_OPEN);

	if (conn && conn->server == SERVER_OPEN)
		target_request(&world.targets[conn->target], conn, chance(25));
}

void do_release(void)
{
	target_end_affinity(any_target(), draw(CLIENTS), "released", true);
}

void do_instance_dies(void)
{
	struct node_target *target = any_target();
	unsigned int instance = draw(INSTANCES);

	if (!target->up || !target->ready[instance])
		return;
	note("instance t%u/%u dies", target->n, instance);
	target->ready[instance] = false;
	target->changed_ms = now_ms();
	target_tell(target);
	for (unsigned int client = 0; client < CLIENTS; client++) {
		for (unsigned int port = 0; port < PORTS; port++) {
			struct conn *conn = target->sockets[client][port];

			if (conn && conn->instance == instance)
				target_close_socket(target, conn, CONNECTION_END_RESET);
		}
		if (target->held[client].instance == instance)
			target_end_affinity(target, client, "its instance is no more", true);
	}
}

void do_instance_starts(void)
{
	struct node_target *target = any_target();
	unsigned int instance = draw(INSTANCES);

	if (!target->up || target->ready[instance])
		return;
	note("instance t%u/%u starts", target->n, instance);
	target->ready[instance] = true;
	target->changed_ms = now_ms();
	target_tell(target);
}
