/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions, roster, states, services, digests and restarts, as the router's mirror rules them. */
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

static void unattended_goes_on(void **state)
{
	struct message ready = {.type = MESSAGE_READY, .ready.instances = 3};
	uint16_t target = join("t1", 0);

	(void)state;
	ready.ready.service = service_key(0);
	say(target, &ready);
	publishes(target, 1, 1, 3, 9);
	lose(target, GOODBYE_STOPPING);
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
	ready.ready.service = service_key(77); /* not ours */
	assert_int_equal(say(target, &ready), 0);
	open_session("t1");
	assert_non_null(router_mirror_ready(world.mirror, target, 1));
	say_list(target, MESSAGE_BEGIN, 1);
	say_list(target, MESSAGE_DONE, 1);
	assert_null(router_mirror_ready(world.mirror, target, 1));
}

static uint64_t hash_of(const struct message *message, const uint64_t key[2])
{
	uint8_t frame[256];
	ssize_t length = message_encode(message, frame, sizeof(frame));

	assert_true(length > WIRE_HEADER);
	return siphash(key, frame + WIRE_HEADER, (size_t)length - WIRE_HEADER);
}

static struct message digest_of(uint16_t target, uint32_t list)
{
	const struct message_hello said = hello("t1", '1');
	struct message connection = {.type = MESSAGE_CONNECTION};
	struct message affinity = {.type = MESSAGE_AFFINITY};
	struct message digest = {.type = MESSAGE_DIGEST};

	(void)target;
	connection.connection.service = service_key(0);
	connection.connection.client = client_address(1);
	snprintf(affinity.affinity.scope, NAME_SIZE, "shop");
	affinity.affinity.client = client_address(5);
	affinity.affinity.id = 3;
	affinity.affinity.term = (struct term){2, 8};
	digest.digest.services = list;
	digest.digest.connections = 2;
	for (uint16_t port = 1; port <= 2; port++) {
		connection.connection.client_port = htons(port);
		digest.digest.connections_sum += hash_of(&connection, said.digest_key);
	}
	digest.digest.affinities = 1;
	digest.digest.affinities_sum = hash_of(&affinity, said.digest_key);
	return digest;
}

static void digests(void **state)
{
	uint16_t target = open_session("t1");
	struct message digest = digest_of(target, 1);

	(void)state;
	say_list(target, MESSAGE_BEGIN, 1);
	opened(target, 1);
	opened(target, 3);
	assert_int_equal(say(target, &digest), 0); /* not before DONE */
	assert_int_equal(world.ended, 0);
	claims(target, 5, 3);
	say_list(target, MESSAGE_DONE, 1);
	opened(target, 2);
	opened(target, 2);
	closed(target, 3); /* it lingers, and does not count */
	publishes(target, 5, 3, 2, 8);
	assert_int_equal(say(target, &digest), 0);
	assert_int_equal(world.ended, 0);
	assert_true(target_of(target)->digest_equal);
	assert_int_equal(target_of(target)->reported_connections, 2);
	say_list(target, MESSAGE_BEGIN, 1); /* the same again, in a second snapshot */
	publishes(target, 5, 3, 2, 8);
	opened(target, 1);
	opened(target, 2);
	say_list(target, MESSAGE_DONE, 1);
	assert_int_equal(say(target, &digest), 0);
	assert_int_equal(world.ended, 0);
	digest = digest_of(target, 2);
	digest.digest.connections_sum++;
	assert_int_equal(say(target, &digest), 0); /* of another list */
	assert_int_equal(world.ended, 0);
	digest.digest.services = 1;
	assert_int_equal(say(target, &digest), 0);
	assert_int_equal(world.ended, 1);
	assert_int_equal(world.ended_reason, GOODBYE_RESYNC);
	assert_false(target_of(target)->digest_equal);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(state_of(target), TARGET_UNATTENDED); /* it is there */
	closed(target, 1);				       /* not believed any more */
	assert_int_equal(at(1), target);
	lose(target, 0);
	assert_int_equal(state_of(target), TARGET_UNATTENDED);
	assert_int_equal(router_mirror_counts(world.mirror)->digests_different, 1);
}

static void an_affinity_counts_in_the_digest(void **state)
{
	uint16_t target = open_session("t1");
	struct message digest = digest_of(target, 1);

	(void)state;
	say_list(target, MESSAGE_BEGIN, 1);
	publishes(target, 5, 3, 2, 9); /* another term */
	opened(target, 1);
	opened(target, 2);
	say_list(target, MESSAGE_DONE, 1);
	assert_int_equal(say(target, &digest), 0);
	assert_int_equal(world.ended_reason, GOODBYE_RESYNC);
}

static void services_change(void **state)
{
	uint16_t target = join("t1", 0);
	struct message connection = {.type = MESSAGE_CONNECTION};

	(void)state;
	opened(target, 1);
	connection.connection.service = service_key(1);
	connection.connection.client = client_address(1);
	connection.connection.client_port = htons(1);
	say(target, &connection);
	publishes(target, 1, 1, 3, 9);
	claim_in("game", target, 1, 2, (struct term){3, 9}, false);
	forget_sent();
	world.services[0].distribution = DISTRIBUTE_LEASTCONN; /* targets see no difference */
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(world.sent_count, 0);
	assert_true(router_mirror_in_sync(world.mirror));
	memset(&world.services[1], 0, sizeof(world.services[1]));
	memset(&world.scopes[1], 0, sizeof(world.scopes[1]));
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(world.sent_count, 3);
	assert_int_equal(world.sent[0].message.list.number, 2);
	assert_int_equal(world.connection_count, 1);
	assert_int_equal(world.affinity_count, 1);
	assert_int_equal(at(1), target);
	assert_false(router_mirror_in_sync(world.mirror));
	assert_int_equal(say(target, &connection), 0); /* was on its way */
	assert_int_equal(world.connection_count, 1);
	say_list(target, MESSAGE_BEGIN, 1); /* of the older list */
	opened(target, 1);
	say_list(target, MESSAGE_DONE, 1);
	assert_false(router_mirror_in_sync(world.mirror));
	say_list(target, MESSAGE_BEGIN, 2);
	opened(target, 1);
	say_list(target, MESSAGE_DONE, 2);
	assert_true(router_mirror_in_sync(world.mirror));
	assert_int_equal(holder(1), -1);
}

/* Under another prefix the entries of before would be other clients'. */
static void prefix_changes(void **state)
{
	uint16_t target = join("t1", 0);

	(void)state;
	opened(target, 1);
	publishes(target, 1, 1, 3, 9);
	claim_in("game", target, 1, 2, (struct term){3, 9}, false);
	assert_int_equal(world.affinity_count, 2);
	world.services[0].affinity = AFFINITY_BY_TIME; /* those that there are stay */
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(world.affinity_count, 2);
	world.services[0].client_prefix = 120;
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(world.affinity_count, 1);
	assert_int_equal(holder(1), -1);
	assert_int_equal(at(1), target); /* connections stay */
	world.services[1].affinity = AFFINITY_NONE;
	router_mirror_configure(world.mirror, world.services, world.scopes);
	assert_int_equal(world.affinity_count, 0);
	/* What the target still has comes with its next snapshot. */
	say_list(target, MESSAGE_BEGIN, 4);
	publishes(target, 1, 1, 3, 9);
	opened(target, 1);
	say_list(target, MESSAGE_DONE, 4);
	assert_true(router_mirror_in_sync(world.mirror));
	assert_int_equal(holder(1), target);
}

static void restore(uint16_t target, const char *name, bool in_roster)
{
	struct address address = client_address(200);

	assert_int_equal(router_mirror_restore_target(world.mirror, target, name,
						      (uint64_t)(unsigned char)name[1], &address,
						      in_roster),
			 0);
}

static void restore_connection(uint16_t target, unsigned int port, uint8_t state)
{
	struct connection_key key = {.client = client_address(1),
				     .client_port = htons((uint16_t)port)};
	struct router_connection value = {.target = target, .state = state};

	put_connection(NULL, &key, &value);
	assert_int_equal(router_mirror_restore_connection(world.mirror, &key, &value), 0);
}

static void restore_affinity(uint16_t target, unsigned int client, uint64_t clock)
{
	struct affinity_key key = {.client = client_address(client)};
	struct router_affinity value = {.target = target, .clock = clock};

	put_affinity(NULL, &key, &value);
	assert_int_equal(router_mirror_restore_affinity(world.mirror, &key, &value), 0);
}

static void restarted(void **state)
{
	(void)state;
	restore(4, "t1", true);
	restore(2, "t2", true);
	restore(3, "t3", false);
	restore_connection(4, 1, CONNECTION_OPEN);
	restore_connection(4, 2, CONNECTION_OPEN);
	restore_connection(2, 3, CONNECTION_LINGERS);
	restore_connection(9, 4, CONNECTION_OPEN); /* nobody knows that one */
	restore_affinity(4, 1, 17);
	restore_affinity(4, 2, 0);
	restore_affinity(4, 3, 16);
	assert_int_equal(world.connection_count, 3);
	assert_int_equal(at(4), -1);
	assert_int_equal(state_of(4), TARGET_UNATTENDED);
	assert_int_equal(state_of(3), TARGET_GONE);
	assert_int_equal(router_mirror_missing(world.mirror), 2);
	assert_int_equal(router_mirror_clock(world.mirror), 17);
	passes(0);
	passes(4999);
	assert_int_equal(state_of(2), TARGET_UNATTENDED);
	assert_int_equal(open_session("t1"), 4);
	passes(1);
	assert_int_equal(state_of(2), TARGET_DOWN);
	assert_int_equal(at(1), 4);
	assert_int_equal(holder(2), 4);
	say_list(4, MESSAGE_BEGIN, 1);
	publishes(4, 1, 31, 17, 9);
	claims(4, 2, 32);
	opened(4, 2);
	assert_int_equal(holder(1), 4);
	say_list(4, MESSAGE_DONE, 1);
	assert_int_equal(at(1), 1004);
	assert_int_equal(at(2), 4);
	assert_int_equal(holder(1), 4);
	assert_int_equal(holder(2), -1); /* still a claim, so it is nobody's yet */
	assert_int_equal(holder(3), -1);
	passes(54999);
	assert_int_equal(at(3), 1002);
	passes(1);
	assert_int_equal(at(3), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_starts),
		TEST(on_failure_asks_at_activation),
		TEST(a_barrier_counts_for_its_epoch),
		TEST(in_sync_needs_the_table_too),
		TEST(affinities_come_first),
		TEST(a_newer_session_ends_the_older),
		TEST(malformed),
		TEST(no_table_before_sync),
		TEST(states),
		TEST(nobody_is_not_in_sync),
		TEST(down_then_dead),
		TEST(unattended_goes_on),
		TEST(leaving_takes_all_along),
		TEST(forgotten),
		TEST(numbers_run_out),
		TEST(readiness),
		TEST(digests),
		TEST(an_affinity_counts_in_the_digest),
		TEST(services_change),
		TEST(prefix_changes),
		TEST(restarted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
