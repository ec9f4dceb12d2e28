// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_claims.c - what the application's request is answered, with real sockets and processes: the
 * client may be another's, or its own already, or there may be no room.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "limpet/limpet.h"
#include "stage.h"

#define CLIENT	"127.0.2.1"
#define DEFAULT LIMPET_IDLE_DEFAULT

static int release(int conn)
{
	int zero = 0;

	return setsockopt(conn, SOL_LIMPET, LIMPET_AFFINITY_RELEASE, &zero, sizeof(zero)) ? -errno
											  : 0;
}

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

/* As the agent does when a router has said so. */
static void agent_ends(int conn, enum affinity_end end)
{
	struct agent_call call = {.op = AGENT_END_AFFINITY,
				  .affinity = stage_key(CLIENT),
				  .id = stage_status(conn).id,
				  .end = end};

	assert_int_equal(stage_call(&call), 0);
}

static void test_another_instance_holds_it(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct target_affinity before, after;
	struct pair first, second;

	(void)state;
	at_two_instances(&first, &second);
	assert_int_equal(stage_ask_default(first.server), 0);
	assert_int_equal(stage_ask_default(second.server), -EEXIST);
	/* Nor by force, while the service does not allow it. */
	assert_int_equal(stage_ask(second.server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0), -EEXIST);
	service.takeover = 1;
	stage_put_service(SHOP, &service);
	assert_int_equal(stage_ask_default(second.server), -EEXIST);
	assert_true(stage_affinity(CLIENT, &before));
	assert_int_equal(stage_ask(second.server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0), 0);
	assert_true(stage_affinity(CLIENT, &after));
	assert_int_equal(after.word, before.word); /* for the routers nothing changes */
	assert_int_equal(after.instance, 1);
	assert_int_equal(stage_instance_load(0).affinities, 0);
	assert_int_equal(stage_instance_load(1).affinities, 1);
	assert_int_equal(stage_pair(CLIENT, SERVICE4, 80).instance, 1);
	assert_int_equal(stage_status(first.server).state, LIMPET_AFFINITY_NONE);
	assert_int_equal(release(first.server), -ENOENT);
	/* A life of its own begins, and the one that had it is told why. */
	assert_true(after.created_ns > before.created_ns);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_LOST);
	assert_int_equal(stage_status(first.server).id, stage_status(second.server).id);
	assert_int_equal(limpet_affinity_wait(first.server, 0), -EEXIST);
	assert_int_equal(stage_status(second.server).reason, LIMPET_REASON_NONE);
	/* Also after it has ended there. */
	assert_int_equal(release(second.server), 0);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_LOST);
	assert_int_equal(stage_ask_default(second.server), 0);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_LOST);
	assert_int_equal(release(second.server), 0);
	assert_int_equal(stage_status(first.server).reason, LIMPET_REASON_NONE);
}

static void at_three_instances(struct pair pair[3])
{
	at_two_instances(&pair[0], &pair[1]);
	stage_listen(2, SERVICE4, 80);
	pair[2] = stage_pair(CLIENT, SERVICE4, 80);
	assert_int_equal(pair[2].instance, 2);
}

/* Each takes the client from the one before; then another target does. All are told. */
static void test_all_losers_are_told(void **state)
{
	struct target_service service = stage_service(SHOP);
	struct pair pair[3];

	(void)state;
	service.takeover = 1;
	stage_put_service(SHOP, &service);
	at_three_instances(pair);
	for (int i = 0; i < 3; i++)
		assert_int_equal(stage_ask(pair[i].server, LIMPET_AFFINITY_TAKEOVER, DEFAULT, 0),
				 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stage_status(pair[i].server).state, LIMPET_AFFINITY_NONE);
		assert_int_equal(stage_status(pair[i].server).reason, LIMPET_REASON_LOST);
		assert_int_equal(limpet_affinity_wait(pair[i].server, 0), -EEXIST);
	}
	assert_int_equal(stage_status(pair[2].server).state, LIMPET_AFFINITY_HERE);
	agent_ends(pair[2].server, END_LOST);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limpet_affinity_wait(pair[i].server, 0), -EEXIST);
}

/* Another target holds the client: so it is for whoever asked, though others have asked since. */
static void test_refused_one_after_the_other(void **state)
{
	struct pair pair[3];

	(void)state;
	at_three_instances(pair);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(stage_ask_default(pair[i].server), 0);
		for (int j = 0; j < i; j++)
			assert_int_equal(limpet_affinity_wait(pair[j].server, 0), -EEXIST);
		agent_ends(pair[i].server, END_REFUSED);
		for (int j = 0; j <= i; j++)
			assert_int_equal(limpet_affinity_wait(pair[j].server, 0), -EEXIST);
	}
	/* Who has let go of it himself was refused nothing. */
	assert_int_equal(stage_ask_default(pair[0].server), 0);
	assert_int_equal(release(pair[0].server), 0);
	assert_int_equal(limpet_affinity_wait(pair[0].server, 0), -ENOENT);
	assert_int_equal(stage_ask_default(pair[1].server), 0);
	assert_int_equal(release(pair[1].server), 0);
	assert_int_equal(limpet_affinity_wait(pair[0].server, 0), -ENOENT);
}

/* The client's affinity has begun so much earlier; not before the machine has. */
static void make_older(uint64_t ms)
{
	struct affinity_key key = stage_key(CLIENT);
	struct target_affinity affinity;

	assert_true(stage_affinity(CLIENT, &affinity));
	affinity.created_ns -= ms * 1000000;
	assert_int_equal(
		bpf_map_update_elem(stage_map(STAGE_AFFINITY_MAP), &key, &affinity, BPF_EXIST), 0);
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
	assert_int_equal(stage_ask(pair.server, 0, 5000, 70000), 0);
	assert_true(stage_affinity(CLIENT, &after));
	assert_int_equal(before.word, after.word);
	assert_int_equal(after.idle_ns, 5000 * 1000000ULL);
	assert_int_equal(after.created_ns, before.created_ns);
	assert_int_equal(stage_instance_load(0).affinities, 1);
	assert_in_range(stage_status(pair.server).expires_in_ms, 65000, 70000);
	/* What the application allows counts from its last word, the age from its first. */
	make_older(8000);
	assert_in_range(stage_status(pair.server).expires_in_ms, 57000, 62000);
	assert_int_equal(stage_ask(pair.server, 0, 5000, 40000), 0);
	assert_in_range(stage_status(pair.server).expires_in_ms, 35000, 40000);
	assert_in_range(stage_status(pair.server).age_ms, 8000, 13000);
	assert_int_equal(stage_ask(pair.server, 0, 5000, 0), 0);
	assert_true(stage_status(pair.server).expires_in_ms == UINT64_MAX);
}

static void test_life_is_the_services_at_most(void **state)
{
	static const struct {
		uint32_t age_ms, asked_ms, service_ms, left_ms;
	} rows[] = {
		{0, 0, 70000, 70000},	   {0, 50000, 0, 50000},    {0, 90000, 70000, 70000},
		{0, 60000, 70000, 60000},  {8000, 0, 20000, 12000}, {8000, 60000, 20000, 12000},
		{8000, 6000, 20000, 6000}, {8000, 6000, 0, 6000},
	};
	struct target_service service = stage_service(SHOP);
	struct target_affinity affinity;
	struct pair pair;
	uint64_t id;

	(void)state;
	stage_listen(0, SERVICE4, 80);
	pair = stage_pair(CLIENT, SERVICE4, 80);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t left;

		service.max_life_ns = rows[i].service_ms * 1000000ULL;
		stage_put_service(SHOP, &service);
		assert_int_equal(stage_ask_default(pair.server), 0);
		make_older(rows[i].age_ms);
		/* Twice: nothing is gained by asking again. */
		assert_int_equal(stage_ask(pair.server, 0, DEFAULT, rows[i].asked_ms), 0);
		assert_int_equal(stage_ask(pair.server, 0, DEFAULT, rows[i].asked_ms), 0);
		left = stage_status(pair.server).expires_in_ms;
		if (left > rows[i].left_ms || left + 5000 < rows[i].left_ms)
			fail_msg("row %zu: %llu ms left", i, (unsigned long long)left);
		assert_true(stage_affinity(CLIENT, &affinity));
		assert_int_equal(affinity.idle_ns, STAGE_IDLE_MS * 1000000ULL);
		assert_int_equal(release(pair.server), 0);
	}
	/* A reload has shortened it: what is older ends, and a life begins anew. */
	assert_int_equal(stage_ask_default(pair.server), 0);
	make_older(8000);
	id = stage_status(pair.server).id;
	service.max_life_ns = 7000 * 1000000ULL;
	stage_put_service(SHOP, &service);
	assert_int_equal(stage_ask_default(pair.server), 0);
	assert_int_equal(stage_status(pair.server).state, LIMPET_AFFINITY_HERE);
	assert_true(stage_status(pair.server).id > id);
	assert_in_range(stage_status(pair.server).age_ms, 0, 6999);
	assert_int_equal(stage_instance_load(0).affinities, 1);
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
		assert_int_equal(stage_ask_default(kept.server), i <= 2 ? 0 : -ENOSPC);
	}
	assert_int_equal(stage_instance_load(0).affinities, 2);
	instance.max_affinities = 0;
	stage_put_instance(0, &instance);
	for (unsigned int i = 3; i <= STAGE_AFFINITIES + 4; i++) {
		snprintf(client, sizeof(client), "127.0.4.%u", i);
		pair = stage_pair(client, SERVICE4, 80);
		if (stage_ask_default(pair.server) == -ENOSPC)
			break;
	}
	assert_int_equal(stage_entries(STAGE_AFFINITY_MAP), STAGE_AFFINITIES);
	assert_int_equal(stage_instance_load(0).affinities, STAGE_AFFINITIES);
	assert_int_equal(stage_ask_default(pair.server), -ENOSPC);
	assert_int_equal(stage_ask_default(kept.server), 0); /* what is there stays, and changes */
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, stage_begin, stage_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(another_instance_holds_it),    TEST(all_losers_are_told),
		TEST(refused_one_after_the_other),  TEST(asking_again_updates),
		TEST(life_is_the_services_at_most), TEST(quota_and_full_table),
	};

	return cmocka_run_group_tests(tests, stage_load, stage_unload);
}
