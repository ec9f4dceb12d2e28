// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_affinity.c - the application's request and the life of an affinity at its target, with real
 * sockets and processes; and liblimpet's four calls.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "limpet/limpet.h"
#include "stage.h"

#define INSTANCES 4
#define CLIENT	  "127.0.2.1"
#define OTHER	  "127.0.2.2"
#define DEFAULT	  LIMPET_IDLE_DEFAULT

static void listen_all(void)
{
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		stage_listen(slot, SERVICE4, 80);
}

static int release(int conn)
{
	int zero = 0;

	return setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &zero, sizeof(zero)) ? -errno
											  : 0;
}

static struct limpet_affinity_status status_of(int conn)
{
	struct limpet_affinity_status status;

	assert_int_equal(limpet_affinity_status(conn, &status), 0);
	return status;
}

/* A child does it and tells by its exit status, 0 or an errno. */
static int in_child(int (*act)(int conn), int conn)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(-act(conn));
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static int ask_default(int conn)
{
	return stage_ask(conn, 0, DEFAULT, 0);
}

/* --- who may ask, and how
 * ------------------------------------------------------------------------- */

static void test_only_own_connections(void **state)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in elsewhere = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct pair pair, gone;
	int listener = stage_listen(0, SERVICE4, 80), udp, plain;

	(void)state;
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(ask_default(listener), -EPERM);
	assert_int_equal(ask_default(pair.client), -EPERM);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ask_default(udp), -EPERM);
	close(udp);
	udp = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ask_default(udp), -EPERM);
	close(udp);
	/* Reset by the client. */
	gone = stage_pair(OTHER, SERVICE4, 80);
	stage_reset(gone.client);
	assert_true(stage_wait_connections(1));
	assert_int_equal(ask_default(gone.server), -EPERM);
	/* Disconnected, then a client of another server, from the service's own address and port.
	 */
	plain = stage_listen_plain("127.0.1.99", 9);
	gone = stage_pair(OTHER, SERVICE4, 80);
	assert_int_equal(connect(gone.server, &none, sizeof(none)), 0);
	assert_int_equal(ask_default(gone.server), -EPERM);
	elsewhere.sin_addr.s_addr = inet_addr("127.0.1.99");
	assert_int_equal(connect(gone.server, (struct sockaddr *)&elsewhere, sizeof(elsewhere)), 0);
	assert_int_equal(ask_default(gone.server), -EPERM);
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), 0);
	stage_close(plain);
	/* Half closed by the client: it may still ask. */
	assert_int_equal(shutdown(pair.client, SHUT_WR), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = pair.server, .events = POLLIN}, 1, 1000), 1);
	assert_int_equal(ask_default(pair.server), 0);
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

static void test_other_levels_are_untouched(void **state)
{
	char large[8192] = {0}, name[16] = "";
	struct pair pair;
	int one = 1, value = 0;
	socklen_t length = sizeof(value);

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(setsockopt(pair.server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	assert_int_equal(getsockopt(pair.server, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
	assert_int_equal(value, 1);
	length = sizeof(name);
	assert_int_equal(getsockopt(pair.server, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
	assert_true(name[0]);
	/* Larger than the page that the hook copies at most. */
	assert_int_equal(setsockopt(pair.server, SOL_SOCKET, SO_KEEPALIVE, large, sizeof(large)),
			 0);
	assert_int_equal(setsockopt(pair.server, IPPROTO_TCP, 9999, &one, sizeof(one)), -1);
	assert_int_equal(errno, ENOPROTOOPT);
}

static void test_service_without_affinity(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 443);
	pair = stage_pair(CLIENT, SERVICE4, 443);
	assert_int_equal(limpet_affinity_request(pair.server, NULL), -EOPNOTSUPP);
	assert_int_equal(status_of(pair.server).state, LIMPET_AFFINITY_NONE);
}

static void test_shared_listener(void **state)
{
	struct pair pair;
	struct event event;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(ask_default(pair.server), 0);
	stage_events(0, NULL);
	assert_int_equal(in_child(ask_default, pair.server), -EOPNOTSUPP);
	assert_int_equal(stage_events(EVENT_SHARED, &event), 1);
	assert_int_equal(event.number, 0);
	assert_int_equal(stage_instance_load(0).shared, 1);
	assert_int_equal(ask_default(pair.server), -EOPNOTSUPP);
}

/* The asker's place is free when it is gone: no listener stays shared for ever. */
static void test_asker_succeeds_asker(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(in_child(ask_default, pair.server), 0);
	assert_int_equal(in_child(ask_default, pair.server), 0);
	assert_int_equal(ask_default(pair.server), 0);
	assert_int_equal(stage_instance_load(0).shared, 0);
	assert_int_equal(stage_instance_load(0).affinities, 1);
}

/* --- claims
 * --------------------------------------------------------------------------------------- */

/* Two connections of one client, at two instances. */
static void at_two_instances(struct pair *first, struct pair *second)
{
	stage_listen(0, SERVICE4, 80);
	*first = stage_pair(CLIENT, SERVICE4, 80);
	stage_listen(1, SERVICE4, 80);
	*second = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(first->instance, 0);
	assert_int_equal(second->instance, 1);
}

static void test_another_instance_holds_it(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct target_affinity before, after;
	struct pair first, second;

	(void)state;
	at_two_instances(&first, &second);
	assert_int_equal(ask_default(first.server), 0);
	assert_int_equal(ask_default(second.server), -EEXIST);
	/* Nor by force, while the service does not allow it. */
	assert_int_equal(stage_ask(second.server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0), -EEXIST);
	service.takeover = 1;
	stage_put_service(SHOP, &service);
	assert_int_equal(ask_default(second.server), -EEXIST);
	assert_true(stage_affinity(CLIENT, &before));
	assert_int_equal(stage_ask(second.server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0), 0);
	assert_true(stage_affinity(CLIENT, &after));
	assert_int_equal(after.word, before.word); /* for the routers nothing changes */
	assert_int_equal(after.instance, 1);
	assert_int_equal(stage_instance_load(0).affinities, 0);
	assert_int_equal(stage_instance_load(1).affinities, 1);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, 1);
	assert_int_equal(status_of(first.server).state, LIMPET_AFFINITY_NONE);
	assert_int_equal(release(first.server), -ENOENT);
}

static void test_asking_again_updates(void **state)
{
	struct target_affinity before, after;
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 1000, 0), 0);
	assert_true(stage_affinity(CLIENT, &before));
	assert_int_equal(stage_ask(pair.server, 0, 5000, 7000), 0);
	assert_true(stage_affinity(CLIENT, &after));
	assert_int_equal(before.word, after.word);
	assert_int_equal(after.idle_ns, 5000 * 1000000ULL);
	assert_int_equal(after.max_life_ns, 7000 * 1000000ULL);
	assert_true(after.created_ns > before.created_ns);
	assert_int_equal(stage_instance_load(0).affinities, 1);
	assert_in_range(status_of(pair.server).expires_in_ms, 1, 7000);
}

static void test_life_is_the_services_at_most(void **state)
{
	static const struct {
		uint32_t asked_ms, service_ms, life_ms;
	} rows[] = {{0, 0, 0}, {5, 0, 5}, {0, 7, 7}, {9000, 7000, 7000}, {6000, 7000, 6000}};
	struct target_service service = stage_service(SHOP);
	struct target_affinity affinity;
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		service.max_life_ns = rows[i].service_ms * 1000000ULL;
		stage_put_service(SHOP, &service);
		assert_int_equal(stage_ask(pair.server, 0, DEFAULT, rows[i].asked_ms), 0);
		assert_true(stage_affinity(CLIENT, &affinity));
		assert_int_equal(affinity.max_life_ns, rows[i].life_ms * 1000000ULL);
		assert_int_equal(affinity.idle_ns, STAGE_IDLE_MS * 1000000ULL);
	}
}

static void test_quota_and_full_table(void **state)
{
	struct instance instance;
	struct pair pair, kept;
	char client[32];

	(void)state;
	stage_listen(0, SERVICE4, 80);
	instance = stage_instance(0);
	instance.max_affinities = 2;
	stage_put_instance(0, &instance);
	for (unsigned int i = 1; i <= 3; i++) {
		snprintf(client, sizeof(client), "127.0.4.%u", i);
		kept = stage_pair(client, SERVICE4, 80);
		assert_int_equal(ask_default(kept.server), i <= 2 ? 0 : -ENOSPC);
	}
	assert_int_equal(stage_instance_load(0).affinities, 2);
	instance.max_affinities = 0;
	stage_put_instance(0, &instance);
	for (unsigned int i = 3; i <= STAGE_AFFINITIES + 4; i++) {
		snprintf(client, sizeof(client), "127.0.4.%u", i);
		pair = stage_pair(client, SERVICE4, 80);
		if (ask_default(pair.server) == -ENOSPC)
			break;
	}
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), STAGE_AFFINITIES);
	assert_int_equal(stage_instance_load(0).affinities, STAGE_AFFINITIES);
	assert_int_equal(ask_default(pair.server), -ENOSPC);
	assert_int_equal(ask_default(kept.server), 0); /* what is there stays, and changes */
}

/* --- ends
 * ----------------------------------------------------------------------------------------- */

static bool is_over(void *context)
{
	return stage_reap(context) == -EAGAIN;
}

static void test_idle_timer(void **state)
{
	struct limpet_affinity_status status;
	struct target_affinity affinity;
	struct pair pair, again;

	(void)state;
	listen_all();
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 100, 0), 0);
	again = stage_pair(CLIENT, SERVICE4, 80);
	stage_close_pair(&pair);
	assert_true(stage_wait_connections(1));
	/* It does not run while there is a connection. */
	poll(NULL, 0, 200);
	status = status_of(again.server);
	assert_int_equal(status.state, LIMPET_AFFINITY_HERE);
	assert_true(status.expires_in_ms == UINT64_MAX);
	assert_int_equal(status.connections, 1);
	assert_int_equal(stage_reap(CLIENT), -EBUSY);
	/* It runs from the last close. */
	stage_close_pair(&again);
	assert_true(stage_wait(is_over, CLIENT));
	assert_true(stage_affinity(CLIENT, &affinity));
	assert_int_equal(affinity.end, END_EXPIRED);
	assert_int_equal(stage_instance_load(pair.instance).affinities, 0);
	again = stage_pair(CLIENT, SERVICE4, 80);
	if (again.instance == pair.instance)
		assert_int_equal(status_of(again.server).reason, LIMPET_REASON_EXPIRED);
	assert_int_equal(stage_reap(CLIENT), 0);
	assert_int_equal(stage_reap(CLIENT), -ENOENT);
}

static void test_idle_zero_ends_with_the_last(void **state)
{
	struct pair pair, again;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), 0);
	again = stage_pair(CLIENT, SERVICE4, 80); /* steered and established: no delay is left */
	stage_close_pair(&pair);
	assert_true(stage_wait_connections(1));
	assert_int_equal(stage_reap(CLIENT), -EBUSY);
	stage_close_pair(&again);
	assert_true(stage_wait_connections(0));
	assert_int_equal(stage_reap(CLIENT), -EAGAIN);
}

static void test_steered_handshake_holds_it(void **state)
{
	int seconds = 30, listener = stage_listen(0, SERVICE4, 80);
	struct target_affinity affinity;
	struct pair pair;

	(void)state;
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 0, 0), 0);
	/* A handshake that does not end in a connection as long as there is no data. */
	assert_int_equal(
		setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)), 0);
	stage_connect(CLIENT, SERVICE4, 80);
	stage_close_pair(&pair);
	assert_true(stage_wait_connections(0));
	assert_int_equal(stage_reap(CLIENT), -EBUSY);
	/* But for ten seconds at most. */
	assert_true(stage_affinity(CLIENT, &affinity));
	affinity.steered_ns -= STEERED_NS;
	assert_int_equal(bpf_map_update_elem(stage_map(STAGE_AFFINITY_MAP),
					     &(struct affinity_key){stage_key(CLIENT).client, 0, 0},
					     &affinity, BPF_EXIST),
			 0);
	assert_int_equal(stage_reap(CLIENT), -EAGAIN);
}

static void test_maximum_life(void **state)
{
	struct pair pair;

	(void)state;
	listen_all();
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, DEFAULT, 50), 0);
	assert_true(stage_wait(is_over, CLIENT)); /* although the client is connected */
	assert_int_equal(status_of(pair.server).state, LIMPET_AFFINITY_NONE);
	assert_int_equal(status_of(pair.server).reason, LIMPET_REASON_EXPIRED);
}

static void test_release(void **state)
{
	struct target_affinity affinity;
	struct pair pair;
	uint64_t id;

	(void)state;
	listen_all();
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(limpet_affinity_release(pair.server), -ENOENT);
	assert_int_equal(limpet_affinity_request(pair.server, NULL), 0);
	id = status_of(pair.server).id;
	stage_events(0, NULL);
	assert_int_equal(limpet_affinity_release(pair.server), 0);
	assert_int_equal(stage_events(EVENT_AFFINITY, NULL), 1);
	assert_int_equal(status_of(pair.server).reason, LIMPET_REASON_RELEASED);
	assert_int_equal(limpet_affinity_release(pair.server), -ENOENT);
	assert_int_equal(stage_instance_load(pair.instance).affinities, 0);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	/* What has ended is asked for again before it was reaped: with a new id. */
	assert_int_equal(limpet_affinity_request(pair.server, NULL), 0);
	assert_true(status_of(pair.server).id > id);
	assert_true(stage_affinity(CLIENT, &affinity));
	assert_int_equal(affinity.end, END_NONE);
}

static void test_process_exit(void **state)
{
	struct pair pair;

	(void)state;
	listen_all();
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(in_child(ask_default, pair.server), 0);
	assert_int_equal(stage_events(EVENT_PROCESS_END, NULL), 1);
	/* At once, with no agent: the look-up says so. */
	assert_int_equal(status_of(pair.server).reason, LIMPET_REASON_PROCESS);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	assert_int_equal(stage_reap(CLIENT), -EAGAIN);
	assert_int_equal(status_of(pair.server).reason, LIMPET_REASON_PROCESS);
	assert_int_equal(stage_reap(CLIENT), 0);
	assert_int_equal(stage_entries(STAGE_PROCESS_MAP), 0);
}

static void test_instance_end(void **state)
{
	struct instance instance;
	struct pair pair;

	(void)state;
	listen_all();
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(ask_default(pair.server), 0);
	instance = stage_instance(pair.instance);
	instance.state = INSTANCE_DRAINING;
	stage_put_instance(pair.instance, &instance);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	instance.state = INSTANCE_ENDED;
	stage_put_instance(pair.instance, &instance);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	assert_int_equal(ask_default(pair.server), -EPERM);
	assert_int_equal(stage_reap(CLIENT), -EAGAIN);
}

static void test_ended_by_the_agent(void **state)
{
	static const struct {
		enum affinity_end end;
		enum limpet_affinity_reason reason;
		int wait;
	} rows[] = {
		{END_OPERATOR, LIMPET_REASON_OPERATOR, -ENOENT},
		{END_REFUSED, LIMPET_REASON_REFUSED, -EEXIST},
		{END_FULL, LIMPET_REASON_FULL, -ENOSPC},
		{END_LOST, LIMPET_REASON_LOST, -ENOENT},
	};
	struct agent_call call = {.op = AGENT_END_AFFINITY, .affinity = stage_key(CLIENT)};
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(limpet_affinity_wait(pair.server, 10), -ENOENT);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ask_default(pair.server), 0);
		call.id = status_of(pair.server).id;
		call.end = rows[i].end;
		assert_int_equal(stage_call(&call), 0);
		assert_int_equal(stage_call(&call), -ENOENT);
		assert_int_equal(status_of(pair.server).reason, rows[i].reason);
		assert_int_equal(limpet_affinity_wait(pair.server, 1000), rows[i].wait);
	}
	/* Not one that has come since. */
	assert_int_equal(ask_default(pair.server), 0);
	assert_int_equal(stage_call(&call), -ENOENT);
	assert_int_equal(status_of(pair.server).state, LIMPET_AFFINITY_HERE);
	call.end = END_NONE;
	assert_int_equal(stage_call(&call), -EINVAL);
}

/* --- timed, and everywhere
 * ------------------------------------------------------------------------ */

static void test_timed(void **state)
{
	struct target_affinity affinity;
	struct pair pair;

	(void)state;
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		stage_listen(slot, SERVICE4, 81);
	pair = stage_pair(CLIENT, SERVICE4, 81);
	assert_true(stage_affinity(CLIENT, &affinity));
	assert_int_equal(affinity.flags, AFFINITY_FLAG_TIMED);
	assert_int_equal(affinity.process, 0);
	assert_int_equal(affinity.instance, pair.instance);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(stage_pair(CLIENT, SERVICE4, 81).instance, pair.instance);
	assert_int_equal(stage_instance_load(pair.instance).affinities, 1);
	/* A request makes it the application's. */
	assert_int_equal(stage_ask(pair.server, 0, 77, 0), 0);
	assert_true(stage_affinity(CLIENT, &affinity));
	assert_int_equal(affinity.flags, 0);
	assert_true(affinity.process);
	assert_int_equal(affinity.idle_ns, 77 * 1000000ULL);
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void test_everywhere(void **state)
{
	struct affinity_key key = stage_key(CLIENT);
	struct grant grant = {.clock = 3, .router = 1, .everywhere = 1};
	struct pair pair;
	long long start;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(ask_default(pair.server), 0);
	start = now_ms();
	assert_int_equal(limpet_affinity_wait(pair.server, 100), -ETIMEDOUT);
	assert_in_range(now_ms() - start, 99, 1000);
	grant.id = status_of(pair.server).id - 1; /* of an earlier one */
	bpf_map_update_elem(stage_map(STAGE_GRANT_MAP), &key, &grant, BPF_ANY);
	assert_int_equal(status_of(pair.server).state, LIMPET_AFFINITY_HERE);
	grant.id++;
	bpf_map_update_elem(stage_map(STAGE_GRANT_MAP), &key, &grant, BPF_ANY);
	assert_int_equal(limpet_affinity_wait(pair.server, 0), 0);
	assert_int_equal(status_of(pair.server).instance, stage_instance(0).id);
	/* It stays so when it is asked for again. */
	assert_int_equal(ask_default(pair.server), 0);
	assert_int_equal(status_of(pair.server).state, LIMPET_AFFINITY_EVERYWHERE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_own_connections),
		TEST(malformed),
		TEST(other_levels_are_untouched),
		TEST(service_without_affinity),
		TEST(shared_listener),
		TEST(asker_succeeds_asker),
		TEST(another_instance_holds_it),
		TEST(asking_again_updates),
		TEST(life_is_the_services_at_most),
		TEST(quota_and_full_table),
		TEST(idle_timer),
		TEST(idle_zero_ends_with_the_last),
		TEST(steered_handshake_holds_it),
		TEST(maximum_life),
		TEST(release),
		TEST(process_exit),
		TEST(instance_end),
		TEST(ended_by_the_agent),
		TEST(timed),
		TEST(everywhere),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
