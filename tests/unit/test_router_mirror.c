/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions, roster, states and readiness, as the router's mirror rules them. */
#include "mirror_world.h"

static void assert_sent(const uint8_t *types, size_t count)
{
	assert_int_equal(world.sent_count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(world.sent[i].message.type, types[i]);
}

static void a_session_starts(void **state)
{
	static const uint8_t standby[] = {MESSAGE_ROLE,	   MESSAGE_BEGIN, MESSAGE_SERVICE,
					  MESSAGE_SERVICE, MESSAGE_DONE,  MESSAGE_SYNC};
	static const uint8_t active[] = {MESSAGE_ROLE,	  MESSAGE_BEGIN, MESSAGE_SERVICE,
					 MESSAGE_SERVICE, MESSAGE_DONE,	 MESSAGE_SYNC,
					 MESSAGE_BARRIER};
	const struct message_service *service;

	(void)state;
	open_session("t1");
	assert_sent(standby, sizeof(standby));
	service = &world.sent[2].message.service;
	assert_string_equal(service->name, "shop");
	assert_string_equal(service->scope, "shop");
	assert_int_equal(service->idle_ms, 300000);
	assert_true(world.sent[3].message.service.takeover);
	assert_int_equal(world.sent[1].message.list.number, 1);
	assert_int_equal(world.sent[4].message.list.number, 1);
	activate(3);
	forget_sent();
	open_session("t2");
	assert_sent(active, sizeof(active));
	assert_int_equal(world.sent[0].message.role.role, ROLE_ACTIVE);
	assert_int_equal(world.sent[6].message.role.epoch, 3);
}

static void settings_may_change(void **state)
{
	uint16_t first, second;

	tear_down(state);
	make_world(true, MOST);
	first = open_session("t1");
	second = open_session("t2");
	router_mirror_session_lost(world.mirror, second, 0, world.now);
	assert_int_equal(sent_of_type(first, MESSAGE_SYNC), 0);
	router_mirror_set(world.mirror, 5000, false);
	assert_int_equal(sent_of_type(first, MESSAGE_SYNC), 1);
	assert_int_equal(sent_of_type(second, MESSAGE_SYNC), 0);
	assert_int_equal(sent_of_type(first, MESSAGE_BARRIER), 0);
	router_mirror_set(world.mirror, 5000, false);
	assert_int_equal(sent_of_type(first, MESSAGE_SYNC), 1);
	passes(4999);
	assert_int_equal(router_mirror_target(world.mirror, second)->state, TARGET_DOWN);
	passes(2);
	assert_int_equal(router_mirror_target(world.mirror, second)->state, TARGET_GONE);
	/* Back again: those who have been asked go on, a new one is not asked. */
	router_mirror_set(world.mirror, 5000, true);
	second = open_session("t2");
	assert_int_equal(sent_of_type(second, MESSAGE_SYNC), 0);
}

static void on_failure_asks_at_activation(void **state)
{
	uint16_t target;

	tear_down(state);
	make_world(true, MOST);
	target = open_session("t1");
	assert_int_equal(sent_of_type(target, MESSAGE_SYNC), 0);
	assert_false(router_mirror_in_sync(world.mirror));
	activate(1);
	assert_int_equal(sent_of_type(target, MESSAGE_SYNC), 1);
	assert_int_equal(sent_of_type(target, MESSAGE_BARRIER), 1);
	say_list(target, MESSAGE_BEGIN, 1);
	say_list(target, MESSAGE_DONE, 1);
	assert_false(router_mirror_in_sync(world.mirror));
	answers_barrier(target, 1);
	assert_true(router_mirror_in_sync(world.mirror));
	router_mirror_role(world.mirror, ROLE_STANDBY, 1, world.now);
	activate(2);
	assert_int_equal(sent_of_type(target, MESSAGE_SYNC), 1);
	assert_int_equal(sent_of_type(target, MESSAGE_BARRIER), 2);
}

static void a_barrier_counts_for_its_epoch(void **state)
{
	uint16_t target = join("t1", 0);

	(void)state;
	assert_true(router_mirror_in_sync(world.mirror));
	activate(5);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(router_mirror_missing(world.mirror), 1);
	assert_int_equal(state_of(target), TARGET_SYNCING);
	answers_barrier(target, 4);
	assert_false(router_mirror_in_sync(world.mirror));
	answers_barrier(target, 5);
	assert_true(router_mirror_in_sync(world.mirror));
	assert_int_equal(state_of(target), TARGET_UP);
	activate(6);
	assert_false(router_mirror_in_sync(world.mirror));
}

/* The barrier may be answered before the table only by a defect; then nothing is in sync. */
static void in_sync_needs_the_table_too(void **state)
{
	uint16_t target;

	(void)state;
	activate(1);
	target = open_session("t1");
	answers_barrier(target, 1);
	assert_false(router_mirror_in_sync(world.mirror));
	say_list(target, MESSAGE_BEGIN, 1);
	assert_false(router_mirror_in_sync(world.mirror));
	say_list(target, MESSAGE_DONE, 1);
	assert_true(router_mirror_in_sync(world.mirror));
}

static void affinities_come_first(void **state)
{
	uint16_t target = open_session("t1");

	(void)state;
	say_list(target, MESSAGE_BEGIN, 1);
	publishes(target, 1, 1, 3, 9);
	assert_false(router_mirror_affinities_in_sync(world.mirror));
	opened(target, 1);
	assert_true(router_mirror_affinities_in_sync(world.mirror));
	assert_false(router_mirror_in_sync(world.mirror));
	activate(1); /* what was sent before it became active may be too old */
	assert_false(router_mirror_affinities_in_sync(world.mirror));
	answers_barrier(target, 1);
	assert_true(router_mirror_affinities_in_sync(world.mirror));
}

static void a_newer_session_ends_the_older(void **state)
{
	struct message_hello other = hello("t1", 99);
	uint16_t target = join("t1", 0);

	(void)state;
	opened(target, 1);
	assert_int_equal(router_mirror_session(world.mirror, &other, world.now), -EEXIST);
	assert_int_equal(world.ended, 0);
	assert_int_equal(open_session("t1"), target);
	assert_int_equal(world.ended, 1);
	assert_int_equal(world.ended_reason, GOODBYE_REPLACED);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(at(1), target); /* still in use */
	lose(target, 0);
	assert_int_equal(router_mirror_session(world.mirror, &other, world.now), target);
	assert_int_equal(target_of(target)->node_id, 99);
}

/* A copy of a machine, or of its configuration: the first one keeps its name, and its connections,
 * until nothing gets through to it any more. */
static void another_address_waits_for_the_end_of_the_first(void **state)
{
	struct message_hello copy = hello("t1", '1'), other = hello("t1", 99);
	uint16_t target = join("t1", 0);

	(void)state;
	copy.address = other.address = client_address(201);
	opened(target, 1);
	assert_int_equal(router_mirror_session(world.mirror, &copy, world.now), -EEXIST);
	assert_int_equal(world.ended, 0);
	assert_int_equal(state_of(target), TARGET_UP);
	lose(target, GOODBYE_STOPPING);
	assert_int_equal(state_of(target), TARGET_UNATTENDED);
	assert_int_equal(router_mirror_session(world.mirror, &copy, world.now), -EEXIST);
	assert_int_equal(router_mirror_session(world.mirror, &other, world.now), -EEXIST);
	assert_int_equal(at(1), target);
	lose(target, 0);
	assert_int_equal(state_of(target), TARGET_DOWN);
	assert_int_equal(router_mirror_session(world.mirror, &copy, world.now), target);
}

/* Made anew, it has another id, and the address of before. */
static void another_node_at_the_same_address(void **state)
{
	struct message_hello anew = hello("t1", 99);
	uint16_t target = join("t1", 0);

	(void)state;
	lose(target, GOODBYE_STOPPING);
	assert_int_equal(router_mirror_session(world.mirror, &anew, world.now), target);
}

static void malformed(void **state)
{
	struct message message = {.type = MESSAGE_DONE};
	struct message_hello far = hello("t9", 9);
	uint16_t target = open_session("t1");

	(void)state;
	assert_int_equal(say(target, &message), -EPROTO); /* without BEGIN */
	message.type = MESSAGE_GRANT;
	assert_int_equal(say(target, &message), -EPROTO);
	message = (struct message){.type = MESSAGE_HEARTBEAT, .heartbeat.clock = 1ULL << 50};
	assert_int_equal(say(target, &message), -EPROTO);
	message = (struct message){.type = MESSAGE_HEARTBEAT, .heartbeat.clock = 1ULL << 40};
	assert_int_equal(say(target, &message), 0);
	assert_true(router_mirror_clock(world.mirror) == 1ULL << 40);
	far.clock = UINT64_MAX;
	assert_int_equal(router_mirror_session(world.mirror, &far, world.now), -EPROTO);
}

static void no_table_before_sync(void **state)
{
	struct message message = {.type = MESSAGE_CONNECTION};
	uint16_t target;

	tear_down(state);
	make_world(true, MOST);
	target = open_session("t1");
	message.connection.service = service_key(0);
	assert_int_equal(say(target, &message), -EPROTO);
	message.type = MESSAGE_BEGIN;
	assert_int_equal(say(target, &message), -EPROTO);
}

static void states(void **state)
{
	static const enum target_state table[TARGET_EVENTS][5] = {
		[EVENT_SESSION] = {TARGET_SYNCING, TARGET_SYNCING, TARGET_SYNCING, TARGET_SYNCING,
				   TARGET_SYNCING},
		[EVENT_IN_SYNC] = {TARGET_UP, TARGET_UP, TARGET_UNATTENDED, TARGET_DOWN,
				   TARGET_GONE},
		[EVENT_OUT_OF_SYNC] = {TARGET_SYNCING, TARGET_SYNCING, TARGET_UNATTENDED,
				       TARGET_DOWN, TARGET_GONE},
		[EVENT_GOODBYE] = {TARGET_UNATTENDED, TARGET_UNATTENDED, TARGET_UNATTENDED,
				   TARGET_DOWN, TARGET_GONE},
		[EVENT_LOST] = {TARGET_DOWN, TARGET_DOWN, TARGET_DOWN, TARGET_DOWN, TARGET_GONE},
		[EVENT_GIVEN_UP] = {TARGET_SYNCING, TARGET_UP, TARGET_UNATTENDED, TARGET_GONE,
				    TARGET_GONE},
		[EVENT_ECHO] = {TARGET_SYNCING, TARGET_UP, TARGET_UNATTENDED, TARGET_UNATTENDED,
				TARGET_GONE},
	};

	(void)state;
	for (enum target_event event = 0; event < TARGET_EVENTS; event++) {
		for (enum target_state from = TARGET_SYNCING; from <= TARGET_GONE; from++)
			assert_int_equal(mirror_next_state(from, event), table[event][from]);
	}
}

static void nobody_is_not_in_sync(void **state)
{
	(void)state;
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(router_mirror_missing(world.mirror), 0);
	assert_string_equal(target_of(17)->name, "");
}

static void down_then_dead(void **state)
{
	struct message condition = {.type = MESSAGE_TARGET, .target.weight = 100};
	struct message ready = {.type = MESSAGE_READY, .ready.instances = 3};
	uint16_t first = join("t1", 0), second = join("t2", 0);

	(void)state;
	ready.ready.service = service_key(0);
	say(first, &condition);
	say(first, &ready);
	opened(first, 1);
	publishes(first, 1, 1, 3, 9);
	lose(first, 0);
	assert_int_equal(state_of(first), TARGET_DOWN);
	assert_int_equal(router_mirror_missing(world.mirror), 1);
	assert_true(router_mirror_affinities_in_sync(world.mirror));
	assert_null(router_mirror_ready(world.mirror, first, 0));
	assert_int_equal(at(1), first);
	assert_int_equal(holder(1), first);
	passes(DEAD_AFTER_MS - 1);
	assert_int_equal(state_of(first), TARGET_DOWN);
	world.roster_changes = 0;
	passes(1);
	assert_int_equal(state_of(first), TARGET_GONE);
	assert_int_equal(world.roster_changes, 1);
	assert_false(target_of(first)->in_roster);
	assert_true(router_mirror_in_sync(world.mirror));
	assert_int_equal(at(1), first); /* until its next snapshot */
	assert_int_equal(holder(1), -1);
	assert_int_equal(join("t1", 0), first);
	assert_int_equal(at(1), 1000 + first);
	assert_int_equal(state_of(second), TARGET_UP);
}

/* What it does not report may exist all the same: it is up, and not in sync. */
static void crowded(void **state)
{
	struct message condition = {.type = MESSAGE_TARGET, .target = {100, .crowded = true}};
	uint16_t target = join("t1", 0);

	(void)state;
	assert_true(router_mirror_in_sync(world.mirror));
	world.target_changes = 0;
	say(target, &condition);
	assert_int_equal(state_of(target), TARGET_UP);
	assert_false(target_of(target)->in_sync);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_true(router_mirror_affinities_in_sync(world.mirror));
	assert_true(world.target_changes > 0);
	condition.target.crowded = false;
	say(target, &condition);
	assert_true(target_of(target)->in_sync);
	assert_true(router_mirror_in_sync(world.mirror));
}

/* One that serves and holds client 1, whose agent has stopped. */
static uint16_t join_and_stop(void)
{
	struct message ready = {.type = MESSAGE_READY, .ready.instances = 3};
	uint16_t target = join("t1", 0);

	ready.ready.service = service_key(0);
	say(target, &ready);
	publishes(target, 1, 1, 3, 9);
	lose(target, GOODBYE_STOPPING);
	return target;
}

static void unattended_goes_on(void **state)
{
	uint16_t target = join_and_stop();

	(void)state;
	assert_int_equal(state_of(target), TARGET_UNATTENDED);
	assert_non_null(router_mirror_ready(world.mirror, target, 0));
	assert_int_equal(holder(1), target);
	assert_false(router_mirror_in_sync(world.mirror));
	passes(10 * DEAD_AFTER_MS);
	assert_int_equal(state_of(target), TARGET_UNATTENDED);
	lose(target, 0); /* its link does not answer either */
	assert_int_equal(state_of(target), TARGET_DOWN);
	passes(DEAD_AFTER_MS);
	assert_int_equal(state_of(target), TARGET_GONE);
}

static void echoes_bring_it_back(void **state)
{
	uint16_t target = join_and_stop();

	(void)state;
	lose(target, 0); /* nothing gets through */
	assert_int_equal(state_of(target), TARGET_DOWN);
	assert_null(router_mirror_ready(world.mirror, target, 0));
	passes(DEAD_AFTER_MS - 1000);
	router_mirror_echo(world.mirror, target);
	assert_int_equal(state_of(target), TARGET_UNATTENDED);
	assert_non_null(router_mirror_ready(world.mirror, target, 0));
	assert_int_equal(holder(1), target);
	assert_false(router_mirror_in_sync(world.mirror));
	passes(DEAD_AFTER_MS);
	assert_int_equal(state_of(target), TARGET_UNATTENDED);
	/* Its time as one that is down begins anew; who is dead stays dead. */
	lose(target, 0);
	passes(DEAD_AFTER_MS - 1000);
	assert_int_equal(state_of(target), TARGET_DOWN);
	passes(1000);
	assert_int_equal(state_of(target), TARGET_GONE);
	router_mirror_echo(world.mirror, target);
	assert_int_equal(state_of(target), TARGET_GONE);
}

/* Its affinities are waited for again, between two ticks: and not for ever. */
static void echoes_just_before_it_is_late(void **state)
{
	uint16_t target = join_and_stop();

	(void)state;
	lose(target, 0);
	assert_true(router_mirror_affinities_in_sync(world.mirror));
	passes(UNATTENDED_MS - 50);
	router_mirror_echo(world.mirror, target);
	assert_false(router_mirror_affinities_in_sync(world.mirror));
	world.target_changes = 0;
	passes(100);
	assert_true(router_mirror_affinities_in_sync(world.mirror));
	assert_true(world.target_changes > 0);
}

/* Its agent was silent: that its kernel unwraps packets does not say that anybody serves. */
static void echoes_of_the_silent(void **state)
{
	uint16_t target = join("t1", 0);

	(void)state;
	lose(target, 0);
	router_mirror_echo(world.mirror, target);
	assert_int_equal(state_of(target), TARGET_DOWN);
	/* Nor what was so before its last session. */
	target = join("t1", 0);
	lose(target, GOODBYE_STOPPING);
	lose(target, 0);
	target = join("t1", 0);
	lose(target, 0);
	router_mirror_echo(world.mirror, target);
	assert_int_equal(state_of(target), TARGET_DOWN);
}

static void leaving_takes_all_along(void **state)
{
	uint16_t first = join("t1", 0), second = join("t2", 0);

	(void)state;
	opened(first, 1);
	opened(first, 2);
	closed(first, 2);
	opened(second, 3);
	publishes(first, 1, 1, 3, 9);
	lose(first, GOODBYE_LEAVING);
	assert_int_equal(at(1), -1);
	assert_int_equal(at(2), -1);
	assert_int_equal(at(3), second);
	assert_int_equal(holder(1), -1);
	assert_string_equal(target_of(first)->name, "");
	assert_true(router_mirror_in_sync(world.mirror));
	assert_int_equal(join("t3", 0), 2); /* flows may still speak of the first's number */
	assert_int_equal(join("t1", 0), first);
}

static void forgotten(void **state)
{
	uint16_t target = join("t1", 0);

	(void)state;
	join("t2", 0);
	opened(target, 1);
	assert_int_equal(router_mirror_forget(world.mirror, "t9", world.now), -ENOENT);
	assert_int_equal(router_mirror_forget(world.mirror, "t1", world.now), -EBUSY);
	lose(target, 0);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(router_mirror_forget(world.mirror, "t1", world.now), 0);
	assert_true(router_mirror_in_sync(world.mirror));
	assert_int_equal(at(1), -1);
	assert_int_equal(router_mirror_find(world.mirror, "t1"), -ENOENT);
}

static void numbers_run_out(void **state)
{
	struct message_hello said;
	char name[NAME_SIZE];

	(void)state;
	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		said = hello(name, i + 1);
		assert_int_equal(router_mirror_session(world.mirror, &said, world.now), i);
		forget_sent();
	}
	said = hello("one-more", 1);
	assert_int_equal(router_mirror_session(world.mirror, &said, world.now), -ENOSPC);
	lose(7, GOODBYE_LEAVING);
	lose(5, GOODBYE_LEAVING);
	assert_int_equal(router_mirror_session(world.mirror, &said, world.now), 7);
}

static void readiness(void **state)
{
	struct message ready = {.type = MESSAGE_READY, .ready = {.instances = 2, .connections = 9}};
	uint16_t target = open_session("t1");

	(void)state;
	ready.ready.service = service_key(1);
	say(target, &ready);
	assert_int_equal(router_mirror_ready(world.mirror, target, 1)->instances, 2);
	assert_null(router_mirror_ready(world.mirror, target, 0));
	world.target_changes = 0;
	say(target, &ready);
	assert_int_equal(world.target_changes, 0);
	ready.ready.draining = 1;
	say(target, &ready);
	assert_int_equal(world.target_changes, 1);
	assert_int_equal(router_mirror_ready(world.mirror, target, 1)->draining, 1);
	ready.ready.service = service_key(77); /* not ours */
	assert_int_equal(say(target, &ready), 0);
	open_session("t1");
	assert_non_null(router_mirror_ready(world.mirror, target, 1));
	say_list(target, MESSAGE_BEGIN, 1);
	say_list(target, MESSAGE_DONE, 1);
	assert_null(router_mirror_ready(world.mirror, target, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_starts),
		TEST(on_failure_asks_at_activation),
		TEST(settings_may_change),
		TEST(a_barrier_counts_for_its_epoch),
		TEST(in_sync_needs_the_table_too),
		TEST(affinities_come_first),
		TEST(a_newer_session_ends_the_older),
		TEST(another_address_waits_for_the_end_of_the_first),
		TEST(another_node_at_the_same_address),
		TEST(malformed),
		TEST(no_table_before_sync),
		TEST(states),
		TEST(nobody_is_not_in_sync),
		TEST(down_then_dead),
		TEST(crowded),
		TEST(unattended_goes_on),
		TEST(echoes_bring_it_back),
		TEST(echoes_just_before_it_is_late),
		TEST(echoes_of_the_silent),
		TEST(leaving_takes_all_along),
		TEST(forgotten),
		TEST(numbers_run_out),
		TEST(readiness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
