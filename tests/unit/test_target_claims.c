/* SPDX-License-Identifier: BSD-2-Clause */
/* Claims, grants, refusals, losses and the logical clock at a target. */
#include "target_routers.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define CLIENT	    2

static void say_answer(unsigned int router, uint8_t type, uint64_t id, uint64_t clock)
{
	struct message message = {type, .answer = {.scope = "shop",
						   .client = client_address(CLIENT),
						   .id = id,
						   .term = {clock, 1000 + router},
						   .reason = REFUSE_HELD}};

	say(router, &message);
}

static void grant(unsigned int router, uint64_t id, uint64_t clock)
{
	say_answer(router, MESSAGE_GRANT, id, clock);
}

static bool is_published(uint64_t id)
{
	return world.affinity[0][CLIENT].published_id == id;
}

static struct term term_told(unsigned int router)
{
	drain(router);
	return world.router[router].affinity[0][CLIENT].term;
}

static void assert_term(struct term term, uint64_t clock, uint64_t router)
{
	assert_int_equal(term.clock, clock);
	assert_int_equal(term.router, router);
}

/* ------------------------------------------------------------------------------------------------
 * publication */

/*
 * Two routers and one claim. Steps: A, B a router becomes active; a, b standby; 0, 1 it grants,
 * with the clocks 10 and 20; X, Y its session ends; x, y it comes back (its role not yet told); t
 * two seconds pass. published: after the last step. Before the steps both are connected, standby.
 */
static void who_has_to_grant(void **state)
{
	static const struct {
		const char *steps;
		bool published;
	} rows[] = {
		{"", false},	    {"0", false}, /* not active: a word that does not count alone */
		{"A", false},	    {"A0", true},      {"0A", true},
		{"AB0", false},	    {"AB1", false},    {"AB01", true},
		{"AB10", true},	    {"AB0b", true}, /* the one that has not granted steps back */
		{"A1", false},	    {"A0", true},      {"0X", false},
		{"0XxA", false}, /* granted in an earlier session */
		{"AB0Y", false}, /* it may not have noticed that its session has ended */
		{"AB0Yt", true}, /* now it has */
		{"AB0Yyt", true},   {"AB0Yy", false},  {"AB0YyB", false},
		{"AB0YyBt", false}, {"AB0YyB1", true}, {"AB0Yyb", true},
		{"AX", false},	    {"AXt", false}, /* nobody is left to ask */
		{"AXB1", false},		    /* A's death is not yet certain */
		{"AXB1t", true},    {"AXBt1", true},   {"aX0", false},
		{"AXx0", false}, /* its role in this session is not told yet */
		{"AXx0A", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t id;

		world_teardown(NULL);
		world_setup(NULL);
		print_message("\"%s\"\n", rows[i].steps);
		connect_router(0, ROLE_STANDBY);
		connect_router(1, ROLE_STANDBY);
		id = request(0, CLIENT);
		for (const char *step = rows[i].steps; *step; step++) {
			if (strchr("AB", *step))
				say_role((unsigned int)(*step - 'A'), ROLE_ACTIVE, 1);
			else if (strchr("ab", *step))
				say_role((unsigned int)(*step - 'a'), ROLE_STANDBY, 1);
			else if (strchr("01", *step) && world.router[*step - '0'].connected)
				grant((unsigned int)(*step - '0'), id, *step == '0' ? 10 : 20);
			else if (strchr("XY", *step))
				lose_session((unsigned int)(*step - 'X'));
			else if (strchr("xy", *step))
				open_session((unsigned int)(*step - 'x'));
			else if (*step == 't')
				world.now_ms += 2000;
			target_mirror_tick(world.mirror, world.now_ms);
			if (strchr("xy", *step))
				say_list((unsigned int)(*step - 'x'), 7);
		}
		assert_int_equal(is_published(id), rows[i].published);
	}
}

static void the_highest_grant_is_published(void **state)
{
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	connect_router(1, ROLE_ACTIVE);
	connect_router(2, ROLE_STANDBY);
	id = request(0, CLIENT);
	assert_term(term_told(0), 0, 0);
	assert_term(term_told(1), 0, 0);
	grant(1, id, 31);
	grant(0, id, 30);
	assert_true(is_published(id));
	assert_term(world.affinity[0][CLIENT].published, 31, 1001);
	for (unsigned int router = 0; router < 3; router++) {
		assert_true(world.router[router].awake);
		assert_term(term_told(router), 31, 1001);
		assert_digest(router);
	}
	grant(0, id, 40); /* late: published is published */
	assert_term(term_told(0), 31, 1001);
}

static void the_pair_orders_terms(void **state)
{
	static const struct {
		uint64_t clock0, clock1; /* granted by routers 0 and 1 */
		struct term published;
	} rows[] = {
		{30, 31, {31, 1001}},
		{31, 30, {31, 1000}},
		{30, 30, {30, 1001}},
		{1, WIRE_CLOCK_LEAP, {WIRE_CLOCK_LEAP, 1001}},
	};

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	connect_router(1, ROLE_ACTIVE);
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t id = request(0, CLIENT);

		grant(i % 2, id, i % 2 ? rows[i].clock1 : rows[i].clock0);
		grant(!(i % 2), id, i % 2 ? rows[i].clock0 : rows[i].clock1);
		assert_term(term_told(0), rows[i].published.clock, rows[i].published.router);
	}
}

static void answers_to_others_change_nothing(void **state)
{
	static const uint8_t types[] = {MESSAGE_GRANT, MESSAGE_REFUSE, MESSAGE_LOST};
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	request(0, CLIENT);
	id = request(0, CLIENT); /* ended and asked for anew: the answers speak of the former */
	request(1, CLIENT);	 /* another scope */
	drain(0);
	forget_counts(0);
	for (size_t i = 0; i < COUNT(types); i++) {
		say_answer(0, types[i], id - 1, 99);
		say_answer(0, types[i], id + 1, 99);
		say(0, &(struct message){types[i], .answer = {.scope = "none",
							      .client = client_address(CLIENT),
							      .id = id,
							      .term = {99, 1}}});
	}
	assert_int_equal(drain(0), 0);
	assert_int_equal(world.affinity[0][CLIENT].id, id);
	assert_int_equal(world.affinity[1][CLIENT].id, id + 1);
	assert_false(is_published(id));
}

/* An answer that comes when the kernel's affinity has just been replaced. */
static void an_answer_that_is_overtaken(void **state)
{
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	id = request(0, CLIENT);
	drain(0);
	world.affinity[0][CLIENT].id = ++world.last_id; /* its event is in the ring */
	say_answer(0, MESSAGE_REFUSE, id, 0);
	assert_int_equal(world.affinity[0][CLIENT].id, id + 1);
	drain(0);
	assert_int_equal(world.router[0].affinity[0][CLIENT].id, id + 1);
	assert_term(term_told(0), 0, 0);
}

/* ------------------------------------------------------------------------------------------------
 * ends */

static void a_refused_claim_ends(void **state)
{
	static const struct {
		uint8_t reason;
		enum affinity_end end;
	} rows[] = {
		{REFUSE_HELD, END_REFUSED}, {REFUSE_FULL, END_FULL}, {REFUSE_SERVICE, END_SERVICE}};

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t id = request(0, CLIENT);

		drain(0);
		assert_int_equal(world.router[0].affinity[0][CLIENT].id, id);
		say(0,
		    &(struct message){MESSAGE_REFUSE, .answer = {.scope = "shop",
								 .client = client_address(CLIENT),
								 .id = id,
								 .reason = rows[i].reason}});
		assert_int_equal(world.affinity[0][CLIENT].id, 0);
		assert_int_equal(world.affinity[0][CLIENT].end, rows[i].end);
		drain(0); /* without waiting for the event */
		assert_int_equal(world.router[0].affinity[0][CLIENT].id, 0);
		event_affinity(0, CLIENT);
		assert_int_equal(drain(0), 0);
		assert_digest(0);
	}
}

static void a_published_affinity_is_not_refused(void **state)
{
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	id = request(0, CLIENT);
	grant(0, id, 5);
	say_answer(0, MESSAGE_REFUSE, id, 0);
	assert_int_equal(world.affinity[0][CLIENT].id, id);
}

/* LOST against an affinity published under (10, 1000), or against a claim. The same term: another
 * target has been given it too. */
static void no_lower_term_wins(void **state)
{
	static const struct {
		bool published;
		struct term term;
		bool lost;
	} rows[] = {
		{true, {9, 5000}, false}, {true, {10, 999}, false}, {true, {10, 1000}, true},
		{true, {10, 1001}, true}, {true, {11, 1}, true},    {false, {1, 1}, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t id;

		world_teardown(NULL);
		world_setup(NULL);
		connect_router(0, ROLE_ACTIVE);
		id = request(0, CLIENT);
		if (rows[i].published)
			grant(0, id, 10);
		say(0, &(struct message){MESSAGE_LOST, .answer = {.scope = "shop",
								  .client = client_address(CLIENT),
								  .id = id,
								  .term = rows[i].term}});
		assert_int_equal(world.affinity[0][CLIENT].id, rows[i].lost ? 0 : id);
		assert_int_equal(world.affinity[0][CLIENT].end, rows[i].lost ? END_LOST : END_NONE);
	}
}

static void a_claim_that_ends_is_never_published(void **state)
{
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_STANDBY);
	id = request(0, CLIENT);
	grant(0, id, 5);
	release(0, CLIENT);
	say_role(0, ROLE_ACTIVE, 1);
	grant(0, id, 6);
	assert_false(is_published(id));
	id = request(0, CLIENT); /* and its grants are not its successor's */
	assert_false(is_published(id));
	grant(0, id, 7);
	assert_true(is_published(id));
}

/* Nor one that has ended, or was replaced, and whose event is not read yet. */
static void an_end_that_is_not_heard_of_counts(void **state)
{
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	id = request(0, CLIENT);
	world.affinity[0][CLIENT].id = 0;
	grant(0, id, 5);
	assert_false(is_published(id));
	world.affinity[0][CLIENT].id = id + 1;
	grant(0, id, 6);
	assert_false(is_published(id));
	world.affinity[0][CLIENT].id = id;
	grant(0, id, 7);
	assert_true(is_published(id));
}

static void takeover_asked_for_later_keeps_the_grants(void **state)
{
	uint64_t id;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	connect_router(1, ROLE_ACTIVE);
	id = request(0, CLIENT);
	grant(0, id, 5);
	world.affinity[0][CLIENT].takeover = true;
	event_affinity(0, CLIENT);
	grant(1, id, 6);
	assert_true(is_published(id));
	assert_term(term_told(0), 6, 1001);
	assert_true(world.router[0].affinity[0][CLIENT].takeover);
}

/* ------------------------------------------------------------------------------------------------
 * restart, clock */

static void a_restarted_agent_knows_what_was_published(void **state)
{
	uint64_t id, claim;

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	id = request(0, CLIENT);
	grant(0, id, 42);
	claim = request(1, CLIENT);
	start_agent();
	assert_int_equal(target_mirror_clock(world.mirror), 42);
	connect_router(0, ROLE_ACTIVE);
	assert_term(term_told(0), 42, 1000);
	assert_int_equal(world.router[0].affinity[1][CLIENT].id, claim);
	assert_term(world.router[0].affinity[1][CLIENT].term, 0, 0);
	assert_digest(0);
	release(0, CLIENT);
	id = request(0, CLIENT);
	assert_term(term_told(0), 0, 0); /* what was published was another one */
}

static void the_clock_is_the_highest_heard(void **state)
{
	struct message_hello hello = {.version = WIRE_VERSION, .role = WIRE_ROUTER, .clock = 7};
	const uint64_t key[2] = {1, 2};
	uint64_t id;

	(void)state;
	assert_int_equal(target_mirror_clock(world.mirror), 0);
	target_mirror_session(world.mirror, 0, &hello, key, 0);
	assert_int_equal(target_mirror_clock(world.mirror), 7);
	hello.clock = 3;
	target_mirror_session(world.mirror, 0, &hello, key, 0);
	assert_int_equal(target_mirror_clock(world.mirror), 7);
	say(0, &(struct message){MESSAGE_HEARTBEAT, .heartbeat = {.clock = 9}});
	say(0, &(struct message){MESSAGE_HEARTBEAT, .heartbeat = {.clock = 8}});
	assert_int_equal(target_mirror_clock(world.mirror), 9);
	grant(0, 1234, 12); /* to nobody */
	assert_int_equal(target_mirror_clock(world.mirror), 12);
	id = request(0, CLIENT);
	say_answer(0, MESSAGE_REFUSE, id, 99);
	assert_int_equal(target_mirror_clock(world.mirror), 12); /* a refusal has no term */
	say_answer(0, MESSAGE_LOST, 1, 13);
	assert_int_equal(target_mirror_clock(world.mirror), 13);
}

/* One wrong message must not use the clock up. */
static void a_clock_far_ahead_is_an_error(void **state)
{
	static const struct message rows[] = {
		{MESSAGE_HEARTBEAT, .heartbeat = {.clock = WIRE_CLOCK_LEAP + 1}},
		{MESSAGE_HEARTBEAT, .heartbeat = {.clock = UINT64_MAX}},
		{MESSAGE_GRANT, .answer = {.scope = "shop", .term = {UINT64_MAX, 1}}},
		{MESSAGE_LOST, .answer = {.scope = "shop", .term = {UINT64_MAX, 1}}},
	};
	struct message_hello hello = {.version = WIRE_VERSION, .clock = UINT64_MAX};
	const uint64_t key[2] = {1, 2};

	(void)state;
	connect_router(0, ROLE_ACTIVE);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(receive(0, &rows[i]), -EPROTO);
	assert_int_equal(target_mirror_session(world.mirror, 1, &hello, key, 0), -EPROTO);
	assert_false(target_mirror_router(world.mirror, 1)->connected);
	assert_int_equal(target_mirror_clock(world.mirror), 0);
	say(0, &(struct message){MESSAGE_HEARTBEAT, .heartbeat = {.clock = WIRE_CLOCK_LEAP}});
	assert_int_equal(target_mirror_clock(world.mirror), WIRE_CLOCK_LEAP);
}

static void what_a_router_says_is_shown(void **state)
{
	struct message_hello hello = {.version = WIRE_VERSION,
				      .role = WIRE_ROUTER,
				      .node_id = 77,
				      .name = "r1",
				      .address = client_address(0)};
	const uint64_t key[2] = {1, 2};
	const struct mirror_router *router;

	(void)state;
	assert_int_equal(target_mirror_session(world.mirror, MAX_ROUTERS, &hello, key, 5), -EINVAL);
	assert_int_equal(target_mirror_session(world.mirror, 1, &hello, key, 1500), 0);
	world.now_ms = 1600;
	say_role(1, ROLE_ACTIVE, 9);
	router = target_mirror_router(world.mirror, 1);
	assert_true(router->connected);
	assert_string_equal(router->name, "r1");
	assert_int_equal(router->node_id, 77);
	assert_int_equal(router->role, ROLE_ACTIVE);
	assert_int_equal(router->epoch, 9);
	assert_memory_equal(&router->address, &hello.address, sizeof(hello.address));
	assert_int_equal(router->last_heard_ms, 1600);
	assert_false(target_mirror_router(world.mirror, 0)->connected);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(who_has_to_grant),
		ROW(the_highest_grant_is_published),
		ROW(the_pair_orders_terms),
		ROW(answers_to_others_change_nothing),
		ROW(an_answer_that_is_overtaken),
		ROW(a_refused_claim_ends),
		ROW(a_published_affinity_is_not_refused),
		ROW(no_lower_term_wins),
		ROW(a_claim_that_ends_is_never_published),
		ROW(an_end_that_is_not_heard_of_counts),
		ROW(takeover_asked_for_later_keeps_the_grants),
		ROW(a_restarted_agent_knows_what_was_published),
		ROW(the_clock_is_the_highest_heard),
		ROW(a_clock_far_ahead_is_an_error),
		ROW(what_a_router_says_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
