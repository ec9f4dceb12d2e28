// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_selector.c - who gets a connection, with real sockets: affinity, fewest connections, accept
 * queues, IPv6, closing listeners. (stage_end checks after each test that nothing is left.)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "limpet/limpet.h"
#include "stage.h"

#define INSTANCES 4
#define CLIENT	  "127.0.2.1"
#define OTHER	  "127.0.2.2"

static void test_fewest_connections(void **state)
{
	struct pair pairs[10 * INSTANCES];

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	for (unsigned int i = 0; i < 10 * INSTANCES; i++)
		pairs[i] = stage_pair(stage_client(i), SERVICE4, 80);
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		assert_int_equal(stage_instance_load(slot).connections, 10);
	/* The instance that loses its connections gets the next ones. */
	for (unsigned int i = 0; i < 10 * INSTANCES; i++) {
		if (pairs[i].instance == 2)
			stage_close_pair(&pairs[i]);
	}
	assert_true(stage_wait_connections(10 * (INSTANCES - 1)));
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(stage_pair(stage_client(100 + i), SERVICE4, 80).instance, 2);
}

static void test_draining_gets_no_new_client(void **state)
{
	struct instance instance;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	instance = stage_instance(1);
	instance.state = INSTANCE_DRAINING;
	stage_put_instance(1, &instance);
	for (unsigned int i = 0; i < 12; i++)
		assert_int_not_equal(stage_pair(stage_client(i), SERVICE4, 80).instance, 1);
	assert_int_equal(stage_instance_load(1).connections, 0);
}

static void test_stalled_gets_nothing_and_recovers(void **state)
{
	int stalled = stage_bind(SERVICE4, 80), clients[60];
	unsigned int queued;

	(void)state;
	assert_int_equal(listen(stalled, 8), 0);
	stage_adopt(stalled, 0, SERVICE4, 80);
	stage_listen(1, SERVICE4, 80); /* does not accept either, but has room */
	for (unsigned int i = 0; i < 60; i++)
		clients[i] = stage_connect(stage_client(i), SERVICE4, 80);
	assert_true(stage_wait_connections(60));
	queued = stage_instance_load(0).connections;
	assert_in_range(queued, 3, 6);
	assert_int_equal(stage_instance_load(1).connections, 60 - queued);
	for (unsigned int i = 0; i < 60; i++)
		stage_accept(clients[i]);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(stage_pair(stage_client(100 + i), SERVICE4, 80).instance, 0);
}

static void test_all_stalled_are_served(void **state)
{
	int small = stage_bind(SERVICE4, 80);

	(void)state;
	assert_int_equal(listen(small, 8), 0);
	stage_adopt(small, 0, SERVICE4, 80);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(stage_connect(stage_client(i), SERVICE4, 80) >= 0);
	assert_true(stage_wait_connections(8));
}

static void test_thousand_of_thousand(void **state)
{
	struct pair first, pair;
	unsigned int others[INSTANCES] = {0};
	uint64_t steered = stage_counter(COUNT_SELECT_AFFINITY);

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	first = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(first.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		pair = stage_pair(CLIENT, SERVICE4, 80);
		assert_int_equal(pair.instance, first.instance);
		stage_close_pair(&pair);
		if (i % 20 == 0)
			others[stage_pair(stage_client(i / 20), SERVICE4, 80).instance]++;
	}
	assert_int_equal(stage_counter(COUNT_SELECT_AFFINITY) - steered, 1000);
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		assert_in_range(others[slot], 5, 25);
	assert_true(stage_wait_connections(51));
	assert_int_equal(stage_client_connections(CLIENT, first.instance), 1);
	assert_int_equal(stage_instance_load(first.instance).affinities, 1);
}

/* When none is ready, a draining one is better than a RST, which is what the kernel makes of a
 * selector's refusal. */
static void test_none_ready(void **state)
{
	struct instance instance;
	uint64_t none = stage_counter(COUNT_SELECT_NONE);
	uint64_t draining = stage_counter(COUNT_SELECT_DRAINING);

	(void)state;
	stage_listen(0, SERVICE4, 80);
	stage_listen(1, SERVICE4, 80);
	instance = stage_instance(0);
	instance.state = INSTANCE_DRAINING;
	stage_put_instance(0, &instance);
	instance.state = INSTANCE_ENDED;
	stage_put_instance(1, &instance);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, 0);
	assert_int_equal(stage_counter(COUNT_SELECT_DRAINING) - draining, 1);
	/* And a listener is better than none, whatever the tables say. */
	stage_put_instance(0, &instance);
	stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_counter(COUNT_SELECT_NONE) - none, 1);
}

/* Many have died and the tables do not know yet: with the fewest connections they come first, and
 * are passed over, however many there are. */
static void test_many_closed(void **state)
{
	int closed[20], alive;

	(void)state;
	alive = stage_listen(20, SERVICE4, 80);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, 20);
	for (uint32_t slot = 0; slot < 20; slot++)
		closed[slot] = stage_listen(slot, SERVICE4, 80);
	for (uint32_t slot = 0; slot < 20; slot++)
		stage_close(closed[slot]);
	for (unsigned int i = 0; i < 40; i++)
		assert_int_equal(stage_pair(stage_client(i), SERVICE4, 80).instance, 20);
	stage_close(alive);
}

/* All that the tables know of is gone; who has come instead is not adopted yet, and serves. */
static void test_successor_that_is_not_adopted(void **state)
{
	int first = stage_listen(0, SERVICE4, 80), second, client, server;

	(void)state;
	client = stage_connect(CLIENT, SERVICE4, 80); /* not accepted by the first */
	assert_true(stage_wait_connections(1));
	second = stage_listen_plain(SERVICE4, 80);
	stage_close(first);
	assert_int_equal(stage_instance_load(0).connections, 0);
	assert_int_equal(stage_client_connections(CLIENT, 0), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = second, .events = POLLIN}, 1, 20000), 1);
	server = accept4(second, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	assert_int_equal(send(client, "data", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(poll(&(struct pollfd){.fd = server, .events = POLLIN}, 1, 20000), 1);
	close(server);
	for (unsigned int i = 0; i < 10; i++)
		assert_true(stage_connect(stage_client(i), SERVICE4, 80) >= 0);
	stage_close(second);
}

static void test_foreign_port_is_left_alone(void **state)
{
	uint64_t foreign = stage_counter(COUNT_SELECT_FOREIGN);
	struct pair pair;

	(void)state;
	stage_listen(0, NULL, 8080); /* adopted, but port 8080 is no service */
	pair = stage_pair(CLIENT, SERVICE4, 8080);
	assert_int_equal(stage_counter(COUNT_SELECT_FOREIGN) - foreign, 1);
	assert_int_equal(stage_entries(STAGE_CONNECTION_MAP), 0);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), -EPERM);
}

/* --- IPv6 and wildcards
 * --------------------------------------------------------------------------- */

static void test_ipv6_clients_are_two(void **state)
{
	struct pair first, second;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE6, 80);
	first = stage_pair("fd00:2::1", SERVICE6, 80);
	second = stage_pair("fd00:2::2", SERVICE6, 80);
	assert_int_not_equal(first.instance, second.instance);
	assert_int_equal(stage_ask(first.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	assert_int_equal(stage_ask(second.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(stage_pair("fd00:2::1", SERVICE6, 80).instance, first.instance);
		assert_int_equal(stage_pair("fd00:2::2", SERVICE6, 80).instance, second.instance);
	}
	assert_int_equal(stage_client_connections("fd00:2::1", first.instance), 11);
}

static void test_ipv4_client_of_ipv6_wildcard(void **state)
{
	struct pair first;

	(void)state;
	stage_listen_all(INSTANCES, NULL, 80);
	first = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_client_connections(CLIENT, first.instance), 1);
	assert_int_equal(stage_ask(first.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, first.instance);
	/* The same listeners serve the other service too. */
	assert_int_equal(stage_ask(stage_pair("fd00:2::1", SERVICE6, 80).server, 0, 0, 0), 0);
}

static void test_prefix(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct pair first;

	(void)state;
	service.client_prefix = 120; /* /24 */
	stage_put_service(SHOP, &service);
	stage_listen_all(INSTANCES, SERVICE4, 80);
	first = stage_pair("127.0.2.9", SERVICE4, 80);
	assert_int_equal(stage_ask(first.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(stage_pair("127.0.2.77", SERVICE4, 80).instance, first.instance);
	assert_int_equal(stage_client_connections("127.0.2.0", first.instance), 6);
	/* What is counted under one prefix is counted down under it. */
	service.client_prefix = 128;
	stage_put_service(SHOP, &service);
}

/* --- migration -----------------------------------------------------------------------------------
 */

static void test_unaccepted_connections_migrate(void **state)
{
	int clients[12], first = stage_listen(0, SERVICE4, 80);
	struct pair pair;

	(void)state;
	for (unsigned int i = 0; i < 12; i++)
		clients[i] = stage_connect(stage_client(i), SERVICE4, 80);
	assert_true(stage_wait_connections(12));
	stage_listen(1, SERVICE4, 80);
	stage_close(first);
	assert_int_equal(stage_instance_load(0).connections, 0);
	assert_int_equal(stage_instance_load(1).connections, 12);
	for (unsigned int i = 0; i < 12; i++) {
		pair = stage_accept(clients[i]);
		assert_int_equal(pair.instance, 1);
		assert_int_equal(stage_client_connections(stage_client(i), 0), 0);
		assert_int_equal(stage_client_connections(stage_client(i), 1), 1);
		/* It is the new instance that asks. */
		assert_int_equal(stage_ask(pair.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	}
	assert_int_equal(stage_instance_load(1).affinities, 12);
	assert_int_equal(stage_instance_load(0).affinities, 0);
}

static void test_migration_goes_to_the_affinity(void **state)
{
	int first = stage_listen(0, SERVICE4, 80), client;
	struct instance drained = stage_instance(0);
	struct pair holder, pair;

	(void)state;
	client = stage_connect(CLIENT, SERVICE4, 80);
	assert_true(stage_wait_connections(1));
	stage_listen(1, SERVICE4, 80);
	stage_listen(2, SERVICE4, 80);
	drained.state = INSTANCE_DRAINING;
	stage_put_instance(0, &drained);
	stage_put_instance(1, &drained); /* so that 2 gets the next one */
	holder = stage_accept(stage_connect(CLIENT, SERVICE4, 80));
	while (holder.instance != 2) /* the one in 0's queue comes first */
		holder = stage_accept(client);
	assert_int_equal(stage_ask(holder.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	stage_put_instance(0, &(struct instance){.id = 1, .state = INSTANCE_READY});
	stage_put_instance(1, &(struct instance){.id = 2, .state = INSTANCE_READY});
	stage_put_instance(2, &(struct instance){.id = 3, .state = INSTANCE_DRAINING});
	/* Queue one at instance 0 for another client, then close it: it goes to 1, ready. */
	for (unsigned int i = 0; i < 2; i++)
		stage_connect(OTHER, SERVICE4, 80);
	assert_int_equal(stage_instance_load(2).connections, 1);
	stage_close(first);
	pair = stage_accept(-1);
	assert_int_equal(pair.instance, 1);
	assert_int_equal(stage_client_connections(OTHER, 1), 2);
}

static void test_half_open_migrates(void **state)
{
	int seconds = 30, first = stage_listen(0, SERVICE4, 80), client;
	struct pair pair;

	(void)state;
	/* The handshake's last packet is not taken before there is data: half open until then. */
	assert_int_equal(
		setsockopt(first, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)), 0);
	client = stage_connect(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_entries(STAGE_CONNECTION_MAP), 0);
	stage_listen(1, SERVICE4, 80);
	stage_close(first);
	assert_int_equal(send(client, "data", 4, MSG_NOSIGNAL), 4);
	pair = stage_accept(client);
	assert_int_equal(pair.instance, 1);
	assert_int_equal(stage_client_connections(CLIENT, 1), 1);
	assert_int_equal(stage_instance_load(0).connections, 0);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), 0);
}

static void test_closed_listener_is_passed_over(void **state)
{
	int first = stage_listen(0, SERVICE4, 80);
	struct pair pair;

	(void)state;
	stage_listen(1, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	if (pair.instance != 0) {
		stage_close_pair(&pair);
		stage_pair(OTHER, SERVICE4, 80);
		pair = stage_pair(CLIENT, SERVICE4, 80);
	}
	/* Nobody has told the tables that the listener is gone: the group still names it. */
	stage_ask(pair.server, 0, LIMPET_IDLE_DEFAULT, 0);
	stage_close(first);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fewest_connections),
		TEST(draining_gets_no_new_client),
		TEST(stalled_gets_nothing_and_recovers),
		TEST(all_stalled_are_served),
		TEST(thousand_of_thousand),
		TEST(none_ready),
		TEST(many_closed),
		TEST(successor_that_is_not_adopted),
		TEST(foreign_port_is_left_alone),
		TEST(ipv6_clients_are_two),
		TEST(ipv4_client_of_ipv6_wildcard),
		TEST(prefix),
		TEST(unaccepted_connections_migrate),
		TEST(migration_goes_to_the_affinity),
		TEST(half_open_migrates),
		TEST(closed_listener_is_passed_over),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
