/* SPDX-License-Identifier: BSD-2-Clause */
/* mirror_world.h - a CRHT, sessions and a clock for the tests of the router's mirror: verbs for
 * what targets say, questions about what the mirror has done. */
#ifndef LIMPET_MIRROR_WORLD_H
#define LIMPET_MIRROR_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>

#include "codec.h"
#include "mirror_internal.h"

#define ROUTER	      7
#define DEAD_AFTER_MS 60000
#define MOST	      64

struct kernel_connection {
	struct connection_key key;
	struct router_connection value;
};

struct kernel_affinity {
	struct affinity_key key;
	struct router_affinity value;
};

struct sent {
	uint16_t target;
	struct message message;
};

/* What the mirror has done to the world. */
static struct {
	struct router_mirror *mirror;
	struct kernel_connection connections[MOST];
	struct kernel_affinity affinities[MOST];
	unsigned int connection_count, affinity_count, room;
	struct sent sent[4096];
	unsigned int sent_count;
	int noted; /* -1: nothing */
	int ended_target, ended_reason, ended;
	unsigned int target_changes, roster_changes;
	uint64_t now;
	struct router_service services[MAX_SERVICES];
	struct scope scopes[MAX_SERVICES];
} world;

static inline int put_connection(void *context, const struct connection_key *key,
				 const struct router_connection *value)
{
	unsigned int i = 0;

	(void)context;
	while (i < world.connection_count &&
	       memcmp(&world.connections[i].key, key, sizeof(*key)) != 0)
		i++;
	if (!value) {
		if (i == world.connection_count)
			return -ENOENT;
		world.connections[i] = world.connections[--world.connection_count];
		return 0;
	}
	if (i == world.connection_count) {
		if (i >= world.room)
			return -ENOSPC;
		world.connection_count++;
	}
	world.connections[i].key = *key;
	world.connections[i].value = *value;
	return 0;
}

static inline int put_affinity(void *context, const struct affinity_key *key,
			       const struct router_affinity *value)
{
	unsigned int i = 0;

	(void)context;
	while (i < world.affinity_count && memcmp(&world.affinities[i].key, key, sizeof(*key)) != 0)
		i++;
	if (!value) {
		if (i == world.affinity_count)
			return -ENOENT;
		world.affinities[i] = world.affinities[--world.affinity_count];
		return 0;
	}
	if (i == world.affinity_count) {
		if (i >= world.room)
			return -ENOSPC;
		world.affinity_count++;
	}
	world.affinities[i].key = *key;
	world.affinities[i].value = *value;
	return 0;
}

static inline int noted_at(void *context, const struct connection_key *key)
{
	(void)context;
	(void)key;
	return world.noted < 0 ? -ENOENT : world.noted;
}

static inline void record_send(void *context, uint16_t target, const struct message *message)
{
	(void)context;
	assert_true(world.sent_count < sizeof(world.sent) / sizeof(world.sent[0]));
	world.sent[world.sent_count].target = target;
	world.sent[world.sent_count++].message = *message;
}

static inline void target_changed(void *context, uint16_t target)
{
	(void)context;
	(void)target;
	world.target_changes++;
}

static inline void end_session(void *context, uint16_t target, enum goodbye_reason reason,
			       const char *text)
{
	(void)context;
	assert_non_null(text);
	world.ended++;
	world.ended_target = target;
	world.ended_reason = reason;
}

static inline void roster_changed(void *context)
{
	(void)context;
	world.roster_changes++;
}

static const struct router_mirror_ops ops = {put_connection, put_affinity,   noted_at,
					     record_send,    target_changed, end_session,
					     roster_changed};

static inline struct address client_address(unsigned int number)
{
	struct address address = {{[10] = 0xff, 0xff, 10, 7, 0, 0}};

	address.byte[15] = (uint8_t)number;
	return address;
}

static inline struct service_key service_key(unsigned int service)
{
	struct service_key key = {.address = {{[10] = 0xff, 0xff, 203, 0, 113, 10}},
				  .port = htons((uint16_t)(80 + service)),
				  .protocol = IPPROTO_TCP};

	return key;
}

static inline void set_service(unsigned int number, const char *name, unsigned int scope,
			       bool takeover)
{
	struct router_service *service = &world.services[number];

	memset(service, 0, sizeof(*service));
	snprintf(service->name, NAME_SIZE, "%s", name);
	service->key = service_key(number);
	service->scope = (uint16_t)scope;
	service->affinity = AFFINITY_BY_REQUEST;
	service->client_prefix = 128;
	service->takeover = takeover;
	service->affinity_idle_ms = 300000;
}

static inline void make_world(bool sync_on_failure, uint32_t max_affinities)
{
	struct router_mirror_settings settings = {.node_id = ROUTER,
						  .dead_after_ms = DEAD_AFTER_MS,
						  .max_connections = MOST,
						  .max_affinities = max_affinities,
						  .sync_on_failure = sync_on_failure};

	memset(&world, 0, sizeof(world));
	world.room = MOST;
	world.noted = -1;
	world.now = 1000000;
	world.mirror = router_mirror_new(&ops, NULL, &settings);
	assert_non_null(world.mirror);
	set_service(0, "shop", 0, false);
	set_service(1, "game", 1, true);
	snprintf(world.scopes[0].name, NAME_SIZE, "shop");
	snprintf(world.scopes[1].name, NAME_SIZE, "game");
	router_mirror_configure(world.mirror, world.services, world.scopes);
}

static inline int set_up(void **state)
{
	(void)state;
	make_world(false, MOST);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	router_mirror_free(world.mirror);
	return 0;
}

static inline struct message_hello hello(const char *name, uint64_t node_id)
{
	struct message_hello said = {.version = WIRE_VERSION,
				     .role = WIRE_TARGET,
				     .node_id = node_id,
				     .digest_key = {node_id, 42}};

	snprintf(said.name, NAME_SIZE, "%s", name);
	said.address = client_address(200);
	return said;
}

static inline uint16_t open_session(const char *name)
{
	struct message_hello said = hello(name, (uint64_t)(unsigned char)name[1]);
	int number = router_mirror_session(world.mirror, &said, world.now);

	assert_true(number >= 0);
	return (uint16_t)number;
}

static inline int say(uint16_t target, const struct message *message)
{
	return router_mirror_receive(world.mirror, target, message, world.now);
}

static inline void say_list(uint16_t target, uint8_t type, uint32_t number)
{
	struct message message = {.type = type, .list.number = number};

	assert_int_equal(say(target, &message), 0);
}

static inline void say_connection(uint16_t target, uint8_t type, unsigned int port, uint8_t how)
{
	struct message message = {.type = type};

	message.connection.service = service_key(0);
	message.connection.client = client_address(1);
	message.connection.client_port = htons((uint16_t)port);
	message.connection.how = how;
	assert_int_equal(say(target, &message), 0);
}

static inline void opened(uint16_t target, unsigned int port)
{
	say_connection(target, MESSAGE_CONNECTION, port, 0);
}

static inline void closed(uint16_t target, unsigned int port)
{
	say_connection(target, MESSAGE_CONNECTION_END, port, CONNECTION_END_CLOSED);
}

static inline void claim_in(const char *scope, uint16_t target, unsigned int client, uint64_t id,
			    struct term term, bool takeover)
{
	struct message message = {.type = MESSAGE_AFFINITY};

	snprintf(message.affinity.scope, NAME_SIZE, "%s", scope);
	message.affinity.client = client_address(client);
	message.affinity.id = id;
	message.affinity.term = term;
	message.affinity.takeover = takeover;
	assert_int_equal(say(target, &message), 0);
}

static inline void claims(uint16_t target, unsigned int client, uint64_t id)
{
	claim_in("shop", target, client, id, (struct term){0, 0}, false);
}

static inline void publishes(uint16_t target, unsigned int client, uint64_t id, uint64_t clock,
			     uint64_t router)
{
	claim_in("shop", target, client, id, (struct term){clock, router}, false);
}

static inline void ends_affinity(uint16_t target, unsigned int client)
{
	struct message message = {.type = MESSAGE_AFFINITY_END};

	snprintf(message.affinity_end.scope, NAME_SIZE, "shop");
	message.affinity_end.client = client_address(client);
	assert_int_equal(say(target, &message), 0);
}

static inline void answers_barrier(uint16_t target, uint32_t epoch)
{
	struct message message = {.type = MESSAGE_BARRIER, .role.epoch = epoch};

	assert_int_equal(say(target, &message), 0);
}

/* An empty table, and the barrier if there is one. */
static inline uint16_t join(const char *name, uint32_t epoch)
{
	uint16_t target = open_session(name);

	say_list(target, MESSAGE_BEGIN, 1);
	say_list(target, MESSAGE_DONE, 1);
	if (epoch)
		answers_barrier(target, epoch);
	return target;
}

static inline void passes(uint64_t ms)
{
	world.now += ms;
	router_mirror_tick(world.mirror, world.now);
}

static inline void activate(uint32_t epoch)
{
	router_mirror_role(world.mirror, ROLE_ACTIVE, epoch, world.now);
}

/* Target of the CRHT's entry for a port of client 1; -1: none. Lingering: plus 1000. */
static inline int at(unsigned int port)
{
	struct connection_key key = {.client = client_address(1),
				     .client_port = htons((uint16_t)port)};

	for (unsigned int i = 0; i < world.connection_count; i++) {
		const struct kernel_connection *entry = &world.connections[i];

		if (!memcmp(&entry->key, &key, sizeof(key)))
			return entry->value.target +
			       (entry->value.state == CONNECTION_LINGERS ? 1000 : 0);
	}
	return -1;
}

/* As in the CRHT; NULL: none. */
static inline const struct router_affinity *affinity_in(unsigned int scope, unsigned int client)
{
	struct affinity_key key = {.client = client_address(client), .scope = (uint16_t)scope};

	for (unsigned int i = 0; i < world.affinity_count; i++) {
		if (!memcmp(&world.affinities[i].key, &key, sizeof(key)))
			return &world.affinities[i].value;
	}
	return NULL;
}

static inline int holder_in(unsigned int scope, unsigned int client)
{
	const struct router_affinity *affinity = affinity_in(scope, client);

	return affinity ? affinity->target : -1;
}

static inline int holder(unsigned int client)
{
	return holder_in(0, client);
}

/* The last answer to this target about a claim: its type, 0: none since forget_sent(). */
static inline const struct message *answer_to(uint16_t target)
{
	static const struct message none;

	for (unsigned int i = world.sent_count; i-- > 0;) {
		const struct message *message = &world.sent[i].message;

		if (world.sent[i].target == target &&
		    (message->type == MESSAGE_GRANT || message->type == MESSAGE_REFUSE ||
		     message->type == MESSAGE_LOST))
			return message;
	}
	return &none;
}

static inline void forget_sent(void)
{
	world.sent_count = 0;
}

static inline unsigned int sent_of_type(uint16_t target, uint8_t type)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < world.sent_count; i++)
		found += world.sent[i].target == target && world.sent[i].message.type == type;
	return found;
}

static inline const struct mirror_target *target_of(uint16_t target)
{
	return router_mirror_target(world.mirror, target);
}

static inline enum target_state state_of(uint16_t target)
{
	return target_of(target)->state;
}

static inline void lose(uint16_t target, enum goodbye_reason reason)
{
	router_mirror_session_lost(world.mirror, target, reason, world.now);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
