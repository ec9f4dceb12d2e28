/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the router has seen of handshakes, and of flows that nobody has reported: each safeguard of
 * bpf/handshakes.h and bpf/sightings.h, in rows that fail without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "world.h"

/* A noted handshake comes before a report of another target, on the fast path too. */
static void test_noted_first(void **state)
{
	(void)state;
	EXPECT("SYN", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	EXPECT("ACK", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("a late report", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	assert_int_equal(remembered(), 0);
	age_handshakes(NOTED_NS);
	EXPECT("ten seconds later", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	assert_int_equal(remembered(), 1);
}

/* What is noted is written after what another CPU may just be remembering: it puts that out. */
static void test_note_changes(void **state)
{
	uint64_t version;

	(void)state;
	EXPECT("SYN", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	version = get_set(CLIENT, 40000, SHOP)->version;
	EXPECT("ACK", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	assert_int_not_equal(get_set(CLIENT, 40000, SHOP)->version, version);
}

/* As many in one set as it has places for; then the oldest gives way. */
static void test_half_open_places(void **state)
{
	(void)state;
	squeeze(0, 0, 0);
	for (uint16_t port = 1; port <= HALF_OPEN_WAYS + 1; port++) {
		EXPECT("SYN", SYN(.from_port = port), XDP_TX, TO_T1(SYN(.from_port = port)),
		       DISTRIBUTED);
		age_handshakes(SECOND_NS);
	}
	put_ring(SHOP, T3);
	for (uint16_t port = 2; port <= HALF_OPEN_WAYS + 1; port++)
		EXPECT("its ACK", ACK(.from_port = port), XDP_TX, TO_T1(ACK(.from_port = port)),
		       HALF_OPEN);
	EXPECT_DROP("the oldest", ACK(.from_port = 1), SIGHTED);
}

/* What tells an IPv6 flow from others: of a noted one the guard too. */
static void test_noted_guard(void **state)
{
	(void)state;
	EXPECT("SYN", SYN6(), XDP_TX, TO_T1(SYN6()), DISTRIBUTED);
	EXPECT("ACK", ACK6(), XDP_TX, TO_T1(ACK6()), HALF_OPEN);
	EXPECT("noted", ACK6(), XDP_TX, TO_T1(ACK6()), NOTED);
	change_guards();
	EXPECT_DROP("another flow's guard", ACK6(), SIGHTED);
	change_guards();
	EXPECT("noted", ACK6(), XDP_TX, TO_T1(ACK6()), NOTED);
}

/* An IPv4 flow with an IPv6 flow's tag is another flow. */
static void test_families(void **state)
{
	(void)state;
	EXPECT("IPv4", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	EXPECT("IPv6", SYN6(), XDP_TX, TO_T1(SYN6()), DISTRIBUTED);
	change_families();
	EXPECT("IPv4", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	EXPECT_DROP("was another flow's", ACK6(), SIGHTED);
}

/* Each bit of a handshake's word but the target's and the time's is the flow's. */
static void test_each_bit(void **state)
{
	(void)state;
	for (int bit = FLOW_TARGET_BITS; bit < FLOW_STAMP_SHIFT; bit++) {
		struct frame syn = SYN(.from_port = bit), ack = ACK(.from_port = bit);

		EXPECT("SYN", syn, XDP_TX, TO_T1(syn), DISTRIBUTED);
		change_words(bit);
		EXPECT_DROP("half-open: another flow's", ack, SIGHTED);
		change_words(bit);
		EXPECT("half-open", ack, XDP_TX, TO_T1(ack), HALF_OPEN);
		change_words(bit);
		EXPECT_DROP("noted: another flow's", ack, SIGHTED);
		change_words(bit);
	}
}

static void flood(unsigned int packets, bool pairs)
{
	struct frame out;

	for (unsigned int i = 0; i < packets; i++) {
		struct frame syn = SYN(.from = "198.51.100.99", .from_port = (uint16_t)(i + 1));
		struct frame ack = ACK(.from = "198.51.100.99", .from_port = (uint16_t)(i + 1));

		assert_int_equal(run_packet(&syn, &out), XDP_TX);
		if (pairs)
			assert_int_equal(run_packet(&ack, &out), XDP_TX);
	}
}

static void test_flood_of_syns(void **state)
{
	(void)state;
	squeeze(0, 0, 0);
	EXPECT("SYN", SYN(.from_port = 1), XDP_TX, TO_T1(SYN(.from_port = 1)), DISTRIBUTED);
	EXPECT("ACK", ACK(.from_port = 1), XDP_TX, TO_T1(ACK(.from_port = 1)), HALF_OPEN);
	remember();
	put_ring(SHOP, T3);
	flood(1000, false);
	EXPECT("noted", ACK(.from_port = 1), XDP_TX, TO_T1(ACK(.from_port = 1)), NOTED);
	assert_int_equal(remembered(), 1);
	sneak_connection(CLIENT, 40000, SHOP, T3);
	EXPECT("remembered", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT("displaced: each other", SYN(), XDP_TX, TO_T3(SYN()), CONNECTION);
	EXPECT("one more", SYN(.from_port = 2), XDP_TX, TO_T3(SYN(.from_port = 2)), DISTRIBUTED,
	       COUNT_FLOW_DISPLACED);
	age_handshakes(SECOND_NS);
	EXPECT("not so many", SYN(.from_port = 3), XDP_TX, TO_T3(SYN(.from_port = 3)), DISTRIBUTED);
}

/* Forged pairs push each other out, and nothing that matters. */
static void test_flood_of_pairs(void **state)
{
	(void)state;
	squeeze(0, 0, 0);
	remember();
	flood(100, true);
	EXPECT("a connection", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	assert_int_equal(table_size(), 1);
}

/* What is noted of a target that cannot report it is not pushed out. */
static void test_unattended(void **state)
{
	(void)state;
	squeeze(0, 0, 0);
	set_flags(T1, TARGET_USABLE | TARGET_RESOLVED);
	for (uint16_t port = 1; port <= NOTED_WAYS; port++) {
		struct frame syn = SYN(.from_port = port), ack = ACK(.from_port = port), out;

		run_packet(&syn, &out);
		age_handshakes(SECOND_NS * 2);
		run_packet(&ack, &out);
	}
	age_handshakes(SECOND_NS * 2);
	for (uint16_t port = 1; port <= NOTED_WAYS; port++)
		EXPECT("at an unattended target", ACK(.from_port = port), XDP_TX,
		       TO_T1(ACK(.from_port = port)), NOTED);
	put_ring(SHOP, T3);
	EXPECT("there is room for a SYN", SYN(.from_port = 9), XDP_TX, TO_T3(SYN(.from_port = 9)),
	       DISTRIBUTED);
	EXPECT("but not to note it", ACK(.from_port = 9), XDP_TX, TO_T3(ACK(.from_port = 9)),
	       HALF_OPEN, COUNT_FLOW_FULL);
	for (uint16_t port = 1; port <= NOTED_WAYS; port++)
		EXPECT("they stay", ACK(.from_port = port), XDP_TX, TO_T1(ACK(.from_port = port)),
		       NOTED);
	set_flags(T1, TARGET_USABLE | TARGET_RESOLVED | TARGET_IN_SYNC);
	EXPECT("SYN", SYN(.from_port = 10), XDP_TX, TO_T3(SYN(.from_port = 10)), DISTRIBUTED);
	EXPECT("in sync: the oldest gives way", ACK(.from_port = 10), XDP_TX,
	       TO_T3(ACK(.from_port = 10)), HALF_OPEN);
	EXPECT_DROP("the oldest", ACK(.from_port = 1), SIGHTED);
	EXPECT("the next", ACK(.from_port = 2), XDP_TX, TO_T1(ACK(.from_port = 2)), NOTED);
	set_flags(T1, TARGET_DEAD | TARGET_RESOLVED);
	set_flags(T3, TARGET_USABLE | TARGET_RESOLVED);
	EXPECT("SYN", SYN(.from_port = 11), XDP_TX, TO_T3(SYN(.from_port = 11)), DISTRIBUTED);
	EXPECT("given up: gives way", ACK(.from_port = 11), XDP_TX, TO_T3(ACK(.from_port = 11)),
	       HALF_OPEN);
}

/* Each flow that is waited for has a time of its own; where all fall into one set, the oldest gives
 * way. */
static void test_sightings_places(void **state)
{
	(void)state;
	squeeze(FLOW_BITS_MIN, 0, 0);
	for (uint16_t port = 1; port <= SIGHTING_WAYS + 1; port++) {
		EXPECT_DROP("first sight", ACK(.from_port = port), SIGHTED);
		age_sightings(1000000);
	}
	assert_int_equal(age_sightings(SIGHTING_NS), SIGHTING_WAYS);
	for (uint16_t port = SIGHTING_WAYS + 1; port > 1; port--)
		EXPECT("waited for", ACK(.from_port = port), XDP_TX, TO_T1(ACK(.from_port = port)),
		       SERVICE, COUNT_GUESS_DISTRIBUTED, COUNT_FORWARDED_PACKETS);
	EXPECT_DROP("the oldest", ACK(.from_port = 1), SIGHTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_noted_first, world_reset),
		cmocka_unit_test_setup(test_note_changes, world_reset),
		cmocka_unit_test_setup(test_half_open_places, world_reset),
		cmocka_unit_test_setup(test_noted_guard, world_reset),
		cmocka_unit_test_setup(test_families, world_reset),
		cmocka_unit_test_setup(test_each_bit, world_reset),
		cmocka_unit_test_setup(test_flood_of_syns, world_reset),
		cmocka_unit_test_setup(test_flood_of_pairs, world_reset),
		cmocka_unit_test_setup(test_unattended, world_reset),
		cmocka_unit_test_setup(test_sightings_places, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: handshakes", tests, world_load, world_unload);
}
