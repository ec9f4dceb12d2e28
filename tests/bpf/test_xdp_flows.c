/* SPDX-License-Identifier: BSD-2-Clause */
/* The router: a connection never moves. What is known of a flow, and who is believed about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

/* A SYN of somebody who knows the 4-tuple, but not the sequence numbers. */
#define FORGED() SEGMENT(TCP_SYN, .sequence = 0x70000000)

static void check_flow(enum flow_state state, uint16_t target)
{
	uint16_t noted;

	assert_int_equal(get_flow(CLIENT, 40000, SHOP, &noted), state);
	assert_int_equal(noted, target);
}

static bool has_flow(void)
{
	uint16_t target;

	return get_flow(CLIENT, 40000, SHOP, &target) != FLOW_STATE_NONE;
}

/* A handshake to T1, after which the ring says T3, so that whatever is forgotten is seen. */
static void handshake(bool completed)
{
	EXPECT("SYN", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	if (completed)
		EXPECT("the handshake's ACK", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	put_ring(SHOP, T3);
}

static void test_handshake(void **state)
{
	(void)state;
	handshake(false);
	check_flow(FLOW_STATE_HALF_OPEN, T1);
	EXPECT("the same SYN again", SYN(), XDP_TX, TO_T1(SYN()), HALF_OPEN);
	check_flow(FLOW_STATE_HALF_OPEN, T1);
	EXPECT("the handshake's ACK", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	check_flow(FLOW_STATE_NOTED, T1);
	EXPECT("data", ACK(.data = 100), XDP_TX, TO_T1(ACK(.data = 100)), NOTED);
	EXPECT("data far on", SEGMENT(TCP_ACK, .sequence = 0xf0000000), XDP_TX,
	       TO_T1(SEGMENT(TCP_ACK, .sequence = 0xf0000000)), NOTED);
	EXPECT("RST", SEGMENT(TCP_RST), XDP_TX, TO_T1(SEGMENT(TCP_RST)), NOTED);
	EXPECT("a forged SYN changes nothing", FORGED(), XDP_TX, TO_T1(FORGED()), NOTED);
	check_flow(FLOW_STATE_NOTED, T1);
}

static void test_handshake6(void **state)
{
	struct frame syn = SEGMENT6(TCP_SYN), ack = SEGMENT6(TCP_ACK, .sequence = ISN + 1);

	(void)state;
	EXPECT("SYN", syn, XDP_TX, TO_T1(syn), DISTRIBUTED);
	put_ring(SHOP6, T3);
	EXPECT("ACK", ack, XDP_TX, TO_T1(ack), HALF_OPEN);
	EXPECT("again", ack, XDP_TX, TO_T1(ack), NOTED);
	EXPECT("another client", SEGMENT6(TCP_SYN, .from = "2001:db8:7::8"), XDP_TX,
	       TO_T3(SEGMENT6(TCP_SYN, .from = "2001:db8:7::8")), DISTRIBUTED);
}

/* A half-open flow draws only what follows its SYN. */
static void test_sequence_window(void **state)
{
	(void)state;
	handshake(false);
	EXPECT_DROP("not after the SYN", SEGMENT(TCP_ACK, .sequence = ISN), SIGHTED);
	EXPECT_DROP("before the SYN", SEGMENT(TCP_ACK, .sequence = ISN - 1), SIGHTED);
	EXPECT_DROP("far behind the SYN", SEGMENT(TCP_ACK, .sequence = ISN + ISN_WINDOW + 1),
		    SIGHTED);
	check_flow(FLOW_STATE_HALF_OPEN, T1);
	EXPECT("the last that counts", SEGMENT(TCP_ACK, .sequence = ISN + ISN_WINDOW), XDP_TX,
	       TO_T1(SEGMENT(TCP_ACK, .sequence = ISN + ISN_WINDOW)), HALF_OPEN);
	check_flow(FLOW_STATE_NOTED, T1);
}

/* Sequence numbers wrap. */
static void test_sequence_wraps(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN, .sequence = 0xffffffff);
	struct frame rst = SEGMENT(TCP_RST, .sequence = 0xfffffffe);
	struct frame ack = SEGMENT(TCP_ACK, .sequence = 5);

	(void)state;
	EXPECT("SYN", syn, XDP_TX, TO_T1(syn), DISTRIBUTED);
	put_ring(SHOP, T3);
	EXPECT_DROP("before the SYN", rst, SIGHTED);
	EXPECT("after the SYN", ack, XDP_TX, TO_T1(ack), HALF_OPEN);
}

static void test_handshake_reset(void **state)
{
	(void)state;
	handshake(false);
	EXPECT("a RST belongs to the handshake", SEGMENT(TCP_RST, .sequence = ISN + 1), XDP_TX,
	       TO_T1(SEGMENT(TCP_RST, .sequence = ISN + 1)), HALF_OPEN);
	check_flow(FLOW_STATE_HALF_OPEN, T1);
	EXPECT("another SYN is another handshake", FORGED(), XDP_TX, TO_T3(FORGED()), DISTRIBUTED);
}

/* The half-open flow's target has gone out of use before the SYN came again. */
static void test_handshake_unusable(void **state)
{
	(void)state;
	handshake(false);
	set_flags(T1, TARGET_RESOLVED);
	EXPECT("SYN again", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED);
	check_flow(FLOW_STATE_HALF_OPEN, T3);
}

/* Nobody serves there any more, which only a new choice finds out. */
static void test_syn_again(void **state)
{
	(void)state;
	handshake(false);
	put_ring(SHOP, T3);
	age_handshakes(SYN_SAME_NS - SECOND_NS);
	EXPECT("after 1 s", SYN(), XDP_TX, TO_T1(SYN()), HALF_OPEN);
	age_handshakes(SECOND_NS);
	EXPECT("after 3 s", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED);
	check_flow(FLOW_STATE_HALF_OPEN, T3);
	EXPECT("its ACK", ACK(), XDP_TX, TO_T3(ACK()), HALF_OPEN);
}

/* SYN-ACK and SYN with RST are no openings. */
static void test_no_opening(void **state)
{
	(void)state;
	EXPECT_DROP("SYN-ACK", SEGMENT(TCP_SYN | TCP_ACK), SIGHTED);
	EXPECT_DROP("SYN and RST", SEGMENT(TCP_SYN | TCP_RST, .from_port = 40001), SIGHTED);
	assert_false(has_flow());
}

static void test_connection(void **state)
{
	(void)state;
	put_ring(SHOP, T3);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("data", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT("FIN", SEGMENT(TCP_ACK | TCP_FIN), XDP_TX, TO_T1(SEGMENT(TCP_ACK | TCP_FIN)),
	       CONNECTION);
	EXPECT("a forged SYN", FORGED(), XDP_TX, TO_T1(FORGED()), CONNECTION);
	EXPECT("what it says is not believed", SEGMENT(TCP_ACK, .sequence = 0x70000001), XDP_TX,
	       TO_T1(SEGMENT(TCP_ACK, .sequence = 0x70000001)), CONNECTION);
	assert_false(has_flow());
	EXPECT("the same client to another service", SEGMENT(TCP_SYN, .to_port = 443), XDP_TX,
	       TO_T1(SEGMENT(TCP_SYN, .to_port = 443)), DISTRIBUTED);
}

/* The server has closed first, the client still sends; then it uses its port again. */
static void test_lingering(void **state)
{
	(void)state;
	put_ring(SHOP, T3);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_LINGERS);
	EXPECT("data after the server's FIN", SEGMENT(TCP_ACK, .sequence = 77), XDP_TX,
	       TO_T1(SEGMENT(TCP_ACK, .sequence = 77)), CONNECTION);
	EXPECT("a SYN is a new connection", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED);
	EXPECT("late data of the old one", SEGMENT(TCP_ACK, .sequence = 0x80000000), XDP_TX,
	       TO_T1(SEGMENT(TCP_ACK, .sequence = 0x80000000)), CONNECTION);
	check_flow(FLOW_STATE_HALF_OPEN, T3);
	EXPECT("the new one's ACK", ACK(), XDP_TX, TO_T3(ACK()), HALF_OPEN);
	EXPECT("the new one's data", ACK(.data = 9), XDP_TX, TO_T3(ACK(.data = 9)), NOTED);
	EXPECT("a forged SYN on the new one", FORGED(), XDP_TX, TO_T3(FORGED()), NOTED);
}

/* Noted, reported, closed, all within ten seconds: a SYN opens a new connection. */
static void test_lingering_noted(void **state)
{
	(void)state;
	handshake(true);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_LINGERS);
	EXPECT("late data", ACK(.data = 3), XDP_TX, TO_T1(ACK(.data = 3)), NOTED);
	EXPECT("SYN", FORGED(), XDP_TX, TO_T3(FORGED()), DISTRIBUTED);
	EXPECT("its ACK", SEGMENT(TCP_ACK, .sequence = 0x70000001), XDP_TX,
	       TO_T3(SEGMENT(TCP_ACK, .sequence = 0x70000001)), HALF_OPEN);
}

/* What lingers is an older connection; the new one's SYN comes once more, late. */
static void test_lingering_late_syn(void **state)
{
	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_LINGERS);
	handshake(true);
	EXPECT("the SYN that was noted", SYN(), XDP_TX, TO_T1(SYN()), NOTED);
	check_flow(FLOW_STATE_NOTED, T1);
	EXPECT("data", ACK(.data = 3), XDP_TX, TO_T1(ACK(.data = 3)), NOTED);
}

static void test_report(void **state)
{
	(void)state;
	handshake(true);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("its report makes a flow permanent", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	assert_false(has_flow());
	world_reset(NULL);
	handshake(false);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("a half-open one too: the ACK went through another router", ACK(), XDP_TX,
	       TO_T1(ACK()), CONNECTION);
	assert_false(has_flow());
}

/* Two targets, one 4-tuple: a handshake seen here is newer than a report of another. */
static void test_late_report(void **state)
{
	(void)state;
	handshake(true);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("noted wins", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	EXPECT("for a SYN too", SYN(), XDP_TX, TO_T1(SYN()), NOTED);
	age_handshakes(NOTED_NS - SECOND_NS);
	EXPECT("after nine seconds still", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	age_handshakes(SECOND_NS);
	EXPECT("after ten no longer", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	assert_false(has_flow());
	world_reset(NULL);
	handshake(false);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("half-open does not", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	EXPECT("for its SYN neither", SYN(), XDP_TX, TO_T3(SYN()), CONNECTION);
}

/* A noted flow that its target, in sync, has not reported is not believed for ever. */
static void test_expiry(void **state)
{
	(void)state;
	handshake(true);
	age_handshakes(NOTED_NS);
	set_flags(T1, TARGET_USABLE | TARGET_RESOLVED);
	EXPECT("not in sync: its report may be on the way", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	set_flags(T1, TARGET_USABLE | TARGET_RESOLVED | TARGET_IN_SYNC);
	EXPECT_DROP("in sync", ACK(), COUNT_SERVICE_PACKETS, COUNT_HELD_SIGHTING);
	EXPECT("a SYN starts anew", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED, COUNT_FLOW_EXPIRED);
	world_reset(NULL);
	handshake(true);
	age_handshakes(NOTED_NS);
	EXPECT("a SYN at once", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED, COUNT_FLOW_EXPIRED);
}

/* It is a guess from then on, before the ring and affinities, and as long as nobody reports the
 * flow: its target's kernel may have kept the connection to itself so far. */
static void test_overdue(void **state)
{
	(void)state;
	handshake(true);
	put_ring(SHOP, T3);
	put_affinity(CLIENT, 0, T3);
	age_handshakes(NOTED_NS);
	EXPECT_DROP("a report may be on the way", ACK(), COUNT_SERVICE_PACKETS,
		    COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
	EXPECT("to where the handshake went", ACK(), XDP_TX, TO_T1(ACK()), COUNT_SERVICE_PACKETS,
	       COUNT_GUESS_NOTED, COUNT_FORWARDED_PACKETS);
	EXPECT("noted again", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	age_handshakes(NOTED_NS);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("somebody else has reported it", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	assert_false(has_flow());

	world_reset(NULL);
	handshake(true);
	age_handshakes(NOTED_NS);
	EXPECT_DROP("overdue", ACK(), COUNT_SERVICE_PACKETS, COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
	put_ring(SHOP, T3);
	set_flags(T1, TARGET_DEAD | TARGET_RESOLVED | TARGET_IN_SYNC);
	EXPECT("its target is given up", ACK(), XDP_TX, TO_T3(ACK()), COUNT_SERVICE_PACKETS,
	       COUNT_GUESS_DISTRIBUTED, COUNT_FORWARDED_PACKETS);
}

/* A target that was given up: a SYN goes elsewhere, what belongs to it goes nowhere. */
static void test_dead_target(void **state)
{
	const uint16_t dead = TARGET_DEAD | TARGET_RESOLVED;

	(void)state;
	handshake(true);
	set_flags(T1, dead);
	EXPECT_DROP("noted", ACK(), NO_TARGET);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("noted, and reported by one that lives", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT_DROP("reported", ACK(), NO_TARGET);
	EXPECT("SYN", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED);
	check_flow(FLOW_STATE_HALF_OPEN, T3);
	EXPECT_DROP("late data of the dead one's", SEGMENT(TCP_ACK, .sequence = 0x80000000),
		    NO_TARGET);
	EXPECT("the new one's ACK", ACK(), XDP_TX, TO_T3(ACK()), HALF_OPEN);
	EXPECT("the new one's data", ACK(.data = 9), XDP_TX, TO_T3(ACK(.data = 9)), NOTED);

	world_reset(NULL);
	handshake(true);
	set_flags(T1, dead);
	EXPECT("noted: SYN", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED);
	EXPECT("and its ACK", ACK(), XDP_TX, TO_T3(ACK()), HALF_OPEN);

	world_reset(NULL);
	handshake(false);
	set_flags(T1, dead);
	EXPECT_DROP("half-open", ACK(), NO_TARGET);
	check_flow(FLOW_STATE_HALF_OPEN, T1);
	EXPECT("half-open: SYN", SYN(), XDP_TX, TO_T3(SYN()), DISTRIBUTED);
}

/* Known flows of a target that is down or drained stay. */
static void test_unusable_target(void **state)
{
	(void)state;
	handshake(true);
	set_flags(T1, TARGET_RESOLVED);
	EXPECT("noted", ACK(), XDP_TX, TO_T1(ACK()), NOTED);
	EXPECT("noted: SYN", SYN(), XDP_TX, TO_T1(SYN()), NOTED);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("reported", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
}

/* The table may forget anything. */
static void test_full(void **state)
{
	struct frame out;

	(void)state;
	handshake(true);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	for (uint32_t i = 0; i < 4096; i++) {
		struct frame syn =
			SEGMENT(TCP_SYN, .from = "198.51.100.99", .from_port = (uint16_t)(i + 1));

		assert_int_equal(run_packet(&syn, &out), XDP_TX);
	}
	EXPECT("a connection is none of what a flood pushes out", ACK(), XDP_TX, TO_T1(ACK()),
	       CONNECTION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_handshake, world_reset),
		cmocka_unit_test_setup(test_handshake6, world_reset),
		cmocka_unit_test_setup(test_sequence_window, world_reset),
		cmocka_unit_test_setup(test_sequence_wraps, world_reset),
		cmocka_unit_test_setup(test_handshake_reset, world_reset),
		cmocka_unit_test_setup(test_handshake_unusable, world_reset),
		cmocka_unit_test_setup(test_syn_again, world_reset),
		cmocka_unit_test_setup(test_no_opening, world_reset),
		cmocka_unit_test_setup(test_connection, world_reset),
		cmocka_unit_test_setup(test_lingering, world_reset),
		cmocka_unit_test_setup(test_lingering_noted, world_reset),
		cmocka_unit_test_setup(test_lingering_late_syn, world_reset),
		cmocka_unit_test_setup(test_report, world_reset),
		cmocka_unit_test_setup(test_late_report, world_reset),
		cmocka_unit_test_setup(test_expiry, world_reset),
		cmocka_unit_test_setup(test_overdue, world_reset),
		cmocka_unit_test_setup(test_dead_target, world_reset),
		cmocka_unit_test_setup(test_unusable_target, world_reset),
		cmocka_unit_test_setup(test_full, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: flows", tests, world_load, world_unload);
}
