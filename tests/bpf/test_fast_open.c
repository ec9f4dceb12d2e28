// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_fast_open.c - TCP Fast Open: the server has the connection before the client has completed
 * its handshake, and may even close it before.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "limpet/limpet.h"
#include "stage.h"

#define CLIENT	"127.0.2.1"
#define PORT	80
#define PENDING 16

/* Both sides, and without a cookie: ip-sysctl.rst, tcp_fastopen. */
#define FAST_OPEN "519"

static int begin(void **state)
{
	FILE *file;

	if (stage_begin(state))
		return -1;
	file = fopen("/proc/sys/net/ipv4/tcp_fastopen", "w");
	if (!file)
		return -1;
	fputs(FAST_OPEN, file);
	return fclose(file);
}

/* The client hears nothing until hear(). */
static void deafen(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &nothing};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
			 0);
}

static void hear(int fd)
{
	int unused = 0;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)), 0);
}

/* A connection that the server has, and whose handshake the client has not completed. */
static struct pair open_fast(void)
{
	int listener = stage_listen(0, SERVICE4, PORT), pending = PENDING;
	int client = stage_socket(CLIENT);

	assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &pending, sizeof(pending)),
			 0);
	deafen(client);
	assert_int_equal(stage_connect_fast(client, SERVICE4, PORT, "ask"), 0);
	return stage_accept(client);
}

static void expect_bytes(int fd, const char *bytes)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char got[16];
	ssize_t length = (ssize_t)strlen(bytes);

	assert_int_equal(poll(&wait, 1, 20000), 1);
	assert_int_equal(recv(fd, got, sizeof(got), 0), length);
	if (length)
		assert_memory_equal(got, bytes, (size_t)length);
}

static int state_of(int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
	return info.tcpi_state;
}

static void test_closed_before_the_handshake_ends(void **state)
{
	struct pair pair = open_fast();

	(void)state;
	assert_int_equal(state_of(pair.server), TCP_SYN_RECV);
	assert_int_equal(stage_entries(STAGE_CONNECTION_MAP), 0);
	expect_bytes(pair.server, "ask");
	assert_int_equal(send(pair.server, "answer", 6, 0), 6);
	stage_close(pair.server);
	assert_true(stage_wait_connections(1));
	assert_int_equal(stage_events(EVENT_CONNECTION, NULL), 1);
	assert_int_equal(stage_instance_load(0).connections, 1);

	hear(pair.client);
	expect_bytes(pair.client, "answer");
	expect_bytes(pair.client, "");
	stage_close(pair.client);
	assert_true(stage_wait_connections(0));
	assert_int_equal(stage_events(EVENT_CONNECTION, NULL), 1);
	assert_int_equal(stage_instance_load(0).connections, 0);
}

static bool may_ask(void *context)
{
	struct pair *pair = context;
	int error = stage_ask_default(pair->server);

	assert_true(!error || error == -EAGAIN);
	return !error;
}

static void test_a_request_is_early(void **state)
{
	struct pair pair = open_fast();

	(void)state;
	assert_int_equal(stage_ask_default(pair.server), -EAGAIN);
	hear(pair.client);
	assert_true(stage_wait(may_ask, &pair));
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_HERE);
	stage_close_pair(&pair);
	assert_true(stage_wait_connections(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed_before_the_handshake_ends, begin,
						stage_end),
		cmocka_unit_test_setup_teardown(test_a_request_is_early, begin, stage_end),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
