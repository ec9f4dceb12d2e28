/* SPDX-License-Identifier: BSD-2-Clause */
/* A target's kernel: its sockets, affinities and event ring. */
#include <string.h>

#include "world.h"

static void kernel_event(struct node_target *target, struct kernel_event event)
{
	if (target->events >= EVENTS) {
		target->lost = true;
		return;
	}
	target->ring[target->events++] = event;
	if (target->events > 1 && chance(15)) { /* two CPUs reserve in the other order */
		struct kernel_event other = target->ring[target->events - 2];

		target->ring[target->events - 2] = event;
		target->ring[target->events - 1] = other;
	}
}

void target_close_socket(struct node_target *target, struct conn *conn, uint8_t how)
{
	if (target->sockets[conn->client][conn->port] == conn) {
		target->sockets[conn->client][conn->port] = NULL;
		if (!conn->client_open)
			world.remnant_ms[conn->client][conn->port] = now_ms();
		kernel_event(target, (struct kernel_event){.client = conn->client,
							   .port = conn->port,
							   .how = how});
	}
	conn->closed_ms = now_ms();
	if (how == CONNECTION_END_CLOSED && conn->client_open) {
		conn->server = SERVER_CLOSING;
		return;
	}
	conn->server = SERVER_CLOSED;
	conn->client_open = false;
	if (world.open[conn->client][conn->port] == conn)
		world.open[conn->client][conn->port] = NULL;
}

/* The listener that takes it; INSTANCES: none. */
static unsigned int select_instance(const struct node_target *target, unsigned int client)
{
	const struct held *held = &target->held[client];
	unsigned int first = draw(INSTANCES);

	if (held->present && target->ready[held->instance])
		return held->instance;
	for (unsigned int i = 0; i < INSTANCES; i++) {
		if (target->ready[(first + i) % INSTANCES])
			return (first + i) % INSTANCES;
	}
	return INSTANCES;
}

/* Has a handshake begun? */
static bool arrive_syn(struct node_target *target, struct conn *conn)
{
	struct conn *there = target->sockets[conn->client][conn->port];
	unsigned int instance = select_instance(target, conn->client);

	if (there) { /* RFC 5961: challenge; a client that has forgotten answers with a RST */
		if (!there->client_open)
			target_close_socket(target, there, CONNECTION_END_RESET);
		return false;
	}
	if (!conn->client_open || conn->server != SERVER_NONE || instance == INSTANCES)
		return false;
	conn->target = target->n;
	conn->server = SERVER_HALF;
	conn->instance = instance;
	target->half[conn->client][conn->port] = conn;
	return true;
}

static void arrive_other(struct node_target *target, struct conn *conn)
{
	if (target->half[conn->client][conn->port] != conn || !conn->client_open)
		return;
	target->half[conn->client][conn->port] = NULL;
	conn->server = SERVER_OPEN;
	conn->opened_ms = now_ms();
	target->sockets[conn->client][conn->port] = conn;
	kernel_event(target, (struct kernel_event){.client = conn->client, .port = conn->port});
}

bool target_arrive(struct node_target *target, struct conn *conn, bool syn)
{
	if (syn)
		return arrive_syn(target, conn);
	arrive_other(target, conn);
	return false;
}

void target_request(struct node_target *target, struct conn *conn, bool takeover)
{
	struct held *held = &target->held[conn->client];

	if (held->present) {
		if (held->instance != conn->instance && takeover)
			held->instance = conn->instance; /* routers see no change */
		return;
	}
	*held = (struct held){.present = true,
			      .takeover = takeover,
			      .id = ++world.next_affinity,
			      .instance = conn->instance};
	note("t%u/%u asks for c%u%s: #%llu", target->n, conn->instance, conn->client,
	     takeover ? " taking over" : "", (unsigned long long)held->id);
	kernel_event(target, (struct kernel_event){.affinity = true, .client = conn->client});
}

void target_end_affinity(struct node_target *target, unsigned int client, const char *why,
			 bool legit)
{
	struct held held = target->held[client];

	if (!held.present)
		return;
	note("t%u: affinity of c%u #%llu ends: %s", target->n, client, (unsigned long long)held.id,
	     why);
	target->held[client].present = false;
	kernel_event(target, (struct kernel_event){.affinity = true, .client = client});
	promise_affinity_ended(target, client, &held, why, legit);
}

void target_boot(struct node_target *target)
{
	target->up = true;
	target->booted_ms = now_ms();
	target->draining = false;
	target->changed_ms = now_ms();
	for (unsigned int i = 0; i < INSTANCES; i++)
		target->ready[i] = true;
	target_start_agent(target);
}

static void lose_sockets(struct node_target *target, unsigned int client, unsigned int port)
{
	struct conn *half = target->half[client][port];

	if (target->sockets[client][port])
		target_close_socket(target, target->sockets[client][port], CONNECTION_END_RESET);
	if (half)
		target_close_socket(target, half, CONNECTION_END_RESET);
	target->half[client][port] = NULL;
}

void target_die(struct node_target *target, enum goodbye_reason goodbye)
{
	if (target->mirror)
		target_stop_agent(target, goodbye);
	note("t%u is no more", target->n);
	target->up = false;
	for (unsigned int client = 0; client < CLIENTS; client++) {
		target_end_affinity(target, client, "its target is no more", true);
		target->grants[client] = (struct pinned_grant){.id = 0};
		for (unsigned int port = 0; port < PORTS; port++)
			lose_sockets(target, client, port);
	}
	/* What is in FIN_WAIT2 there goes too. */
	for (struct conn *conn = world.conns; conn; conn = conn->next) {
		if (conn->server == SERVER_CLOSING && conn->target == target->n)
			target_close_socket(target, conn, CONNECTION_END_RESET);
	}
	target->events = 0;
	target->lost = false;
}
