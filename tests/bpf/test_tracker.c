// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_tracker.c - entries and counts are exact, in whatever way connections end; listeners are
 * reported. (stage_end checks after each test that no entry and no count is left.)
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
	stage_listen_all(INSTANCES, SERVICE4, 80);
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
		clients[i] = stage_connect(stage_client(i), SERVICE4, 80);
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

/* The kernel leaves a program out where it interrupts itself: either of the two does it all. */
static void test_either_program(void **state)
{
	static const bool rows[][2] = {{true, false}, {false, true}};
	struct pair pair;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	for (unsigned int open = 0; open < 2; open++) {
		for (unsigned int end = 0; end < 2; end++) {
			stage_track(rows[open][0], rows[open][1]);
			pair = stage_pair(CLIENT, SERVICE4, 80);
			assert_int_equal(stage_client_connections(CLIENT, pair.instance), 1);
			assert_int_equal(stage_ask(pair.server, 0, 0, 0), 0);
			stage_track(rows[end][0], rows[end][1]);
			stage_close_pair(&pair);
			assert_true(stage_wait_connections(0));
			assert_int_equal(stage_client_connections(CLIENT, pair.instance), 0);
		}
	}
	stage_track(true, true);
}

static bool has_closed(void *context)
{
	return stage_counter(COUNT_TRACK_CLOSED) == *(uint64_t *)context;
}

/* Two processes connect and close as fast as they can, all from one client, so that its count comes
 * and goes on several CPUs at once; at the end all is counted (stage_end checks that it is 0). */
static void test_churn(void **state)
{
	uint64_t opened = stage_counter(COUNT_TRACK_OPENED);
	uint64_t closed = stage_counter(COUNT_TRACK_CLOSED) + 801;
	unsigned int ended = 0, accepted = 0;
	struct pair pair;
	int status;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), 0);
	stage_close_pair(&pair);
	for (unsigned int i = 0; i < 2; i++) {
		if (fork())
			continue;
		for (unsigned int n = 0; n < 400; n++)
			stage_reset(stage_connect(CLIENT, SERVICE4, 80));
		_exit(0);
	}
	for (bool more = true; more || ended < 2;) {
		more = stage_accept_now(&pair);
		if (more) {
			accepted++;
			stage_close(pair.server);
		}
		if (ended < 2 && waitpid(-1, &status, WNOHANG) > 0) {
			assert_int_equal(status, 0);
			ended++;
		}
	}
	assert_true(stage_wait_connections(0));
	assert_true(accepted > 0);
	assert_int_equal(stage_counter(COUNT_TRACK_OPENED) - opened, 801);
	assert_true(stage_wait(has_closed, &closed));
	stage_correct_clients();
}

static void test_table_full(void **state)
{
	uint64_t full = stage_counter(COUNT_TRACK_FULL);
	struct connection_key key = {.service = PLAIN};
	struct target_connection filler = {.cookie = 1, .instance = NO_INSTANCE};
	int map = stage_map(STAGE_CONNECTION_MAP);
	struct pair pair;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
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

/* The one connection's key and entry. */
static struct connection_key only_connection(struct target_connection *entry)
{
	struct connection_key key;
	int map = stage_map(STAGE_CONNECTION_MAP);

	assert_int_equal(bpf_map_get_next_key(map, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(map, &key, entry), 0);
	return key;
}

static void test_not_adopted(void **state)
{
	struct agent_call call = {.op = AGENT_REPAIR_OPEN, .instance = 0};
	int listener = stage_listen_plain(SERVICE4, 80), client, server;
	struct target_connection entry;

	(void)state;
	client = stage_connect(CLIENT, SERVICE4, 80);
	assert_true(stage_wait_connections(1));
	assert_int_equal(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 20000), 1);
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	assert_int_equal(stage_ask(server, 0, 0, 0), -EPERM);
	/* The agent adopts the listener later, and its connections with it. */
	stage_adopt(listener, 0, SERVICE4, 80);
	call.connection = only_connection(&entry);
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

/* `before` is -1 where there is no note. */
static void check_note(int listener, int before, unsigned int after)
{
	struct lowered_mss lowered = {0};
	int error = bpf_map_lookup_elem(stage_map(STAGE_MSS_MAP), &listener, &lowered);

	assert_int_equal(error, before < 0 ? -ENOENT : 0);
	assert_int_equal(lowered.before, before < 0 ? 0 : before);
	assert_int_equal(lowered.after, after);
}

static int listen_with(int mss, const char *address, unsigned int port)
{
	int fd = stage_bind(address, port);

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void test_mss_is_noted(void **state)
{
	int listener = listen_with(STAGE_MSS4 + 1, SERVICE4, 80);

	(void)state;
	check_note(listener, STAGE_MSS4 + 1, STAGE_MSS4);
	/* The kernel forgets the choice when it no longer listens, and with it what was lowered. */
	assert_int_equal(shutdown(listener, SHUT_RD), 0);
	assert_int_equal(listen(listener, 16), 0);
	check_note(listener, 0, STAGE_MSS4);
	check_note(stage_listen_plain(SERVICE4, 81), 0, STAGE_MSS4);
	check_note(listen_with(500, SERVICE4, 81), -1, 0);
	check_note(listen_with(STAGE_MSS4 + 1, SERVICE4, 8080), -1, 0); /* no service */
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

/* The connection's entry is enough to remove it and to count it down, the socket's may be missing.
 */
static void test_repair_without_the_sockets_entry(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct agent_call call = {.op = AGENT_REPAIR_CLOSE};
	struct target_connection entry;
	struct pair pair;

	(void)state;
	service.client_prefix = 120;
	stage_put_service(SHOP, &service);
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_client_connections("127.0.2.0", 0), 1);
	service.client_prefix = 128; /* it stays counted as it was */
	stage_put_service(SHOP, &service);
	call.connection = only_connection(&entry);
	call.id = entry.cookie;
	assert_int_equal(bpf_map_delete_elem(stage_map(STAGE_SOCKET_MAP), &entry.cookie), 0);
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_entries(STAGE_CONNECTION_MAP), 0);
	assert_int_equal(stage_entries(STAGE_CLIENT_MAP), 0);
	assert_int_equal(stage_instance_load(0).connections, 0);
	assert_int_equal(stage_call(&call), -ENOENT);
	stage_close_pair(&pair);
}

static uint64_t client_word(void)
{
	struct client_key key = {.client = stage_key(CLIENT)};
	struct client_count element = {0};

	bpf_map_lookup_elem(stage_map(STAGE_CLIENT_MAP), &key, &element);
	return element.word;
}

static int correct_client(uint64_t word, uint32_t connections)
{
	struct agent_call call = {.op = AGENT_REPAIR_CLIENT,
				  .affinity = stage_key(CLIENT),
				  .id = word,
				  .count = connections};

	return stage_call(&call);
}

static void test_correct_a_clients_count(void **state)
{
	uint64_t word;
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	word = client_word();
	assert_int_equal(correct_client(word, 5), 0);
	assert_int_equal(stage_client_connections(CLIENT, 0), 5);
	/* By the word that was seen, and by no other. */
	assert_int_equal(correct_client(word, 7), -EAGAIN);
	assert_int_equal(correct_client(0, 7), -EAGAIN);
	assert_int_equal(correct_client(client_word() + (1ULL << 32), 7), -EAGAIN);
	assert_int_equal(stage_client_connections(CLIENT, 0), 5);
	assert_int_equal(correct_client(client_word(), 0), 0);
	assert_int_equal(stage_entries(STAGE_CLIENT_MAP), 0);
	assert_int_equal(correct_client(word, 1), -EAGAIN);
	assert_int_equal(correct_client(0, 1), 0);
	assert_int_equal(stage_client_connections(CLIENT, 0), 1);
	stage_close_pair(&pair);
}

static void test_correct_an_instances_counts(void **state)
{
	static const enum agent_op ops[] = {AGENT_REPAIR_LOAD, AGENT_REPAIR_QUOTA};
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), 0);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct agent_call call = {.op = ops[i], .id = 1, .count = 3};
		struct instance_load load;

		assert_int_equal(stage_call(&call), 0);
		load = stage_instance_load(0);
		assert_int_equal(load.connections, ops[i] == AGENT_REPAIR_LOAD ? 3 : 1);
		assert_int_equal(load.affinities, ops[i] == AGENT_REPAIR_QUOTA ? 3 : 1);
		assert_int_equal(stage_call(&call), -EAGAIN);
		call.id = 3;
		call.count = 1;
		assert_int_equal(stage_call(&call), 0);
		call.instance = MAX_INSTANCES;
		assert_int_equal(stage_call(&call), -EINVAL);
	}
	stage_close_pair(&pair);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_way_of_closing),
		TEST(killed_with_connections),
		TEST(either_program),
		TEST(churn),
		TEST(table_full),
		TEST(listener_events),
		TEST(not_adopted),
		TEST(mss_is_lowered),
		TEST(mss_is_noted),
		TEST(repair),
		TEST(repair_without_the_sockets_entry),
		TEST(correct_a_clients_count),
		TEST(correct_an_instances_counts),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
