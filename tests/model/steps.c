/* SPDX-License-Identifier: BSD-2-Clause */
/* What may happen next, and how often. */
#include <string.h>

#include "world.h"

/* ------------------------------------------------------------------------------------------------
 * who is drawn */

struct node_target *any_target(void)
{
	return &world.targets[draw(TARGETS)];
}

struct node_router *any_router(void)
{
	return &world.routers[draw(ROUTERS)];
}

bool is_active(const struct node_router *router)
{
	return router->up && (world.ecmp || world.split || router->n == world.owner);
}

/* What was noted while both were is believed for NOTED_NS more. */
bool two_active(void)
{
	return world.ecmp || world.split || (world.joined_ms && now_ms() < world.joined_ms + 12000);
}

bool reaches(const struct node_router *router, unsigned int target)
{
	return world.targets[target].up && !world.cut[target][router->n];
}

/* ------------------------------------------------------------------------------------------------
 * agents and sessions */

void do_event(void)
{
	struct node_target *target = any_target();

	if (!target->slow_ring)
		target_read_event(target);
}

/* By the router's end, which may be open when the target's is not; NULL: none that moves. */
static struct wire *any_wire(void)
{
	unsigned int target = draw(TARGETS);

	return world.targets[target].slow_streams ? NULL : any_router()->wires[target];
}

void do_send(void)
{
	struct wire *wire = any_wire();

	if (wire && wire->up.tail - wire->up.head < 8)
		wire_send_up(wire);
}

void do_router_read(void)
{
	struct wire *wire = any_wire();

	if (wire)
		wire_read_up(wire);
}

void do_target_read(void)
{
	struct wire *wire = any_wire();

	if (wire)
		wire_read_down(wire);
}

/* A busy target needs more than the usual time, but less than its flows are believed. */
void do_be_slow(void)
{
	struct node_target *target = any_target();
	unsigned int kind = draw(3);

	if (two_active() || now_ms() < target->slow_until_ms + SLOW_MS)
		return;
	target->slow_until_ms = now_ms() + SLOW_MS;
	target->slow_ring = kind != 1;
	target->slow_streams = kind != 0;
	note("t%u is slow:%s%s", target->n, kind != 1 ? " it does not read its events" : "",
	     kind != 0 ? " its streams stand still" : "");
}

void do_publish(void)
{
	router_publish(any_router());
}

static void do_notice_role(void)
{
	router_notice_role(any_router());
}

void do_break(void)
{
	wire_break(any_target(), any_router(), 0);
}

void do_reconnect(void)
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
		target_stop_agent(target, 0);
}

static void do_agent_start(void)
{
	struct node_target *target = any_target();

	if (target->up && !target->mirror)
		target_start_agent(target);
}

/* The operator wants no new clients there, or wants them again. */
static void do_drain(void)
{
	struct node_target *target = any_target();

	if (!target->up)
		return;
	target->draining = !target->draining;
	target->changed_ms = now_ms();
	note("t%u is %s", target->n, target->draining ? "drained" : "resumed");
	target_tell(target);
}

static bool all_targets_up(void)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (!world.targets[i].up)
			return false;
	}
	return true;
}

static void do_target_dies(void)
{
	if (all_targets_up())
		target_die(any_target(), 0);
}

static void do_unload(void)
{
	if (all_targets_up())
		target_die(any_target(), GOODBYE_LEAVING);
}

void return_targets(void)
{
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (world.targets[i].up)
			continue;
		note("t%u boots, empty", i);
		target_boot(&world.targets[i]);
	}
}

/* `limpet forget`, of what will not come back soon. */
static void do_forget(void)
{
	struct node_router *router = any_router();
	char name[NAME_SIZE] = "t0";

	for (unsigned int i = 0; i < TARGETS; i++) {
		name[1] = (char)('0' + i);
		if (world.targets[i].up || !router->mirror)
			continue;
		if (!router_mirror_forget(router->mirror, name, now_ms()))
			note("r%u forgets t%u", router->n, i);
		router->unpublished = true;
	}
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

void kill_router(struct node_router *router)
{
	note("r%u loses power", router->n);
	if (router->mirror)
		router_stop_agent(router);
	router->up = false;
	if (world.split) {
		world.split = false;
		world.joined_ms = now_ms();
	}
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

static void do_router_dies(void)
{
	if (world.routers[0].up && world.routers[1].up)
		kill_router(any_router());
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
void do_hand_back(void)
{
	struct node_router *other = &world.routers[1 - world.owner];

	if (world.ecmp || world.split ||
	    !(is_ready(other) || (other->on_failure && other->mirror && other->up)))
		return;
	router_set_role(other, ROLE_STANDBY);
	world.owner = other->n;
	note("the address moves to r%u", other->n);
}

/* The routers do not hear each other: both take the address, and packets come to both. */
static void do_split(void)
{
	if (world.ecmp || !world.routers[0].up || !world.routers[1].up)
		return;
	world.split = !world.split;
	world.joined_ms = now_ms();
	if (world.split)
		note("both routers take the address");
	else
		note("r%u alone has the address again", world.owner);
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
	wire_break(target, router, 0);
}

void heal(void)
{
	if (memchr(world.cut, true, sizeof(world.cut))) {
		note("nothing is cut off any more");
		world.healed_ms = now_ms();
	}
	memset(world.cut, 0, sizeof(world.cut));
	if (!world.split)
		return;
	world.split = false;
	world.joined_ms = now_ms();
}

/* A defect: an entry is missing at a standby; the digest has to show it, so its target holds it:
 * what has ended is in no digest. */
static void do_rot(void)
{
	struct node_router *router = any_router();
	unsigned int client = draw(CLIENTS), port = draw(PORTS), target = draw(TARGETS);
	struct conn *conn = world.targets[target].sockets[client][port];
	struct message message = {.type = MESSAGE_CONNECTION_END};
	int number = router_target_number(router, target);

	if (!conn || is_active(router) || !router->wires[target] || number < 0)
		return;
	if (!router_mirror_target(router->mirror, (uint16_t)number)->in_sync)
		return;
	message.connection.service = model_service_key();
	message.connection.client = model_client(client);
	message.connection.client_port = model_connection_key(client, port, 0).client_port;
	message.connection.how = CONNECTION_END_RESET;
	conn->known[router->n] = 0;
	note("r%u forgets c%u:%u of t%u, a defect", router->n, client, port, target);
	router_mirror_receive(router->mirror, (uint16_t)number, &message, now_ms());
}

/* ------------------------------------------------------------------------------------------------
 * time */

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
	{40, do_instance_starts, false},
	{10, do_drain, false},
	{160, do_event, false},
	{400, do_send, false},
	{400, do_router_read, false},
	{250, do_target_read, false},
	{15, do_be_slow, false},
	{200, do_publish, false},
	{60, do_notice_role, false},
	{20, do_break, false},
	{60, do_reconnect, false},
	{10, do_agent_crash, false},
	{30, do_agent_start, false},
	{10, do_router_agent_crash, false},
	{30, do_router_agent_start, false},
	{6, do_target_dies, false},
	{3, do_unload, false},
	{20, return_targets, false},
	{10, do_forget, false},
	{10, do_router_dies, false},
	{20, return_routers, false},
	{30, activate_owners, false},
	{10, do_hand_back, false},
	{4, do_busy_takeover, false},
	{4, do_rivalry, false},
	{3, do_flapping, false},
	{1, do_amnesia, false},
	{5, do_split, false},
	{10, do_cut, false},
	{20, heal, false},
	{20, do_rot, false},
	{20, do_pass_little, false},
	{10, do_pass_seconds, false},
	{5, do_pass_noted, false},
	{2, do_pass_dead, false},
};

const size_t step_count = sizeof(steps) / sizeof(steps[0]);
