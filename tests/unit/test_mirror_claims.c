/* SPDX-License-Identifier: BSD-2-Clause */
/* Claims: grants, refusals, terms, takeover, and when they are answered. */
#include "mirror_world.h"

static void granted_and_published(void **state)
{
	uint16_t first, second;
	const struct message *answer;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claims(first, 1, 11);
	answer = answer_to(first);
	assert_int_equal(answer->type, MESSAGE_GRANT);
	assert_int_equal(answer->answer.id, 11);
	assert_int_equal(answer->answer.term.clock, 1);
	assert_int_equal(answer->answer.term.router, ROUTER);
	assert_int_equal(holder(1), first);
	assert_int_equal(affinity_in(0, 1)->clock, 1);
	assert_true(affinity_in(0, 1)->granted);
	forget_sent();
	claims(first, 1, 11); /* once a session */
	assert_int_equal(answer_to(first)->type, 0);
	publishes(first, 1, 11, 1, ROUTER);
	assert_int_equal(holder(1), first);
	assert_int_equal(affinity_in(0, 1)->clock, 1);
	assert_false(affinity_in(0, 1)->granted);
	claims(second, 1, 21);
	assert_int_equal(answer_to(second)->type, MESSAGE_REFUSE);
	assert_int_equal(answer_to(second)->answer.reason, REFUSE_HELD);
	assert_int_equal(answer_to(second)->answer.id, 21);
	ends_affinity(first, 1);
	assert_int_equal(holder(1), -1);
	claims(second, 1, 22);
	assert_int_equal(answer_to(second)->type, MESSAGE_GRANT);
	assert_int_equal(answer_to(second)->answer.term.clock, 2);
	assert_int_equal(holder(1), second);
}

static void the_higher_term_wins(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0);

	(void)state;
	publishes(first, 1, 11, 5, 3);
	publishes(second, 1, 21, 5, 4);
	assert_int_equal(holder(1), second);
	assert_int_equal(answer_to(first)->type, MESSAGE_LOST);
	assert_int_equal(answer_to(first)->answer.id, 11);
	assert_int_equal(answer_to(first)->answer.term.router, 4);
	assert_int_equal(sent_of_type(second, MESSAGE_LOST), 0);
	publishes(first, 1, 12, 6, 1);
	assert_int_equal(holder(1), first);
	assert_int_equal(sent_of_type(second, MESSAGE_LOST), 1);
	ends_affinity(first, 1);
	assert_int_equal(holder(1), second);
	assert_int_equal(router_mirror_clock(world.mirror), 6);
}

/* This router's agent has restarted, and in its table client 1 is t1's, number 0, who is away. */
static void restore_affinity(uint16_t scope, struct router_affinity value)
{
	const struct affinity_key key = {.client = client_address(1), .scope = scope};
	const struct address address = client_address(200);

	router_mirror_restore_target(world.mirror, 0, "t1", '1', &address, true);
	put_affinity(NULL, &key, &value);
	assert_int_equal(router_mirror_restore_affinity(world.mirror, &key, &value), 0);
}

/* What was granted before a restart may have been published since: it stays until its target says.
 */
static void what_was_granted_is_remembered(void **state)
{
	uint16_t second;

	(void)state;
	restore_affinity(0, (struct router_affinity){.clock = 5, .granted = 1});
	activate(1);
	second = join("t2", 1);
	claims(second, 1, 21);
	assert_int_equal(holder(1), 0);
	open_session("t1");
	say_list(0, MESSAGE_BEGIN, 1);
	assert_int_equal(holder(1), 0);
	publishes(0, 1, 11, 5, ROUTER);
	say_list(0, MESSAGE_DONE, 1);
	answers_barrier(0, 1);
	assert_int_equal(holder(1), 0);
	assert_int_equal(answer_to(second)->type, MESSAGE_REFUSE);
}

/* And whoever takes over from it then is granted a higher term. */
static void what_was_granted_is_taken_over(void **state)
{
	uint16_t second;

	(void)state;
	restore_affinity(1, (struct router_affinity){.clock = 5, .granted = 1});
	activate(1);
	second = join("t2", 1);
	claim_in("game", second, 1, 21, (struct term){0, 0}, true);
	passes(0);
	passes(UNATTENDED_MS);
	assert_int_equal(answer_to(second)->type, MESSAGE_GRANT);
	assert_int_equal(answer_to(second)->answer.term.clock, 6);
	assert_int_equal(holder_in(1, 1), second);
}

/* What a restarted router remembers wins until its target says what it is, but nobody loses by it.
 */
static void what_is_remembered(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint16_t second;

		tear_down(state);
		set_up(state);
		restore_affinity(0, (struct router_affinity){.clock = 9});
		second = join("t2", 0);
		publishes(second, 1, 21, 5, 3);
		assert_int_equal(holder(1), 0);
		assert_int_equal(open_session("t1"), 0);
		say_list(0, MESSAGE_BEGIN, 1);
		assert_int_equal(answer_to(second)->type, 0);
		if (i)
			publishes(0, 1, 11, 9, 3);
		assert_int_equal(answer_to(second)->type, i ? MESSAGE_LOST : 0);
		say_list(0, MESSAGE_DONE, 1);
		assert_int_equal(holder(1), i ? 0 : second);
		assert_int_equal(sent_of_type(second, MESSAGE_LOST), i);
	}
}

/* Both routers have lost their clocks, one after the other: the higher node id wins, whoever comes
 * first. */
static void the_same_term_twice(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		uint16_t low, high;

		tear_down(NULL);
		set_up(NULL);
		low = join("t1", 0);
		high = join("t2", 0);
		assert_true(router_mirror_target(world.mirror, low)->node_id <
			    router_mirror_target(world.mirror, high)->node_id);
		publishes(i ? low : high, 1, 11, 5, 3);
		publishes(i ? high : low, 1, 11, 5, 3);
		assert_int_equal(holder(1), high);
		assert_int_equal(sent_of_type(low, MESSAGE_LOST), 1);
		assert_int_equal(answer_to(low)->answer.term.clock, 5);
		assert_int_equal(sent_of_type(high, MESSAGE_LOST), 0);
	}
}

static void claims_game(uint16_t target, uint64_t id, uint64_t clock, bool takeover)
{
	claim_in("game", target, 1, id, (struct term){clock, clock ? ROUTER : 0}, takeover);
}

static void ends_game(uint16_t target)
{
	struct message message = {.type = MESSAGE_AFFINITY_END, .affinity_end.scope = "game"};

	message.affinity_end.client = client_address(1);
	assert_int_equal(say(target, &message), 0);
}

static void publishes_game(uint16_t target)
{
	claims_game(target, 11, 1, false);
}

static void asks_anew(uint16_t target)
{
	claims_game(target, 12, 0, false);
}

static void stops(uint16_t target)
{
	lose(target, GOODBYE_STOPPING);
	passes(UNATTENDED_MS);
}

static void leaves(uint16_t target)
{
	lose(target, GOODBYE_LEAVING);
}

static void falls_silent(uint16_t target)
{
	lose(target, 0);
}

static void begins_a_session(uint16_t target)
{
	open_session("t1");
	say_list(target, MESSAGE_BEGIN, 1);
	claims_game(target, 11, 0, false);
	say_list(target, MESSAGE_DONE, 1);
	answers_barrier(target, 1);
}

/* Before the first has published: its grant is taken back, and nobody is granted the client until
 * it is known whether it has published all the same. */
static void granted_and_taken_over(void **state)
{
	static void (*const rows[])(uint16_t target) = {
		ends_game, publishes_game, asks_anew,	    stops,
		leaves,	   falls_silent,   begins_a_session};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t first, second;

		tear_down(state);
		set_up(state);
		activate(1);
		first = join("t1", 1);
		second = join("t2", 1);
		claims_game(first, 11, 0, false);
		assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
		claims_game(second, 21, 0, true);
		assert_int_equal(answer_to(first)->type, MESSAGE_REFUSE);
		assert_int_equal(answer_to(first)->answer.id, 11);
		assert_int_equal(answer_to(first)->answer.reason, REFUSE_HELD);
		claims_game(second, 21, 0, true);
		passes(100);
		assert_int_equal(sent_of_type(first, MESSAGE_REFUSE), 1);
		assert_int_equal(answer_to(second)->type, 0);
		assert_int_equal(holder_in(1, 1), first);
		rows[i](first);
		assert_int_equal(answer_to(second)->type, MESSAGE_GRANT);
		assert_int_equal(answer_to(second)->answer.id, 21);
		assert_int_equal(answer_to(second)->answer.term.clock, 2);
		assert_int_equal(holder_in(1, 1), second);
	}
}

/* Who waits for that may have been granted the client by other routers, and asks no more. */
static void waited_and_published(void **state)
{
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claims_game(first, 11, 0, false);
	claims_game(second, 21, 0, true);
	claim_in("game", second, 1, 21, (struct term){9, ROUTER + 1}, true);
	ends_game(first);
	activate(2);
	answers_barrier(first, 2);
	answers_barrier(second, 2);
	passes(100);
	assert_int_equal(answer_to(second)->type, 0);
	assert_int_equal(affinity_in(1, 1)->clock, 9);
	assert_false(affinity_in(1, 1)->granted);
}

/* Who waits for that may be gone before. */
static void waited_and_ended(void **state)
{
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claims_game(first, 11, 0, false);
	claims_game(second, 21, 0, true);
	ends_game(second);
	ends_game(first);
	assert_int_equal(answer_to(second)->type, 0);
	assert_int_equal(holder_in(1, 1), -1);
	claims_game(first, 12, 0, false);
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
	claims_game(second, 22, 0, true);
	assert_int_equal(answer_to(second)->type, 0);
	activate(2); /* what it has granted it has still granted */
	answers_barrier(first, 2);
	answers_barrier(second, 2);
	assert_int_equal(answer_to(second)->type, 0);
	publishes_game(first);
	assert_int_equal(answer_to(second)->type, MESSAGE_GRANT);
}

/* A router that did not hear of the grant has granted the client to another, which has published.
 */
static void granted_and_overtaken(void **state)
{
	static const struct {
		struct term published;
		bool takeover;
		unsigned int refused, granted;
		bool keeps;
	} rows[] = {
		{{5, ROUTER + 1}, false, 1, 1, false},
		{{5, ROUTER + 1}, true, 0, 2, true},
		{{1, ROUTER + 1}, false, 1, 1, false},
		{{1, ROUTER - 1}, false, 0, 1, true}, /* below the grant */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t first, second;

		tear_down(state);
		set_up(state);
		activate(1);
		first = join("t1", 1);
		second = join("t2", 1);
		claims_game(first, 11, 0, rows[i].takeover);
		assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
		claim_in("game", second, 1, 21, rows[i].published, false);
		passes(100);
		claim_in("game", second, 1, 21, rows[i].published, false);
		passes(100);
		assert_int_equal(sent_of_type(first, MESSAGE_REFUSE), rows[i].refused);
		assert_int_equal(sent_of_type(first, MESSAGE_GRANT), rows[i].granted);
		assert_int_equal(sent_of_type(second, MESSAGE_LOST), 0);
		assert_int_equal(holder_in(1, 1), rows[i].keeps ? first : second);
	}
}

/* It is answered when all affinities are there, however often it has said so until then. */
static void overtaken_and_said_again(void **state)
{
	uint16_t first, second, third;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claims_game(first, 11, 0, false);
	third = open_session("t3");
	claim_in("game", second, 1, 21, (struct term){5, ROUTER + 1}, false);
	claims_game(first, 11, 0, false);
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
	say_list(third, MESSAGE_BEGIN, 1);
	say_list(third, MESSAGE_DONE, 1);
	answers_barrier(third, 1);
	assert_int_equal(answer_to(first)->type, MESSAGE_REFUSE);
	/* Nothing is left of the grant. */
	ends_game(second);
	assert_int_equal(holder_in(1, 1), -1);
}

/* What was granted in a session that is over may have been published: it is not answered. */
static void overtaken_and_lost(void **state)
{
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claims_game(first, 11, 0, false);
	lose(first, 0);
	claim_in("game", second, 1, 21, (struct term){5, ROUTER + 1}, false);
	passes(100);
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
	assert_int_equal(holder_in(1, 1), second);
}

/* It was told already not to publish: who took over waits for its answer as before. */
static void taken_over_and_overtaken(void **state)
{
	uint16_t first, second, third;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	third = join("t3", 1);
	claims_game(first, 11, 0, true);
	claims_game(third, 31, 0, true);
	claim_in("game", second, 1, 21, (struct term){5, ROUTER + 1}, false);
	passes(100);
	assert_int_equal(sent_of_type(first, MESSAGE_GRANT), 1);
	assert_int_equal(sent_of_type(first, MESSAGE_REFUSE), 1);
	assert_int_equal(answer_to(third)->type, 0);
	assert_int_equal(holder_in(1, 1), second);
	ends_game(first);
	assert_int_equal(answer_to(third)->type, MESSAGE_GRANT);
	assert_int_equal(answer_to(third)->answer.term.clock, 6);
	assert_int_equal(holder_in(1, 1), third);
}

/* It took over, and was not heard of again before it published. */
static void granted_and_down(void **state)
{
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claim_in("game", first, 1, 11, (struct term){3, 9}, false);
	claim_in("game", second, 1, 21, (struct term){0, 0}, true);
	assert_int_equal(answer_to(second)->type, MESSAGE_GRANT);
	assert_int_equal(holder_in(1, 1), second);
	router_mirror_session_lost(world.mirror, second, 0, world.now);
	assert_int_equal(holder_in(1, 1), first);
	open_session("t2");
	assert_int_equal(holder_in(1, 1), second);
	router_mirror_session_lost(world.mirror, second, GOODBYE_STOPPING, world.now);
	assert_int_equal(holder_in(1, 1), second);
}

static void takeover(void **state)
{
	static const struct {
		const char *scope;
		unsigned int number;
		bool asked;
		uint8_t answer;
	} rows[] = {
		{"game", 1, true, MESSAGE_GRANT},
		{"game", 1, false, MESSAGE_REFUSE},
		{"shop", 0, true, MESSAGE_REFUSE}, /* the service does not allow it */
	};
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int client = 10 + i;

		claim_in(rows[i].scope, first, client, 1, (struct term){3, 9}, false);
		claim_in(rows[i].scope, second, client, 2 + i, (struct term){0, 0}, rows[i].asked);
		assert_int_equal(answer_to(second)->type, rows[i].answer);
		assert_int_equal(holder_in(rows[i].number, client),
				 rows[i].answer == MESSAGE_GRANT ? second : first);
		/* Who held it hears of it when it is published, not before. */
		assert_int_equal(answer_to(first)->type, 0);
	}
	claim_in("game", second, 10, 2, answer_to(second)->answer.term, true);
	assert_int_equal(answer_to(first)->type, 0);
	claim_in("game", second, 10, 2, (struct term){4, ROUTER}, true);
	assert_int_equal(answer_to(first)->type, MESSAGE_LOST);
}

/* A grant of ours comes before published ones with a lower term, until its claim is gone. */
static void a_grant_that_is_not_published(void **state)
{
	uint16_t first, second;

	(void)state;
	activate(1);
	first = join("t1", 1);
	second = join("t2", 1);
	claims(first, 1, 11);
	publishes(second, 1, 21, 1, 1); /* same clock, lower router */
	assert_int_equal(holder(1), first);
	ends_affinity(second, 1);
	assert_int_equal(holder(1), first);
	open_session("t1"); /* it may have been published in between */
	assert_int_equal(holder(1), first);
	say_list(first, MESSAGE_BEGIN, 1);
	say_list(first, MESSAGE_DONE, 1);
	assert_int_equal(holder(1), -1);
	answers_barrier(first, 1);
	claims(first, 1, 12);
	assert_int_equal(holder(1), first);
	claims(first, 1, 13); /* another request: answered anew */
	assert_int_equal(answer_to(first)->answer.id, 13);
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
}

static void the_down_give_way(void **state)
{
	static const struct {
		enum goodbye_reason reason;
		uint8_t answer;
	} rows[] = {
		{0, MESSAGE_GRANT},
		{GOODBYE_STOPPING, MESSAGE_REFUSE},
	};

	for (size_t i = 0; i < 2; i++) {
		uint16_t first, second;

		tear_down(state);
		make_world(false, MOST);
		activate(1);
		first = join("t1", 1);
		second = join("t2", 1);
		publishes(first, 1, 11, 3, 9);
		lose(first, rows[i].reason);
		passes(10000); /* an agent may come back */
		claims(second, 1, 21);
		assert_int_equal(answer_to(second)->type, rows[i].answer);
		assert_int_equal(holder(1), rows[i].answer == MESSAGE_GRANT ? second : first);
	}
}

static void answers_wait_for_the_affinities(void **state)
{
	uint16_t first, second;

	(void)state;
	first = join("t1", 0);
	second = join("t2", 0);
	claims(first, 1, 11);
	assert_int_equal(answer_to(first)->type, 0); /* standby */
	activate(1);
	answers_barrier(first, 1);
	assert_int_equal(answer_to(first)->type, 0); /* the second may hold the client */
	answers_barrier(second, 1);
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
	forget_sent();
	activate(2); /* again when it has become active */
	answers_barrier(first, 2);
	answers_barrier(second, 2);
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
	forget_sent();
	lose(second, GOODBYE_STOPPING);
	claims(first, 2, 12);
	passes(9999);
	assert_int_equal(answer_to(first)->type, 0);
	passes(1); /* not for ever */
	assert_int_equal(answer_to(first)->type, MESSAGE_GRANT);
}

static void refused_when_full(void **state)
{
	uint16_t target;

	tear_down(state);
	make_world(false, 2);
	activate(1);
	target = join("t1", 1);
	claims(target, 1, 1);
	claims(target, 2, 2);
	claims(target, 3, 3);
	assert_int_equal(answer_to(target)->type, MESSAGE_REFUSE);
	assert_int_equal(answer_to(target)->answer.reason, REFUSE_FULL);
	assert_int_equal(holder(3), -1);
	publishes(target, 4, 4, 8, 9); /* another router had room */
	assert_int_equal(holder(4), -1);
	assert_int_equal(router_mirror_counts(world.mirror)->affinities_waiting, 1);
	ends_affinity(target, 3);
	ends_affinity(target, 1);
	assert_int_equal(holder(4), target);
	assert_int_equal(router_mirror_counts(world.mirror)->affinities_waiting, 0);
	world.room = 2; /* the kernel's own word */
	ends_affinity(target, 2);
	world.room = 1;
	claims(target, 5, 5);
	assert_int_equal(answer_to(target)->answer.reason, REFUSE_FULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(granted_and_published),
		TEST(the_higher_term_wins),
		TEST(the_same_term_twice),
		TEST(granted_and_taken_over),
		TEST(waited_and_published),
		TEST(waited_and_ended),
		TEST(what_is_remembered),
		TEST(what_was_granted_is_remembered),
		TEST(what_was_granted_is_taken_over),
		TEST(granted_and_overtaken),
		TEST(overtaken_and_said_again),
		TEST(overtaken_and_lost),
		TEST(taken_over_and_overtaken),
		TEST(granted_and_down),
		TEST(takeover),
		TEST(a_grant_that_is_not_published),
		TEST(the_down_give_way),
		TEST(answers_wait_for_the_affinities),
		TEST(refused_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
