/* SPDX-License-Identifier: BSD-2-Clause */
/* What of router/handshakes counts when two targets report one connection; what the pinned maps
 * tell of a target that has no agent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "router_internal.h"

static const struct {
	const char *what;
	struct router_call answer;
	int target;
} rows[] = {
	{"noted in this role",
	 {.since_ns = 101ULL << HANDSHAKE_TICK_SHIFT, .target = 7, .state = FLOW_STATE_NOTED},
	 7},
	{"as it began",
	 {.since_ns = 100ULL << HANDSHAKE_TICK_SHIFT, .target = 7, .state = FLOW_STATE_NOTED},
	 -ENOENT},
	{"before it",
	 {.since_ns = 99ULL << HANDSHAKE_TICK_SHIFT, .target = 7, .state = FLOW_STATE_NOTED},
	 -ENOENT},
	{"half open",
	 {.since_ns = 101ULL << HANDSHAKE_TICK_SHIFT, .target = 7, .state = FLOW_STATE_HALF_OPEN},
	 -ENOENT},
};

static void test_noted(void **state)
{
	const struct router_role role = {
		.role = ROLE_ACTIVE, .epoch = 2, .since_ns = 100ULL << HANDSHAKE_TICK_SHIFT};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (router_noted_target(&rows[i].answer, &role) != rows[i].target)
			fail_msg("%s", rows[i].what);
}

#define MAGLEV	   DISTRIBUTE_MAGLEV
#define LEASTCONN  DISTRIBUTE_LEASTCONN
#define HOTSTANDBY DISTRIBUTE_HOTSTANDBY

static const struct {
	const char *what;
	struct target pinned;
	bool in_ring, unserved;
	enum distribution distribution;
	bool ready;
} readiness[] = {
	{"in the ring", {.name = "t1", .flags = TARGET_USABLE, .weight = 9}, 1, 0, MAGLEV, true},
	{"not usable now", {.name = "t1", .weight = 9}, 1, 0, LEASTCONN, true},
	{"weight not known", {.name = "t1", .flags = TARGET_USABLE}, 1, 0, MAGLEV, true},
	{"dead", {.name = "t1", .flags = TARGET_DEAD, .weight = 9}, 1, 0, MAGLEV, false},
	{"nobody's number", {.weight = 9}, 1, 0, MAGLEV, false},
	{"the last instance has gone", {.name = "t1", .weight = 9}, 1, 1, MAGLEV, false},
	{"no place", {.name = "t1", .flags = TARGET_USABLE, .weight = 9}, 0, 0, MAGLEV, false},
	{"no place", {.name = "t1", .flags = TARGET_USABLE, .weight = 9}, 0, 0, LEASTCONN, false},
	{"the second", {.name = "t1", .flags = TARGET_USABLE, .weight = 9}, 0, 0, HOTSTANDBY, true},
	{"it drains", {.name = "t1", .flags = TARGET_USABLE}, 0, 0, HOTSTANDBY, false},
	{"it was down", {.name = "t1", .weight = 9}, 0, 0, HOTSTANDBY, false},
	{"unserved", {.name = "t1", .flags = TARGET_USABLE, .weight = 9}, 0, 1, HOTSTANDBY, false},
};

static void test_was_ready(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(readiness) / sizeof(*readiness); i++)
		if (router_was_ready(&readiness[i].pinned, readiness[i].in_ring,
				     readiness[i].unserved,
				     readiness[i].distribution) != readiness[i].ready)
			fail_msg("%zu: %s", i, readiness[i].what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_noted),
					   cmocka_unit_test(test_was_ready)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
