/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A target's mirror and two routers' mirrors, with nothing but the wire between them: random
 * histories of the kernel's tables, sessions, roles and lists of services. No digest ever differs,
 * and at rest every router's CRHT is what the target's kernel holds.
 */
#include "router_mirror.h"
#include "target_world.h"

#define ROUTERS	      2
#define NUMBER0	      20 /* of services at a router */
#define ROUTER_SCOPE0 30
#define PIPE	      (1 << 20)

/* One direction of a session: frames that have been written and not read. */
struct pipe {
	uint8_t bytes[PIPE];
	size_t from, to;
};

struct node {
	struct router_mirror *mirror;
	unsigned int index;
	int target;	     /* the number of the target here; -1: no session */
	unsigned int listed; /* a bit a service */
	enum role role;
	uint32_t epoch;
	struct pipe up, down;
	struct router_service services[MAX_SERVICES];
	struct scope scopes[MAX_SERVICES];
	bool connection[SERVICES][CLIENTS][PORTS]; /* the CRHT: what does not linger */
	bool affinity[SCOPES][CLIENTS];
};

static struct node nodes[ROUTERS];
static unsigned int syncs, granted, grown;

static void write_message(struct pipe *pipe, const struct message *message)
{
	ssize_t length;

	if (pipe->from == pipe->to)
		pipe->from = pipe->to = 0;
	length = message_encode(message, pipe->bytes + pipe->to, PIPE - pipe->to);
	assert_true(length > 0);
	pipe->to += (size_t)length;
}

static bool read_message(struct pipe *pipe, struct message *message)
{
	const char *why = NULL;
	ssize_t length =
		message_decode(pipe->bytes + pipe->from, pipe->to - pipe->from, message, &why);

	if (length < 0)
		fail_msg("%s", why);
	pipe->from += (size_t)length;
	return length > 0;
}

/* ------------------------------------------------------------------------------------------------
 * what a router's mirror does */

static int put_connection(void *context, const struct connection_key *key,
			  const struct router_connection *value)
{
	struct node *node = context;

	node->connection[key->service - NUMBER0][client_of(&key->client)]
			[ntohs(key->client_port) - 40000] =
		value && value->state == CONNECTION_OPEN;
	return 0;
}

static int put_affinity(void *context, const struct affinity_key *key,
			const struct router_affinity *value)
{
	struct node *node = context;

	node->affinity[key->scope - ROUTER_SCOPE0][client_of(&key->client)] = value;
	return 0;
}

static void send_down(void *context, uint16_t target, const struct message *message)
{
	struct node *node = context;

	assert_true(node->target < 0 || node->target == target);
	granted += message->type == MESSAGE_GRANT;
	write_message(&node->down, message);
}

static void target_changed(void *context, uint16_t target)
{
	(void)context;
	(void)target;
}

static void end_session(void *context, uint16_t target, enum goodbye_reason reason,
			const char *text)
{
	(void)context;
	(void)target;
	if (reason != GOODBYE_REPLACED)
		fail_msg("session ended: %d %s", reason, text);
}

static void roster_changed(void *context)
{
	(void)context;
}

static void configure_router(struct node *node, unsigned int listed)
{
	memset(node->services, 0, sizeof(node->services));
	memset(node->scopes, 0, sizeof(node->scopes));
	node->listed = listed;
	for (unsigned int i = 0; i < SERVICES; i++) {
		struct router_service *service = &node->services[NUMBER0 + i];

		if (!(listed >> i & 1))
			continue;
		strcpy(service->name, service_names[i]);
		service->key = wire_service(i);
		service->scope = (uint16_t)(ROUTER_SCOPE0 + scope_of[i]);
		service->affinity = AFFINITY_BY_REQUEST;
		service->client_prefix = 128;
		service->serving = 1;
		strcpy(node->scopes[service->scope].name, scope_names[scope_of[i]]);
	}
	router_mirror_configure(node->mirror, node->services, node->scopes);
}

static void start_router(struct node *node, unsigned int index)
{
	static const struct router_mirror_ops ops = {
		.connection = put_connection,
		.affinity = put_affinity,
		.send = send_down,
		.target_changed = target_changed,
		.end_session = end_session,
		.roster_changed = roster_changed,
	};
	const struct router_mirror_settings settings = {.node_id = 100 + index,
							.dead_after_ms = 60000,
							.max_connections = 1000,
							.max_affinities = 1000,
							.sync_on_failure = index == 1};

	router_mirror_free(node->mirror);
	memset(node, 0, sizeof(*node));
	node->index = index;
	node->target = -1;
	node->mirror = router_mirror_new(&ops, node, &settings);
	assert_non_null(node->mirror);
	configure_router(node, 7);
	router_mirror_role(node->mirror, ROLE_STANDBY, 0, world.now_ms);
}

/* ------------------------------------------------------------------------------------------------
 * between them */

static void connect_node(struct node *node)
{
	struct message_hello theirs = {.version = WIRE_VERSION,
				       .role = WIRE_TARGET,
				       .node_id = 1,
				       .clock = target_mirror_clock(world.mirror),
				       .name = "t1",
				       .digest_key = {world.now_ms, node->index}};
	struct message_hello ours = {.version = WIRE_VERSION,
				     .role = WIRE_ROUTER,
				     .node_id = 100 + node->index,
				     .clock = router_mirror_clock(node->mirror),
				     .name = "r"};

	node->up.from = node->up.to = node->down.from = node->down.to = 0;
	world.router[node->index].connected = true;
	assert_int_equal(target_mirror_session(world.mirror, node->index, &ours, theirs.digest_key,
					       world.now_ms),
			 0);
	node->target = -1;
	node->target = router_mirror_session(node->mirror, &theirs, world.now_ms);
	assert_true(node->target >= 0);
}

static void cut_node(struct node *node)
{
	target_mirror_session_lost(world.mirror, node->index, world.now_ms);
	router_mirror_session_lost(node->mirror, (uint16_t)node->target, 0, world.now_ms);
	node->up.from = node->up.to = node->down.from = node->down.to = 0;
	world.router[node->index].connected = false;
	node->target = -1;
}

/* One message each way, if there is one. */
static bool move(struct node *node)
{
	struct message message;
	bool moved = false;

	if (node->target < 0)
		return false;
	if (target_mirror_next(world.mirror, node->index, true, world.now_ms, &message)) {
		write_message(&node->up, &message);
		moved = true;
	}
	if (read_message(&node->up, &message)) {
		assert_int_equal(router_mirror_receive(node->mirror, (uint16_t)node->target,
						       &message, world.now_ms),
				 0);
		moved = true;
	}
	if (read_message(&node->down, &message)) {
		assert_int_equal(
			target_mirror_receive(world.mirror, node->index, &message, world.now_ms),
			0);
		moved = true;
	}
	return moved;
}

static void pass_time(uint64_t ms)
{
	world.now_ms += ms;
	target_mirror_tick(world.mirror, world.now_ms);
	for (unsigned int i = 0; i < ROUTERS; i++)
		router_mirror_tick(nodes[i].mirror, world.now_ms);
}

static void settle(void)
{
	for (unsigned int round = 0; round < 40; round++) {
		unsigned int steps = 0;
		bool moved = true;

		while (moved) {
			moved = false;
			for (unsigned int i = 0; i < ROUTERS; i++)
				moved |= move(&nodes[i]);
			assert_true(++steps < 100000);
		}
		pass_time(100);
	}
}

static void assert_same(const struct node *node)
{
	const struct mirror_target *target =
		router_mirror_target(node->mirror, (uint16_t)node->target);

	assert_true(target->in_sync && target->affinities_in_sync && target->digest_equal);
	assert_true(router_mirror_in_sync(node->mirror));
	for (unsigned int i = 0; i < SERVICES * CLIENTS * PORTS; i++) {
		unsigned int s = i % SERVICES, c = i / SERVICES % CLIENTS,
			     p = i / SERVICES / CLIENTS;
		bool expected = node->listed >> s & 1 && world.connection[s][c][p];

		assert_int_equal(node->connection[s][c][p], expected);
	}
	syncs++;
}

/* Every affinity here has been granted by the active router and is used by it. */
static void assert_in_force(const struct node *node)
{
	for (unsigned int i = 0; i < SCOPES * CLIENTS; i++) {
		const struct kernel_affinity *affinity = &world.affinity[i % SCOPES][i / SCOPES];
		bool seen = i % SCOPES == 0 ? node->listed & 3 : node->listed & 4;

		assert_int_equal(node->affinity[i % SCOPES][i / SCOPES], affinity->id && seen);
		if (affinity->id && seen)
			assert_int_equal(affinity->published_id, affinity->id);
		grown += affinity->id && seen;
	}
}

/* ------------------------------------------------------------------------------------------------
 * histories */

static void kernel_step(uint64_t *seed)
{
	unsigned int service = draw(seed, SERVICES), client = draw(seed, CLIENTS);
	unsigned int port = draw(seed, PORTS), what = draw(seed, 8);

	if (what == 0)
		request(scope_of[service], client);
	else if (what == 1)
		release(scope_of[service], client);
	else if (what < 5)
		open_connection(service, client, port);
	else
		close_connection(service, client, port);
}

static void node_step(uint64_t *seed, struct node *node)
{
	switch (draw(seed, 80)) {
	case 0:
		if (node->target >= 0)
			cut_node(node);
		return;
	case 1:
	case 2:
		if (node->target < 0 || draw(seed, 4) == 0)
			connect_node(node);
		return;
	case 3:
		node->role = node->role == ROLE_ACTIVE ? ROLE_STANDBY : ROLE_ACTIVE;
		node->epoch += node->role == ROLE_ACTIVE;
		router_mirror_role(node->mirror, node->role, node->epoch, world.now_ms);
		return;
	case 4:
		configure_router(node, 1 + draw(seed, 7));
		return;
	default:
		for (unsigned int i = draw(seed, 8); i; i--)
			move(node);
	}
}

static void copies_come_true(void **state)
{
	(void)state;
	for (uint64_t first = 0; first < 60; first++) {
		uint64_t seed = first * 7919 + 7562145;

		world_teardown(NULL);
		world_setup(NULL);
		for (unsigned int i = 0; i < ROUTERS; i++)
			start_router(&nodes[i], i);
		for (unsigned int step = 0; step < 600; step++) {
			kernel_step(&seed);
			node_step(&seed, &nodes[draw(&seed, ROUTERS)]);
			pass_time(draw(&seed, 60));
		}
		/* At last one is active, the other was never asked or follows. */
		for (unsigned int i = 0; i < ROUTERS; i++) {
			struct node *node = &nodes[i];

			node->role = i == first % ROUTERS ? ROLE_ACTIVE : ROLE_STANDBY;
			router_mirror_role(node->mirror, node->role, ++node->epoch, world.now_ms);
			if (node->target < 0)
				connect_node(node);
		}
		pass_time(2000);
		settle();
		assert_same(&nodes[first % ROUTERS]);
		assert_in_force(&nodes[first % ROUTERS]);
		if (first % ROUTERS == 1)
			assert_same(&nodes[0]); /* continuous */
	}
	assert_true(syncs == 90 && granted > 100 && grown > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copies_come_true, world_setup, world_teardown),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	for (unsigned int i = 0; i < ROUTERS; i++)
		router_mirror_free(nodes[i].mirror);
	return failed;
}
