/* SPDX-License-Identifier: BSD-2-Clause */
/* What may happen next: packets, applications, agents, sessions, routers, time. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

/* ------------------------------------------------------------------------------------------------
 * who is drawn */

static struct node_target *any_target(void)
{
	return &world.targets[draw(TARGETS)];
}

static struct node_router *any_router(void)
{
	return &world.routers[draw(ROUTERS)];
}

bool is_active(const struct node_router *router)
{
	return router->up && (world.ecmp || router->n == world.owner);
}

/* A connection that its client believes in, in a state up to `most`; NULL: none. */
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
		world.packets[world.packet_count++] = (struct packet){conn, syn};
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
	key = model_connection_key(conn->client, conn->port, ROUTER_SERVICE);
	fresh = forward_look_up(&router->plane, &key, &noted) == FLOW_STATE_NONE &&
		!router->plane.connections[conn->client][conn->port].used;
	verdict = forward_packet(&router->plane, conn->client, conn->port, packet->syn,
				 conn->sequence + (packet->syn ? 0 : 1 + draw(1000)),
				 world.now_us * 1000);
	target = verdict < 0 ? TARGETS : router_target_at(router, (uint16_t)verdict);
	note("%s c%u:%u #%u through r%u: %s %u", packet->syn ? "SYN" : "data", conn->client,
	     conn->port, conn->id, router->n,
	     verdict == DROPPED	  ? "dropped"
	     : verdict == REFUSED ? "refused"
				  : "to t",
	     verdict < 0 ? 0 : target);
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
	else if (!world.cut[target][router->n] &&
		 target_arrive(&world.targets[target], conn, packet->syn))
		conn->router = router->n;
}

static void do_deliver(void)
{
	struct packet packet;
	unsigned int i;

	if (!world.packet_count)
		return;
	i = draw(world.packet_count);
	packet = world.packets[i];
	world.packets[i] = world.packets[--world.packet_count];
	if (!chance(10))
		deliver(&packet);
}

static void do_connect(void)
{
	unsigned int client = draw(CLIENTS), port = draw(PORTS);
	struct conn *conn = world.open[client][port];

	if (!conn)
		conn = world.open[client][port] = new_conn(client, port);
	if (conn->server == SERVER_NONE)
		send_packet(conn, true); /* the first, or again */
}

static void do_data(void)
{
	struct conn *conn = any_open(SERVER_HALF);

	if (conn)
		send_packet(conn, false);
}

static void do_rehash(void)
{
	world.salt++;
}

static void do_close(void)
{
	struct conn *conn = any_open(SERVER_OPEN);

	if (!conn)
		return;
	note("close c%u:%u #%u", conn->client, conn->port, conn->id);
	target_close_socket(&world.targets[conn->target], conn,
			    chance(50) ? CONNECTION_END_CLOSED : CONNECTION_END_RESET);
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
static void do_vanish(void)
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
static void do_spoof(void)
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
static void do_evict(void)
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

static void do_request(void)
{
	struct node_target *target = any_target();
	struct conn *conn = target->sockets[draw(CLIENTS)][draw(PORTS)];

	if (conn && conn->client_open)
		target_request(target, conn, chance(25));
}

static void do_release(void)
{
	target_end_affinity(any_target(), draw(CLIENTS));
}

static void do_instance_dies(void)
{
	struct node_target *target = any_target();
	unsigned int instance = draw(INSTANCES);

	note("instance t%u/%u dies", target->n, instance);
	for (unsigned int client = 0; client < CLIENTS; client++) {
		for (unsigned int port = 0; port < PORTS; port++) {
			struct conn *conn = target->sockets[client][port];

			if (conn && conn->instance == instance)
				target_close_socket(target, conn, CONNECTION_END_RESET);
		}
		if (target->held[client].present && target->held[client].instance == instance)
			target_end_affinity(target, client);
	}
}

/* ------------------------------------------------------------------------------------------------
 * agents and sessions */

static void do_event(void)
{
	target_read_event(any_target());
}

static void do_send(void)
{
	struct wire *wire = any_target()->wires[draw(ROUTERS)];

	if (wire && wire->up.tail - wire->up.head < 8)
		wire_send_up(wire);
}

static void do_router_read(void)
{
	struct wire *wire = any_router()->wires[draw(TARGETS)];

	if (wire)
		wire_read_up(wire);
}

static void do_target_read(void)
{
	struct wire *wire = any_target()->wires[draw(ROUTERS)];

	if (wire)
		wire_read_down(wire);
}

static void do_publish(void)
{
	router_publish(any_router());
}

static void do_notice_role(void)
{
	router_notice_role(any_router());
}

static void do_break(void)
{
	wire_break(any_target(), any_router());
}

static void do_reconnect(void)
{
	struct node_target *target = any_target();
	struct node_router *router = any_router();

	if (!target->wires[router->n])
		wire_open(target, router);
}

static void do_agent_crash(void)
{
	struct node_target *target = any_target();

	if (target->mirror)
		target_stop_agent(target);
}

static void do_agent_start(void)
{
	struct node_target *target = any_target();

	if (!target->mirror)
		target_start_agent(target);
}

static void do_router_agent_crash(void)
{
	struct node_router *router = any_router();

	if (router->up && router->mirror)
		router_stop_agent(router);
}

static void do_router_agent_start(void)
{
	struct node_router *router = any_router();

	if (router->up && !router->mirror)
		router_start_agent(router);
}

static void do_router_dies(void)
{
	struct node_router *router = any_router();

	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (!world.routers[i].up)
			return;
	}
	note("r%u loses power", router->n);
	if (router->mirror)
		router_stop_agent(router);
	router->up = false;
	if (world.ecmp || world.owner != router->n)
		return;
	world.owner = 1 - router->n;
	router_set_role(&world.routers[world.owner], ROLE_STANDBY);
}

void return_routers(void)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		struct node_router *router = &world.routers[i];

		if (router->up)
			continue;
		note("r%u boots, empty", router->n);
		router_boot(router);
		router_start_agent(router);
	}
}

static bool is_ready(const struct node_router *router)
{
	return router->up && router->mirror && router_mirror_in_sync(router->mirror);
}

/* keepalived's notify script runs some time after the address has moved. */
void activate_owners(void)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		struct node_router *router = &world.routers[i];

		if (is_active(router) && (!world.ecmp || is_ready(router)))
			router_set_role(router, ROLE_ACTIVE);
		else if (router->up && !is_active(router))
			router_set_role(router, ROLE_STANDBY);
	}
}

/* A router that has lost the address is told so before it can have it again. */
static void do_hand_back(void)
{
	struct node_router *other = &world.routers[1 - world.owner];

	if (world.ecmp || !(is_ready(other) || (other->on_failure && other->mirror && other->up)))
		return;
	router_set_role(other, ROLE_STANDBY);
	world.owner = other->n;
	note("the address moves to r%u", other->n);
}

static void do_cut(void)
{
	struct node_target *target = any_target();
	struct node_router *router = any_router();

	for (unsigned int i = 0; i < TARGETS * ROUTERS; i++) {
		if (world.cut[i / ROUTERS][i % ROUTERS])
			return;
	}
	note("t%u and r%u are cut off", target->n, router->n);
	world.cut[target->n][router->n] = true;
	wire_break(target, router);
}

void heal(void)
{
	memset(world.cut, 0, sizeof(world.cut));
}

/* A defect: an entry is missing at a standby; the digest has to show it. */
static void do_rot(void)
{
	struct node_router *router = any_router();
	unsigned int client = draw(CLIENTS), port = draw(PORTS), target = draw(TARGETS);
	struct message message = {.type = MESSAGE_CONNECTION_END};
	int number = router_target_number(router, target);

	if (is_active(router) || !router->wires[target] || number < 0 || !chance(10))
		return;
	if (!router_mirror_target(router->mirror, (uint16_t)number)->in_sync)
		return;
	message.connection.service = model_service_key();
	message.connection.client = model_client(client);
	message.connection.client_port = model_connection_key(client, port, 0).client_port;
	message.connection.how = CONNECTION_END_RESET;
	note("r%u forgets c%u:%u of t%u, a defect", router->n, client, port, target);
	router_mirror_receive(router->mirror, (uint16_t)number, &message, now_ms());
}

/* ------------------------------------------------------------------------------------------------
 * time */

static void heartbeat(struct wire *wire)
{
	struct message message = {.type = MESSAGE_HEARTBEAT};

	if (!wire->open_at_target || !wire->open_at_router)
		return;
	message.heartbeat.clock = target_mirror_clock(world.targets[wire->target].mirror);
	wire_push(&wire->up, &message);
	message.heartbeat.clock = router_mirror_clock(world.routers[wire->router].mirror);
	wire_push(&wire->down, &message);
}

static void tick(void)
{
	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (!world.routers[i].mirror)
			continue;
		router_mirror_tick(world.routers[i].mirror, now_ms());
		world.routers[i].unpublished = true;
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (world.targets[i].mirror)
			target_mirror_tick(world.targets[i].mirror, now_ms());
	}
	for (struct wire *wire = world.wires; wire; wire = wire->next)
		heartbeat(wire);
	wires_drain();
}

void reconnect_all(void)
{
	for (unsigned int i = 0; i < TARGETS * ROUTERS; i++) {
		struct node_target *target = &world.targets[i / ROUTERS];
		struct node_router *router = &world.routers[i % ROUTERS];

		if (!target->wires[router->n])
			wire_open(target, router);
	}
}

/* Two seconds of silence: the routers' ends of streams that were cut off. */
static void notice_silence(void)
{
	for (struct wire *wire = world.wires; wire; wire = wire->next) {
		struct node_router *router = &world.routers[wire->router];
		int number = router_target_number(router, wire->target);

		if (wire->open_at_target || !wire->open_at_router || !router->mirror)
			continue;
		wire_close_at_router(router, wire->target);
		router_mirror_session_lost(router->mirror, (uint16_t)number, 0, now_ms());
		router->unpublished = true;
	}
}

void let_pass(uint64_t ms)
{
	uint64_t slice = ms > 20000 ? 1000 : 100;

	note("%llu ms pass", (unsigned long long)ms);
	for (uint64_t passed = 0; passed < ms && !world.violation[0]; passed += slice) {
		wires_drain();
		world.now_us += slice * 1000;
		if (passed >= 1000)
			activate_owners();
		if (passed >= 1500)
			notice_silence();
		for (unsigned int i = 0; i < ROUTERS; i++)
			router_notice_role(&world.routers[i]);
		if (passed >= 500)
			reconnect_all();
		tick();
	}
}

static void do_pass_little(void)
{
	let_pass(300);
}

static void do_pass_seconds(void)
{
	let_pass(3000);
}

static void do_pass_noted(void)
{
	let_pass(12000);
}

static void do_pass_dead(void)
{
	let_pass(DEAD_AFTER_MS + 10000);
}

/* ------------------------------------------------------------------------------------------------
 * how often */

const struct step steps[] = {
	{600, do_deliver, true},
	{200, do_connect, true},
	{250, do_data, true},
	{80, do_request, true},
	{60, do_close, false},
	{20, do_vanish, false},
	{30, do_spoof, false},
	{10, do_evict, false},
	{10, do_rehash, false},
	{20, do_release, false},
	{20, do_instance_dies, false},
	{160, do_event, false},
	{400, do_send, false},
	{400, do_router_read, false},
	{250, do_target_read, false},
	{200, do_publish, false},
	{60, do_notice_role, false},
	{20, do_break, false},
	{60, do_reconnect, false},
	{10, do_agent_crash, false},
	{30, do_agent_start, false},
	{10, do_router_agent_crash, false},
	{30, do_router_agent_start, false},
	{10, do_router_dies, false},
	{20, return_routers, false},
	{30, activate_owners, false},
	{10, do_hand_back, false},
	{10, do_cut, false},
	{20, heal, false},
	{10, do_rot, false},
	{20, do_pass_little, false},
	{10, do_pass_seconds, false},
	{5, do_pass_noted, false},
	{2, do_pass_dead, false},
};

const size_t step_count = sizeof(steps) / sizeof(steps[0]);
