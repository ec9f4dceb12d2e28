/* SPDX-License-Identifier: BSD-2-Clause */
/* When a ring is to be made anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "rings.h"

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

static const struct maglev_target remembered[] = {{1, "t1", 100}, {2, "t2", 50}};

static const struct row {
	const char *what;
	struct maglev_target targets[3];
	size_t count;
	bool differs;
} rows[] = {
	{"the same", {{1, "t1", 100}, {2, "t2", 50}}, 2, false},
	{"another weight", {{1, "t1", 100}, {2, "t2", 51}}, 2, true},
	{"another name under the number", {{1, "t1", 100}, {2, "t3", 50}}, 2, true},
	{"another number of the name", {{1, "t1", 100}, {3, "t2", 50}}, 2, true},
	{"one more", {{1, "t1", 100}, {2, "t2", 50}, {3, "t3", 0}}, 3, true},
	{"one less", {{1, "t1", 100}}, 1, true},
	{"none", {{0, NULL, 0}}, 0, true},
};

static void test_row(void **state)
{
	struct ring_recipe recipe = {};
	const struct row *row = *state;

	assert_int_equal(ring_remember(&recipe, remembered, COUNT(remembered)), 0);
	assert_int_equal(ring_differs(&recipe, row->targets, row->count), row->differs);
	ring_forget(&recipe);
}

/* Nothing has been made yet: an empty ring is to be made too, once. */
static void test_first(void **state)
{
	struct ring_recipe recipe = {};

	(void)state;
	assert_true(ring_differs(&recipe, NULL, 0));
	assert_int_equal(ring_remember(&recipe, NULL, 0), 0);
	assert_false(ring_differs(&recipe, NULL, 0));
	ring_forget(&recipe);
	assert_true(ring_differs(&recipe, NULL, 0));
}

int main(void)
{
	struct CMUnitTest tests[COUNT(rows) + 1] = {cmocka_unit_test(test_first)};

	for (unsigned int i = 0; i < COUNT(rows); i++) {
		tests[i + 1].name = rows[i].what;
		tests[i + 1].test_func = test_row;
		tests[i + 1].initial_state = (void *)&rows[i];
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
