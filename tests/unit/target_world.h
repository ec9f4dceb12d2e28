/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target_world.h - what the tests of the target's mirror stand on: a kernel with small tables.
 * target_routers.h adds routers. Each test is a program of its own, so everything here is static.
 */
#ifndef TESTS_TARGET_WORLD_H
#define TESTS_TARGET_WORLD_H

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec.h"
#include "target_mirror.h"

#define SERVICES 3 /* numbers 5, 6, 7: shop and shops share the scope shop, blog has its own */
#define SCOPES	 2 /* numbers 3, 4 */
#define CLIENTS	 6
#define PORTS	 3
#define SERVICE0 5
#define SCOPE0	 3

static const char *const service_names[SERVICES] = {"shop", "shops", "blog"};
static const char *const scope_names[SCOPES] = {"shop", "blog"};
static const unsigned int scope_of[SERVICES] = {0, 0, 1};

struct kernel_affinity {
	uint64_t id; /* 0: none */
	bool takeover;
	struct term published; /* in target/grants */
	uint64_t published_id;
	enum affinity_end end; /* of the last one */
};

/* What one router has been told, and what came since the test looked last. */
struct told {
	bool connected, begun, done;
	uint32_t number; /* of the list that it has sent */
	uint32_t done_number;
	bool listed[SERVICES];
	bool connection[SERVICES][CLIENTS][PORTS];
	bool named_connection[SERVICES][CLIENTS][PORTS];
	struct message_affinity affinity[SCOPES][CLIENTS]; /* id 0: none */
	bool named_affinity[SCOPES][CLIENTS];
	uint64_t key[2];
	unsigned int count[MESSAGE_TYPES];
	struct message_ready ready[SERVICES];
	struct message_target target;
	struct message_digest digest;
	uint32_t barrier; /* epoch answered last */
	bool awake;
};

static struct world {
	struct target_mirror *mirror;
	struct target_service services[MAX_SERVICES];
	struct scope scopes[MAX_SERVICES];
	uint64_t connection[SERVICES][CLIENTS][PORTS]; /* the socket's cookie; 0: none */
	struct kernel_affinity affinity[SCOPES][CLIENTS];
	uint64_t last_cookie, last_id, now_ms;
	unsigned int services_changed;
	bool late; /* services are configured by the test, not at once */
	struct told router[MAX_ROUTERS];
} world;

static inline uint64_t random_next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL; /* SplitMix64 (Steele et al., OOPSLA 2014) */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline unsigned int draw(uint64_t *seed, unsigned int below)
{
	return (unsigned int)(random_next(seed) % below);
}

/* ------------------------------------------------------------------------------------------------
 * keys */

static inline struct address client_address(unsigned int client)
{
	return (struct address){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 7, 0, 100 + client}};
}

static inline unsigned int client_of(const struct address *address)
{
	assert_true(address->byte[15] >= 100 && address->byte[15] < 100 + CLIENTS);
	return address->byte[15] - 100U;
}

static inline void say_ready(uint16_t service, uint32_t instances, uint32_t connections)
{
	const struct message_ready ready = {.instances = instances, .connections = connections};

	target_mirror_ready(world.mirror, service, &ready);
}

static inline struct service_key wire_service(unsigned int service)
{
	return (struct service_key){
		.address = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 10}},
		.port = htons((uint16_t)(80 + service)),
		.protocol = IPPROTO_TCP,
	};
}

static inline unsigned int service_of(const struct service_key *key)
{
	unsigned int service = ntohs(key->port) - 80U;
	struct service_key expected = wire_service(service);

	assert_true(service < SERVICES);
	assert_memory_equal(key, &expected, sizeof(expected));
	return service;
}

static inline unsigned int scope_named(const char *name)
{
	for (unsigned int i = 0; i < SCOPES; i++)
		if (strcmp(name, scope_names[i]) == 0)
			return i;
	fail_msg("unknown scope %s", name);
	return 0;
}

static inline struct connection_key connection_key(unsigned int service, unsigned int client,
						   unsigned int port)
{
	return (struct connection_key){.client = client_address(client),
				       .client_port = htons((uint16_t)(40000 + port)),
				       .service = (uint16_t)(SERVICE0 + service)};
}

static inline struct affinity_key affinity_key(unsigned int scope, unsigned int client)
{
	return (struct affinity_key){.client = client_address(client),
				     .scope = (uint16_t)(SCOPE0 + scope)};
}

static inline struct kernel_affinity *kernel_affinity(const struct affinity_key *key)
{
	return &world.affinity[key->scope - SCOPE0][client_of(&key->client)];
}

/* ------------------------------------------------------------------------------------------------
 * the kernel */

static inline int world_read_connection(void *context, const struct connection_key *key,
					struct target_connection *value)
{
	assert_ptr_equal(context, &world);
	memset(value, 0, sizeof(*value));
	value->cookie = world.connection[key->service - SERVICE0][client_of(&key->client)]
					[ntohs(key->client_port) - 40000];
	return value->cookie ? 0 : -ENOENT;
}

static inline int world_read_affinity(void *context, const struct affinity_key *key,
				      struct target_affinity *value)
{
	const struct kernel_affinity *affinity = kernel_affinity(key);

	assert_ptr_equal(context, &world);
	memset(value, 0, sizeof(*value));
	value->word = affinity->id << 8 | PHASE_LIVE;
	value->flags = affinity->takeover ? AFFINITY_FLAG_TAKEOVER : 0;
	return affinity->id ? 0 : -ENOENT;
}

static inline void world_end_affinity(void *context, const struct affinity_key *key, uint64_t id,
				      enum affinity_end reason)
{
	struct kernel_affinity *affinity = kernel_affinity(key);

	assert_ptr_equal(context, &world);
	if (affinity->id != id)
		return;
	affinity->id = 0;
	affinity->end = reason;
}

static inline void world_publish(void *context, const struct affinity_key *key, uint64_t id,
				 const struct term *term)
{
	struct kernel_affinity *affinity = kernel_affinity(key);

	assert_ptr_equal(context, &world);
	affinity->published = *term;
	affinity->published_id = id;
}

static inline bool world_published(void *context, const struct affinity_key *key, uint64_t id,
				   struct term *term)
{
	const struct kernel_affinity *affinity = kernel_affinity(key);

	assert_ptr_equal(context, &world);
	if (!id || affinity->published_id != id)
		return false;
	*term = affinity->published;
	return true;
}

static inline void world_wake(void *context, unsigned int router)
{
	assert_ptr_equal(context, &world);
	world.router[router].awake = true;
}

static inline void world_services_changed(void *context, unsigned int router)
{
	assert_ptr_equal(context, &world);
	assert_true(world.router[router].connected);
	world.services_changed++;
	if (!world.late)
		target_mirror_configure(world.mirror, world.services, world.scopes);
}

static inline void set_connection(unsigned int service, unsigned int client, unsigned int port,
				  bool open)
{
	uint64_t *cookie = &world.connection[service][client][port];

	*cookie = !open ? 0 : *cookie ? *cookie : ++world.last_cookie;
}

static inline void event_connection(unsigned int service, unsigned int client, unsigned int port)
{
	struct connection_key key = connection_key(service, client, port);

	target_mirror_connection(world.mirror, &key, CONNECTION_END_CLOSED);
}

static inline void event_affinity(unsigned int scope, unsigned int client)
{
	struct affinity_key key = affinity_key(scope, client);

	target_mirror_affinity(world.mirror, &key);
}

static inline void open_connection(unsigned int service, unsigned int client, unsigned int port)
{
	set_connection(service, client, port, true);
	event_connection(service, client, port);
}

static inline void close_connection(unsigned int service, unsigned int client, unsigned int port)
{
	set_connection(service, client, port, false);
	event_connection(service, client, port);
}

/* Its id. */
static inline uint64_t request(unsigned int scope, unsigned int client)
{
	world.affinity[scope][client].id = ++world.last_id;
	world.affinity[scope][client].takeover = false;
	event_affinity(scope, client);
	return world.last_id;
}

static inline void release(unsigned int scope, unsigned int client)
{
	world.affinity[scope][client].id = 0;
	world.affinity[scope][client].end = END_RELEASED;
	event_affinity(scope, client);
}

static inline void rescan(void)
{
	target_mirror_rescan_begin(world.mirror);
	for (unsigned int i = 0; i < SERVICES * CLIENTS * PORTS; i++)
		if (world.connection[i % SERVICES][i / SERVICES % CLIENTS][i / SERVICES / CLIENTS])
			event_connection(i % SERVICES, i / SERVICES % CLIENTS,
					 i / SERVICES / CLIENTS);
	for (unsigned int i = 0; i < SCOPES * CLIENTS; i++)
		if (world.affinity[i % SCOPES][i / SCOPES].id)
			event_affinity(i % SCOPES, i / SCOPES);
	target_mirror_rescan_end(world.mirror);
}

/* An agent starts, and has not looked at the kernel's tables yet. */
static inline void start_blind_agent(void)
{
	static const struct target_mirror_ops ops = {
		.read_connection = world_read_connection,
		.read_affinity = world_read_affinity,
		.end_affinity = world_end_affinity,
		.publish = world_publish,
		.published = world_published,
		.wake = world_wake,
		.services_changed = world_services_changed,
	};

	target_mirror_free(world.mirror);
	memset(world.router, 0, sizeof(world.router));
	world.mirror = target_mirror_new(&ops, &world);
	assert_non_null(world.mirror);
	target_mirror_condition(world.mirror, &(struct message_target){.weight = 100});
}

static inline void start_agent(void)
{
	start_blind_agent();
	rescan();
}

static inline int world_setup(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.now_ms = 1000;
	for (unsigned int i = 0; i < SERVICES; i++) {
		strcpy(world.services[SERVICE0 + i].name, service_names[i]);
		world.services[SERVICE0 + i].key = wire_service(i);
		world.services[SERVICE0 + i].scope = (uint16_t)(SCOPE0 + scope_of[i]);
	}
	for (unsigned int i = 0; i < SCOPES; i++)
		strcpy(world.scopes[SCOPE0 + i].name, scope_names[i]);
	start_agent();
	return 0;
}

static inline int world_teardown(void **state)
{
	(void)state;
	target_mirror_free(world.mirror);
	world.mirror = NULL;
	return 0;
}

#endif
