/* SPDX-License-Identifier: BSD-2-Clause */
/* The router: what is a service's packet, and what it looks like when it leaves. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../../bpf/distribute.h"
#include "outer.h"
#include "world.h"

static void test_pass(void **state)
{
	struct settings nobody = {0};
	struct frame arp = {.length = 42};

	(void)state;
	memcpy(arp.byte, "\xff\xff\xff\xff\xff\xff" MAC_CLIENT "\x08\x06\x00\x01\x08\x00", 18);
	EXPECT_PASS("ARP", arp, COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("neighbour solicitation",
		    icmp((struct icmp){.from = CLIENT6, .to = "ff02::1", .type = 135}, NULL, 0),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("UDP to a service's address and port", udp(CLIENT, VIP, 80, "hello", 5),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("UDP over IPv6", udp(CLIENT6, VIP6, 80, "hello", 5), COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("TCP to another port", SEGMENT(TCP_SYN, .to_port = 81), COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("TCP to another address", tcp((struct segment){.to = "203.0.113.11"}),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("TCP over IPv6 to another port", SEGMENT6(TCP_SYN, .to_port = 81),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("IPv6: TCP behind another header", SEGMENT6(TCP_SYN, .extension = true),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("IPv6 that pretends to be for IPv4",
		    tcp((struct segment){.to = "::ffff:203.0.113.10", .flags = TCP_SYN}),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("IPv6 that pretends to be from IPv4",
		    SEGMENT6(TCP_SYN, .from = "::ffff:198.51.100.7"), COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("three VLAN tags",
		    tagged(tagged(tagged(SEGMENT(TCP_SYN), 0x8100, 1), 0x8100, 2), 0x88a8, 3),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("a version that is none", changed(SEGMENT(TCP_SYN), 0, 0x55),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("a header length that is none", changed(SEGMENT(TCP_SYN), 0, 0x44),
		    COUNT_PASS_NO_SERVICE);
	put_settings(&nobody);
	EXPECT_PASS("neither router nor target", SEGMENT(TCP_SYN), COUNTERS);
}

/* Each family in each, and what a target's entry says of the way. */
static void test_encapsulation(void **state)
{
	struct frame syn4 = SEGMENT(TCP_SYN, .tcp_options = 20, .tos = 0x2b);
	struct frame syn6 = SEGMENT6(TCP_SYN, .tcp_options = 20, .tos = 0x2b);
	struct target target = get_target(T1);

	(void)state;
	EXPECT("IPv4 in IPv4", syn4, XDP_TX, TO_T1(syn4), DISTRIBUTED);
	EXPECT("IPv6 in IPv4", syn6, XDP_TX, TO_T1(syn6), DISTRIBUTED);
	world_reset(NULL);
	put_ring(SHOP, T3);
	put_ring(SHOP6, T3);
	EXPECT("IPv4 in IPv6", syn4, XDP_TX, TO_T3(syn4), DISTRIBUTED);
	EXPECT("IPv6 in IPv6", syn6, XDP_TX, TO_T3(syn6), DISTRIBUTED);
	world_reset(NULL);
	put_ring(SHOP, T2);
	put_ring(SHOP6, T2);
	EXPECT("by another interface", syn4, XDP_REDIRECT, TO_T2(syn4), DISTRIBUTED);
	EXPECT("by another interface, IPv6", syn6, XDP_REDIRECT, TO_T2(syn6), DISTRIBUTED);
	world_reset(NULL);
	target.vlan = htons(0x6123);
	put_target(T1, &target);
	EXPECT("into a VLAN", syn4, XDP_TX, tagged(TO_T1(syn4), 0x8100, 0x6123), DISTRIBUTED);
	EXPECT("from one VLAN into another", tagged(SEGMENT6(TCP_SYN), 0x8100, 7), XDP_TX,
	       tagged(TO_T1(SEGMENT6(TCP_SYN)), 0x8100, 0x6123), DISTRIBUTED);
}

static void test_ingress_forms(void **state)
{
	struct frame ack = SEGMENT(TCP_ACK, .data = 400);

	(void)state;
	EXPECT("tagged", tagged(SEGMENT(TCP_SYN), 0x8100, 7), XDP_TX, TO_T1(SEGMENT(TCP_SYN)),
	       DISTRIBUTED);
	world_reset(NULL);
	EXPECT("tagged twice", tagged(tagged(SEGMENT6(TCP_SYN), 0x8100, 7), 0x88a8, 9), XDP_TX,
	       TO_T1(SEGMENT6(TCP_SYN)), DISTRIBUTED);
	world_reset(NULL);
	EXPECT("IPv4 options", SEGMENT(TCP_SYN, .options = 8), XDP_TX,
	       TO_T1(SEGMENT(TCP_SYN, .options = 8)), DISTRIBUTED);
	world_reset(NULL);
	EXPECT("all room for IPv4 options", SEGMENT(TCP_SYN, .options = 40, .tcp_options = 40),
	       XDP_TX, TO_T1(SEGMENT(TCP_SYN, .options = 40, .tcp_options = 40)), DISTRIBUTED);
	world_reset(NULL);
	EXPECT("padded to Ethernet's least", padded(SEGMENT(TCP_SYN), 60), XDP_TX,
	       TO_T1(padded(SEGMENT(TCP_SYN), 60)), DISTRIBUTED);
	world_reset(NULL);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("data", ack, XDP_TX, TO_T1(ack), COUNT_SERVICE_PACKETS, COUNT_FLOW_CONNECTION,
	       COUNT_FORWARDED_PACKETS);
}

static void test_way_out(void **state)
{
	struct target target = get_target(T1), target6 = get_target(T3);

	(void)state;
	put_ring(SHOP, LOCAL);
	EXPECT_PASS("for this node's own target", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS,
		    COUNT_NEW_DISTRIBUTED, COUNT_FORWARDED_LOCAL);
	world_reset(NULL);
	target.flags &= ~TARGET_RESOLVED;
	put_target(T1, &target);
	EXPECT_DROP("no next hop", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS, COUNT_NEW_DISTRIBUTED,
		    COUNT_DROP_NO_NEXT_HOP);
	world_reset(NULL);
	target = get_target(T1);
	outer_fill(&target, NULL);
	put_target(T1, &target);
	EXPECT_DROP("no IPv4 source address", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS,
		    COUNT_NEW_DISTRIBUTED, COUNT_DROP_ENCAPSULATION);
	outer_fill(&target6, NULL);
	put_target(T3, &target6);
	put_ring(SHOP6, T3);
	EXPECT_DROP("no IPv6 source address", SEGMENT6(TCP_SYN), COUNT_SERVICE_PACKETS,
		    COUNT_NEW_DISTRIBUTED, COUNT_DROP_ENCAPSULATION);
}

static void test_fragments(void **state)
{
	(void)state;
	EXPECT_DROP("first fragment", SEGMENT(TCP_SYN, .fragment = 0x2000), COUNT_DROP_FRAGMENT);
	EXPECT_DROP("a later fragment", SEGMENT(TCP_SYN, .fragment = 0x2010), COUNT_DROP_FRAGMENT);
	EXPECT_DROP("last fragment", SEGMENT(TCP_SYN, .fragment = 0x0010), COUNT_DROP_FRAGMENT);
	EXPECT_DROP("IPv6: first fragment", SEGMENT6(TCP_SYN, .fragmented = true, .fragment = 1),
		    COUNT_DROP_FRAGMENT);
	EXPECT_DROP("IPv6: last fragment", SEGMENT6(TCP_SYN, .fragmented = true, .fragment = 0x80),
		    COUNT_DROP_FRAGMENT);
	EXPECT_DROP("IPv6: nothing behind the first header",
		    cut(SEGMENT6(TCP_SYN, .fragmented = true), 14 + 40), COUNT_DROP_FRAGMENT);
	EXPECT_PASS("a fragment for another address",
		    tcp((struct segment){.to = "203.0.113.11", .fragment = 0x2000}),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("IPv6: a fragment for another address",
		    tcp((struct segment){.to = "2001:db8::1", .fragmented = true, .fragment = 1}),
		    COUNT_PASS_NO_SERVICE);
	EXPECT_PASS("a fragment of UDP", changed(udp(CLIENT, VIP, 53, "x", 1), 6, 0x20),
		    COUNT_PASS_NO_SERVICE);
}

static void test_malformed(void **state)
{
	(void)state;
	EXPECT_DROP("a TCP header length that is none", changed(SEGMENT(TCP_SYN), 32, 0x40),
		    COUNT_DROP_MALFORMED);
	EXPECT_DROP("a TCP header larger than the packet", changed(SEGMENT(TCP_SYN), 32, 0xf0),
		    COUNT_DROP_MALFORMED);
	EXPECT_DROP("a length larger than the frame", changed(SEGMENT(TCP_SYN), 3, 41),
		    COUNT_DROP_MALFORMED);
	EXPECT_DROP("a length smaller than the header", changed(SEGMENT(TCP_SYN), 3, 19),
		    COUNT_DROP_MALFORMED);
	EXPECT_DROP("a length without room for TCP", changed(SEGMENT(TCP_SYN), 3, 39),
		    COUNT_DROP_MALFORMED);
	EXPECT_DROP("IPv6: a length larger than the frame", changed(SEGMENT6(TCP_SYN), 5, 21),
		    COUNT_DROP_MALFORMED);
	EXPECT_DROP("IPv6: no length", changed(SEGMENT6(TCP_SYN), 5, 0), COUNT_DROP_MALFORMED);
	EXPECT_PASS("malformed, for nobody here",
		    changed(tcp((struct segment){.to = "203.0.113.11"}), 32, 0x40),
		    COUNT_PASS_NO_SERVICE);
}

/* However short a frame is cut: passed untouched or dropped, never sent on, and nothing is noted.
 */
static void check_truncated(struct frame whole, uint16_t service, const char *client)
{
	struct frame in, out = {0};
	uint16_t target;

	for (uint32_t length = 14; length < whole.length; length++) {
		uint32_t verdict;

		in = cut(whole, length);
		verdict = run_packet(&in, &out);
		if (verdict != XDP_DROP && verdict != XDP_PASS)
			fail_msg("cut to %u bytes: verdict %u", length, verdict);
		if (verdict == XDP_PASS && memcmp(in.byte, out.byte, length))
			fail_msg("cut to %u bytes: passed, but changed", length);
		assert_int_equal(get_flow(client, 40000, service, &target), FLOW_STATE_NONE);
	}
	assert_int_equal(run_packet(&whole, &out), XDP_TX);
}

static void test_truncated(void **state)
{
	(void)state;
	check_truncated(SEGMENT(TCP_SYN, .tcp_options = 20, .data = 10), SHOP, CLIENT);
	world_reset(NULL);
	check_truncated(SEGMENT(TCP_SYN, .options = 12), SHOP, CLIENT);
	world_reset(NULL);
	check_truncated(SEGMENT6(TCP_SYN, .tcp_options = 20, .data = 10), SHOP6, CLIENT6);
	world_reset(NULL);
	check_truncated(tagged(tagged(SEGMENT6(TCP_SYN), 0x8100, 7), 0x88a8, 9), SHOP6, CLIENT6);
}

/* ------------------------------------------------------------------------------------------------
 * distribution */

static uint16_t halves(uint32_t slot)
{
	return slot < RING_SIZE / 2 ? T1 : slot < RING_SIZE ? T3 : NO_NUMBER;
}

static uint32_t slot_of(uint32_t service, const char *client, uint16_t port)
{
	struct router_service entry = get_service(service);
	struct address address = world_address(client);

	return distribute_slot(&entry.key, &address, htons(port));
}

/* XDP and user space (`limpet explain`) work out the same slot. */
static void test_distribution(void **state)
{
	unsigned int first = 0;

	(void)state;
	put_ring_slots(SHOP, halves);
	put_ring_slots(SHOP6, halves);
	for (uint16_t port = 1000; port < 1100; port++) {
		struct frame syn4 = SEGMENT(TCP_SYN, .from_port = port);
		struct frame syn6 = SEGMENT6(TCP_SYN, .from_port = port);
		bool low4 = halves(slot_of(SHOP, CLIENT, port)) == T1;
		bool low6 = halves(slot_of(SHOP6, CLIENT6, port)) == T1;

		age_handshakes(2000000000); /* who shares a set is no flood */
		EXPECT("a slot", syn4, XDP_TX, low4 ? TO_T1(syn4) : TO_T3(syn4), DISTRIBUTED);
		EXPECT("a slot, IPv6", syn6, XDP_TX, low6 ? TO_T1(syn6) : TO_T3(syn6), DISTRIBUTED);
		first += low4 + low6;
	}
	assert_in_range(first, 70, 130); /* of 200, more than four deviations either way */
}

/* Routers of different releases distribute alike: these never change. */
static void test_distribution_fixed(void **state)
{
	(void)state;
	assert_int_equal(slot_of(SHOP, CLIENT, 40000), 60155);
	assert_int_equal(slot_of(SHOP6, CLIENT6, 40000), 47321);
	assert_int_equal(slot_of(PLAIN, CLIENT, 40000), 50940);
	assert_int_equal(slot_of(SHOP, CLIENT, 40001), 8986);
}

/* Every slot is reached, none much more often than another. */
static void test_distribution_even(void **state)
{
	struct router_service service = get_service(SHOP);
	unsigned int bucket[64] = {0}, packets = 64 * 1000;

	(void)state;
	for (uint32_t i = 0; i < packets; i++) {
		struct address client = world_address("198.51.0.0");

		client.byte[15] = i;
		client.byte[14] = i >> 8;
		bucket[distribute_slot(&service.key, &client, htons(1024 + i % 100)) * 64ULL /
		       RING_SIZE]++;
	}
	for (int i = 0; i < 64; i++)
		assert_in_range(bucket[i], 840, 1160); /* five deviations */
}

static void test_ring_lacks(void **state)
{
	(void)state;
	put_ring(SHOP, NO_NUMBER);
	EXPECT_DROP("an empty ring", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS, COUNT_DROP_NO_TARGET);
	drop_ring(SHOP);
	EXPECT_DROP("no ring", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS, COUNT_DROP_NO_TARGET);
	put_ring(SHOP, MAX_TARGETS);
	EXPECT_DROP("a target that is none", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS,
		    COUNT_DROP_NO_TARGET);
	put_ring(SHOP, T1);
	set_flags(T1, TARGET_DEAD | TARGET_RESOLVED);
	EXPECT_DROP("a target that is dead", SEGMENT(TCP_SYN), COUNT_SERVICE_PACKETS,
		    COUNT_DROP_NO_TARGET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_pass, world_reset),
		cmocka_unit_test_setup(test_encapsulation, world_reset),
		cmocka_unit_test_setup(test_ingress_forms, world_reset),
		cmocka_unit_test_setup(test_way_out, world_reset),
		cmocka_unit_test_setup(test_fragments, world_reset),
		cmocka_unit_test_setup(test_malformed, world_reset),
		cmocka_unit_test_setup(test_truncated, world_reset),
		cmocka_unit_test_setup(test_distribution, world_reset),
		cmocka_unit_test_setup(test_distribution_fixed, world_reset),
		cmocka_unit_test_setup(test_distribution_even, world_reset),
		cmocka_unit_test_setup(test_ring_lacks, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: forward", tests, world_load, world_unload);
}
