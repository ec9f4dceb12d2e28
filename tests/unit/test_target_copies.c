/* SPDX-License-Identifier: BSD-2-Clause */
/* That a router's copy is true: lists of services, digests, rescans, restarts, random histories. */
#include "target_routers.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void expect(unsigned int router, uint8_t type)
{
	struct message message;

	assert_true(next(router, true, &message));
	assert_string_equal(message_name(message.type), message_name(type));
}

static void expect_nothing(unsigned int router)
{
	struct message message;

	if (next(router, true, &message))
		fail_msg("%s was not expected", message_name(message.type));
}

/* ------------------------------------------------------------------------------------------------
 * lists of services */

static void only_what_is_listed_is_told(void **state)
{
	static const unsigned int rows[] = {0, 1, 2, 3, 4, 5, 6, 7};

	(void)state;
	for (unsigned int i = 0; i < SERVICES; i++)
		open_connection(i, i, 0);
	request(0, 1);
	request(1, 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		open_session(0);
		say_list(0, rows[i]);
		say_sync(0);
		drain(0); /* hear_…() refuse what is not listed */
		assert_replica(0);
		assert_int_equal(world.router[0].count[MESSAGE_READY], __builtin_popcount(rows[i]));
		assert_digest(0);
		lose_session(0);
	}
}

static void a_new_list_brings_a_new_snapshot(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < SERVICES; i++)
		open_connection(i, i, 0);
	request(0, 1);
	request(1, 1);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	for (unsigned int bits = 0; bits < 8; bits++) {
		forget_counts(0);
		say_list(0, bits);
		drain(0);
		assert_int_equal(world.router[0].count[MESSAGE_BEGIN], 1);
		assert_int_equal(world.router[0].done_number, world.router[0].number);
		assert_int_equal(world.router[0].count[MESSAGE_CONNECTION_END], 0);
		assert_int_equal(world.router[0].count[MESSAGE_AFFINITY_END], 0);
		assert_replica(0);
		assert_digest(0);
		assert_int_equal(world.router[0].digest.services, world.router[0].number);
	}
	assert_int_equal(target_mirror_router(world.mirror, 0)->services, 3);
	assert_string_equal(target_mirror_router_service(world.mirror, 0, 2)->name, "blog");
	assert_null(target_mirror_router_service(world.mirror, 0, 3));
}

/* The target itself stops serving what the router lists: the router must hear of that. */
static void a_service_that_is_no_longer_served(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	open_connection(2, 1, 1);
	say_ready(SERVICE0 + 2, 4, 1);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	assert_int_equal(world.router[0].ready[2].instances, 4);
	world.services[SERVICE0 + 2].name[0] = 0;
	forget_counts(0);
	target_mirror_configure(world.mirror, world.services, world.scopes);
	drain(0);
	assert_int_equal(world.router[0].count[MESSAGE_BEGIN], 1);
	assert_int_equal(world.router[0].ready[2].instances, 0);
	assert_false(world.router[0].connection[2][1][1]);
	assert_true(world.router[0].connection[0][1][1]);
	assert_digest(0);

	forget_counts(0);
	target_mirror_configure(world.mirror, world.services, world.scopes);
	expect_nothing(0); /* nothing has changed */
}

/* ------------------------------------------------------------------------------------------------
 * digests */

static void digests_are_due_each_second(void **state)
{
	(void)state;
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	assert_int_equal(world.router[0].count[MESSAGE_DIGEST], 1);
	for (int i = 0; i < 30; i++) {
		world.now_ms += 100;
		target_mirror_tick(world.mirror, world.now_ms);
		drain(0);
	}
	assert_int_equal(world.router[0].count[MESSAGE_DIGEST], 4);
}

static void no_digest_while_something_is_unsent(void **state)
{
	struct message message;

	(void)state;
	open_session(0);
	say_list(0, 7);
	say_sync(0);
	while (next(0, false, &message))
		assert_int_not_equal(message.type, MESSAGE_DIGEST); /* DONE waits */
	drain(0);
	world.now_ms += 5000;
	open_connection(0, 1, 1);
	request(0, 1);
	expect(0, MESSAGE_AFFINITY);
	expect(0, MESSAGE_CONNECTION);
	expect(0, MESSAGE_DIGEST);
}

/* ------------------------------------------------------------------------------------------------
 * rescans, restarts */

static void a_rescan_finds_what_events_have_missed(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	open_connection(0, 2, 1);
	request(0, 1);
	request(0, 2);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	forget_counts(0);
	set_connection(0, 1, 1, false); /* stale here */
	set_connection(0, 3, 1, true);	/* missing here */
	world.affinity[0][1].id = 0;
	world.affinity[1][5].id = ++world.last_id;
	world.affinity[0][2].id = ++world.last_id; /* another one */
	expect_nothing(0);
	rescan();
	drain(0);
	assert_replica(0);
	assert_int_equal(world.router[0].count[MESSAGE_CONNECTION], 1);
	assert_int_equal(world.router[0].count[MESSAGE_CONNECTION_END], 1);
	assert_int_equal(world.router[0].count[MESSAGE_AFFINITY], 2);
	assert_int_equal(world.router[0].count[MESSAGE_AFFINITY_END], 1);
	assert_digest(0);
	forget_counts(0);
	rescan();
	expect_nothing(0);
}

static void a_new_session_starts_anew(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	open_connection(0, 2, 1);
	connect_router(0, ROLE_ACTIVE);
	connect_router(1, ROLE_STANDBY);
	drain(0);
	drain(1);
	lose_session(0);
	assert_false(target_mirror_router(world.mirror, 0)->connected);
	close_connection(0, 1, 1);
	world.now_ms += 300;
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	assert_replica(0);
	assert_digest(0);
	drain(1);
	assert_replica(1);
	connect_router(0, ROLE_ACTIVE); /* the older one has not been seen to end */
	drain(0);
	assert_int_equal(world.router[0].count[MESSAGE_BEGIN], 1);
	assert_replica(0);
	assert_digest(0);
}

/* What has ended and was kept for one router alone goes with its session. */
static void nothing_is_kept_for_a_lost_session(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	open_connection(0, 2, 1);
	request(0, 1);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	close_connection(0, 1, 1);
	release(0, 1);
	assert_int_equal(target_mirror_router(world.mirror, 0)->unsent, 2);
	lose_session(0);
	assert_int_equal(target_mirror_router(world.mirror, 0)->unsent, 0);
	connect_router(0, ROLE_ACTIVE);
	assert_int_equal(target_mirror_router(world.mirror, 0)->unsent, 1);
}

static void nothing_without_a_session(void **state)
{
	struct message message = {MESSAGE_SYNC, .list = {0}};

	(void)state;
	assert_false(target_mirror_next(world.mirror, 0, true, 0, &message));
	assert_false(target_mirror_next(world.mirror, MAX_ROUTERS, true, 0, &message));
	assert_int_equal(receive(0, &(struct message){MESSAGE_SYNC, .list = {0}}), -EPROTO);
	assert_int_equal(receive(MAX_ROUTERS, &(struct message){MESSAGE_SYNC, .list = {0}}),
			 -EPROTO);
	lose_session(3);
	assert_null(target_mirror_router(world.mirror, MAX_ROUTERS));
}

/* ------------------------------------------------------------------------------------------------
 * everything at once */

/* Something happens in the kernel; its event may be lost. */
static void kernel_step(uint64_t *seed, bool *lost)
{
	unsigned int s = draw(seed, SERVICES), c = draw(seed, CLIENTS), p = draw(seed, PORTS);
	bool seen = draw(seed, 20) != 0;

	*lost |= !seen;
	if (draw(seed, 3)) {
		set_connection(s, c, p, !world.connection[s][c][p]);
		if (seen)
			event_connection(s, c, p);
		return;
	}
	s = draw(seed, SCOPES);
	if (draw(seed, 4) == 0)
		world.affinity[s][c].takeover ^= true;
	else
		world.affinity[s][c].id = draw(seed, 2) ? ++world.last_id : 0;
	if (seen)
		event_affinity(s, c);
}

static void router_step(uint64_t *seed, unsigned int router)
{
	const struct told *told = &world.router[router];
	struct message message;

	if (!told->connected) {
		if (draw(seed, 8) == 0) {
			open_session(router);
			say_list(router, 1 + draw(seed, 7));
			if (draw(seed, 3))
				say_sync(router);
		}
		return;
	}
	switch (draw(seed, 60)) {
	case 0:
		lose_session(router);
		return;
	case 1:
		say_list(router, draw(seed, 8));
		return;
	case 2:
		say_sync(router);
		return;
	case 3:
		say_barrier(router, draw(seed, 1000));
		return;
	case 4:
		say_role(router, draw(seed, 2), 1);
		return;
	default:
		for (unsigned int i = draw(seed, 6); i; i--)
			if (!next(router, draw(seed, 2), &message))
				return;
	}
}

static void answer_step(uint64_t *seed, unsigned int router)
{
	static const uint8_t types[] = {MESSAGE_GRANT, MESSAGE_GRANT, MESSAGE_REFUSE, MESSAGE_LOST};
	unsigned int scope = draw(seed, SCOPES), client = draw(seed, CLIENTS);
	unsigned int type = draw(seed, COUNT(types)), clock = 1 + draw(seed, 50);
	struct message message = {types[type], .answer = {.client = client_address(client),
							  .id = world.affinity[scope][client].id,
							  .term = {clock, router},
							  .reason = REFUSE_HELD}};

	strcpy(message.answer.scope, scope_names[scope]);
	if (world.router[router].connected)
		say(router, &message);
}

static bool is_synced(unsigned int router)
{
	return world.router[router].connected && world.router[router].done;
}

/* 16 routers, each with sessions of its own, fast and slow: each ends with a true copy. */
static void random_histories(void **state)
{
	unsigned int sessions = 0;

	(void)state;
	for (uint64_t first = 0; first < 12; first++) {
		uint64_t seed = first * 1000003 + 7562145;
		bool lost = false;

		world_teardown(NULL);
		world_setup(NULL);
		for (unsigned int step = 0; step < 3000; step++) {
			unsigned int router = draw(&seed, MAX_ROUTERS);
			bool before = world.router[router].connected;

			kernel_step(&seed, &lost);
			router_step(&seed, router);
			sessions += !before && world.router[router].connected;
			answer_step(&seed, draw(&seed, MAX_ROUTERS));
			world.now_ms += draw(&seed, 40);
			target_mirror_tick(world.mirror, world.now_ms);
			if (draw(&seed, 100) == 0) {
				rescan();
				lost = false;
			}
			if (lost || draw(&seed, 10) || !is_synced(router))
				continue;
			drain(router);
			assert_replica(router);
			assert_digest(router);
		}
		rescan();
		for (unsigned int router = 0; router < MAX_ROUTERS; router++) {
			if (world.router[router].connected)
				lose_session(router);
			world.now_ms++;
			connect_router(router, ROLE_STANDBY);
			drain(router);
			assert_replica(router);
			assert_digest(router);
		}
	}
	assert_true(sessions > 256);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(only_what_is_listed_is_told),
		ROW(a_new_list_brings_a_new_snapshot),
		ROW(a_service_that_is_no_longer_served),
		ROW(digests_are_due_each_second),
		ROW(no_digest_while_something_is_unsent),
		ROW(a_rescan_finds_what_events_have_missed),
		ROW(a_new_session_starts_anew),
		ROW(nothing_is_kept_for_a_lost_session),
		ROW(nothing_without_a_session),
		ROW(random_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
