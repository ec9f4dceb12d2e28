/* SPDX-License-Identifier: BSD-2-Clause */
/* The router and ICMP: errors find their connection's target; what is too big is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define SOMEWHERE  "192.0.2.1" /* a router on the client's way */
#define SOMEWHERE6 "2001:db8:99::1"

#define RELAYED COUNT_ICMP_RELAYED, COUNT_FORWARDED_PACKETS

/* What a target has sent to the client. */
static struct frame sent(const char *from, const char *to, uint16_t from_port)
{
	return tcp((struct segment){.from = from,
				    .to = to,
				    .from_port = from_port,
				    .to_port = 40000,
				    .flags = TCP_ACK,
				    .data = 600});
}

static struct frame error4(uint8_t type, uint8_t code, size_t quote)
{
	struct frame about = sent(VIP, CLIENT, 80);

	return icmp((struct icmp){.from = SOMEWHERE, .to = VIP, .type = type, .code = code}, &about,
		    quote);
}

static struct frame error6(uint8_t type, size_t quote)
{
	struct frame about = sent(VIP6, CLIENT6, 80);

	return icmp((struct icmp){.from = SOMEWHERE6, .to = VIP6, .type = type, .rest = 1280},
		    &about, quote);
}

static void test_relay(void **state)
{
	const uint8_t types4[] = {3, 11, 12}, types6[] = {1, 2, 3, 4};

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	put_connection(CLIENT6, 40000, SHOP6, T3, CONNECTION_LINGERS);
	for (size_t i = 0; i < sizeof(types4); i++)
		EXPECT("an error", error4(types4[i], 4, 28), XDP_TX,
		       TO_T1(error4(types4[i], 4, 28)), RELAYED);
	for (size_t i = 0; i < sizeof(types6); i++)
		EXPECT("an error, IPv6", error6(types6[i], 48), XDP_TX,
		       TO_T3(error6(types6[i], 48)), RELAYED);
	EXPECT("that quotes much", error4(3, 4, 548), XDP_TX, TO_T1(error4(3, 4, 548)), RELAYED);
	EXPECT("tagged", tagged(error4(3, 4, 28), 0x8100, 7), XDP_TX, TO_T1(error4(3, 4, 28)),
	       RELAYED);
}

static void test_relay_options(void **state)
{
	struct frame about = tcp((struct segment){.from = VIP,
						  .to = CLIENT,
						  .from_port = 80,
						  .to_port = 40000,
						  .options = 12,
						  .flags = TCP_ACK});
	struct frame error =
		icmp((struct icmp){.from = SOMEWHERE, .to = VIP, .type = 3, .code = 4}, &about, 40);

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("the quoted packet has options", error, XDP_TX, TO_T1(error), RELAYED);
}

/* Whose connection it is: as for the connection's own packets. */
static void test_relay_owner(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN), error = error4(3, 4, 28);
	struct frame ack = SEGMENT(TCP_ACK, .sequence = 1001);

	(void)state;
	EXPECT_PASS("nobody's", error, COUNT_PASS_ICMP);
	EXPECT("a handshake", syn, XDP_TX, TO_T1(syn), COUNT_SERVICE_PACKETS, COUNT_NEW_DISTRIBUTED,
	       COUNT_FORWARDED_PACKETS);
	EXPECT("half-open", error, XDP_TX, TO_T1(error), RELAYED);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_LINGERS);
	EXPECT("reported comes before half-open", error, XDP_TX, TO_T3(error), RELAYED);
	EXPECT("its ACK", ack, XDP_TX, TO_T1(ack), COUNT_SERVICE_PACKETS, COUNT_FLOW_HALF_OPEN,
	       COUNT_FORWARDED_PACKETS);
	EXPECT("noted comes before reported", error, XDP_TX, TO_T1(error), RELAYED);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	age_handshakes(NOTED_NS);
	EXPECT("nobody has reported it in time", error, XDP_TX, TO_T1(error), RELAYED);
}

/* The fast path's memory knows the answer, and knows when it does no more. */
static void test_relay_fast(void **state)
{
	struct frame ack = SEGMENT(TCP_ACK), error = error4(3, 4, 28);

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("an ACK, remembered", ack, XDP_TX, TO_T1(ack), COUNT_SERVICE_PACKETS,
	       COUNT_FLOW_CONNECTION, COUNT_FORWARDED_PACKETS);
	sneak_connection(CLIENT, 40000, SHOP, T3);
	EXPECT("the fast path answers", error, XDP_TX, TO_T1(error), RELAYED);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("the connection is another's now", error, XDP_TX, TO_T3(error), RELAYED);
}

static void test_not_relayed(void **state)
{
	struct frame about = sent(VIP, CLIENT, 80), other = sent("203.0.113.11", CLIENT, 80);
	struct frame second_sent = sent("203.0.113.12", CLIENT, 80);
	struct router_service second = get_service(SHOP);
	struct frame no_service = sent(VIP, CLIENT, 81), datagram = udp(VIP, CLIENT, 40000, "x", 1);
	struct icmp unreachable = {.from = SOMEWHERE, .to = VIP, .type = 3, .code = 4};
	struct icmp elsewhere = {.from = SOMEWHERE, .to = "203.0.113.11", .type = 3, .code = 4};

	(void)state;
	datagram = changed(changed(datagram, 20, 0), 21, 80); /* from port 80 */
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT_PASS("echo", icmp((struct icmp){.from = CLIENT, .to = VIP, .type = 8}, NULL, 0),
		    COUNT_PASS_ICMP);
	EXPECT_PASS("echo, IPv6",
		    icmp((struct icmp){.from = CLIENT6, .to = VIP6, .type = 128}, NULL, 0),
		    COUNT_PASS_ICMP);
	EXPECT_PASS("redirect",
		    icmp((struct icmp){.from = SOMEWHERE, .to = VIP, .type = 5}, &about, 28),
		    COUNT_PASS_ICMP);
	EXPECT_PASS("about a packet of another address", icmp(unreachable, &other, 28),
		    COUNT_PASS_ICMP);
	second.key.address = world_address("203.0.113.12");
	put_service(4, &second);
	put_connection(CLIENT, 40000, 4, T1, CONNECTION_OPEN);
	EXPECT_PASS("about a packet of another service's address",
		    icmp(unreachable, &second_sent, 28), COUNT_PASS_ICMP);
	EXPECT_PASS("about no service's port", icmp(unreachable, &no_service, 28), COUNT_PASS_ICMP);
	EXPECT_PASS("about UDP", icmp(unreachable, &datagram, 28), COUNT_PASS_ICMP);
	EXPECT_PASS("too short a quote", icmp(unreachable, &about, 23), COUNT_PASS_ICMP);
	EXPECT_PASS("no quote", icmp(unreachable, NULL, 0), COUNT_PASS_ICMP);
	EXPECT_PASS("for another address", icmp(elsewhere, &other, 28), COUNT_PASS_NO_SERVICE);
	EXPECT_DROP("cut", cut(error4(3, 4, 28), 14 + 20 + 7), COUNT_DROP_MALFORMED);
}

/* Errors are cut short by nobody: what is too big is dropped, and not answered. */
static void test_relay_too_big(void **state)
{
	struct target target = get_target(T1);

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	target.mtu = 590;
	put_target(T1, &target);
	EXPECT_DROP("an error", error4(3, 4, 548), COUNT_ICMP_RELAYED, COUNT_DROP_TOO_BIG);
}

static void test_truncated(void **state)
{
	struct frame whole[] = {error4(3, 4, 28), error6(2, 48)}, out;

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	put_connection(CLIENT6, 40000, SHOP6, T1, CONNECTION_OPEN);
	for (size_t i = 0; i < 2; i++) {
		for (uint32_t length = 14; length < whole[i].length; length++) {
			struct frame in = cut(whole[i], length);
			uint32_t verdict = run_packet(&in, &out);

			if (verdict != XDP_DROP && verdict != XDP_PASS)
				fail_msg("cut to %u bytes: verdict %u", length, verdict);
		}
		assert_int_equal(run_packet(&whole[i], &out), XDP_TX);
	}
}

/* ------------------------------------------------------------------------------------------------
 * too big for the way to the target */

#define TOO_BIG COUNT_SERVICE_PACKETS, COUNT_FLOW_CONNECTION, COUNT_DROP_TOO_BIG
#define FITS	COUNT_SERVICE_PACKETS, COUNT_FLOW_CONNECTION, COUNT_FORWARDED_PACKETS
#define QUOTE	68

/* An IP packet of so many bytes. */
static struct frame sized4(uint16_t length)
{
	return SEGMENT(TCP_ACK, .data = (uint16_t)(length - 40));
}

static struct frame sized6(uint16_t length)
{
	return SEGMENT6(TCP_ACK, .data = (uint16_t)(length - 60));
}

static struct frame answer4(struct frame about, uint16_t mtu)
{
	return icmp((struct icmp){.from = VIP,
				  .to = CLIENT,
				  .type = 3,
				  .code = 4,
				  .rest = mtu,
				  .answer = true},
		    &about, QUOTE);
}

static struct frame answer6(struct frame about, uint16_t mtu)
{
	return icmp(
		(struct icmp){.from = VIP6, .to = CLIENT6, .type = 2, .rest = mtu, .answer = true},
		&about, QUOTE);
}

static void put_connections(uint16_t target)
{
	put_connection(CLIENT, 40000, SHOP, target, CONNECTION_OPEN);
	put_connection(CLIENT6, 40000, SHOP6, target, CONNECTION_OPEN);
}

static void test_too_big(void **state)
{
	(void)state;
	put_connections(T1);
	EXPECT("IPv4 in IPv4 fits", sized4(1480), XDP_TX, TO_T1(sized4(1480)), FITS);
	EXPECT("IPv4 in IPv4", sized4(1481), XDP_TX, answer4(sized4(1481), 1480), TOO_BIG);
	EXPECT("IPv6 in IPv4 fits", sized6(1480), XDP_TX, TO_T1(sized6(1480)), FITS);
	EXPECT("IPv6 in IPv4", sized6(1500), XDP_TX, answer6(sized6(1500), 1480), TOO_BIG);
	put_connections(T3);
	EXPECT("IPv4 in IPv6 fits", sized4(1460), XDP_TX, TO_T3(sized4(1460)), FITS);
	EXPECT("IPv4 in IPv6", sized4(1461), XDP_TX, answer4(sized4(1461), 1460), TOO_BIG);
	EXPECT("IPv6 in IPv6 fits", sized6(1460), XDP_TX, TO_T3(sized6(1460)), FITS);
	EXPECT("IPv6 in IPv6", sized6(1461), XDP_TX, answer6(sized6(1461), 1460), TOO_BIG);
}

static void test_too_big_forms(void **state)
{
	struct frame options = SEGMENT(TCP_ACK, .options = 40, .tcp_options = 40, .data = 1400);
	struct frame may = SEGMENT(TCP_ACK, .id = 5, .data = 1450);
	struct target target = get_target(T1);

	(void)state;
	put_connections(T1);
	EXPECT("with options", options, XDP_TX, answer4(options, 1480), TOO_BIG);
	may = changed(may, 6, 0); /* may be fragmented: the target could not put it together */
	EXPECT("without DF", may, XDP_TX, answer4(may, 1480), TOO_BIG);
	EXPECT("tagged", tagged(tagged(sized4(1490), 0x8100, 7), 0x88a8, 9), XDP_TX,
	       tagged(tagged(answer4(sized4(1490), 1480), 0x8100, 7), 0x88a8, 9), TOO_BIG);
	EXPECT("tagged, IPv6", tagged(sized6(1490), 0x8100, 7), XDP_TX,
	       tagged(answer6(sized6(1490), 1480), 0x8100, 7), TOO_BIG);
	target.mtu = 80;
	put_target(T1, &target);
	EXPECT_DROP("too small to quote", SEGMENT(TCP_ACK, .data = 27), TOO_BIG);
	target.mtu = 0;
	put_target(T1, &target);
	EXPECT("no MTU at all", sized4(100), XDP_TX, answer4(sized4(100), 0), TOO_BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_relay, world_reset),
		cmocka_unit_test_setup(test_relay_options, world_reset),
		cmocka_unit_test_setup(test_relay_owner, world_reset),
		cmocka_unit_test_setup(test_relay_fast, world_reset),
		cmocka_unit_test_setup(test_not_relayed, world_reset),
		cmocka_unit_test_setup(test_relay_too_big, world_reset),
		cmocka_unit_test_setup(test_truncated, world_reset),
		cmocka_unit_test_setup(test_too_big, world_reset),
		cmocka_unit_test_setup(test_too_big_forms, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: ICMP", tests, world_load, world_unload);
}
