/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target tells its routers of its table: snapshots, changes, barriers. */
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
 * snapshots */

static void order_of_a_session(void **state)
{
	static const uint8_t rows[] = {
		MESSAGE_TARGET, MESSAGE_READY,	  MESSAGE_READY,    MESSAGE_READY,
		MESSAGE_BEGIN,	MESSAGE_AFFINITY, MESSAGE_AFFINITY, MESSAGE_CONNECTION,
		MESSAGE_DONE,	MESSAGE_BARRIER,  MESSAGE_DIGEST,
	};

	(void)state;
	open_connection(0, 1, 1);
	request(0, 2);
	request(1, 3);
	say_ready(SERVICE0 + 1, 4, 9);
	connect_router(0, ROLE_ACTIVE);
	say_barrier(0, 1);
	for (size_t i = 0; i < COUNT(rows); i++)
		expect(0, rows[i]);
	expect_nothing(0);
	assert_replica(0);
	assert_int_equal(world.router[0].target.weight, 100);
	assert_int_equal(world.router[0].ready[1].instances, 4);
	assert_int_equal(world.router[0].ready[1].connections, 9);
	assert_int_equal(world.router[0].done_number, 1);
	assert_int_equal(world.router[0].barrier, 1);
}

static void nothing_of_the_table_before_sync(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	request(0, 2);
	open_session(0);
	expect(0, MESSAGE_TARGET);
	expect_nothing(0);
	say_role(0, ROLE_STANDBY, 0);
	say_list(0, 1);
	expect(0, MESSAGE_READY);
	expect_nothing(0);
	close_connection(0, 1, 1);
	expect_nothing(0);
	assert_false(target_mirror_router(world.mirror, 0)->synced);
	say_sync(0);
	expect(0, MESSAGE_BEGIN);
	expect(0, MESSAGE_AFFINITY);
	expect(0, MESSAGE_DONE);
	assert_true(target_mirror_router(world.mirror, 0)->synced);
}

/* A service that is not served yet must not look as if it had no entries. */
static void snapshot_waits_for_the_services(void **state)
{
	(void)state;
	world.late = true;
	open_connection(0, 1, 1);
	connect_router(0, ROLE_ACTIVE);
	assert_int_equal(world.services_changed, 1);
	expect(0, MESSAGE_TARGET);
	expect_nothing(0);
	target_mirror_configure(world.mirror, world.services, world.scopes);
	drain(0);
	assert_replica(0);
	assert_int_equal(world.router[0].done_number, 1);
}

static void done_waits_for_the_ring_and_the_first_scan(void **state)
{
	struct message message;

	(void)state;
	start_blind_agent();
	connect_router(0, ROLE_ACTIVE);
	while (next(0, false, &message))
		;
	drain(0);
	assert_false(world.router[0].done); /* nobody has looked yet */
	target_mirror_rescan_begin(world.mirror);
	drain(0);
	assert_false(world.router[0].done); /* the rescan is not over */
	target_mirror_rescan_end(world.mirror);
	assert_true(world.router[0].awake);
	drain(0);
	assert_true(world.router[0].done);
}

static void random_change(uint64_t *seed)
{
	unsigned int service = draw(seed, SERVICES), client = draw(seed, CLIENTS);
	unsigned int port = draw(seed, PORTS), what = draw(seed, 4);

	if (what == 0)
		request(scope_of[service], client);
	else if (what == 1)
		release(scope_of[service], client);
	else if (what == 2)
		open_connection(service, client, port);
	else
		close_connection(service, client, port);
}

/* Whenever a connection is told, every affinity is: whatever changes meanwhile. */
static void affinities_come_before_connections(void **state)
{
	unsigned int connections = 0;
	uint64_t seed = 11;

	(void)state;
	for (int round = 0; round < 100; round++) {
		unsigned int changes = 60;
		struct message message;

		connect_router(0, ROLE_STANDBY);
		while (next(0, true, &message)) {
			if (message.type == MESSAGE_CONNECTION ||
			    message.type == MESSAGE_CONNECTION_END) {
				assert_affinities(0);
				connections++;
			}
			if (changes && draw(&seed, 2)) {
				random_change(&seed);
				changes--;
			}
		}
		assert_replica(0);
		lose_session(0);
	}
	assert_true(connections > 1000);
}

static void a_second_sync_brings_a_second_snapshot(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	request(0, 1);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	forget_counts(0);
	say_sync(0);
	drain(0);
	assert_int_equal(world.router[0].count[MESSAGE_BEGIN], 1);
	assert_int_equal(world.router[0].count[MESSAGE_CONNECTION], 1);
	assert_int_equal(world.router[0].count[MESSAGE_AFFINITY], 1);
	assert_int_equal(world.router[0].count[MESSAGE_DONE], 1);
	assert_digest(0);
}

/* What ends while a second snapshot is under way is swept at its DONE. */
static void ends_within_a_second_snapshot(void **state)
{
	(void)state;
	open_connection(0, 1, 1);
	open_connection(0, 2, 1);
	request(0, 1);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	say_sync(0);
	expect(0, MESSAGE_BEGIN);
	close_connection(0, 1, 1);
	release(0, 1);
	drain(0);
	assert_replica(0);
	assert_digest(0);
	assert_int_equal(target_mirror_connections(world.mirror), 1);
	assert_int_equal(target_mirror_affinities(world.mirror), 0);
}

/* ------------------------------------------------------------------------------------------------
 * changes */

/* One connection, opened (o) and closed (c), with writes (w) between; what the router is told. */
/* It has closed, and another has been opened under its key, before an event of these is read. */
static void replace_connection(unsigned int service, unsigned int client, unsigned int port)
{
	set_connection(service, client, port, false);
	set_connection(service, client, port, true);
	event_connection(service, client, port);
	event_connection(service, client, port);
}

static void changes_coalesce(void **state)
{
	static const struct {
		const char *steps;
		unsigned int opened, ended;
	} rows[] = {
		{"w", 0, 0},	     {"ow", 1, 0},     {"ocw", 0, 0},	  {"owcw", 1, 1},
		{"owcow", 2, 0},     {"ocow", 1, 0},   {"owcocw", 1, 1},  {"oww", 1, 0},
		{"ococococw", 0, 0}, {"oow", 1, 0},    {"owow", 1, 0},	  {"cw", 0, 0},
		{"owcwcw", 1, 1},    {"owcwow", 2, 1}, {"owcwocw", 1, 1}, {"owrw", 2, 0},
		{"orw", 1, 0},	     {"owrcw", 1, 1},  {"owcrw", 2, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		world_teardown(NULL);
		world_setup(NULL);
		connect_router(0, ROLE_ACTIVE);
		drain(0);
		forget_counts(0);
		print_message("%s\n", rows[i].steps);
		for (const char *step = rows[i].steps; *step; step++) {
			if (*step == 'o')
				open_connection(1, 2, 0);
			else if (*step == 'c')
				close_connection(1, 2, 0);
			else if (*step == 'r')
				replace_connection(1, 2, 0);
			else
				drain(0);
		}
		assert_int_equal(world.router[0].count[MESSAGE_CONNECTION], rows[i].opened);
		assert_int_equal(world.router[0].count[MESSAGE_CONNECTION_END], rows[i].ended);
		assert_replica(0);
		assert_int_equal(target_mirror_router(world.mirror, 0)->unsent, 0);
	}
}

/* An event names a key; what holds when it is read counts, not what the event meant. */
static void events_are_levels(void **state)
{
	(void)state;
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	forget_counts(0);
	event_connection(0, 1, 1); /* "opened", but it has closed since */
	expect_nothing(0);
	set_connection(0, 1, 1, true);
	event_connection(0, 1, 1); /* "closed", but it has been opened since */
	expect(0, MESSAGE_CONNECTION);
	set_connection(0, 1, 1, false);
	expect_nothing(0); /* no event, no rescan: nobody knows */
	event_connection(0, 1, 1);
	expect(0, MESSAGE_CONNECTION_END);
	event_affinity(0, 1);
	expect_nothing(0);
}

static void an_end_says_how(void **state)
{
	struct connection_key key = connection_key(0, 1, 1);
	struct message message;

	(void)state;
	open_connection(0, 1, 1);
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	set_connection(0, 1, 1, false);
	target_mirror_connection(world.mirror, &key, CONNECTION_END_RESET);
	assert_true(next(0, true, &message));
	assert_int_equal(message.type, MESSAGE_CONNECTION_END);
	assert_int_equal(message.connection.how, CONNECTION_END_RESET);

	/* Two have ended under the key before either was told: in whatever order they are read. */
	for (unsigned int i = 0; i < 2; i++) {
		set_connection(0, 1, 1, true);
		event_connection(0, 1, 1);
		assert_true(next(0, true, &message));
		set_connection(0, 1, 1, false);
		target_mirror_connection(world.mirror, &key,
					 i ? CONNECTION_END_CLOSED : CONNECTION_END_RESET);
		target_mirror_connection(world.mirror, &key,
					 i ? CONNECTION_END_RESET : CONNECTION_END_CLOSED);
		assert_true(next(0, true, &message));
		assert_int_equal(message.type, MESSAGE_CONNECTION_END);
		assert_int_equal(message.connection.how, CONNECTION_END_CLOSED);
	}
}

static void an_affinity_that_changes_is_told_again(void **state)
{
	struct message message;
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_STANDBY);
	drain(0);
	request(0, 1);
	id = request(0, 1); /* ended and asked for again, in one event */
	assert_true(next(0, true, &message));
	assert_int_equal(message.type, MESSAGE_AFFINITY);
	assert_int_equal(message.affinity.id, id);
	assert_false(message.affinity.takeover);
	world.affinity[0][1].takeover = true;
	event_affinity(0, 1);
	assert_true(next(0, true, &message));
	assert_int_equal(message.affinity.id, id);
	assert_true(message.affinity.takeover);
	event_affinity(0, 1);
	expect_nothing(0);
	release(0, 1);
	expect(0, MESSAGE_AFFINITY_END);
	assert_digest(0);
}

/* ------------------------------------------------------------------------------------------------
 * barriers */

static void a_barrier_waits_for_everything(void **state)
{
	struct message message;

	(void)state;
	open_connection(0, 1, 1);
	connect_router(0, ROLE_ACTIVE);
	say_barrier(0, 7);
	expect(0, MESSAGE_TARGET);
	for (unsigned int i = 0; i < SERVICES; i++)
		expect(0, MESSAGE_READY);
	expect(0, MESSAGE_BEGIN);
	expect(0, MESSAGE_CONNECTION);
	expect(0, MESSAGE_DONE);
	expect(0, MESSAGE_BARRIER);
	assert_int_equal(world.router[0].barrier, 7);
	drain(0);

	say_barrier(0, 8);
	assert_true(world.router[0].awake);
	assert_false(next(0, false, &message)); /* the ring has not been read since it was asked */
	open_connection(0, 2, 1);		/* that is in the ring */
	expect(0, MESSAGE_CONNECTION);
	expect(0, MESSAGE_BARRIER);
	assert_int_equal(world.router[0].barrier, 8);
	expect_nothing(0);

	target_mirror_rescan_begin(world.mirror);
	say_barrier(0, 9);
	expect_nothing(0);
	target_mirror_rescan_end(world.mirror);
	expect(0, MESSAGE_BARRIER);
}

static void a_later_barrier_replaces_an_earlier_one(void **state)
{
	(void)state;
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	say_barrier(0, 8);
	say_barrier(0, 9);
	expect(0, MESSAGE_BARRIER);
	assert_int_equal(world.router[0].barrier, 9);
	expect_nothing(0);
}

static void no_barrier_without_a_snapshot(void **state)
{
	(void)state;
	open_session(0);
	say_list(0, 7);
	say_barrier(0, 3);
	drain(0);
	assert_int_equal(world.router[0].count[MESSAGE_BARRIER], 0);
	say_sync(0);
	drain(0);
	assert_int_equal(world.router[0].count[MESSAGE_BARRIER], 1);
}

/* ------------------------------------------------------------------------------------------------
 * own condition, what is not for a target */

static void condition_is_told_when_it_changes(void **state)
{
	const struct message_target draining = {0, 4, true, true, false};
	struct message_target crowded = draining;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	drain(0);
	target_mirror_condition(world.mirror, &draining);
	say_ready(SERVICE0, 1, 2);
	say_ready(SERVICE0, 3, 4);
	expect(0, MESSAGE_TARGET);
	expect(0, MESSAGE_READY);
	expect_nothing(0);
	assert_int_equal(world.router[0].target.weight, 0);
	assert_true(world.router[0].target.draining && world.router[0].target.end_affinities);
	assert_int_equal(world.router[0].ready[0].instances, 3);
	target_mirror_condition(world.mirror, &draining);
	say_ready(SERVICE0, 3, 4);
	say_ready(NO_NUMBER, 3, 4);
	say_ready(SERVICE0 + SERVICES, 3, 4);
	expect_nothing(0);
	crowded.crowded = true;
	target_mirror_condition(world.mirror, &crowded);
	expect(0, MESSAGE_TARGET);
	assert_true(world.router[0].target.crowded);
}

static void messages_out_of_place(void **state)
{
	static const struct message rows[][3] = {
		{{MESSAGE_HELLO, .list = {0}}},
		{{MESSAGE_TARGET, .list = {0}}},
		{{MESSAGE_READY, .list = {0}}},
		{{MESSAGE_AFFINITY, .list = {0}}},
		{{MESSAGE_AFFINITY_END, .list = {0}}},
		{{MESSAGE_CONNECTION, .list = {0}}},
		{{MESSAGE_CONNECTION_END, .list = {0}}},
		{{MESSAGE_DIGEST, .list = {0}}},
		{{MESSAGE_SERVICE, .list = {0}}},
		{{MESSAGE_DONE, .list = {1}}},
		{{MESSAGE_BEGIN, .list = {0}}},
		{{MESSAGE_BEGIN, .list = {1}}, {MESSAGE_BEGIN, .list = {2}}},
		{{MESSAGE_BEGIN, .list = {1}}, {MESSAGE_DONE, .list = {2}}},
		{{MESSAGE_BEGIN, .list = {1}},
		 {MESSAGE_SERVICE, .service = {.name = "a", .scope = "a"}},
		 {MESSAGE_SERVICE,
		  .service = {.name = "b", .scope = "a"}}}, /* the same address and port */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int result = 0;

		open_session(0);
		for (size_t step = 0; step < 3 && rows[i][step].type; step++) {
			assert_int_equal(result, 0);
			result = receive(0, &rows[i][step]);
		}
		print_message("%s\n", message_name(rows[i][0].type));
		assert_int_equal(result, -EPROTO);
		lose_session(0);
	}
}

static void a_list_has_at_most_512_services(void **state)
{
	struct message service = {MESSAGE_SERVICE, .service = {.name = "a", .scope = "a"}};

	(void)state;
	open_session(0);
	say(0, &(struct message){MESSAGE_BEGIN, .list = {1}});
	service.service.key = wire_service(0);
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		service.service.key.port = htons((uint16_t)(1 + i));
		say(0, &service);
	}
	service.service.key.port = htons(9999);
	assert_int_equal(receive(0, &service), -EPROTO);
}

static void ended(void *context, const struct affinity_key *key,
		  const struct target_affinity *value)
{
	unsigned int *count = context;

	(*count)++;
	assert_int_equal(value->word >> 8, kernel_affinity(key)->id);
	world_end_affinity(&world, key, value->word >> 8, END_SERVICE);
	target_mirror_affinity(world.mirror, key);
}

static void each_affinity_may_end(void **state)
{
	unsigned int count = 0;

	(void)state;
	target_mirror_each_affinity(world.mirror, ended, &count);
	assert_int_equal(count, 0);
	for (unsigned int i = 0; i < SCOPES * CLIENTS; i++)
		request(i % SCOPES, i / SCOPES);
	world.affinity[1][1].id = 0; /* gone, not yet noticed */
	target_mirror_each_affinity(world.mirror, ended, &count);
	assert_int_equal(count, SCOPES * CLIENTS - 1);
	rescan();
	assert_int_equal(target_mirror_affinities(world.mirror), 0);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(order_of_a_session),
		ROW(nothing_of_the_table_before_sync),
		ROW(snapshot_waits_for_the_services),
		ROW(done_waits_for_the_ring_and_the_first_scan),
		ROW(affinities_come_before_connections),
		ROW(a_second_sync_brings_a_second_snapshot),
		ROW(ends_within_a_second_snapshot),
		ROW(changes_coalesce),
		ROW(events_are_levels),
		ROW(an_end_says_how),
		ROW(an_affinity_that_changes_is_told_again),
		ROW(a_barrier_waits_for_everything),
		ROW(a_later_barrier_replaces_an_earlier_one),
		ROW(no_barrier_without_a_snapshot),
		ROW(condition_is_told_when_it_changes),
		ROW(messages_out_of_place),
		ROW(a_list_has_at_most_512_services),
		ROW(each_affinity_may_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
