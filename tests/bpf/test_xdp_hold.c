/* SPDX-License-Identifier: BSD-2-Clause */
/* The router: takeover loses nothing, an affinity holds. What is held, guessed, refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

static bool is_noted(uint16_t port, uint16_t target)
{
	uint16_t noted;

	return get_flow(CLIENT, port, SHOP, &noted) == FLOW_STATE_NOTED && noted == target;
}

static bool has_flow(uint16_t port)
{
	uint16_t target;

	return get_flow(CLIENT, port, SHOP, &target) != FLOW_STATE_NONE;
}

/* ------------------------------------------------------------------------------------------------
 * unknown flows */

static void check_held(const char *what)
{
	EXPECT_DROP(what, ACK(), SERVICE, COUNT_HELD_UNKNOWN);
	EXPECT_DROP(what, SEGMENT(TCP_RST), SERVICE, COUNT_HELD_UNKNOWN);
	assert_false(has_flow(40000));
	assert_int_equal(age_sightings(0), 0);
}

static void test_held(void **state)
{
	uint64_t now = world_now_ns();

	(void)state;
	put_ring(GUESS_RING, T3);
	put_role(ROLE_ACTIVE, 2, now);
	put_sync(2, 0, 1);
	check_held("a target is missing");
	put_sync(1, 1, 1);
	check_held("in sync, but in another epoch");
	put_sync(3, 1, 1);
	check_held("in sync, but in an epoch to come");
	put_role(ROLE_ACTIVE, 2, now - 29 * SECOND_NS);
	check_held("for 30 s");
	put_role(ROLE_ACTIVE, 2, 1);
	put_missing(2, now - 29 * SECOND_NS);
	check_held("active for long, and a target has been missing for 29 s");
	put_missing(1, now - 29 * SECOND_NS);
	EXPECT_DROP("that was another epoch's", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	put_missing(2, now - 30 * SECOND_NS);
	EXPECT_DROP("for 30 s: guessed, when it has been seen for long enough", ACK(), SERVICE,
		    COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
	EXPECT("RST", SEGMENT(TCP_RST), XDP_TX, TO_T3(SEGMENT(TCP_RST)), SERVICE,
	       COUNT_GUESS_UNSYNCED, COUNT_FORWARDED_PACKETS);
	put_sync(2, 1, 1);
	EXPECT_DROP("in sync: a matter of sight", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	put_sync(2, 0, 0);
	EXPECT("what is known is never held", ACK(), XDP_TX, TO_T1(ACK()), SERVICE,
	       COUNT_FLOW_CONNECTION, COUNT_FORWARDED_PACKETS);
}

/* A standby guesses nothing, however long; it may be anybody's packet that came here astray. */
static void test_held_by_standby(void **state)
{
	(void)state;
	put_ring(GUESS_RING, T3);
	put_role(ROLE_STANDBY, 0, 1);
	put_sync(0, 1, 1);
	check_held("never activated");
	put_role(ROLE_STANDBY, 4, 1);
	put_sync(4, 1, 1);
	check_held("deactivated");
}

/* It may be on its way from a target that is in sync. */
static void wait_for_report(void)
{
	EXPECT_DROP("its report may be on its way", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
}

static void test_guess_unsynced(void **state)
{
	struct settings settings = router_settings();

	(void)state;
	settings.hold_ns = 0; /* over at once */
	put_settings(&settings);
	put_role(ROLE_ACTIVE, 2, 1);
	put_sync(2, 0, 1);
	put_affinity(CLIENT, 0, T1);
	wait_for_report();
	EXPECT_DROP("there is no ring of them", ACK(), SERVICE, COUNT_DROP_NO_TARGET);
	put_ring(GUESS_RING, NO_NUMBER);
	wait_for_report();
	EXPECT_DROP("none of them can be reached", ACK(), SERVICE, COUNT_DROP_NO_TARGET);
	put_ring(GUESS_RING, T3);
	wait_for_report();
	EXPECT("RST: among those that are missing", SEGMENT(TCP_RST), XDP_TX,
	       TO_T3(SEGMENT(TCP_RST)), SERVICE, COUNT_GUESS_UNSYNCED, COUNT_FORWARDED_PACKETS);
	assert_false(has_flow(40000));
	wait_for_report();
	EXPECT("data", ACK(), XDP_TX, TO_T3(ACK()), SERVICE, COUNT_GUESS_UNSYNCED,
	       COUNT_FORWARDED_PACKETS);
	assert_true(is_noted(40000, T3));
	put_ring(GUESS_RING, T2);
	EXPECT("the guess is kept", ACK(), XDP_TX, TO_T3(ACK()), SERVICE, COUNT_FLOW_NOTED,
	       COUNT_FORWARDED_PACKETS);
}

/* What lingers may be another target's by now. */
static void test_lingers_in_doubt(void **state)
{
	struct settings settings = router_settings();

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_LINGERS);
	put_role(ROLE_ACTIVE, 2, world_now_ns());
	put_sync(2, 0, 1);
	EXPECT_DROP("a target is missing", ACK(), SERVICE, COUNT_HELD_UNKNOWN);
	put_sync(2, 1, 1);
	EXPECT("everybody is here", ACK(), XDP_TX, TO_T3(ACK()), SERVICE, COUNT_FLOW_CONNECTION,
	       COUNT_FORWARDED_PACKETS);
	put_sync(2, 0, 1);
	settings.hold_ns = 0;
	put_settings(&settings);
	EXPECT("held for long enough", ACK(), XDP_TX, TO_T3(ACK()), SERVICE, COUNT_FLOW_CONNECTION,
	       COUNT_FORWARDED_PACKETS);
	put_role(ROLE_STANDBY, 2, 1);
	EXPECT_DROP("a standby", ACK(), SERVICE, COUNT_HELD_UNKNOWN);
}

/* In sync: the report of a flow that nobody knows is on its way, or there is none. */
static void test_sighting(void **state)
{
	(void)state;
	EXPECT_DROP("first sight", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	EXPECT_DROP("again", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(150000000), 1);
	EXPECT_DROP("150 ms later", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	EXPECT_DROP("another flow has a time of its own", ACK(.from_port = 40001), SERVICE,
		    COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(100000000), 2);
	EXPECT("250 ms later", ACK(), XDP_TX, TO_T1(ACK()), SERVICE, COUNT_GUESS_DISTRIBUTED,
	       COUNT_FORWARDED_PACKETS);
	assert_true(is_noted(40000, T1));
	assert_int_equal(age_sightings(SIGHTING_LAST_NS), 1);
	EXPECT_DROP("a sighting of long ago counts no more", ACK(.from_port = 40001), SERVICE,
		    COUNT_HELD_SIGHTING);
	put_connection(CLIENT, 40001, SHOP, T3, CONNECTION_OPEN);
	EXPECT("the report has come", ACK(.from_port = 40001), XDP_TX,
	       TO_T3(ACK(.from_port = 40001)), SERVICE, COUNT_FLOW_CONNECTION,
	       COUNT_FORWARDED_PACKETS);
}

static void test_guess_not_noted(void **state)
{
	const uint8_t flags[] = {TCP_RST, TCP_RST | TCP_ACK, TCP_FIN | TCP_ACK};

	(void)state;
	for (size_t i = 0; i < sizeof(flags); i++) {
		struct frame end = SEGMENT(flags[i]);

		EXPECT_DROP("first sight", end, SERVICE, COUNT_HELD_SIGHTING);
		assert_int_equal(age_sightings(SIGHTING_NS), 1);
		EXPECT("guessed", end, XDP_TX, TO_T1(end), SERVICE, COUNT_GUESS_DISTRIBUTED,
		       COUNT_FORWARDED_PACKETS);
		assert_false(has_flow(40000));
	}
}

static void test_guess_affinity(void **state)
{
	(void)state;
	put_affinity(CLIENT, 0, T3);
	EXPECT_DROP("first sight", ACK(), SERVICE, COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
	EXPECT("to the affinity's target", ACK(), XDP_TX, TO_T3(ACK()), SERVICE,
	       COUNT_GUESS_AFFINITY, COUNT_FORWARDED_PACKETS);
	set_flags(T3, TARGET_RESOLVED);
	EXPECT_DROP("first sight of another", ACK(.from_port = 40001), SERVICE,
		    COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SIGHTING_NS), 1);
	EXPECT("which is down", ACK(.from_port = 40001), XDP_TX, TO_T1(ACK(.from_port = 40001)),
	       SERVICE, COUNT_GUESS_DISTRIBUTED, COUNT_FORWARDED_PACKETS);
}

/* What was noted in another term of office is void: the flow may have gone elsewhere since. */
static void test_bygone(void **state)
{
	struct frame syn = SYN(), ack = SEGMENT(TCP_ACK, .sequence = 1001);

	(void)state;
	EXPECT("SYN", syn, XDP_TX, TO_T1(syn), DISTRIBUTED);
	EXPECT("ACK", ack, XDP_TX, TO_T1(ack), SERVICE, COUNT_FLOW_HALF_OPEN,
	       COUNT_FORWARDED_PACKETS);
	EXPECT_DROP("another flow, unknown", ACK(.from_port = 40001), SERVICE, COUNT_HELD_SIGHTING);
	assert_int_equal(age_sightings(SECOND_NS), 1);
	age_handshakes(SECOND_NS);
	put_role(ROLE_ACTIVE, 2, world_now_ns() - SECOND_NS / 2);
	put_sync(2, 0, 1);
	put_ring(SHOP, T3);
	EXPECT_DROP("noted before the takeover", ack, SERVICE, COUNT_HELD_UNKNOWN);
	assert_false(has_flow(40000));
	EXPECT("a SYN starts anew", syn, XDP_TX, TO_T3(syn), DISTRIBUTED);
	EXPECT("and is noted until it is reported", ack, XDP_TX, TO_T3(ack), SERVICE,
	       COUNT_FLOW_HALF_OPEN, COUNT_FORWARDED_PACKETS);
	put_sync(2, 1, 1);
	EXPECT_DROP("seen before the takeover", ACK(.from_port = 40001), SERVICE,
		    COUNT_HELD_SIGHTING);
	put_role(ROLE_STANDBY, 2, world_now_ns());
	EXPECT_DROP("deactivated", ack, SERVICE, COUNT_HELD_UNKNOWN);
}

/* ------------------------------------------------------------------------------------------------
 * SYNs */

static void test_affinity(void **state)
{
	struct frame other = SYN(.from = "198.51.100.8");
	struct frame plain = SYN(.to_port = 443);

	(void)state;
	put_affinity(CLIENT, 0, T3);
	put_affinity(CLIENT6, 0, T2);
	EXPECT("its client", SYN(), XDP_TX, TO_T3(SYN()), AFFINITY);
	EXPECT("its client again", SYN(.from_port = 40001), XDP_TX, TO_T3(SYN(.from_port = 40001)),
	       AFFINITY);
	EXPECT("another client", other, XDP_TX, TO_T1(other), DISTRIBUTED);
	EXPECT("a service without", plain, XDP_TX, TO_T1(plain), DISTRIBUTED);
	EXPECT("IPv6", SEGMENT6(TCP_SYN), XDP_REDIRECT, TO_T2(SEGMENT6(TCP_SYN)), AFFINITY);
	EXPECT("another IPv6 client", SEGMENT6(TCP_SYN, .from = "2001:db8:7::8"), XDP_TX,
	       TO_T1(SEGMENT6(TCP_SYN, .from = "2001:db8:7::8")), DISTRIBUTED);
	put_affinity(CLIENT, 0, T1);
	EXPECT("the SYN again: its flow comes first", SYN(), XDP_TX, TO_T3(SYN()), SERVICE,
	       COUNT_FLOW_HALF_OPEN, COUNT_FORWARDED_PACKETS);
}

/* A service for itself, and a scope of several. */
static void test_affinity_scope(void **state)
{
	struct router_service plain = get_service(PLAIN);

	(void)state;
	put_affinity(CLIENT, PLAIN, T3);
	EXPECT("of another scope", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	EXPECT("of a service that has none", SYN(.to_port = 443), XDP_TX,
	       TO_T1(SYN(.to_port = 443)), DISTRIBUTED);
	plain.affinity = AFFINITY_BY_TIME;
	put_service(PLAIN, &plain);
	EXPECT("its own", SYN(.to_port = 443, .from_port = 2), XDP_TX,
	       TO_T3(SYN(.to_port = 443, .from_port = 2)), AFFINITY);
	plain.scope = 0;
	put_service(PLAIN, &plain);
	put_affinity(CLIENT, 0, T2);
	EXPECT("of a scope with another service", SYN(.to_port = 443, .from_port = 3), XDP_REDIRECT,
	       TO_T2(SYN(.to_port = 443, .from_port = 3)), AFFINITY);
}

static void check_prefix(uint8_t length, const char *client, const char *holder, bool inside)
{
	bool ip6 = strchr(client, ':');
	struct router_service service = get_service(ip6 ? SHOP6 : SHOP);
	struct frame syn =
		tcp((struct segment){.from = client, .to = ip6 ? VIP6 : VIP, .flags = TCP_SYN});

	world_reset(NULL);
	service.client_prefix = length;
	put_service(ip6 ? SHOP6 : SHOP, &service);
	put_affinity(holder, 0, T3);
	if (inside)
		EXPECT(holder, syn, XDP_TX, TO_T3(syn), AFFINITY);
	else
		EXPECT(holder, syn, XDP_TX, TO_T1(syn), DISTRIBUTED);
}

static void test_affinity_prefix(void **state)
{
	(void)state;
	check_prefix(120, "198.51.100.7", "198.51.100.0", true);
	check_prefix(120, "198.51.101.7", "198.51.100.0", false);
	check_prefix(127, "198.51.100.7", "198.51.100.6", true);
	check_prefix(127, "198.51.100.8", "198.51.100.6", false);
	check_prefix(113, "198.51.228.7", "198.51.128.0", true);
	check_prefix(96, "198.51.100.7", "0.0.0.0", true);
	check_prefix(64, "2001:db8:7:1:2:3:4:5", "2001:db8:7:1::", true);
	check_prefix(64, "2001:db8:7:2:2:3:4:5", "2001:db8:7:1::", false);
	check_prefix(33, "2001:db8:8007::5", "2001:db8:8000::", true);
	check_prefix(33, "2001:db8:7007::5", "2001:db8:8000::", false);
	check_prefix(0, "2001:db8:7007::5", "::", true);
	check_prefix(128, "2001:db8:7007::5", "2001:db8:7007::5", true);
	check_prefix(128, "2001:db8:7007::5", "2001:db8:7007::4", false);
}

static void check_unusable(const char *what, uint16_t flags, uint16_t port)
{
	struct frame syn = SYN(.from_port = port);

	set_flags(T3, flags);
	EXPECT(what, syn, XDP_TX, TO_T1(syn), SERVICE, COUNT_AFFINITY_UNUSABLE,
	       COUNT_FORWARDED_PACKETS);
}

static void test_affinity_unusable(void **state)
{
	(void)state;
	put_affinity(CLIENT, 0, T3);
	check_unusable("down", TARGET_RESOLVED, 1);
	check_unusable("dead", TARGET_RESOLVED | TARGET_USABLE | TARGET_DEAD, 2);
	set_flags(T3, TARGET_USABLE | TARGET_RESOLVED);
	EXPECT("up, not in sync", SYN(), XDP_TX, TO_T3(SYN()), AFFINITY);
	put_affinity(CLIENT, 0, MAX_TARGETS);
	EXPECT("none at all", SYN(.from_port = 3), XDP_TX, TO_T1(SYN(.from_port = 3)), SERVICE,
	       COUNT_AFFINITY_UNUSABLE, COUNT_FORWARDED_PACKETS);
}

/* It has said that nobody listens for the service there: the affinity was made over another one of
 * the scope. What follows a SYN that went there before follows it. */
static void test_affinity_unserved(void **state)
{
	struct frame before = SYN(.from_port = 1), after = SYN(.from_port = 2);
	struct frame ack = ACK(.from_port = 1);

	(void)state;
	put_affinity(CLIENT, 0, T3);
	EXPECT("it serves", before, XDP_TX, TO_T3(before), AFFINITY);
	put_unserved(SHOP, T3, true);
	put_unserved(PLAIN, T1, true);
	EXPECT("it serves no more", after, XDP_TX, TO_T1(after), SERVICE, COUNT_AFFINITY_UNUSABLE,
	       COUNT_FORWARDED_PACKETS);
	EXPECT("its handshake goes on", ack, XDP_TX, TO_T3(ack), SERVICE, COUNT_FLOW_HALF_OPEN,
	       COUNT_FORWARDED_PACKETS);
	put_unserved(SHOP, T3, false);
	EXPECT("it serves again", SYN(.from_port = 3), XDP_TX, TO_T3(SYN(.from_port = 3)),
	       AFFINITY);
}

/* SYNs of services with affinity wait a little for the affinities. */
static void test_syn_held(void **state)
{
	struct frame plain = SYN(.to_port = 443);
	uint64_t now = world_now_ns();

	(void)state;
	put_role(ROLE_ACTIVE, 2, now);
	put_sync(2, 0, 0);
	EXPECT_DROP("the affinities are not here", SYN(), SERVICE, COUNT_HELD_SYN);
	assert_false(has_flow(40000));
	put_sync(1, 1, 1);
	EXPECT_DROP("they are, of another epoch", SYN(), SERVICE, COUNT_HELD_SYN);
	EXPECT("a service without affinity", plain, XDP_TX, TO_T1(plain), DISTRIBUTED);
	put_affinity(CLIENT, 0, T3);
	EXPECT_DROP("this client's is here, and may be of long ago", SYN(), SERVICE,
		    COUNT_HELD_SYN);
	put_sync(2, 0, 1);
	EXPECT("all are: this client's", SYN(), XDP_TX, TO_T3(SYN()), AFFINITY);
	EXPECT("all are, the connections are not", SYN(.from = "198.51.100.8"), XDP_TX,
	       TO_T1(SYN(.from = "198.51.100.8")), DISTRIBUTED);
	put_sync(2, 0, 0);
	put_role(ROLE_ACTIVE, 2, now - SYN_HOLD_NS);
	EXPECT("200 ms are over", SYN(.from = "198.51.100.9"), XDP_TX,
	       TO_T1(SYN(.from = "198.51.100.9")), DISTRIBUTED);
}

static void test_syn_held_unusable(void **state)
{
	(void)state;
	put_role(ROLE_ACTIVE, 2, world_now_ns());
	put_sync(2, 0, 0);
	put_affinity(CLIENT, 0, T3);
	set_flags(T3, TARGET_RESOLVED);
	EXPECT_DROP("its affinity is here, its target is not", SYN(), SERVICE, COUNT_HELD_SYN);
}

/* Packets may come before `limpet activate`, and after `limpet deactivate`: it serves by what it
 * has, if it has all affinities, and waits for those without limit. */
static void test_syn_at_standby(void **state)
{
	static const uint32_t epochs[] = {0, 3}; /* never activated; deactivated */
	struct frame plain = SYN(.to_port = 443);

	for (unsigned int i = 0; i < 2; i++) {
		uint32_t epoch = epochs[i];

		world_reset(state);
		put_role(ROLE_STANDBY, epoch, 1);
		put_sync(epoch, 0, 0);
		EXPECT_DROP("without the affinities", SYN(), SERVICE, COUNT_HELD_SYN);
		EXPECT("a service without affinity", plain, XDP_TX, TO_T1(plain), DISTRIBUTED);
		put_sync(epoch + 1, 1, 1);
		EXPECT_DROP("of another epoch", SYN(), SERVICE, COUNT_HELD_SYN);
		put_affinity(CLIENT, 0, T3);
		EXPECT_DROP("this client's is here, and may be of long ago", SYN(), SERVICE,
			    COUNT_HELD_SYN);
		put_sync(epoch, 0, 1);
		EXPECT("with this client's", SYN(), XDP_TX, TO_T3(SYN()), AFFINITY);
		EXPECT("with all of them", SYN(.from = "198.51.100.8"), XDP_TX,
		       TO_T1(SYN(.from = "198.51.100.8")), DISTRIBUTED);
		put_role(ROLE_STANDBY, epoch, world_now_ns());
		EXPECT("at once", SYN(.from = "198.51.100.9"), XDP_TX,
		       TO_T1(SYN(.from = "198.51.100.9")), DISTRIBUTED);
	}
}

/* A service that is being set up or removed. */
static void test_not_serving(void **state)
{
	struct router_service service = get_service(SHOP);

	(void)state;
	put_affinity(CLIENT, 0, T3);
	EXPECT("a handshake before", SYN(), XDP_TX, TO_T3(SYN()), AFFINITY);
	service.serving = 0;
	put_service(SHOP, &service);
	EXPECT_DROP("a SYN", SYN(.from_port = 40001), SERVICE, COUNT_DROP_NOT_SERVING);
	assert_false(has_flow(40001));
	EXPECT("the handshake goes on", SEGMENT(TCP_ACK, .sequence = 1001), XDP_TX,
	       TO_T3(SEGMENT(TCP_ACK, .sequence = 1001)), SERVICE, COUNT_FLOW_HALF_OPEN,
	       COUNT_FORWARDED_PACKETS);
	put_connection(CLIENT, 40002, SHOP, T1, CONNECTION_OPEN);
	EXPECT("connections go on", ACK(.from_port = 40002), XDP_TX, TO_T1(ACK(.from_port = 40002)),
	       SERVICE, COUNT_FLOW_CONNECTION, COUNT_FORWARDED_PACKETS);
}

/* ------------------------------------------------------------------------------------------------
 * refusal */

#define REFUSED SERVICE, COUNT_REFUSED_NO_INSTANCE

static struct frame rst(const char *from, const char *to, uint32_t acknowledged)
{
	return tcp((struct segment){.from = from,
				    .to = to,
				    .from_port = 80,
				    .to_port = 40000,
				    .acknowledged = acknowledged,
				    .flags = TCP_RST | TCP_ACK,
				    .answer = true});
}

static void test_refused(void **state)
{
	struct frame rst4 = rst(VIP, CLIENT, 1001), rst6 = rst(VIP6, CLIENT6, 1001);

	(void)state;
	put_ready(SHOP, 0);
	put_ready(SHOP6, 0);
	EXPECT("IPv4", SYN(), XDP_TX, rst4, REFUSED);
	EXPECT("IPv6", SEGMENT6(TCP_SYN), XDP_TX, rst6, REFUSED);
	EXPECT("with TCP options", SYN(.tcp_options = 40), XDP_TX, rst4, REFUSED);
	EXPECT("IPv6 with TCP options", SEGMENT6(TCP_SYN, .tcp_options = 40), XDP_TX, rst6,
	       REFUSED);
	EXPECT("with IPv4 options", SYN(.options = 40), XDP_TX, rst4, REFUSED);
	EXPECT("with data", SYN(.data = 100), XDP_TX, rst(VIP, CLIENT, 1101), REFUSED);
	EXPECT("with FIN", SEGMENT(TCP_SYN | TCP_FIN), XDP_TX, rst(VIP, CLIENT, 1002), REFUSED);
	EXPECT("sequence numbers wrap", SYN(.sequence = 0xffffffff), XDP_TX, rst(VIP, CLIENT, 0),
	       REFUSED);
	EXPECT("padded", padded(SYN(), 60), XDP_TX, rst4, REFUSED);
	EXPECT("tagged", tagged(tagged(SYN(), 0x8100, 7), 0x88a8, 9), XDP_TX,
	       tagged(tagged(rst4, 0x8100, 7), 0x88a8, 9), REFUSED);
	assert_false(has_flow(40000));
}

static void test_not_refused(void **state)
{
	(void)state;
	put_ready(SHOP, 0);
	put_affinity(CLIENT, 0, T3);
	EXPECT("a draining instance still serves its clients", SYN(), XDP_TX, TO_T3(SYN()),
	       AFFINITY);
	put_connection(CLIENT, 40001, SHOP, T1, CONNECTION_OPEN);
	EXPECT("a SYN on a connection", SYN(.from_port = 40001), XDP_TX,
	       TO_T1(SYN(.from_port = 40001)), SERVICE, COUNT_FLOW_CONNECTION,
	       COUNT_FORWARDED_PACKETS);
	put_sync(1, 0, 1);
	EXPECT_DROP("not in sync: nobody knows yet", SYN(.from = "198.51.100.8"), SERVICE,
		    COUNT_DROP_NO_TARGET);
	put_sync(1, 1, 1);
	put_role(ROLE_STANDBY, 1, 1);
	EXPECT_DROP("a standby", SYN(.from = "198.51.100.8"), SERVICE, COUNT_DROP_NO_TARGET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_held, world_reset),
		cmocka_unit_test_setup(test_held_by_standby, world_reset),
		cmocka_unit_test_setup(test_guess_unsynced, world_reset),
		cmocka_unit_test_setup(test_lingers_in_doubt, world_reset),
		cmocka_unit_test_setup(test_sighting, world_reset),
		cmocka_unit_test_setup(test_guess_not_noted, world_reset),
		cmocka_unit_test_setup(test_guess_affinity, world_reset),
		cmocka_unit_test_setup(test_bygone, world_reset),
		cmocka_unit_test_setup(test_affinity, world_reset),
		cmocka_unit_test_setup(test_affinity_scope, world_reset),
		cmocka_unit_test_setup(test_affinity_prefix, world_reset),
		cmocka_unit_test_setup(test_affinity_unusable, world_reset),
		cmocka_unit_test_setup(test_affinity_unserved, world_reset),
		cmocka_unit_test_setup(test_syn_held, world_reset),
		cmocka_unit_test_setup(test_syn_held_unusable, world_reset),
		cmocka_unit_test_setup(test_syn_at_standby, world_reset),
		cmocka_unit_test_setup(test_not_serving, world_reset),
		cmocka_unit_test_setup(test_refused, world_reset),
		cmocka_unit_test_setup(test_not_refused, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: hold", tests, world_load, world_unload);
}
