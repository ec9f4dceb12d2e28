/* SPDX-License-Identifier: BSD-2-Clause */
/* When an affinity is over, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "affinity_rule.h"

#define LIVE(id) ((uint64_t)(id) << 8 | PHASE_LIVE)

static const struct row {
	const char *what;
	struct target_affinity affinity;
	struct affinity_facts facts;
	enum affinity_end expected;
} rows[] = {
	{"connected",
	 {.word = LIVE(1), .process = 7, .idle_ns = 10},
	 {.now_ns = 1000, .process = 7, .connections = 1, .instance_state = INSTANCE_READY},
	 END_NONE},
	{"idle, not yet over",
	 {.word = LIVE(1), .process = 7, .idle_ns = 10, .idle_since_ns = 100},
	 {.now_ns = 109, .process = 7, .instance_state = INSTANCE_READY},
	 END_NONE},
	{"idle, over",
	 {.word = LIVE(1), .process = 7, .idle_ns = 10, .idle_since_ns = 100},
	 {.now_ns = 110, .process = 7, .instance_state = INSTANCE_READY},
	 END_EXPIRED},
	{"maximum life, connected",
	 {.word = LIVE(1), .process = 7, .created_ns = 5, .max_life_ns = 10},
	 {.now_ns = 15, .process = 7, .connections = 3, .instance_state = INSTANCE_READY},
	 END_EXPIRED},
	{"draining instance keeps it",
	 {.word = LIVE(1), .process = 7},
	 {.now_ns = 15, .process = 7, .connections = 1, .instance_state = INSTANCE_DRAINING},
	 END_NONE},
	{"instance has ended",
	 {.word = LIVE(1), .process = 7},
	 {.now_ns = 15, .process = 7, .connections = 1, .instance_state = INSTANCE_ENDED},
	 END_INSTANCE},
	{"process is gone",
	 {.word = LIVE(1), .process = 7},
	 {.now_ns = 15, .process = 0, .connections = 1, .instance_state = INSTANCE_READY},
	 END_PROCESS},
	{"pid is another process's",
	 {.word = LIVE(1), .process = 7},
	 {.now_ns = 15, .process = 8, .connections = 1, .instance_state = INSTANCE_READY},
	 END_PROCESS},
	{"timed: no process",
	 {.word = LIVE(1), .idle_ns = 10},
	 {.now_ns = 15, .connections = 1, .instance_state = INSTANCE_READY},
	 END_NONE},
	{"has ended",
	 {.word = (uint64_t)1 << 8 | PHASE_ENDED, .end = END_RELEASED},
	 {.now_ns = 15, .connections = 1, .instance_state = INSTANCE_READY},
	 END_RELEASED},
	{"being changed",
	 {.word = (uint64_t)1 << 8 | PHASE_CHANGING},
	 {.now_ns = 15, .connections = 1, .instance_state = INSTANCE_READY},
	 END_NONE},
};

static void affinity_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (affinity_over(&rows[i].affinity, &rows[i].facts) != rows[i].expected)
			fail_msg("row \"%s\": %d", rows[i].what,
				 affinity_over(&rows[i].affinity, &rows[i].facts));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(affinity_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
