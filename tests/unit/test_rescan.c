/* SPDX-License-Identifier: BSD-2-Clause */
/* target/connections against the kernel's sockets: what is suspicious; and when an affinity is
 * over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "affinity_rule.h"
#include "rescan.h"

#define BEGAN 1000

struct result {
	uint64_t gone[8], missed[8];
	unsigned int gone_count, missed_count;
};

static void on_gone(void *context, const struct rescan_item *entry)
{
	struct result *result = context;

	result->gone[result->gone_count++] = entry->cookie;
}

static void on_missed(void *context, const struct rescan_item *socket)
{
	struct result *result = context;

	result->missed[result->missed_count++] = socket->cookie;
}

static struct result compare(struct rescan_item *entries, size_t entry_count,
			     struct rescan_item *sockets, size_t socket_count)
{
	struct result result = {.gone_count = 0};

	rescan_compare(entries, entry_count, sockets, socket_count, BEGAN, on_gone, on_missed,
		       &result);
	return result;
}

static void equal(void **state)
{
	struct rescan_item entries[] = {{.cookie = 3}, {.cookie = 1}, {.cookie = 2}};
	struct rescan_item sockets[] = {{.cookie = 2, .open = true},
					{.cookie = 3, .open = true},
					{.cookie = 1, .open = false}};
	struct result result = compare(entries, 3, sockets, 3);

	(void)state;
	assert_int_equal(result.gone_count, 0);
	assert_int_equal(result.missed_count, 0);
}

static void entry_without_socket(void **state)
{
	struct rescan_item entries[] = {{.cookie = 9, .established_ns = BEGAN - 1},
					{.cookie = 1},
					{.cookie = 5, .established_ns = BEGAN - 1}};
	struct rescan_item sockets[] = {{.cookie = 1, .open = true}};
	struct result result = compare(entries, 3, sockets, 1);

	(void)state;
	assert_int_equal(result.gone_count, 2);
	assert_int_equal(result.gone[0], 5);
	assert_int_equal(result.gone[1], 9);
	assert_int_equal(result.missed_count, 0);
}

static void younger_than_the_list(void **state)
{
	struct rescan_item entries[] = {{.cookie = 5, .established_ns = BEGAN}};

	(void)state;
	assert_int_equal(compare(entries, 1, NULL, 0).gone_count, 0);
	entries[0].established_ns--;
	assert_int_equal(compare(entries, 1, NULL, 0).gone_count, 1);
}

static void socket_without_entry(void **state)
{
	struct rescan_item entries[] = {{.cookie = 4}};
	struct rescan_item sockets[] = {{.cookie = 7, .open = true},
					{.cookie = 4, .open = true},
					{.cookie = 6, .open = false}};
	struct result result = compare(entries, 1, sockets, 3);

	(void)state;
	assert_int_equal(result.gone_count, 0);
	assert_int_equal(result.missed_count, 1);
	assert_int_equal(result.missed[0], 7);
}

/* One 4-tuple, another socket: the old entry is gone, the new connection missed. */
static void another_cookie(void **state)
{
	struct rescan_item entries[] = {{.cookie = 4}};
	struct rescan_item sockets[] = {{.cookie = 8, .open = true}};
	struct result result = compare(entries, 1, sockets, 1);

	(void)state;
	assert_int_equal(result.gone_count, 1);
	assert_int_equal(result.missed_count, 1);
}

#define LIVE(id) ((uint64_t)(id) << 8 | PHASE_LIVE)

static void affinity_rows(void **state)
{
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
		 {.now_ns = 15,
		  .process = 7,
		  .connections = 1,
		  .instance_state = INSTANCE_DRAINING},
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

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (affinity_over(&rows[i].affinity, &rows[i].facts) != rows[i].expected)
			fail_msg("row \"%s\": %d", rows[i].what,
				 affinity_over(&rows[i].affinity, &rows[i].facts));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal),
		cmocka_unit_test(entry_without_socket),
		cmocka_unit_test(younger_than_the_list),
		cmocka_unit_test(socket_without_entry),
		cmocka_unit_test(another_cookie),
		cmocka_unit_test(affinity_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
