/* SPDX-License-Identifier: BSD-2-Clause */
/* Which difference between a count and its entries is real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "counts.h"

static void certain_rows(void **state)
{
	static const struct row {
		const char *what;
		uint32_t counted, found, changes;
		int32_t expected;
	} rows[] = {
		{"equal", 5, 5, 0, 0},
		{"equal, busy", 5, 5, 9, 0},
		{"too many", 7, 5, 0, 2},
		{"too few", 5, 7, 0, -2},
		{"all of it may be time", 7, 5, 2, 0},
		{"all of it may be time, too few", 5, 7, 2, 0},
		{"some of it is real", 17, 5, 2, 10},
		{"some of it is real, too few", 5, 17, 2, -10},
		{"none is there", 3, 0, 0, 3},
		{"below zero", UINT32_MAX, 1, 0, -2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (counts_certain(rows[i].counted, rows[i].found, rows[i].changes) !=
		    rows[i].expected)
			fail_msg("row \"%s\": %d", rows[i].what,
				 counts_certain(rows[i].counted, rows[i].found, rows[i].changes));
}

static void agreed_rows(void **state)
{
	static const struct row {
		int32_t before, now, expected;
	} rows[] = {
		{0, 0, 0}, {0, 3, 0},  {3, 0, 0},  {3, 3, 3},	 {2, 5, 2},
		{5, 2, 2}, {-3, 3, 0}, {-3, 0, 0}, {-3, -3, -3}, {-2, -5, -2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (counts_agreed(rows[i].before, rows[i].now) != rows[i].expected)
			fail_msg("row %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certain_rows),
		cmocka_unit_test(agreed_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
