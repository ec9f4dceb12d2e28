// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_target.c - selector and tracker with real sockets: who gets a connection; and that entries
 * and counts are exact, in whatever way connections end. (stage_end checks after each test that no
 * entry and no count is left.)
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

static const char *other_client(unsigned int number)
{
	static char text[32];

	snprintf(text, sizeof(text), "127.0.3.%u", number + 1);
	return text;
}

static void listen_all(const char *address, unsigned int port)
{
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		stage_listen(slot, address, port);
}

static void test_fewest_connections(void **state)
{
	struct pair pairs[10 * INSTANCES];

	(void)state;
	listen_all(SERVICE4, 80);
	for (unsigned int i = 0; i < 10 * INSTANCES; i++)
		pairs[i] = stage_pair(other_client(i), SERVICE4, 80);
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		assert_int_equal(stage_instance_load(slot).connections, 10);
	/* The instance that loses its connections gets the next ones. */
	for (unsigned int i = 0; i < 10 * INSTANCES; i++) {
		if (pairs[i].instance == 2)
			stage_close_pair(&pairs[i]);
	}
	assert_true(stage_wait_connections(10 * (INSTANCES - 1)));
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(stage_pair(other_client(100 + i), SERVICE4, 80).instance, 2);
}

static void test_draining_gets_no_new_client(void **state)
{
	struct instance instance;

	(void)state;
	listen_all(SERVICE4, 80);
	instance = stage_instance(1);
	instance.state = INSTANCE_DRAINING;
	stage_put_instance(1, &instance);
	for (unsigned int i = 0; i < 12; i++)
		assert_int_not_equal(stage_pair(other_client(i), SERVICE4, 80).instance, 1);
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
		clients[i] = stage_connect(other_client(i), SERVICE4, 80);
	assert_true(stage_wait_connections(60));
	queued = stage_instance_load(0).connections;
	assert_in_range(queued, 3, 6);
	assert_int_equal(stage_instance_load(1).connections, 60 - queued);
	for (unsigned int i = 0; i < 60; i++)
		stage_accept(clients[i]);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(stage_pair(other_client(100 + i), SERVICE4, 80).instance, 0);
}

static void test_all_stalled_are_served(void **state)
{
	int small = stage_bind(SERVICE4, 80);

	(void)state;
	assert_int_equal(listen(small, 8), 0);
	stage_adopt(small, 0, SERVICE4, 80);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(stage_connect(other_client(i), SERVICE4, 80) >= 0);
	assert_true(stage_wait_connections(8));
}

static void test_thousand_of_thousand(void **state)
{
	struct pair first, pair;
	unsigned int others[INSTANCES] = {0};
	uint64_t steered = stage_counter(COUNT_SELECT_AFFINITY);

	(void)state;
	listen_all(SERVICE4, 80);
	first = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(first.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		pair = stage_pair(CLIENT, SERVICE4, 80);
		assert_int_equal(pair.instance, first.instance);
		stage_close_pair(&pair);
		if (i % 20 == 0)
			others[stage_pair(other_client(i / 20), SERVICE4, 80).instance]++;
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
	stage_put_instance(0, &instance);
	assert_int_equal(stage_connect(CLIENT, SERVICE4, 80), -ECONNREFUSED);
	assert_int_equal(stage_counter(COUNT_SELECT_NONE) - none, 1);
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
	listen_all(SERVICE6, 80);
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
	listen_all(NULL, 80);
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
	listen_all(SERVICE4, 80);
	first = stage_pair("127.0.2.9", SERVICE4, 80);
	assert_int_equal(stage_ask(first.server, 0, LIMPET_IDLE_DEFAULT, 0), 0);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(stage_pair("127.0.2.77", SERVICE4, 80).instance, first.instance);
	assert_int_equal(stage_client_connections("127.0.2.0", first.instance), 6);
	/* What is counted under one prefix is counted down under it. */
	service.client_prefix = 128;
	stage_put_service(SHOP, &service);
}

/* --- ends ----------------------------------------------------------------------------------------
 */

static void end_client_first(struct pair *pair)
{
	stage_close(pair->client);
	stage_close(pair->server);
}

static void end_server_first(struct pair *pair)
{
	stage_close(pair->server);
	stage_close(pair->client);
}

static void end_server_half(struct pair *pair)
{
	assert_int_equal(shutdown(pair->server, SHUT_WR), 0);
	assert_int_equal(send(pair->client, "more", 4, 0), 4);
	stage_close(pair->client);
	stage_close(pair->server);
}

static void end_client_reset(struct pair *pair)
{
	stage_reset(pair->client);
	stage_close(pair->server);
}

static void end_server_reset(struct pair *pair)
{
	stage_reset(pair->server);
	stage_close(pair->client);
}

static void end_unread(struct pair *pair)
{
	assert_int_equal(send(pair->client, "unread", 6, 0), 6);
	stage_close(pair->server);
	stage_close(pair->client);
}

static void end_disconnect(struct pair *pair)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	assert_int_equal(connect(pair->server, &none, sizeof(none)), 0);
	stage_close(pair->server);
	stage_close(pair->client);
}

static void test_every_way_of_closing(void **state)
{
	static const struct {
		const char *name;
		void (*end)(struct pair *pair);
		enum connection_end how;
	} rows[] = {
		{"client first", end_client_first, CONNECTION_END_CLOSED},
		{"server first", end_server_first, CONNECTION_END_CLOSED},
		{"server half, client sends", end_server_half, CONNECTION_END_CLOSED},
		{"RST of the client", end_client_reset, CONNECTION_END_RESET},
		{"RST of the server", end_server_reset, CONNECTION_END_RESET},
		{"closed with unread data", end_unread, CONNECTION_END_RESET},
		{"disconnected", end_disconnect, CONNECTION_END_RESET},
	};
	struct event event;
	struct pair pair;

	(void)state;
	listen_all(SERVICE4, 80);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pair = stage_pair(CLIENT, SERVICE4, 80);
		assert_int_equal(stage_entries(STAGE_CONNECTION_MAP), 1);
		assert_int_equal(stage_client_connections(CLIENT, pair.instance), 1);
		assert_int_equal(stage_instance_load(pair.instance).connections, 1);
		assert_int_equal(stage_events(EVENT_CONNECTION, NULL), 1);
		rows[i].end(&pair);
		if (!stage_wait_connections(0))
			fail_msg("%s: the entry stays", rows[i].name);
		assert_int_equal(stage_client_connections(CLIENT, pair.instance), 0);
		assert_int_equal(stage_instance_load(pair.instance).connections, 0);
		assert_int_equal(stage_events(EVENT_CONNECTION, &event), 1);
		if (event.how != rows[i].how)
			fail_msg("%s: how is %u", rows[i].name, event.how);
	}
}

static void test_killed_with_connections(void **state)
{
	int listener = stage_listen(0, SERVICE4, 80), status, clients[20];
	pid_t child;

	(void)state;
	for (unsigned int i = 0; i < 20; i++)
		clients[i] = stage_connect(other_client(i), SERVICE4, 80);
	assert_true(stage_wait_connections(20));
	child = fork();
	if (child == 0) {
		for (unsigned int i = 0; i < 10; i++)
			accept(listener, NULL, NULL);
		raise(SIGKILL);
	}
	assert_true(child > 0);
	/* The listener, and ten connections not accepted, are the child's alone now. */
	stage_close(listener);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	for (unsigned int i = 0; i < 20; i++)
		stage_close(clients[i]);
	assert_true(stage_wait_connections(0));
	assert_int_equal(stage_instance_load(0).connections, 0);
}

static void test_table_full(void **state)
{
	uint64_t full = stage_counter(COUNT_TRACK_FULL);
	struct connection_key key = {.service = PLAIN};
	struct target_connection filler = {.cookie = 1, .instance = NO_INSTANCE};
	int map = stage_map(STAGE_CONNECTION_MAP);
	struct pair pair;

	(void)state;
	listen_all(SERVICE4, 80);
	for (unsigned int i = 0; i < STAGE_CONNECTIONS; i++) {
		memcpy(&key.client, &i, sizeof(i));
		assert_int_equal(bpf_map_update_elem(map, &key, &filler, BPF_NOEXIST), 0);
	}
	pair = stage_pair(CLIENT, SERVICE4, 80); /* served all the same */
	assert_int_equal(stage_counter(COUNT_TRACK_FULL) - full, 1);
	assert_int_equal(stage_client_connections(CLIENT, pair.instance), 0);
	assert_int_equal(stage_instance_load(pair.instance).connections, 0);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), -EPERM);
	stage_close_pair(&pair);
	for (unsigned int i = 0; i < STAGE_CONNECTIONS; i++) {
		memcpy(&key.client, &i, sizeof(i));
		assert_int_equal(bpf_map_delete_elem(map, &key), 0);
	}
}

/* --- migration -----------------------------------------------------------------------------------
 */

static void test_unaccepted_connections_migrate(void **state)
{
	int clients[12], first = stage_listen(0, SERVICE4, 80);
	struct pair pair;

	(void)state;
	for (unsigned int i = 0; i < 12; i++)
		clients[i] = stage_connect(other_client(i), SERVICE4, 80);
	assert_true(stage_wait_connections(12));
	stage_listen(1, SERVICE4, 80);
	stage_close(first);
	assert_int_equal(stage_instance_load(0).connections, 0);
	assert_int_equal(stage_instance_load(1).connections, 12);
	for (unsigned int i = 0; i < 12; i++) {
		pair = stage_accept(clients[i]);
		assert_int_equal(pair.instance, 1);
		assert_int_equal(stage_client_connections(other_client(i), 0), 0);
		assert_int_equal(stage_client_connections(other_client(i), 1), 1);
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

/* --- listeners -----------------------------------------------------------------------------------
 */

static void test_listener_events(void **state)
{
	struct event event;
	uint64_t cookie;
	socklen_t length = sizeof(cookie);
	int listener = stage_listen_plain(SERVICE4, 80);

	(void)state;
	assert_int_equal(getsockopt(listener, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
	assert_int_equal(stage_events(EVENT_LISTEN, &event), 1);
	assert_int_equal(event.pid, getpid());
	assert_int_equal(event.cookie, cookie);
	assert_int_equal(event.key.connection.client_port, htons(80));
	stage_close(listener);
	assert_int_equal(stage_events(EVENT_LISTEN_END, &event), 1);
	assert_int_equal(event.cookie, cookie);
}

static void test_not_adopted(void **state)
{
	struct agent_call call = {.op = AGENT_REPAIR_OPEN, .instance = 0};
	int listener = stage_listen_plain(SERVICE4, 80), client, server;
	struct target_connection entry;

	(void)state;
	client = stage_connect(CLIENT, SERVICE4, 80);
	assert_true(stage_wait_connections(1));
	assert_int_equal(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 1000), 1);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	assert_int_equal(stage_ask(server, 0, 0, 0), -EPERM);
	/* The agent adopts the listener later, and its connections with it. */
	stage_adopt(listener, 0, SERVICE4, 80);
	assert_int_equal(
		bpf_map_get_next_key(stage_map(STAGE_CONNECTION_MAP), NULL, &call.connection), 0);
	assert_int_equal(
		bpf_map_lookup_elem(stage_map(STAGE_CONNECTION_MAP), &call.connection, &entry), 0);
	assert_int_equal(entry.instance, NO_INSTANCE);
	call.id = entry.cookie;
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_instance_load(0).connections, 1);
	assert_int_equal(stage_ask(server, 0, 0, 0), 0);
	assert_int_equal(stage_call(&call), -EEXIST);
	close(server);
	stage_close(client);
}

static int largest_segment(int client)
{
	socklen_t length = sizeof(int);
	int mss = 0;

	assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_MAXSEG, &mss, &length), 0);
	return mss;
}

static void test_mss_is_lowered(void **state)
{
	int low = 500, listener;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	assert_in_range(largest_segment(stage_connect(CLIENT, SERVICE4, 80)), 500, STAGE_MSS4);
	stage_listen(1, NULL, 443);
	assert_in_range(largest_segment(stage_connect(CLIENT, SERVICE4, 443)), 500, STAGE_MSS6);
	stage_listen(2, SERVICE4, 8080); /* no service */
	assert_true(largest_segment(stage_connect(CLIENT, SERVICE4, 8080)) > STAGE_MSS4);
	/* What the application has set lower stays. */
	listener = stage_bind(SERVICE4, 81);
	assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &low, sizeof(low)), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_in_range(largest_segment(stage_connect(CLIENT, SERVICE4, 81)), 1, 500);
}

static void test_repair(void **state)
{
	struct agent_call call = {.op = AGENT_REPAIR_OPEN, .instance = 0, .id = 4711};

	(void)state;
	stage_listen(0, SERVICE4, 80);
	call.connection.client = stage_key(CLIENT).client;
	call.connection.client_port = htons(4000);
	call.connection.service = SHOP;
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_call(&call), -EEXIST);
	assert_int_equal(stage_client_connections(CLIENT, 0), 1);
	/* Another socket with the same ends: the earlier one's close was missed. */
	call.id = 4712;
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_client_connections(CLIENT, 0), 1);
	assert_int_equal(stage_entries(STAGE_SOCKET_MAP), 1);
	call.op = AGENT_REPAIR_CLOSE;
	call.id = 4711;
	assert_int_equal(stage_call(&call), -ENOENT);
	call.id = 4712;
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_call(&call), -ENOENT);
	call.op = 99;
	assert_int_equal(stage_call(&call), -EINVAL);
	call = (struct agent_call){.op = AGENT_REPAIR_OPEN, .id = 1, .instance = 0};
	call.connection.service = MAX_SERVICES - 1; /* no such service */
	assert_int_equal(stage_call(&call), -EINVAL);
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
		TEST(foreign_port_is_left_alone),
		TEST(ipv6_clients_are_two),
		TEST(ipv4_client_of_ipv6_wildcard),
		TEST(prefix),
		TEST(every_way_of_closing),
		TEST(killed_with_connections),
		TEST(table_full),
		TEST(unaccepted_connections_migrate),
		TEST(migration_goes_to_the_affinity),
		TEST(half_open_migrates),
		TEST(closed_listener_is_passed_over),
		TEST(listener_events),
		TEST(not_adopted),
		TEST(mss_is_lowered),
		TEST(repair),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
