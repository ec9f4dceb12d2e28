/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections: snapshots, lingering, one key at two targets, a full table. */
#include "mirror_world.h"

static void a_snapshot_replaces(void **state)
{
	uint16_t target = open_session("t1");

	(void)state;
	say_list(target, MESSAGE_BEGIN, 1);
	opened(target, 1);
	opened(target, 2);
	publishes(target, 1, 1, 3, 9);
	publishes(target, 2, 2, 4, 9);
	say_list(target, MESSAGE_DONE, 1);
	assert_int_equal(target_of(target)->connections, 2);
	assert_int_equal(target_of(target)->affinities, 2);
	open_session("t1");
	say_list(target, MESSAGE_BEGIN, 1);
	publishes(target, 2, 2, 4, 9);
	opened(target, 2);
	opened(target, 3);
	assert_int_equal(at(1), target);
	assert_int_equal(holder(1), target);
	say_list(target, MESSAGE_DONE, 1);
	assert_int_equal(at(1), 1000 + target);
	assert_int_equal(at(2), target);
	assert_int_equal(at(3), target);
	assert_int_equal(holder(1), -1);
	assert_int_equal(holder(2), target);
	assert_int_equal(target_of(target)->connections, 2);
}

static void lingering(void **state)
{
	static const struct {
		const char *what;
		uint8_t how;
		uint64_t linger_ms;
	} rows[] = {
		{"closed", CONNECTION_END_CLOSED, 60000},
		{"reset", CONNECTION_END_RESET, 1000},
	};
	uint16_t first = join("t1", 0), second = join("t2", 0);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		opened(first, 1);
		say_connection(first, MESSAGE_CONNECTION_END, 1, rows[i].how);
		assert_int_equal(at(1), 1000 + first);
		passes(rows[i].linger_ms - 1);
		assert_int_equal(at(1), 1000 + first);
		passes(1);
		assert_int_equal(at(1), -1);
		/* The same again ends it, another target's too. */
		opened(first, 1);
		say_connection(first, MESSAGE_CONNECTION_END, 1, rows[i].how);
		opened(first, 1);
		assert_int_equal(at(1), first);
		say_connection(first, MESSAGE_CONNECTION_END, 1, rows[i].how);
		opened(second, 1);
		assert_int_equal(at(1), second);
		passes(rows[i].linger_ms);
		assert_int_equal(at(1), second);
		say_connection(second, MESSAGE_CONNECTION_END, 1, rows[i].how);
		passes(rows[i].linger_ms);
		assert_int_equal(at(1), -1);
	}
	closed(first, 1); /* unknown: nothing */
	assert_int_equal(world.connection_count, 0);
}

static void two_hold_the_same(void **state)
{
	uint16_t first = join("t1", 0), second = open_session("t2"), third = open_session("t3");

	(void)state;
	say_list(second, MESSAGE_BEGIN, 1);
	say_list(third, MESSAGE_BEGIN, 1);
	opened(first, 1);
	opened(second, 1);
	opened(third, 1);
	assert_int_equal(at(1), first); /* snapshots do not tell which is younger */
	closed(second, 1);
	assert_int_equal(at(1), first);
	closed(first, 1);
	assert_int_equal(at(1), third);
	world.noted = second; /* the handshake went there, before our eyes */
	opened(second, 1);
	assert_int_equal(at(1), second);
	opened(first, 1); /* in sync, but a late report */
	assert_int_equal(at(1), second);
	world.noted = third;
	closed(second, 1);
	assert_int_equal(at(1), third);
	assert_int_equal(router_mirror_counts(world.mirror)->connections, 1);
}

static void the_younger_is_alive(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0);

	(void)state;
	opened(first, 1);
	opened(second, 1); /* it has just been established */
	assert_int_equal(at(1), second);
	opened(first, 1); /* it has ended and begun anew in between */
	assert_int_equal(at(1), first);
	closed(second, 1);
	assert_int_equal(at(1), first);
}

/* What is older, or of a target that is down, has hardly anybody who sends on it: who has ended
 * lingers first. */
static void the_older_waits(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0), third;

	(void)state;
	opened(first, 1);
	opened(second, 1);
	closed(second, 1);
	assert_int_equal(at(1), 1000 + second);
	opened(first, 2);
	opened(second, 2);
	closed(second, 2);
	closed(first, 2); /* its word was not the entry's */
	assert_int_equal(at(2), 1000 + second);
	assert_int_equal(router_mirror_counts(world.mirror)->lingering, 2);
	passes(59999);
	assert_int_equal(at(1), 1000 + second);
	passes(1);
	assert_int_equal(at(1), first);
	opened(second, 1);
	say_connection(second, MESSAGE_CONNECTION_END, 1, CONNECTION_END_RESET);
	assert_int_equal(at(1), 1000 + second);
	opened(first, 1); /* begun anew */
	assert_int_equal(at(1), first);
	opened(second, 1);
	closed(second, 1);
	lose(second, GOODBYE_LEAVING);
	assert_int_equal(at(1), first);
	second = join("t2", 0);
	opened(second, 1);
	open_session("t1");
	say_list(first, MESSAGE_BEGIN, 1);
	opened(first, 1); /* another one, perhaps */
	say_list(first, MESSAGE_DONE, 1);
	assert_int_equal(at(1), second);
	closed(second, 1);
	assert_int_equal(at(1), first);

	third = open_session("t3");
	say_list(third, MESSAGE_BEGIN, 1);
	opened(first, 2);
	opened(third, 2);
	lose(third, 0);
	closed(first, 2);
	assert_int_equal(at(2), 1000 + first);
	open_session("t3");
	say_list(third, MESSAGE_BEGIN, 1);
	opened(third, 2); /* which of them is older nobody knows */
	assert_int_equal(at(2), third);
	assert_int_equal(router_mirror_counts(world.mirror)->lingering, 0);
}

static void the_older_without_room(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0);
	const struct mirror_counts *counts = router_mirror_counts(world.mirror);

	(void)state;
	world.room = 1;
	opened(first, 1);
	opened(second, 1);
	closed(second, 1);
	opened(second, 2);
	assert_int_equal(at(2), second);
	assert_int_equal(at(1), -1);
	assert_int_equal(counts->connections_waiting, 1);
	assert_int_equal(target_of(first)->waiting, 1);
	closed(second, 2);
	passes(100);
	assert_int_equal(at(1), first);
	assert_int_equal(counts->connections_waiting, 0);
}

static void the_dead_give_way(void **state)
{
	uint16_t first = join("t1", 0), second = open_session("t2");

	(void)state;
	say_list(second, MESSAGE_BEGIN, 1);
	opened(first, 1);
	opened(second, 1);
	opened(first, 2);
	lose(first, 0);
	passes(DEAD_AFTER_MS);
	assert_int_equal(at(1), second);
	assert_int_equal(at(2), first);
	opened(second, 2);
	assert_int_equal(at(2), second);
}

static void full_is_not_broken(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0);
	const struct mirror_counts *counts = router_mirror_counts(world.mirror);

	(void)state;
	world.room = 3;
	for (unsigned int port = 1; port <= 5; port++)
		opened(first, port);
	assert_int_equal(world.connection_count, 3);
	assert_int_equal(counts->connections_waiting, 2);
	assert_int_equal(counts->full, 2);
	assert_int_equal(target_of(first)->connections, 5);
	closed(first, 1); /* what has ended gives way to what waits */
	assert_int_equal(at(1), 1000 + first);
	passes(100);
	assert_int_equal(at(1), -1);
	assert_int_equal(at(4), first);
	assert_int_equal(counts->connections_waiting, 1);
	closed(first, 2); /* and to what is new */
	opened(second, 6);
	assert_int_equal(at(2), -1);
	assert_int_equal(at(6), second);
	closed(first, 4);
	passes(100);
	assert_int_equal(at(5), first);
	assert_int_equal(counts->connections_waiting, 0);
	opened(first, 7);
	closed(first, 7); /* was never in */
	assert_int_equal(at(7), -1);
	opened(first, 8);
	assert_int_equal(counts->connections_waiting, 1);
	lose(first, GOODBYE_LEAVING);
	assert_int_equal(counts->connections_waiting, 0);
	assert_int_equal(world.connection_count, 1);
	first = join("t1", 0);
	opened(first, 1);
	opened(first, 2);
	opened(second, 7);
	world.room = 4;
	passes(100);
	assert_int_equal(at(7), second);
	lose(first, 0);
	passes(DEAD_AFTER_MS);
	opened(second, 8);
	opened(second, 9);
	opened(second, 10);
	assert_int_equal(world.connection_count, 4);
	assert_int_equal(at(8), second);
	assert_int_equal(at(9), second);
	assert_int_equal(counts->connections_waiting, 3);
}

/* What a dead target had said waits behind the living, and takes nobody's place. */
static void the_dead_wait_behind(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0);

	(void)state;
	world.room = 2;
	for (unsigned int port = 1; port <= 3; port++)
		opened(first, port); /* 3 waits */
	lose(first, 0);
	passes(DEAD_AFTER_MS);
	opened(second, 4);
	opened(second, 5);
	opened(second, 6); /* waits behind three of the dead */
	assert_int_equal(at(4), second);
	assert_int_equal(at(5), second);
	assert_int_equal(target_of(first)->waiting, 3);
	closed(second, 4);
	passes(100);
	assert_int_equal(at(4), -1);
	assert_int_equal(at(6), second);
	closed(second, 5);
	passes(1000);
	assert_int_equal(at(5), 1000 + second);
	passes(60000);
	assert_int_equal(target_of(first)->waiting, 2);
	assert_int_equal(world.connection_count, 2);
}

/* A router without room does not know a target's table, however well it has heard it. */
static void without_room_not_in_sync(void **state)
{
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	world.room = 2;
	opened(first, 1);
	opened(first, 2);
	assert_true(router_mirror_in_sync(world.mirror));
	world.target_changes = 0;
	opened(first, 3);
	assert_int_equal(target_of(first)->waiting, 1);
	assert_int_equal(target_of(first)->connections, 3);
	assert_false(target_of(first)->in_sync);
	assert_true(target_of(second)->in_sync);
	assert_int_equal(state_of(first), TARGET_UP);
	assert_true(target_of(first)->affinities_in_sync);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(router_mirror_missing(world.mirror), 1);
	assert_true(world.target_changes > 0);

	/* A new session, and a new term of office, make no room. */
	open_session("t1");
	say_list(first, MESSAGE_BEGIN, 1);
	for (unsigned int port = 1; port <= 3; port++)
		opened(first, port);
	say_list(first, MESSAGE_DONE, 1);
	answers_barrier(first, 1);
	assert_false(target_of(first)->in_sync);
	activate(2);
	answers_barrier(first, 2);
	answers_barrier(second, 2);
	assert_false(target_of(first)->in_sync);
	assert_true(target_of(second)->in_sync);

	world.room = MOST;
	passes(100);
	assert_int_equal(target_of(first)->waiting, 0);
	assert_false(target_of(first)->in_sync); /* full again at once, perhaps */
	passes(9899);
	assert_false(target_of(first)->in_sync);
	passes(1);
	assert_true(target_of(first)->in_sync);
	assert_true(router_mirror_in_sync(world.mirror));
}

static void restored_linger_together(void **state)
{
	struct router_connection value = {.state = CONNECTION_LINGERS};
	struct address address = client_address(200);

	(void)state;
	router_mirror_restore_target(world.mirror, 0, "t1", 1, &address, true);
	for (unsigned int port = 1; port <= 3; port++) {
		struct connection_key key = {.client = client_address(1),
					     .client_port = htons((uint16_t)port)};

		put_connection(NULL, &key, &value);
		assert_int_equal(router_mirror_restore_connection(world.mirror, &key, &value), 0);
	}
	passes(0);
	passes(59999);
	assert_int_equal(world.connection_count, 3);
	passes(1);
	assert_int_equal(world.connection_count, 0);
}

/* A service is its address, port and protocol: under another name its connections are the same. */
static void a_renamed_service_keeps_them(void **state)
{
	uint16_t target = join("t1", 0);

	(void)state;
	opened(target, 1);
	forget_sent();
	snprintf(world.services[0].name, NAME_SIZE, "store");
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(at(1), target);
	assert_int_equal(sent_of_type(target, MESSAGE_SERVICE), 2);
	say_list(target, MESSAGE_BEGIN, 2);
	opened(target, 1);
	say_list(target, MESSAGE_DONE, 2);
	assert_int_equal(at(1), target);
	assert_int_equal(target_of(target)->connections, 1);

	world.services[0].key.port = htons(8080);
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(world.connection_count, 0);
	assert_int_equal(target_of(target)->connections, 0);
}

static void unlisted_is_ignored(void **state)
{
	struct message message = {.type = MESSAGE_CONNECTION};
	uint16_t target = join("t1", 0);

	(void)state;
	message.connection.service = service_key(30);
	assert_int_equal(say(target, &message), 0);
	assert_int_equal(world.connection_count, 0);
	claim_in("nowhere", target, 1, 1, (struct term){0, 0}, false);
	assert_int_equal(answer_to(target)->type, 0);
	assert_int_equal(router_mirror_counts(world.mirror)->unlisted, 2);
	activate(1);
	claim_in("nowhere", target, 1, 1, (struct term){0, 0}, false);
	assert_int_equal(answer_to(target)->type, MESSAGE_REFUSE);
	assert_int_equal(answer_to(target)->answer.reason, REFUSE_SERVICE);
	assert_string_equal(answer_to(target)->answer.scope, "nowhere");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_snapshot_replaces),	TEST(lingering),
		TEST(two_hold_the_same),	TEST(the_younger_is_alive),
		TEST(the_older_waits),		TEST(the_older_without_room),
		TEST(the_dead_give_way),	TEST(full_is_not_broken),
		TEST(the_dead_wait_behind),	TEST(without_room_not_in_sync),
		TEST(restored_linger_together), TEST(a_renamed_service_keeps_them),
		TEST(unlisted_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
