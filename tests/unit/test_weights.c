/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights of the distribution methods, in rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "weights.h"

#define MOST 4
#define UP   .instances = 1, .usable = true

/* Members that are not named are 0. */
#define TARGET(n, c, ...)                                                                          \
	{                                                                                          \
		.name = n, .configured = c, __VA_ARGS__                                            \
	}

struct row {
	const char *what;
	enum distribution distribution;
	struct weight_input targets[MOST];
	uint32_t weights[MOST];
};

static const struct row rows[] = {
	{"maglev: as configured, if it can serve",
	 DISTRIBUTE_MAGLEV,
	 {TARGET("a", 100, UP), TARGET("b", 50, UP, .connections = 1000),
	  TARGET("c", 100, .usable = true), TARGET("d", 100, .instances = 1)},
	 {100, 50, 0, 0}},
	{"maglev: a draining one has none",
	 DISTRIBUTE_MAGLEV,
	 {TARGET("a", 100, UP, .draining = true), TARGET("b", 0, UP), TARGET("c", 1, UP),
	  TARGET("d", 2, UP)},
	 {0, 0, 1, 2}},
	{"leastconn: nobody has any",
	 DISTRIBUTE_LEASTCONN,
	 {TARGET("a", 100, UP), TARGET("b", 50, UP), TARGET("c", 1, UP),
	  TARGET("d", 100, .usable = true)},
	 {1600, 800, 16, 0}},
	{"leastconn: in proportion already",
	 DISTRIBUTE_LEASTCONN,
	 {TARGET("a", 100, UP, .connections = 2000), TARGET("b", 50, UP, .connections = 1000),
	  TARGET("c", 100, .usable = true, .connections = 7000),
	  TARGET("d", 50, UP, .connections = 1000)},
	 {1600, 800, 0, 800}},
	{"leastconn: an empty one gets three times as much at most",
	 DISTRIBUTE_LEASTCONN,
	 {TARGET("a", 10, UP, .connections = 200000), TARGET("b", 10, UP, .connections = 200000),
	  TARGET("c", 10, UP, .connections = 200000), TARGET("d", 10, UP)},
	 {130, 130, 130, 480}},
	{"leastconn: never nothing",
	 DISTRIBUTE_LEASTCONN,
	 {TARGET("a", 1, UP, .connections = 4000000000u), TARGET("b", 1000000, UP),
	  TARGET("c", 1, UP), TARGET("d", 1, UP)},
	 {4, 64000000, 16, 16}},
	{"leastconn: no overflow",
	 DISTRIBUTE_LEASTCONN,
	 {TARGET("a", UINT32_MAX, UP, .connections = UINT32_MAX),
	  TARGET("b", UINT32_MAX, UP, .connections = UINT32_MAX),
	  TARGET("c", UINT32_MAX, UP, .connections = UINT32_MAX),
	  TARGET("d", UINT32_MAX, UP, .connections = UINT32_MAX)},
	 {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}},
	{"hotstandby: the highest takes all",
	 DISTRIBUTE_HOTSTANDBY,
	 {TARGET("a", 50, UP), TARGET("b", 100, UP), TARGET("c", 70, UP),
	  TARGET("d", 100, .usable = true)},
	 {0, 100, 0, 0}},
	{"hotstandby: of equal ones the first by name",
	 DISTRIBUTE_HOTSTANDBY,
	 {TARGET("d", 100, UP), TARGET("c", 100, UP), TARGET("b", 100, UP),
	  TARGET("a", 100, .instances = 1)},
	 {0, 0, 100, 0}},
	{"nobody can serve",
	 DISTRIBUTE_LEASTCONN,
	 {TARGET("a", 100, .usable = true), TARGET("b", 100, .instances = 0), TARGET("c", 0, UP),
	  TARGET("d", 0, UP)},
	 {0, 0, 0, 0}},
};

static void methods(void **state)
{
	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		uint32_t weights[MOST];

		weights_compute(rows[r].distribution, rows[r].targets, MOST, weights);
		for (size_t i = 0; i < MOST; i++) {
			if (weights[i] != rows[r].weights[i])
				fail_msg("%s: %s has %u, not %u", rows[r].what,
					 rows[r].targets[i].name, weights[i], rows[r].weights[i]);
		}
	}
}

/* Fed back, it comes to rest near the configured shares: new connections go by weight, old ones
 * end. */
static void settles(void **state)
{
	struct weight_input targets[3] = {TARGET("a", 1, UP, .connections = 9000),
					  TARGET("b", 1, UP), TARGET("c", 2, UP)};
	uint32_t weights[3];

	(void)state;
	for (int round = 0; round < 100; round++) {
		uint64_t total = 0;

		weights_compute(DISTRIBUTE_LEASTCONN, targets, 3, weights);
		for (int i = 0; i < 3; i++)
			total += weights[i];
		for (int i = 0; i < 3; i++)
			targets[i].connections = (uint32_t)(targets[i].connections * 9 / 10 +
							    900 * (uint64_t)weights[i] / total);
	}
	assert_in_range(targets[0].connections, 2150, 2350);
	assert_in_range(targets[1].connections, 2150, 2350);
	assert_in_range(targets[2].connections, 4350, 4650);
}

static void nobody(void **state)
{
	(void)state;
	weights_compute(DISTRIBUTE_LEASTCONN, NULL, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(methods),
		cmocka_unit_test(settles),
		cmocka_unit_test(nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
