/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The router's fast path may forget and is never wrong: each safeguard of bpf/flows.h, in rows that
 * fail without it.
 *
 * How one sees that the fast path answers: the truth is changed behind its back (sneak_connection),
 * as nothing but a test does.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

#define MANY 60 /* flows, more than one set holds */

static void test_remembered(void **state)
{
	(void)state;
	remember();
	sneak_connection(CLIENT, 40000, SHOP, T3);
	EXPECT("the fast path answers", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT("FIN", SEGMENT(TCP_FIN | TCP_ACK), XDP_TX, TO_T1(SEGMENT(TCP_FIN | TCP_ACK)),
	       CONNECTION);
	EXPECT("a SYN asks the table", SYN(), XDP_TX, TO_T3(SYN()), CONNECTION);
	put_connection(CLIENT6, 40000, SHOP6, T1, CONNECTION_OPEN);
	EXPECT("IPv6", ACK6(), XDP_TX, TO_T1(ACK6()), CONNECTION);
	sneak_connection(CLIENT6, 40000, SHOP6, T3);
	EXPECT("IPv6, remembered", ACK6(), XDP_TX, TO_T1(ACK6()), CONNECTION);
	EXPECT_DROP("another port", ACK(.from_port = 40001), SIGHTED);
	EXPECT_DROP("another service", ACK(.to_port = 443), SIGHTED);
	EXPECT_DROP("another client", ACK(.from = "198.51.100.8"), SIGHTED);
}

/* What its target, or another, says of a connection counts from the moment that it is written. */
static void test_reported(void **state)
{
	(void)state;
	remember();
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("at another target at once", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	EXPECT_DROP("gone", ACK(), SIGHTED);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), -ENOENT);
	remember();
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_LINGERS);
	put_role(ROLE_ACTIVE, 2, world_now_ns());
	put_sync(2, 0, 1);
	EXPECT_DROP("what lingers is in doubt", ACK(), SERVICE, COUNT_HELD_UNKNOWN);
	put_connection(CLIENT6, 40000, SHOP6, T1, CONNECTION_OPEN);
	EXPECT("IPv6", ACK6(), XDP_TX, TO_T1(ACK6()), CONNECTION);
	put_connection(CLIENT6, 40000, SHOP6, T3, CONNECTION_OPEN);
	EXPECT("IPv6: at another target", ACK6(), XDP_TX, TO_T3(ACK6()), CONNECTION);
}

/* The client closes and opens again from the same port: each time all the way to another target. */
static void reuse(uint16_t target, struct frame syn_out, struct frame ack_out, bool by_affinity)
{
	if (by_affinity)
		EXPECT("SYN to the affinity's target", SYN(), XDP_TX, syn_out, AFFINITY);
	else
		EXPECT("SYN", SYN(), XDP_TX, syn_out, DISTRIBUTED);
	EXPECT("its ACK", ACK(), XDP_TX, ack_out, HALF_OPEN);
	EXPECT("data", ACK(), XDP_TX, ack_out, NOTED);
	put_connection(CLIENT, 40000, SHOP, target, CONNECTION_OPEN);
	EXPECT("reported", ACK(), XDP_TX, ack_out, CONNECTION);
	EXPECT("remembered", ACK(), XDP_TX, ack_out, CONNECTION);
	put_connection(CLIENT, 40000, SHOP, target, CONNECTION_LINGERS);
}

static void test_reuse(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		put_ring(SHOP, T1);
		reuse(T1, TO_T1(SYN()), TO_T1(ACK()), false);
		put_ring(SHOP, T3);
		reuse(T3, TO_T3(SYN()), TO_T3(ACK()), false);
	}
}

/* An affinity is made, and released, between two connections of one 4-tuple. */
static void test_affinity_between(void **state)
{
	(void)state;
	reuse(T1, TO_T1(SYN()), TO_T1(ACK()), false);
	put_affinity(CLIENT, 0, T3);
	reuse(T3, TO_T3(SYN()), TO_T3(ACK()), true);
	assert_int_equal(delete_affinity(CLIENT, 0), 0);
	reuse(T1, TO_T1(SYN()), TO_T1(ACK()), false);
	put_affinity(CLIENT, 0, T3);
	put_affinity(CLIENT, 0, T1);
	reuse(T1, TO_T1(SYN()), TO_T1(ACK()), true);
}

static void test_another_cpu(void **state)
{
	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	world_run_on(1);
	EXPECT("a SYN there", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	put_ring(SHOP, T3);
	world_run_on(0);
	EXPECT("its ACK here", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	world_run_on(1);
	EXPECT("data there", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("reported, remembered there", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	world_run_on(0);
	sneak_connection(CLIENT, 40000, SHOP, T2);
	EXPECT("remembered here", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	world_run_on(1);
	EXPECT("changed here, forgotten there", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
}

/* A target that is down or drained keeps what it has; one that is given up gets nothing. */
static void test_target_changes(void **state)
{
	(void)state;
	remember();
	set_flags(T1, TARGET_RESOLVED | TARGET_IN_SYNC);
	EXPECT("drained, or down", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	set_flags(T1, TARGET_RESOLVED | TARGET_DEAD);
	EXPECT_DROP("given up", ACK(), NO_TARGET);
	put_connection(CLIENT, 40001, SHOP, T1, CONNECTION_OPEN);
	EXPECT_DROP("and never asked", ACK(.from_port = 40001), NO_TARGET);
	assert_int_equal(remembered(), 1);
	set_flags(T1, TARGET_RESOLVED | TARGET_USABLE);
	EXPECT("it is back", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	set_flags(T1, TARGET_USABLE);
	EXPECT_DROP("its next hop is lost", ACK(), SERVICE, COUNT_FLOW_CONNECTION,
		    COUNT_DROP_NO_NEXT_HOP);
}

/* The number is another target's now: neither what was reported nor what was noted counts. */
static void test_number_again(void **state)
{
	struct target target = get_target(T1);

	(void)state;
	remember();
	EXPECT("a handshake", SYN(.from_port = 40001), XDP_TX, TO_T1(SYN(.from_port = 40001)),
	       DISTRIBUTED);
	EXPECT("it goes on", ACK(.from_port = 40001), XDP_TX, TO_T1(ACK(.from_port = 40001)),
	       HALF_OPEN);
	EXPECT("half a handshake", SYN(.from_port = 40002), XDP_TX, TO_T1(SYN(.from_port = 40002)),
	       DISTRIBUTED);
	age_handshakes(SECOND_NS);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	target.since_ns = world_now_ns() - SECOND_NS / 2;
	put_target(T1, &target);
	EXPECT_DROP("reported", ACK(), SIGHTED);
	EXPECT_DROP("noted", ACK(.from_port = 40001), SIGHTED);
	EXPECT_DROP("half-open", ACK(.from_port = 40002), SIGHTED);
}

static void test_service_number_again(void **state)
{
	struct router_service service = get_service(SHOP);

	(void)state;
	EXPECT("a handshake", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	EXPECT("it goes on", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	EXPECT_DROP("an unknown flow", ACK(.from_port = 40001), SIGHTED);
	assert_int_equal(age_sightings(SECOND_NS), 1);
	age_handshakes(SECOND_NS);
	service.since_ns = world_now_ns() - SECOND_NS / 2;
	put_service(SHOP, &service);
	EXPECT_DROP("noted of the former one", ACK(), SIGHTED);
	EXPECT_DROP("seen of the former one", ACK(.from_port = 40001), SIGHTED);
}

/* What is being written counts for nothing. */
static void test_half_written(void **state)
{
	struct router_service service = get_service(SHOP);
	struct target target = get_target(T1);

	(void)state;
	remember();
	target.sequence = 7;
	put_target(T1, &target);
	EXPECT_DROP("a target", ACK(), SERVICE, COUNT_FLOW_CONNECTION, COUNT_DROP_NO_NEXT_HOP);
	target.sequence = 8;
	put_target(T1, &target);
	EXPECT("the target", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	service.sequence = 7;
	put_service(SHOP, &service);
	EXPECT_DROP("a service: a SYN", SYN(.from_port = 40001), SERVICE, COUNT_DROP_NOT_SERVING);
	EXPECT("a service: a connection", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT_DROP("unknown", ACK(.from_port = 40001), SIGHTED);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
	EXPECT_DROP("unknown, waited for", ACK(.from_port = 40001), SERVICE, COUNT_HELD_UNKNOWN);
	service.sequence = 8;
	put_service(SHOP, &service);
	EXPECT("the service", SYN(.from_port = 40001), XDP_TX, TO_T1(SYN(.from_port = 40001)),
	       DISTRIBUTED);
	drop_service(SHOP);
	EXPECT_PASS("no service any more", ACK(), COUNT_PASS_NO_SERVICE);
}

/* ------------------------------------------------------------------------------------------------
 * sets */

static uint16_t target_of(uint16_t port)
{
	return port % 2 ? T1 : T3;
}

static void check_many(const char *what)
{
	for (uint16_t port = 1; port <= MANY; port++) {
		struct frame ack = ACK(.from_port = port), ack6 = ACK6(.from_port = port);

		EXPECT(what, ack, XDP_TX, target_of(port) == T1 ? TO_T1(ack) : TO_T3(ack),
		       CONNECTION);
		EXPECT(what, ack6, XDP_TX, target_of(port + 1) == T1 ? TO_T1(ack6) : TO_T3(ack6),
		       CONNECTION);
	}
}

/* All flows in one set, IPv4 and IPv6, many more than it holds. */
static void test_full_set(void **state)
{
	(void)state;
	squeeze(0, 0, 0);
	for (uint16_t port = 1; port <= MANY; port++) {
		put_connection(CLIENT, port, SHOP, target_of(port), CONNECTION_OPEN);
		put_connection(CLIENT6, port, SHOP6, target_of(port + 1), CONNECTION_OPEN);
	}
	check_many("once");
	check_many("again");
	assert_int_equal(remembered(), FLOW_WAYS);
	for (uint16_t port = 1; port <= FLOW_WAYS; port++)
		for (int i = 0; i < 2; i++)
			check_many("and again");
	for (uint16_t port = MANY; port > MANY - 2; port--) {
		struct frame ack6 = ACK6(.from_port = port);

		sneak_connection(CLIENT6, port, SHOP6, T2);
		EXPECT("the last ones are remembered", ack6, XDP_TX,
		       target_of(port + 1) == T1 ? TO_T1(ack6) : TO_T3(ack6), CONNECTION);
	}
}

/* Two flows share a set: each has its own answer, and both forget when one changes. */
static void test_shared_set(void **state)
{
	(void)state;
	squeeze(0, 0, 0);
	remember();
	put_connection(CLIENT, 40001, SHOP, T3, CONNECTION_OPEN);
	assert_int_equal(remembered(), 0);
	EXPECT("one", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT("the other", ACK(.from_port = 40001), XDP_TX, TO_T3(ACK(.from_port = 40001)),
	       CONNECTION);
	assert_int_equal(remembered(), 2);
	EXPECT("one again", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT("the other again", ACK(.from_port = 40001), XDP_TX, TO_T3(ACK(.from_port = 40001)),
	       CONNECTION);
}

/* Made under a version that is over: not believed, though it is there. */
static void test_stale_stamp(void **state)
{
	(void)state;
	remember();
	sneak_connection(CLIENT, 40000, SHOP, T3);
	get_set(CLIENT, 40000, SHOP)->version++;
	EXPECT("of a former version", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
}

/* The stamp comes round after 128 changes of two steps each: what had it before is not there any
 * more. */
static void test_stamp_comes_round(void **state)
{
	uint64_t version;

	(void)state;
	squeeze(0, 0, 0);
	remember();
	version = get_set(CLIENT, 40000, SHOP)->version;
	sneak_connection(CLIENT, 40000, SHOP, T3);
	for (int i = 0; i < 128; i++)
		put_connection(CLIENT, 40001, SHOP, T1, CONNECTION_OPEN);
	assert_int_equal(get_set(CLIENT, 40000, SHOP)->version, version + 256);
	EXPECT("of 128 changes ago", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
}

/* The guard is part of what tells an IPv6 flow from others. */
static void test_guard(void **state)
{
	struct flow_set *set;

	(void)state;
	put_connection(CLIENT6, 40000, SHOP6, T1, CONNECTION_OPEN);
	EXPECT("remembered", ACK6(), XDP_TX, TO_T1(ACK6()), CONNECTION);
	sneak_connection(CLIENT6, 40000, SHOP6, T3);
	set = get_set(CLIENT6, 40000, SHOP6);
	for (int way = 0; way < FLOW_WAYS; way++)
		set->guard[way] ^= 1;
	EXPECT("another flow's guard", ACK6(), XDP_TX, TO_T3(ACK6()), CONNECTION);
}

/* ... and so is each bit of its word but the target's. */
static void test_each_bit(void **state)
{
	(void)state;
	for (int bit = FLOW_TARGET_BITS; bit < 64; bit++) {
		remember();
		sneak_connection(CLIENT, 40000, SHOP, T3);
		change_words(bit);
		EXPECT("another flow's, of another version, or none", ACK(), XDP_TX, TO_T3(ACK()),
		       CONNECTION);
	}
}

/* Flows that share a set under one secret are scattered under another: nobody can build them. */
static void check_keyed(const char *client, uint16_t service)
{
	struct settings settings = router_settings();
	struct flow_set *first, *set;
	unsigned int together = 0;
	uint16_t ports[8];

	settings.flow_bits = 3;
	put_settings(&settings);
	first = get_set(client, 1, service);
	for (uint16_t port = 1; together < 8 && port < 1000; port++)
		if (get_set(client, port, service) == first)
			ports[together++] = port;
	assert_int_equal(together, 8);
	for (int word = 0; word < 2; word++) {
		unsigned int same = 0;

		settings.flow_secret[word] ^= 0x5555;
		put_settings(&settings);
		set = get_set(client, ports[0], service);
		for (unsigned int i = 0; i < together; i++)
			same += get_set(client, ports[i], service) == set;
		assert_in_range(same, 1, 5);
		settings = router_settings();
		settings.flow_bits = 3;
	}
}

static void test_keyed(void **state)
{
	(void)state;
	check_keyed(CLIENT, SHOP);
	check_keyed(CLIENT6, SHOP6);
}

/* ------------------------------------------------------------------------------------------------
 * two CPUs at once */

#define TURNS 100000

static volatile bool over;

static void *send_always(void *unused)
{
	struct frame ack = ACK();

	(void)unused;
	world_run_on(1);
	while (!over)
		run_packets(&ack, 100);
	return NULL;
}

/* Whatever another CPU is just remembering: after a change nobody hears the old answer. */
static void test_race(void **state)
{
	struct frame ack = ACK(), out;
	unsigned int wrong = 0;
	pthread_t other;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	over = false;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	assert_int_equal(pthread_create(&other, NULL, send_always, NULL), 0);
	for (unsigned int turn = 0; turn < TURNS; turn++) {
		uint16_t target = turn % 2 ? T1 : T3;

		put_connection(CLIENT, 40000, SHOP, target, CONNECTION_OPEN);
		run_packet(&ack, &out);
		wrong += (out.length == TO_T1(ack).length) != (target == T1);
	}
	over = true;
	pthread_join(other, NULL);
	assert_int_equal(wrong, 0);
}

/* Other CPUs see a version change after what it stands for: x86 does that by itself, others only
 * where the program asks for it. */
static void test_order(void **state)
{
	(void)state;
	assert_int_equal(unordered_additions(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_remembered, world_reset),
		cmocka_unit_test_setup(test_reported, world_reset),
		cmocka_unit_test_setup(test_reuse, world_reset),
		cmocka_unit_test_setup(test_affinity_between, world_reset),
		cmocka_unit_test_setup(test_another_cpu, world_reset),
		cmocka_unit_test_setup(test_target_changes, world_reset),
		cmocka_unit_test_setup(test_number_again, world_reset),
		cmocka_unit_test_setup(test_service_number_again, world_reset),
		cmocka_unit_test_setup(test_half_written, world_reset),
		cmocka_unit_test_setup(test_full_set, world_reset),
		cmocka_unit_test_setup(test_shared_set, world_reset),
		cmocka_unit_test_setup(test_stale_stamp, world_reset),
		cmocka_unit_test_setup(test_stamp_comes_round, world_reset),
		cmocka_unit_test_setup(test_guard, world_reset),
		cmocka_unit_test_setup(test_each_bit, world_reset),
		cmocka_unit_test_setup(test_keyed, world_reset),
		cmocka_unit_test_setup(test_race, world_reset),
		cmocka_unit_test_setup(test_order, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: fast path", tests, world_load, world_unload);
}
