// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_request.c - the application's request, with real sockets and processes: who may ask, and
 * how.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "limpet/limpet.h"
#include "stage.h"

#define CLIENT	"127.0.2.1"
#define OTHER	"127.0.2.2"
#define DEFAULT LIMPET_IDLE_DEFAULT

static void test_only_own_connections(void **state)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in elsewhere = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct pair pair, gone;
	int listener = stage_listen(0, SERVICE4, 80), udp, plain;

	(void)state;
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(listener), -EPERM);
	assert_int_equal(stage_ask_default(pair.client), -EPERM);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(stage_ask_default(udp), -EPERM);
	close(udp);
	udp = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(stage_ask_default(udp), -EPERM);
	close(udp);
	/* Reset by the client. */
	gone = stage_pair(OTHER, SERVICE4, 80);
	stage_reset(gone.client);
	assert_true(stage_wait_connections(1));
	assert_int_equal(stage_ask_default(gone.server), -EPERM);
	/* Disconnected, then a client of another server, from the service's own address and port.
	 */
	plain = stage_listen_plain("127.0.1.99", 9);
	gone = stage_pair(OTHER, SERVICE4, 80);
	assert_int_equal(connect(gone.server, &none, sizeof(none)), 0);
	assert_int_equal(stage_ask_default(gone.server), -EPERM);
	elsewhere.sin_addr.s_addr = inet_addr("127.0.1.99");
	assert_int_equal(connect(gone.server, (struct sockaddr *)&elsewhere, sizeof(elsewhere)), 0);
	assert_int_equal(stage_ask_default(gone.server), -EPERM);
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), 0);
	stage_close(plain);
	/* Half closed by the client: it may still ask. */
	assert_int_equal(shutdown(pair.client, SHUT_WR), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = pair.server, .events = POLLIN}, 1, 20000), 1);
	assert_int_equal(stage_ask_default(pair.server), 0);
}

static void test_malformed(void **state)
{
	struct {
		struct limpet_affinity_options options;
		uint32_t tail[12];
	} large = {.options = LIMPET_AFFINITY_OPTIONS_INIT};
	struct limpet_affinity_options options = LIMPET_AFFINITY_OPTIONS_INIT;
	struct limpet_affinity_status status;
	struct pair pair;
	socklen_t length;
	int one = 1;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(setsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY, &options, 12), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(setsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY, NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	large.options.size = 17;
	assert_int_equal(limpet_affinity_request(pair.server, &large.options), -EINVAL);
	options.size = 8;
	assert_int_equal(limpet_affinity_request(pair.server, &options), -EINVAL);
	assert_int_equal(stage_ask(pair.server, 2, DEFAULT, 0), -EINVAL);
	large.options.size = sizeof(large);
	large.tail[3] = 1;
	assert_int_equal(limpet_affinity_request(pair.server, &large.options), -EINVAL);
	assert_int_equal(
		setsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &one, sizeof(one)),
		-1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(setsockopt(pair.server, SOL_LIMPET, 99, &one, sizeof(one)), -1);
	assert_int_equal(errno, ENOPROTOOPT);
	length = sizeof(status) - 1;
	assert_int_equal(getsockopt(pair.server, SOL_LIMPET, LIMPET_AFFINITY, &status, &length),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), 0);
	/* A newer, larger structure, as far as what we do not know is zero. */
	large.tail[3] = 0;
	assert_int_equal(limpet_affinity_request(pair.server, &large.options), 0);
}

static void test_service_without_affinity(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 443);
	pair = stage_pair(CLIENT, SERVICE4, 443);
	assert_int_equal(limpet_affinity_request(pair.server, NULL), -EOPNOTSUPP);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_NONE);
}

static void test_shared_listener(void **state)
{
	struct pair pair;
	struct event event;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(pair.server), 0);
	stage_events(0, NULL);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), -EOPNOTSUPP);
	assert_int_equal(stage_events(EVENT_SHARED, &event), 1);
	assert_int_equal(event.number, 0);
	assert_int_equal(stage_instance_load(0).shared, event.pid);
	assert_int_equal(stage_ask_default(pair.server), -EOPNOTSUPP);
}

/* limpetd has seen who of the two holds the listener. */
static void test_asker_is_set(void **state)
{
	struct agent_call call = {.op = AGENT_SET_ASKER, .instance = 0, .count = getpid()};
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), -EOPNOTSUPP);
	assert_int_equal(stage_ask_default(pair.server), -EOPNOTSUPP);

	call.id = stage_instance_load(0).asker + 1;
	assert_int_equal(stage_call(&call), -EAGAIN);
	call.id = stage_instance_load(0).asker;
	call.count = stage_instance_load(0).shared; /* has exited */
	assert_int_equal(stage_call(&call), -ENOENT);
	assert_int_not_equal(stage_instance_load(0).shared, 0);
	call.count = getpid();
	assert_int_equal(stage_call(&call), 0);
	assert_int_equal(stage_instance_load(0).shared, 0);
	assert_int_equal(stage_instance_load(0).asker, call.id);
	assert_int_equal(stage_ask_default(pair.server), 0);
}

/* The asker's place is free when it is gone: no listener stays shared for ever. */
static void test_asker_succeeds_asker(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), 0);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), 0);
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_instance_load(0).shared, 0);
	assert_int_equal(stage_instance_load(0).affinities, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_own_connections), TEST(malformed),	TEST(service_without_affinity),
		TEST(shared_listener),	    TEST(asker_is_set), TEST(asker_succeeds_asker),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
