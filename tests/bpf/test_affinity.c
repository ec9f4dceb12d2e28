// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_affinity.c - the life of an affinity at its target, with real sockets and processes; and
 * liblimpet's four calls.
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
	stage_listen_all(INSTANCES, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, 100, 0), 0);
	again = stage_pair(CLIENT, SERVICE4, 80);
	stage_close_pair(&pair);
	assert_true(stage_wait_connections(1));
	/* It does not run while there is a connection. */
	poll(NULL, 0, 200);
	status = stage_status(again.server);
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
		assert_int_equal(stage_status(again.server).reason, LIMPET_REASON_EXPIRED);
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
	stage_listen_all(INSTANCES, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask(pair.server, 0, DEFAULT, 50), 0);
	assert_true(stage_wait(is_over, CLIENT)); /* although the client is connected */
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_NONE);
	assert_int_equal(stage_status(pair.server).reason, LIMPET_REASON_EXPIRED);
}

static void test_release(void **state)
{
	struct target_affinity affinity;
	struct pair pair;
	uint64_t id;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(limpet_affinity_release(pair.server), -ENOENT);
	assert_int_equal(limpet_affinity_request(pair.server, NULL), 0);
	id = stage_status(pair.server).id;
	stage_events(0, NULL);
	assert_int_equal(limpet_affinity_release(pair.server), 0);
	assert_int_equal(stage_events(EVENT_AFFINITY, NULL), 1);
	assert_int_equal(stage_status(pair.server).reason, LIMPET_REASON_RELEASED);
	assert_int_equal(limpet_affinity_release(pair.server), -ENOENT);
	assert_int_equal(stage_instance_load(pair.instance).affinities, 0);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	/* What has ended is asked for again before it was reaped: with a new id. */
	assert_int_equal(limpet_affinity_request(pair.server, NULL), 0);
	assert_true(stage_status(pair.server).id > id);
	assert_true(stage_affinity(CLIENT, &affinity));
	assert_int_equal(affinity.end, END_NONE);
}

static void test_process_exit(void **state)
{
	struct pair pair;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_in_child(stage_ask_default, pair.server), 0);
	assert_int_equal(stage_events(EVENT_PROCESS_END, NULL), 1);
	/* At once, with no agent: the look-up says so. */
	assert_int_equal(stage_status(pair.server).reason, LIMPET_REASON_PROCESS);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	assert_int_equal(stage_reap(CLIENT), -EAGAIN);
	assert_int_equal(stage_status(pair.server).reason, LIMPET_REASON_PROCESS);
	assert_int_equal(stage_reap(CLIENT), 0);
	assert_int_equal(stage_entries(STAGE_PROCESS_MAP), 0);
}

static void test_instance_end(void **state)
{
	struct instance instance;
	struct pair pair;

	(void)state;
	stage_listen_all(INSTANCES, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(stage_ask_default(pair.server), 0);
	instance = stage_instance(pair.instance);
	instance.state = INSTANCE_DRAINING;
	stage_put_instance(pair.instance, &instance);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	instance.state = INSTANCE_ENDED;
	stage_put_instance(pair.instance, &instance);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 80).instance, pair.instance);
	/* Its connections go on: no new affinity, but they can be told what became of theirs. */
	assert_int_equal(stage_ask_default(pair.server), -EPERM);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_NONE);
	assert_int_equal(stage_status(pair.server).reason, LIMPET_REASON_INSTANCE);
	assert_int_equal(limpet_affinity_wait(pair.server, 10), -ENOENT);
	assert_int_equal(limpet_affinity_release(pair.server), -ENOENT);
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
		{END_LOST, LIMPET_REASON_LOST, -EEXIST},
	};
	struct agent_call call = {.op = AGENT_END_AFFINITY, .affinity = stage_key(CLIENT)};
	struct pair pair;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(limpet_affinity_wait(pair.server, 10), -ENOENT);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(stage_ask_default(pair.server), 0);
		call.id = stage_status(pair.server).id;
		call.end = rows[i].end;
		assert_int_equal(stage_call(&call), 0);
		assert_int_equal(stage_call(&call), -ENOENT);
		assert_int_equal(stage_status(pair.server).reason, rows[i].reason);
		assert_int_equal(limpet_affinity_wait(pair.server, 1000), rows[i].wait);
	}
	/* Not one that has come since. */
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_call(&call), -ENOENT);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_HERE);
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

static void test_timed_ends_with_a_drain(void **state)
{
	struct instance instance;
	struct pair pair, again;

	(void)state;
	for (uint32_t slot = 0; slot < INSTANCES; slot++)
		stage_listen(slot, SERVICE4, 81);
	pair = stage_pair(CLIENT, SERVICE4, 81);
	instance = stage_instance(pair.instance);
	instance.state = INSTANCE_DRAINING;
	stage_put_instance(pair.instance, &instance);
	/* As long as the client is connected it is served there. */
	again = stage_pair(CLIENT, SERVICE4, 81);
	assert_int_equal(again.instance, pair.instance);
	assert_int_equal(stage_reap(CLIENT), -EBUSY);
	stage_close_pair(&pair);
	stage_close_pair(&again);
	assert_true(stage_wait_connections(0));
	assert_int_equal(stage_reap(CLIENT), -EAGAIN);
	assert_int_not_equal(stage_pair(CLIENT, SERVICE4, 81).instance, pair.instance);
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
	assert_int_equal(stage_ask_default(pair.server), 0);
	start = now_ms();
	assert_int_equal(limpet_affinity_wait(pair.server, 100), -ETIMEDOUT);
	assert_true(now_ms() - start >= 99);
	grant.id = stage_status(pair.server).id - 1; /* of an earlier one */
	bpf_map_update_elem(stage_map(STAGE_GRANT_MAP), &key, &grant, BPF_ANY);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_HERE);
	grant.id++;
	bpf_map_update_elem(stage_map(STAGE_GRANT_MAP), &key, &grant, BPF_ANY);
	assert_int_equal(limpet_affinity_wait(pair.server, 0), 0);
	assert_int_equal(stage_status(pair.server).instance, stage_instance(0).id);
	/* It stays so when it is asked for again. */
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_EVERYWHERE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(idle_timer),
		TEST(idle_zero_ends_with_the_last),
		TEST(steered_handshake_holds_it),
		TEST(maximum_life),
		TEST(release),
		TEST(process_exit),
		TEST(instance_end),
		TEST(ended_by_the_agent),
		TEST(timed),
		TEST(timed_ends_with_a_drain),
		TEST(everywhere),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
