/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explorer.c - draws what happens next in a small cluster (world.h), and after each step looks
 * whether a promise is broken (promises.c). A seed gives the same run again.
 *
 *   explorer [--seeds N] [--first N] [--steps N]     many runs; stops at the first violation
 *   explorer --seed N [--trace]                      one of them, step by step
 *   explorer --all                                   does not stop, counts
 *
 * A third of the runs each: one active router of two with continuous synchronisation, the same with
 * synchronisation on failure, and two active routers (ECMP).
 *
 * Time: a step takes 10 us, so nothing ends by itself between two steps, in whatever order they are
 * drawn. What the clock decides happens in steps of its own, which let time pass; before a quarter
 * of a second has passed every message of a session that is alive has arrived, before two seconds
 * every live pair has a session: the assumptions behind the times in the design.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define LOG_LINES 60
#define LOG_WIDTH 160

struct world world;

static char log_lines[LOG_LINES][LOG_WIDTH];
static unsigned long logged;

/* SplitMix64. */
static uint64_t next_random(void)
{
	uint64_t z = world.random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

unsigned int draw(unsigned int below)
{
	return (unsigned int)(next_random() % below);
}

bool chance(unsigned int percent)
{
	return draw(100) < percent;
}

uint64_t now_ms(void)
{
	return world.now_us / 1000;
}

void note(const char *format, ...)
{
	char *line = log_lines[logged++ % LOG_LINES];
	int length = snprintf(line, LOG_WIDTH, "%10.3f  ", (double)world.now_us / 1e6);
	va_list list;

	va_start(list, format);
	vsnprintf(line + length, LOG_WIDTH - (size_t)length, format, list);
	va_end(list);
	if (world.trace)
		puts(line);
}

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
	bool had_flow, fresh;
	unsigned int target;
	int verdict;

	if (!router)
		return;
	if (!router->mirror)
		router->blind_ms = now_ms();
	had_flow = router->plane.flows[conn->client][conn->port].used;
	fresh = !had_flow && !router->plane.connections[conn->client][conn->port].used;
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
	promise_packet(router, conn, packet->syn, fresh, had_flow, verdict);
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

/* A flood of SYNs pushes a half-open flow out, never one that was noted. */
static void do_evict(void)
{
	struct node_router *router = any_router();
	struct plane_flow *flow = &router->plane.flows[draw(CLIENTS)][draw(PORTS)];

	if (flow->used && flow->value.state == FLOW_STATE_HALF_OPEN)
		flow->used = false;
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

static void do_router_returns(void)
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
static void do_activate(void)
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

static void do_heal(void)
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

static void reconnect_all(void)
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

static void let_pass(uint64_t ms)
{
	uint64_t slice = ms > 20000 ? 1000 : 100;

	note("%llu ms pass", (unsigned long long)ms);
	for (uint64_t passed = 0; passed < ms && !world.violation[0]; passed += slice) {
		wires_drain();
		world.now_us += slice * 1000;
		if (passed >= 1000)
			do_activate();
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
 * runs */

static const struct step {
	unsigned int weight;
	void (*run)(void);
	bool traffic;
} steps[] = {
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
	{20, do_router_returns, false},
	{30, do_activate, false},
	{10, do_hand_back, false},
	{10, do_cut, false},
	{20, do_heal, false},
	{10, do_rot, false},
	{20, do_pass_little, false},
	{10, do_pass_seconds, false},
	{5, do_pass_noted, false},
	{2, do_pass_dead, false},
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* Swarm testing: each run has its own slow and busy parts. */
static void draw_weights(unsigned int weights[STEPS])
{
	static const unsigned int tenths[] = {1, 5, 10, 10, 30, 80};

	for (unsigned int i = 0; i < STEPS; i++)
		weights[i] =
			steps[i].weight * (steps[i].traffic ? 10 + 10 * draw(2) : tenths[draw(6)]);
}

static void one_step(const unsigned int weights[STEPS], unsigned int total)
{
	unsigned int i = 0;

	for (unsigned int at = draw(total); at >= weights[i]; i++)
		at -= weights[i];
	steps[i].run();
	world.now_us += 10;
	world.statistics->steps++;
}

static void start(uint64_t seed, bool trace, struct statistics *statistics)
{
	world = (struct world){.random = seed, .trace = trace, .statistics = statistics};
	next_random();
	logged = 0;
	world.now_us = 1000000000;
	world.ecmp = seed % 3 == 2;
	for (unsigned int i = 0; i < TARGETS; i++) {
		world.targets[i].n = i;
		target_start_agent(&world.targets[i]);
	}
	for (unsigned int i = 0; i < ROUTERS; i++) {
		world.routers[i].n = i;
		world.routers[i].on_failure = seed % 3 == 1;
		router_boot(&world.routers[i]);
		router_start_agent(&world.routers[i]);
	}
	reconnect_all();
	wires_drain();
	do_activate();
	let_pass(7000);
}

/* Everything heals; then all copies have to be equal. */
static void settle(void)
{
	note("everything heals");
	do_heal();
	do_router_returns();
	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (!world.routers[i].mirror)
			router_start_agent(&world.routers[i]);
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (!world.targets[i].mirror)
			target_start_agent(&world.targets[i]);
	}
	for (unsigned int i = 0; i < ROUTERS; i++) /* on failure: each asks once */
		world.routers[i].on_failure = false;
	let_pass(15000);
	for (unsigned int i = 0; !world.ecmp && i < ROUTERS; i++) {
		world.owner = 1 - world.owner;
		let_pass(5000);
	}
}

static void finish(void)
{
	for (unsigned int i = 0; i < TARGETS; i++)
		target_mirror_free(world.targets[i].mirror);
	for (unsigned int i = 0; i < ROUTERS; i++)
		router_mirror_free(world.routers[i].mirror);
	wires_free();
	while (world.conns) {
		struct conn *conn = world.conns;

		world.conns = conn->next;
		free(conn);
	}
}

static bool run(uint64_t seed, unsigned long count, bool trace, struct statistics *statistics)
{
	unsigned int weights[STEPS], total = 0;
	bool failed;

	start(seed, trace, statistics);
	draw_weights(weights);
	for (unsigned int i = 0; i < STEPS; i++)
		total += weights[i];
	for (unsigned long i = 0; i < count && !world.violation[0]; i++)
		one_step(weights, total);
	if (!world.violation[0])
		settle();
	if (!world.violation[0])
		promise_rest();
	failed = world.violation[0];
	finish();
	return failed;
}

static void show(uint64_t seed)
{
	unsigned long first = logged > LOG_LINES ? logged - LOG_LINES : 0;

	printf("seed %llu: %s\n", (unsigned long long)seed, world.violation);
	for (unsigned long i = world.trace ? logged : first; i < logged; i++)
		printf("  %s\n", log_lines[i % LOG_LINES]);
	fflush(stdout);
}

static void sum_up(unsigned long runs, unsigned long failed, const struct statistics *s)
{
	printf("%lu runs, %lu steps, %lu sessions, %lu packets (%lu dropped, %lu refused), "
	       "%lu affinities in force everywhere (%lu lost to another), %lu digests differed, "
	       "%lu handshakes broken, %lu late affinities, %lu stale flows with two active "
	       "routers, %lu blind guesses without an agent, %lu at remnants: %lu violations\n",
	       runs, s->steps, s->sessions, s->packets, s->dropped, s->refused, s->published,
	       s->lost, s->resyncs, s->handshakes_broken, s->late_affinity, s->ecmp_stale_flow,
	       s->blind_guess, s->remnant, failed);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
						{"first", required_argument, NULL, 'f'},
						{"steps", required_argument, NULL, 'm'},
						{"seed", required_argument, NULL, 's'},
						{"trace", no_argument, NULL, 't'},
						{"all", no_argument, NULL, 'a'},
						{NULL, 0, NULL, 0}};
	unsigned long seeds = 1000, count = 400, runs = 0, failed = 0;
	struct statistics statistics = {0};
	uint64_t first = 0;
	bool trace = false, all = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			seeds = strtoul(optarg, NULL, 10);
			break;
		case 'm':
			count = strtoul(optarg, NULL, 10);
			break;
		case 's':
			seeds = 1;
			/* fall through */
		case 'f':
			first = strtoull(optarg, NULL, 10);
			break;
		case 't':
			trace = true;
			break;
		case 'a':
			all = true;
			break;
		default:
			return 2;
		}
	}
	while (runs < seeds && (all || !failed)) {
		bool broken = run(first + runs, count, trace, &statistics);

		if (broken)
			show(first + runs);
		failed += broken;
		runs++;
	}
	sum_up(runs, failed, &statistics);
	return failed != 0;
}
