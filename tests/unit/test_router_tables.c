/* SPDX-License-Identifier: BSD-2-Clause */
/* What of router/flows counts when two targets report one connection. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "router_internal.h"

static const struct {
	const char *what;
	struct flow flow;
	int target;
} rows[] = {
	{"noted in this role", {.since_ns = 101, .target = 7, .state = FLOW_STATE_NOTED}, 7},
	{"as it began", {.since_ns = 100, .target = 7, .state = FLOW_STATE_NOTED}, 7},
	{"before it", {.since_ns = 99, .target = 7, .state = FLOW_STATE_NOTED}, -ENOENT},
	{"half open", {.since_ns = 101, .target = 7, .state = FLOW_STATE_HALF_OPEN}, -ENOENT},
};

static void test_noted(void **state)
{
	const struct router_role role = {.role = ROLE_ACTIVE, .epoch = 2, .since_ns = 100};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (router_noted_target(&rows[i].flow, &role) != rows[i].target)
			fail_msg("%s", rows[i].what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_noted)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
