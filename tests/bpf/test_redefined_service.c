// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_redefined_service.c - a reload has changed a service's prefix or scope: the connections that
 * were there before are counted anew, so that an affinity of the new kind knows of them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "stage.h"

#define CLIENT	  "127.0.2.1"
#define NEIGHBOUR "127.0.2.2"
#define PREFIX	  "127.0.2.0"
#define SCOPE	  9

static const struct redefinition {
	const char *client; /* its key, then */
	uint16_t scope;
	uint8_t client_prefix;
	unsigned int connections; /* two of CLIENT's and one of NEIGHBOUR's are under that key */
} redefinitions[] = {
	{PREFIX, 0, 120, 3},
	{CLIENT, SCOPE, 128, 2},
	{PREFIX, SCOPE, 120, 3},
};

static void redefine(uint16_t scope, uint8_t client_prefix)
{
	struct target_service service = stage_service(SHOP);

	service.scope = scope;
	service.client_prefix = client_prefix;
	stage_put_service(SHOP, &service);
}

static uint32_t counted(const struct redefinition *as)
{
	struct client_key key = {.client = stage_key(as->client)};
	struct client_count element;

	key.client.scope = as->scope;
	if (bpf_map_lookup_elem(stage_map(STAGE_CLIENT_MAP), &key, &element))
		return 0;
	return CLIENT_CONNECTIONS(element.word);
}

static int reap(const struct redefinition *as)
{
	struct agent_call call = {.op = AGENT_REAP, .affinity = stage_key(as->client)};

	call.affinity.scope = as->scope;
	return stage_call(&call);
}

static int count_one_anew(const struct connection_key *key, uint64_t cookie)
{
	struct agent_call call = {
		.op = AGENT_COUNT_ANEW, .connection = *key, .id = cookie, .instance = NO_INSTANCE};

	return stage_call(&call);
}

/* As the agent does it, for every entry; the last result. */
static int count_anew(void)
{
	int map = stage_map(STAGE_CONNECTION_MAP), result = -ENOENT;
	struct connection_key key, last, *from = NULL;
	struct target_connection entry;

	while (!bpf_map_get_next_key(map, from, &key)) {
		last = key;
		from = &last;
		assert_int_equal(bpf_map_lookup_elem(map, &key, &entry), 0);
		result = count_one_anew(&key, entry.cookie);
	}
	return result;
}

/* One that has closed, and another has its ports now. */
static void check_another(void)
{
	struct connection_key key;
	struct target_connection entry;
	int map = stage_map(STAGE_CONNECTION_MAP);

	assert_int_equal(bpf_map_get_next_key(map, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &key, &entry), 0);
	assert_int_equal(count_one_anew(&key, entry.cookie + 1), -ENOENT);
}

static void check_redefined(const struct redefinition *as)
{
	struct pair first = stage_pair(CLIENT, SERVICE4, 80);
	struct pair second = stage_pair(CLIENT, SERVICE4, 80);
	struct pair other = stage_pair(NEIGHBOUR, SERVICE4, 80);

	redefine(as->scope, as->client_prefix);
	assert_int_equal(counted(as), 0);
	check_another();
	assert_int_equal(counted(as), 0);
	assert_int_equal(count_anew(), 0);
	assert_int_equal(count_anew(), -EEXIST);
	assert_int_equal(counted(as), as->connections);
	assert_int_equal(stage_client_connections(CLIENT, 0), 0);
	assert_int_equal(stage_instance_load(0).connections, 3);
	/* It ends with the last of them: not while one is open, nor because one has closed. */
	assert_int_equal(stage_ask(first.server, 0, 0, 0), 0);
	assert_int_equal(stage_status(first.server).connections, as->connections);
	assert_int_equal(reap(as), -EBUSY);
	stage_close_pair(&first);
	assert_true(stage_wait_connections(2));
	assert_int_equal(reap(as), -EBUSY);
	stage_close_pair(&second);
	stage_close_pair(&other);
	assert_true(stage_wait_connections(0));
	assert_int_equal(reap(as), -EAGAIN);
	assert_int_equal(reap(as), 0);
	assert_int_equal(stage_entries(STAGE_CLIENT_MAP), 0);
	assert_int_equal(stage_instance_load(0).connections, 0);
}

static void test_counted_anew(void **state)
{
	(void)state;
	stage_listen(0, SERVICE4, 80);
	for (size_t i = 0; i < sizeof(redefinitions) / sizeof(redefinitions[0]); i++) {
		redefine(0, 128);
		check_redefined(&redefinitions[i]);
	}
}

/* A connection that has no instance is counted nowhere; as soon as it has one, under the key that
 * holds now. */
static void test_not_adopted(void **state)
{
	static const struct redefinition as = {PREFIX, SCOPE, 120, 1};
	struct agent_call call = {.op = AGENT_REPAIR_OPEN};
	int listener = stage_listen_plain(SERVICE4, 80), client;
	struct target_connection entry;

	(void)state;
	client = stage_connect(CLIENT, SERVICE4, 80);
	assert_true(stage_wait_connections(1));
	redefine(as.scope, as.client_prefix);
	assert_int_equal(count_anew(), 0);
	assert_int_equal(stage_entries(STAGE_CLIENT_MAP), 0);
	stage_adopt(listener, 0, SERVICE4, 80);
	assert_int_equal(
		bpf_map_get_next_key(stage_map(STAGE_CONNECTION_MAP), NULL, &call.connection), 0);
	assert_int_equal(
		bpf_map_lookup_elem(stage_map(STAGE_CONNECTION_MAP), &call.connection, &entry), 0);
	call.id = entry.cookie;
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(counted(&as), 1);
	stage_close(client);
}

/* The service is gone: its connections stay counted as they were. */
static void test_no_service(void **state)
{
	struct target_service none = {0}, shop = stage_service(SHOP);
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	stage_put_service(SHOP, &none);
	assert_int_equal(count_anew(), -EINVAL);
	assert_int_equal(stage_client_connections(CLIENT, 0), 1);
	stage_put_service(SHOP, &shop);
	stage_close_pair(&pair);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(counted_anew),
		TEST(not_adopted),
		TEST(no_service),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
