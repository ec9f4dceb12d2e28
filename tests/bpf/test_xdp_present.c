/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf/present.h says of nothing in the CRHT that it is not there, and of what is gone that it is.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "world.h"

/* Many entries share each bit: as long as one is there, it is found. */
static void test_present(void **state)
{
	(void)state;
	squeeze(FLOW_BITS_MIN, FLOW_BITS_MIN, 0);
	for (uint16_t port = 1; port <= 400; port++)
		put_connection(CLIENT, port, SHOP, T3, CONNECTION_OPEN);
	for (uint16_t port = 1; port <= 400; port++)
		put_connection(CLIENT, port, SHOP, T3, CONNECTION_OPEN);
	for (uint16_t port = 1; port <= 400; port += 2)
		assert_int_equal(delete_connection(CLIENT, port, SHOP), 0);
	for (uint16_t port = 2; port <= 400; port += 2)
		EXPECT("there", SYN(.from_port = port), XDP_TX, TO_T3(SYN(.from_port = port)),
		       CONNECTION);
	for (uint16_t port = 2; port <= 400; port += 2)
		assert_int_equal(delete_connection(CLIENT, port, SHOP), 0);
	assert_int_equal(presence(), 0);
	EXPECT("gone", SYN(.from_port = 2), XDP_TX, TO_T1(SYN(.from_port = 2)), DISTRIBUTED);
}

static const char *client_number(unsigned int number)
{
	static char text[32];

	snprintf(text, sizeof(text), "198.51.100.%u", number);
	return text;
}

/* Affinities likewise, in words of their own. */
static void test_present_affinities(void **state)
{
	struct frame syn = SYN(.from = "198.51.100.2");

	(void)state;
	squeeze(FLOW_BITS_MIN, FLOW_BITS_MIN, 0);
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	for (unsigned int client = 1; client <= 200; client++)
		put_affinity(client_number(client), 0, T3);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	for (unsigned int client = 1; client <= 200; client++)
		if (client != 2)
			assert_int_equal(delete_affinity(client_number(client), 0), 0);
	EXPECT("there", syn, XDP_TX, TO_T3(syn), AFFINITY);
	assert_int_equal(delete_affinity(client_number(2), 0), 0);
	assert_int_equal(presence(), 0);
}

/* Who counts no further does not begin anew. */
static void test_present_stays(void **state)
{
	(void)state;
	put_presence(PRESENT_COUNT_MAX);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("there", SYN(), XDP_TX, TO_T3(SYN()), CONNECTION);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	put_connection(CLIENT, 40000, SHOP, T3, CONNECTION_OPEN);
	EXPECT("there again", SYN(), XDP_TX, TO_T3(SYN()), CONNECTION);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	EXPECT("gone", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	put_presence(0);
}

/* No room: what is there stays, and nothing is left of what is not. */
static void test_table_full(void **state)
{
	unsigned int entries = 0;

	(void)state;
	remember();
	for (uint16_t port = 1; port < 5000; port++)
		entries += !try_connection(CLIENT, port, SHOP, T3);
	assert_int_equal(table_size(), entries + 1);
	assert_int_equal(try_connection(CLIENT, 6000, SHOP, T3), -E2BIG);
	EXPECT("a connection", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	EXPECT("the same, changed", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	assert_int_equal(try_connection(CLIENT, 40000, SHOP, T3), 0);
	EXPECT("moved", ACK(), XDP_TX, TO_T3(ACK()), CONNECTION);
	for (uint16_t port = 1; port < 5000; port++)
		delete_connection(CLIENT, port, SHOP);
	assert_int_equal(delete_connection(CLIENT, 40000, SHOP), 0);
	assert_int_equal(presence(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_present, world_reset),
		cmocka_unit_test_setup(test_present_affinities, world_reset),
		cmocka_unit_test_setup(test_present_stays, world_reset),
		cmocka_unit_test_setup(test_table_full, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: present", tests, world_load, world_unload);
}
