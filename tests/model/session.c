/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions: two ordered queues, lost when they break; each end notices by itself. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

void wire_push(struct queue *queue, const struct message *message)
{
	if (queue->tail == queue->size) {
		queue->size = queue->size ? queue->size * 2 : 16;
		queue->message = realloc(queue->message, queue->size * sizeof(*queue->message));
		if (!queue->message)
			abort();
	}
	queue->message[queue->tail++] = *message;
}

static bool pop(struct queue *queue, struct message *message)
{
	if (queue->head == queue->tail)
		return false;
	*message = queue->message[queue->head++];
	return true;
}

static void clear(struct queue *queue)
{
	queue->head = queue->tail;
}

static void free_first(struct wire **at)
{
	struct wire *wire = *at;

	*at = wire->next;
	free(wire->up.message);
	free(wire->down.message);
	free(wire);
}

void wires_prune(void)
{
	struct wire **at = &world.wires;

	while (*at) {
		if ((*at)->open_at_target || (*at)->open_at_router)
			at = &(*at)->next;
		else
			free_first(at);
	}
}

void wires_free(void)
{
	while (world.wires)
		free_first(&world.wires);
}

static struct wire *wire_new(unsigned int target, unsigned int router)
{
	struct wire *wire = calloc(1, sizeof(*wire));

	if (!wire)
		abort();
	wire->number = ++world.next_wire;
	wire->target = target;
	wire->router = router;
	wire->open_at_target = wire->open_at_router = true;
	wire->next = world.wires;
	world.wires = wire;
	return wire;
}

static struct message_hello hello(const char *role, unsigned int n, uint64_t clock)
{
	struct message_hello said = {.version = WIRE_VERSION,
				     .role = *role == 't' ? WIRE_TARGET : WIRE_ROUTER,
				     .node_id = n + 1u,
				     .clock = clock};

	said.name[0] = *role;
	said.name[1] = (char)('0' + n);
	said.address = model_node(n);
	return said;
}

void wire_open(struct node_target *target, struct node_router *router)
{
	struct message_hello from_target, from_router;
	struct wire *wire;

	if (!target->mirror || !router->up || !router->mirror || world.cut[target->n][router->n])
		return;
	wire_break(target, router, 0);
	wire = wire_new(target->n, router->n);
	note("session %u: t%u to r%u", wire->number, target->n, router->n);
	world.statistics->sessions++;
	from_target = hello("t", target->n, target_mirror_clock(target->mirror));
	from_router = hello("r", router->n, router_mirror_clock(router->mirror));
	from_target.digest_key[0] = wire->number;
	from_target.digest_key[1] = world.random;
	target->wires[router->n] = wire;
	if (target_mirror_session(target->mirror, router->n, &from_router, from_target.digest_key,
				  now_ms()))
		violated("protocol", "t%u refuses the session", target->n);
	router->opening = wire;
	if (router_mirror_session(router->mirror, &from_target, now_ms()) < 0)
		violated("protocol", "r%u refuses the session of t%u", router->n, target->n);
	router->wires[target->n] = wire;
	router->opening = NULL;
	router->roster[target->n] = true;
	router->unpublished = true;
}

/* The router's end is closed by the router itself; the target reads what is still there. */
void wire_close_at_router(struct node_router *router, unsigned int target)
{
	struct wire *wire = router->wires[target];

	if (!wire)
		return;
	wire->open_at_router = false;
	clear(&wire->up);
	router->wires[target] = NULL;
}

void wire_break(struct node_target *target, struct node_router *router, enum goodbye_reason goodbye)
{
	struct wire *wire = target->wires[router->n];

	if (!wire)
		return;
	note("session %u: t%u to r%u breaks", wire->number, target->n, router->n);
	wire->open_at_target = false;
	wire->silent_ms = now_ms();
	wire->goodbye = goodbye;
	clear(&wire->down);
	target->wires[router->n] = NULL;
	for (unsigned int client = 0; client < CLIENTS; client++)
		target->held[client].granted &= ~(1u << router->n);
	if (target->mirror)
		target_mirror_session_lost(target->mirror, router->n, now_ms());
}

bool wire_send_up(struct wire *wire)
{
	struct node_target *target = &world.targets[wire->target];
	struct message message;

	if (!wire->open_at_target ||
	    !target_mirror_next(target->mirror, wire->router, !target->events && !target->lost,
				now_ms(), &message))
		return false;
	if (wire->open_at_router)
		wire_push(&wire->up, &message);
	return true;
}

/* A stream that is cut off has no end, nor has that of a target without power: its silence is
 * noticed by the clock. When an agent dies its kernel ends the stream: as if it had said that it
 * stops. */
static bool read_end(struct node_router *router, struct wire *wire)
{
	int number = router_target_number(router, wire->target);

	if (wire->open_at_target || world.cut[wire->target][wire->router] ||
	    (!world.targets[wire->target].up && !wire->goodbye))
		return false;
	wire_close_at_router(router, wire->target);
	router_mirror_session_lost(router->mirror, (uint16_t)number,
				   wire->goodbye ? wire->goodbye : GOODBYE_STOPPING, now_ms());
	router->unpublished = true;
	return true;
}

bool wire_read_up(struct wire *wire)
{
	struct node_router *router = &world.routers[wire->router];
	int number = router_target_number(router, wire->target);
	struct message message;

	if (!wire->open_at_router || !router->mirror)
		return false;
	if (!pop(&wire->up, &message))
		return read_end(router, wire);
	router->unpublished = true;
	if (router_mirror_receive(router->mirror, (uint16_t)number, &message, now_ms()))
		violated("protocol", "r%u cannot take message %u of t%u", router->n, message.type,
			 wire->target);
	return true;
}

static void note_grant(struct node_target *target, const struct wire *wire,
		       const struct message_answer *grant)
{
	unsigned int client = model_client_number(&grant->client);

	if (client < CLIENTS && target->held[client].present &&
	    target->held[client].id == grant->id)
		target->held[client].granted |= 1u << wire->router;
}

bool wire_read_down(struct wire *wire)
{
	struct node_target *target = &world.targets[wire->target];
	struct message message;

	if (!wire->open_at_target)
		return false;
	if (!pop(&wire->down, &message)) {
		if (wire->open_at_router)
			return false;
		wire_break(target, &world.routers[wire->router], 0);
		return true;
	}
	if (message.type == MESSAGE_GRANT)
		note_grant(target, wire, &message.answer);
	if (target_mirror_receive(target->mirror, wire->router, &message, now_ms()))
		violated("protocol", "t%u cannot take message %u of r%u", target->n, message.type,
			 wire->router);
	return true;
}

static bool drain_once(void)
{
	bool busy = false;

	for (unsigned int i = 0; i < TARGETS; i++) {
		while (!world.targets[i].slow_ring && target_read_event(&world.targets[i]))
			busy = true;
	}
	for (struct wire *wire = world.wires; wire; wire = wire->next) {
		if (!wire->open_at_target && !wire->open_at_router)
			continue;
		if (world.targets[wire->target].slow_streams)
			continue;
		while (wire_send_up(wire))
			busy = true;
		while (wire_read_up(wire))
			busy = true;
		while (wire_read_down(wire))
			busy = true;
	}
	for (unsigned int i = 0; i < ROUTERS; i++)
		router_publish(&world.routers[i]);
	return busy;
}

void wires_drain(void)
{
	for (unsigned int round = 0; round < 1000 && !world.violation[0]; round++) {
		if (!drain_once())
			return;
	}
	violated("P5", "messages do not come to an end");
}
