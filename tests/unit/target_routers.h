/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target_routers.h - routers for the tests of the target's mirror: they believe what they are told
 * and know nothing else. Every message goes over the wire and back.
 */
#ifndef TESTS_TARGET_ROUTERS_H
#define TESTS_TARGET_ROUTERS_H

#include "target_world.h"

static inline int receive(unsigned int router, const struct message *message)
{
	return target_mirror_receive(world.mirror, router, message, world.now_ms);
}

static inline void say(unsigned int router, const struct message *message)
{
	assert_int_equal(receive(router, message), 0);
}

static inline void say_role(unsigned int router, enum role role, uint32_t epoch)
{
	say(router, &(struct message){MESSAGE_ROLE, .role = {epoch, (uint8_t)role}});
}

static inline void say_barrier(unsigned int router, uint32_t epoch)
{
	say(router, &(struct message){MESSAGE_BARRIER, .role = {epoch, 0}});
}

static inline void say_sync(unsigned int router)
{
	say(router, &(struct message){MESSAGE_SYNC, .list = {0}});
}

/* A list of the services in `bits`; the router forgets what is not in it. */
static inline void say_list(unsigned int router, unsigned int bits)
{
	struct told *told = &world.router[router];
	bool scope_listed[SCOPES] = {false};

	told->number++;
	say(router, &(struct message){MESSAGE_BEGIN, .list = {told->number}});
	for (unsigned int i = 0; i < SERVICES; i++) {
		struct message service = {MESSAGE_SERVICE, .service = {.key = wire_service(i)}};

		told->listed[i] = bits >> i & 1;
		if (!told->listed[i]) {
			memset(told->connection[i], 0, sizeof(told->connection[i]));
			continue;
		}
		scope_listed[scope_of[i]] = true;
		strcpy(service.service.name, service_names[i]);
		strcpy(service.service.scope, scope_names[scope_of[i]]);
		say(router, &service);
	}
	for (unsigned int i = 0; i < SCOPES; i++)
		if (!scope_listed[i])
			memset(told->affinity[i], 0, sizeof(told->affinity[i]));
	say(router, &(struct message){MESSAGE_DONE, .list = {told->number}});
}

/* HELLO alone. */
static inline void open_session(unsigned int router)
{
	struct message_hello hello = {.version = WIRE_VERSION,
				      .role = WIRE_ROUTER,
				      .node_id = 1000 + router,
				      .name = "r"};
	struct told *told = &world.router[router];

	*told = (struct told){.connected = true, .key = {world.now_ms * 31 + router, 77}};
	assert_int_equal(
		target_mirror_session(world.mirror, router, &hello, told->key, world.now_ms), 0);
}

static inline void lose_session(unsigned int router)
{
	target_mirror_session_lost(world.mirror, router, world.now_ms);
	world.router[router].connected = false;
}

/* The usual beginning: HELLO, ROLE, all services, SYNC. */
static inline void connect_router(unsigned int router, enum role role)
{
	open_session(router);
	say_role(router, role, 1);
	say_list(router, (1U << SERVICES) - 1);
	say_sync(router);
}

static inline bool scope_seen(const struct told *told, unsigned int scope)
{
	for (unsigned int i = 0; i < SERVICES; i++)
		if (told->listed[i] && scope_of[i] == scope)
			return true;
	return false;
}

static inline void hear_connection(struct told *told, const struct message *message)
{
	const struct message_connection *connection = &message->connection;
	unsigned int service = service_of(&connection->service);
	unsigned int client = client_of(&connection->client);
	unsigned int port = ntohs(connection->client_port) - 40000U;

	assert_true(told->begun && told->listed[service] && port < PORTS);
	told->connection[service][client][port] = message->type == MESSAGE_CONNECTION;
	told->named_connection[service][client][port] = true;
}

static inline void hear_affinity(struct told *told, const struct message *message)
{
	/* AFFINITY_END begins alike: scope, client */
	unsigned int scope = scope_named(message->affinity_end.scope);
	unsigned int client = client_of(&message->affinity_end.client);

	assert_true(told->begun && scope_seen(told, scope));
	told->named_affinity[scope][client] = true;
	told->affinity[scope][client] = message->type == MESSAGE_AFFINITY
						? message->affinity
						: (struct message_affinity){.id = 0};
}

static inline void hear_begin(struct told *told)
{
	told->begun = true;
	told->done = false;
	memset(told->named_connection, 0, sizeof(told->named_connection));
	memset(told->named_affinity, 0, sizeof(told->named_affinity));
}

/* Sweep. */
static inline void hear_done(struct told *told, uint32_t number)
{
	assert_true(told->begun);
	told->done = true;
	told->done_number = number;
	for (unsigned int i = 0; i < SERVICES * CLIENTS * PORTS; i++)
		if (!(&told->named_connection[0][0][0])[i])
			(&told->connection[0][0][0])[i] = false;
	for (unsigned int i = 0; i < SCOPES * CLIENTS; i++)
		if (!(&told->named_affinity[0][0])[i])
			(&told->affinity[0][0])[i].id = 0;
}

/* The next message to a router, over the wire and back; false: none. */
static inline bool next(unsigned int router, bool drained, struct message *message)
{
	struct told *told = &world.router[router];
	struct message sent;
	uint8_t frame[1024];
	const char *why = NULL;
	ssize_t length;

	if (!target_mirror_next(world.mirror, router, drained, world.now_ms, &sent))
		return false;
	length = message_encode(&sent, frame, sizeof(frame));
	assert_true(length > 0);
	assert_int_equal(message_decode(frame, (size_t)length, message, &why), length);
	told->count[message->type]++;
	switch (message->type) {
	case MESSAGE_CONNECTION:
	case MESSAGE_CONNECTION_END:
		hear_connection(told, message);
		break;
	case MESSAGE_AFFINITY:
	case MESSAGE_AFFINITY_END:
		hear_affinity(told, message);
		break;
	case MESSAGE_BEGIN:
		hear_begin(told);
		break;
	case MESSAGE_DONE:
		hear_done(told, message->list.number);
		break;
	case MESSAGE_READY:
		told->ready[service_of(&message->ready.service)] = message->ready;
		break;
	case MESSAGE_TARGET:
		told->target = message->target;
		break;
	case MESSAGE_BARRIER:
		assert_true(told->done);
		told->barrier = message->role.epoch;
		break;
	case MESSAGE_DIGEST:
		assert_true(told->done);
		told->digest = message->digest;
		break;
	default:
		fail_msg("%s from a target", message_name(message->type));
	}
	return true;
}

/* Everything that there is to say now. */
static inline unsigned int drain(unsigned int router)
{
	struct message message;
	unsigned int count = 0;

	while (next(router, true, &message))
		assert_true(++count < 10000);
	return count;
}

static inline void forget_counts(unsigned int router)
{
	memset(world.router[router].count, 0, sizeof(world.router[router].count));
}

static inline void assert_affinities(unsigned int router)
{
	const struct told *told = &world.router[router];

	for (unsigned int s = 0; s < SCOPES; s++)
		for (unsigned int c = 0; c < CLIENTS; c++) {
			const struct kernel_affinity *affinity = &world.affinity[s][c];

			assert_int_equal(told->affinity[s][c].id,
					 scope_seen(told, s) ? affinity->id : 0);
			assert_true(!told->affinity[s][c].id ||
				    told->affinity[s][c].takeover == affinity->takeover);
		}
}

/* The router's copy is what it should see of the kernel's tables. */
static inline void assert_replica(unsigned int router)
{
	const struct told *told = &world.router[router];

	for (unsigned int s = 0; s < SERVICES; s++)
		for (unsigned int c = 0; c < CLIENTS; c++)
			for (unsigned int p = 0; p < PORTS; p++)
				assert_int_equal(told->connection[s][c][p],
						 told->listed[s] && world.connection[s][c][p]);
	assert_affinities(router);
}

/* The sums of the router's copy, walked from end to end. */
static inline struct message_digest naive_digest(unsigned int router)
{
	const struct told *told = &world.router[router];
	struct message_digest digest = {.services = told->number};

	for (unsigned int i = 0; i < SERVICES * CLIENTS * PORTS; i++) {
		unsigned int s = i % SERVICES, c = i / SERVICES % CLIENTS,
			     p = i / SERVICES / CLIENTS;
		struct message message = {MESSAGE_CONNECTION,
					  .connection = {wire_service(s), client_address(c),
							 htons((uint16_t)(40000 + p)), 0}};

		if (!told->connection[s][c][p])
			continue;
		digest.connections++;
		digest.connections_sum += message_sum(&message, told->key);
	}
	for (unsigned int i = 0; i < SCOPES * CLIENTS; i++) {
		struct message message = {MESSAGE_AFFINITY,
					  .affinity = told->affinity[i % SCOPES][i / SCOPES]};

		if (!message.affinity.id)
			continue;
		digest.affinities++;
		digest.affinities_sum += message_sum(&message, told->key);
	}
	return digest;
}

static inline void assert_digest(unsigned int router)
{
	struct message_digest expected;

	world.now_ms += 1000;
	target_mirror_tick(world.mirror, world.now_ms);
	forget_counts(router);
	drain(router);
	expected = naive_digest(router);
	assert_int_equal(world.router[router].count[MESSAGE_DIGEST], 1);
	assert_int_equal(world.router[router].digest.services, expected.services);
	assert_int_equal(world.router[router].digest.connections, expected.connections);
	assert_int_equal(world.router[router].digest.affinities, expected.affinities);
	assert_true(world.router[router].digest.connections_sum == expected.connections_sum);
	assert_true(world.router[router].digest.affinities_sum == expected.affinities_sum);
}

#endif
