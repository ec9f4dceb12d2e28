/* SPDX-License-Identifier: BSD-2-Clause */
/* Digests, changed services, restarts: what the router's mirror keeps and what it lets go. */
#include "mirror_world.h"

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

static void restore_affinity(uint16_t target, unsigned int client, uint64_t clock, bool granted)
{
	struct affinity_key key = {.client = client_address(client)};
	struct router_affinity value = {.target = target, .clock = clock, .granted = granted};

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
	restore_affinity(4, 1, 15, false);
	restore_affinity(4, 2, 17, true);
	restore_affinity(4, 3, 16, false);
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

/* Its agent is away, and so was this router's: what it unwraps says that its kernel serves. */
static void restored_and_echoing(void **state)
{
	(void)state;
	restore(1, "t1", true);
	restore(2, "t2", true);
	passes(0);
	router_mirror_echo(world.mirror, 1);
	passes(5000);
	assert_int_equal(state_of(1), TARGET_UNATTENDED);
	assert_int_equal(state_of(2), TARGET_DOWN);
	passes(2ULL * DEAD_AFTER_MS);
	assert_int_equal(state_of(1), TARGET_UNATTENDED);
	assert_int_equal(state_of(2), TARGET_GONE);
	lose(1, 0);
	assert_int_equal(state_of(1), TARGET_DOWN);
	router_mirror_echo(world.mirror, 9); /* nobody has that number */
}

static uint32_t ready_instances(uint16_t target, uint16_t service)
{
	const struct message_ready *ready = router_mirror_ready(world.mirror, target, service);

	return ready ? ready->instances : 0;
}

/* Nobody has said READY to this agent: what was pinned holds for each target until it says more. */
static void restored_readiness(void **state)
{
	(void)state;
	restore(1, "t1", true);
	restore(2, "t2", true);
	restore(3, "t3", true);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 1, 0, 70), 0);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 2, 0, 0), 0);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 2, 1, 0), 0);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 1, 5, 70), -EINVAL);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 9, 0, 70), -EINVAL);
	restore_connection(1, 1, CONNECTION_OPEN);
	restore_connection(1, 2, CONNECTION_OPEN);
	restore_connection(1, 3, CONNECTION_LINGERS);
	restore_connection(3, 4, CONNECTION_OPEN);
	passes(0);
	router_mirror_echo(world.mirror, 1);
	router_mirror_echo(world.mirror, 3);
	passes(5000);
	assert_int_equal(ready_instances(1, 0), 1);
	assert_int_equal(ready_instances(1, 1), 0);
	assert_int_equal(router_mirror_ready(world.mirror, 1, 0)->connections, 2);
	assert_int_equal(target_of(1)->weight, 70);
	assert_int_equal(ready_instances(3, 0), 0);
	/* Nothing gets through to this one, and then something does. */
	assert_int_equal(state_of(2), TARGET_DOWN);
	assert_int_equal(ready_instances(2, 0), 0);
	router_mirror_echo(world.mirror, 2);
	assert_int_equal(ready_instances(2, 0), 1);
	assert_int_equal(ready_instances(2, 1), 1);
	assert_int_equal(target_of(2)->weight, 1); /* not known */
	/* Dead, and it unwraps again: nobody knows who serves there now. */
	lose(2, 0);
	passes(DEAD_AFTER_MS);
	passes(DEAD_AFTER_MS);
	router_mirror_echo(world.mirror, 2);
	assert_int_equal(ready_instances(2, 0), 0);
	assert_int_equal(ready_instances(1, 0), 1);
}

/* From its first session on it is as with everybody: what this session does not say is not so. */
static void restored_readiness_ends_with_a_session(void **state)
{
	struct message ready = {.type = MESSAGE_READY, .ready = {.instances = 3}};

	(void)state;
	restore(1, "t1", true);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 1, 0, 70), 0);
	assert_int_equal(router_mirror_restore_ready(world.mirror, 1, 1, 70), 0);
	assert_int_equal(open_session("t1"), 1);
	assert_int_equal(ready_instances(1, 0), 1);
	ready.ready.service = service_key(0);
	say(1, &ready);
	assert_int_equal(ready_instances(1, 0), 3);
	assert_int_equal(ready_instances(1, 1), 1);
	say_list(1, MESSAGE_BEGIN, 1);
	say_list(1, MESSAGE_DONE, 1);
	assert_int_equal(ready_instances(1, 0), 3);
	assert_int_equal(ready_instances(1, 1), 0);
	lose(1, GOODBYE_STOPPING);
	assert_int_equal(ready_instances(1, 0), 3);
	assert_int_equal(ready_instances(1, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(digests),
		TEST(an_affinity_counts_in_the_digest),
		TEST(services_change),
		TEST(prefix_changes),
		TEST(restarted),
		TEST(restored_and_echoing),
		TEST(restored_readiness),
		TEST(restored_readiness_ends_with_a_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
