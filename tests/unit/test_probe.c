/* SPDX-License-Identifier: BSD-2-Clause */
/* Path probes: each byte of the packet, and what echoes say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"
#include "echoes.h"
#include "probe.h"

/* clang-format off */
static const uint8_t small4[] = {
	0x45, 0, 0, 64, 0, 0, 0x40, 0, 64, 4, 0x26, 0xa0, 10, 7, 0, 2, 10, 7, 0, 11,
	0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 17, 0x26, 0xa7, 10, 7, 0, 2, 10, 7, 0, 11,
	0x1d, 0x8a, 0x1d, 0x8a, 0, 24, 0, 0, /* the checksum is verified apart */
	'L', 'P', 'R', 'O', 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
};
/* clang-format on */

static uint16_t folded_sum(const uint8_t *bytes, size_t length, uint32_t total)
{
	for (size_t i = 0; i < length; i++)
		total += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

static void test_small4(void **state)
{
	struct address router, target;
	uint8_t packet[128];

	(void)state;
	address_parse("10.7.0.2", &router);
	address_parse("10.7.0.11", &target);
	assert_int_equal(probe_build(packet, sizeof(packet), &router, &target, PROBE_SMALL,
				     0x0102030405060708, 0),
			 (int)sizeof(small4));
	/* Right when it sums up to all ones: the headers', and UDP's with its pseudo header. */
	assert_int_equal(folded_sum(packet, 20, 0), 0xffff);
	assert_int_equal(folded_sum(packet + 20, 20, 0), 0xffff);
	assert_int_equal(folded_sum(packet + 40, 24, folded_sum(packet + 32, 8, 17 + 24)), 0xffff);
	packet[46] = packet[47] = 0;
	assert_memory_equal(packet, small4, sizeof(small4));
}

static void test_full6(void **state)
{
	static uint8_t packet[1501];
	struct address router, target;

	(void)state;
	address_parse("2001:db8::2", &router);
	address_parse("2001:db8::11", &target);
	packet[1500] = 0xaa;
	assert_int_equal(probe_build(packet, sizeof(packet), &router, &target, PROBE_FULL, 9, 1500),
			 1500);
	assert_int_equal(packet[1500], 0xaa);
	assert_int_equal(packet[0], 0x60);
	assert_int_equal(packet[4] << 8 | packet[5], 1460);
	assert_int_equal(packet[6], 41);
	assert_memory_equal(packet + 8, router.byte, 16);
	assert_memory_equal(packet + 24, target.byte, 16);
	assert_int_equal(packet[44] << 8 | packet[45], 1420);
	assert_int_equal(packet[46], 17);
	assert_int_equal(packet[84] << 8 | packet[85], 1420); /* UDP length */
	assert_int_equal(folded_sum(packet + 80, 1420, folded_sum(packet + 48, 32, 17 + 1420)),
			 0xffff);
	assert_int_equal(packet[92], PROBE_FULL);
	assert_int_equal(packet[103], 9);
}

static void test_no_room(void **state)
{
	struct address router, target;
	uint8_t packet[128];

	(void)state;
	address_parse("10.7.0.2", &router);
	address_parse("10.7.0.11", &target);
	assert_int_equal(probe_build(packet, 63, &router, &target, PROBE_SMALL, 1, 0), -EMSGSIZE);
	assert_int_equal(probe_build(packet, sizeof(packet), &router, &target, PROBE_FULL, 1, 129),
			 -EMSGSIZE);
	assert_int_equal(probe_build(packet, sizeof(packet), &router, &target, PROBE_FULL, 1, 63),
			 -EMSGSIZE);
}

static const struct row {
	const char *what;
	uint64_t sent, opened, small, full;
	enum path_state state;
} rows[] = {
	{"just opened", 100, 100, 0, 0, PATH_UNKNOWN},
	{"echoes of an earlier session do not count", 101, 100, 100, 100, PATH_UNKNOWN},
	{"both echoed", 101, 100, 101, 101, PATH_OK},
	{"both not long ago", 120, 100, 115, 116, PATH_OK},
	{"full is late", 120, 100, 120, 114, PATH_MTU},
	{"no full yet, but it is early", 105, 100, 105, 0, PATH_UNKNOWN},
	{"no full at all", 106, 100, 106, 0, PATH_MTU},
	{"nothing at all", 106, 100, 0, 0, PATH_BROKEN},
	{"nothing for long", 120, 100, 114, 114, PATH_BROKEN},
	{"an echo of what was not sent", 120, 100, 121, 121, PATH_BROKEN},
};

static void test_row(void **state)
{
	const struct row *row = *state;

	assert_int_equal(path_judge(row->sent, row->opened, row->small, row->full), row->state);
}

static void test_echo_missed(void **state)
{
	(void)state;
	assert_false(echo_missed(100, 0)); /* it may be that none can come back */
	assert_false(echo_missed(100, 100));
	assert_false(echo_missed(100, 100 - PROBE_WINDOW));
	assert_true(echo_missed(100, 100 - PROBE_WINDOW - 1));
	assert_true(echo_missed(UINT64_MAX, 1));
}

int main(void)
{
	enum { ROWS = sizeof(rows) / sizeof(*rows), OTHERS = 4 };
	struct CMUnitTest tests[ROWS + OTHERS] = {
		cmocka_unit_test(test_small4),
		cmocka_unit_test(test_full6),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_echo_missed),
	};

	for (unsigned int i = 0; i < ROWS; i++) {
		tests[i + OTHERS].name = rows[i].what;
		tests[i + OTHERS].test_func = test_row;
		tests[i + OTHERS].initial_state = (void *)&rows[i];
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
