/* SPDX-License-Identifier: BSD-2-Clause */
/* The roster on disk: what is written is read, and what is no roster is named. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "address.h"
#include "roster.h"

static char directory[] = "/tmp/limpet-roster-XXXXXX";
static char path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/roster", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void test_missing(void **state)
{
	struct roster_entry *entries;
	const char *why;

	(void)state;
	unlink(path);
	assert_int_equal(roster_read(path, &entries, &why), 0);
	assert_null(entries);
}

static void test_round_trip(void **state)
{
	struct roster_entry out[2] = {
		{.name = "t1", .node_id = UINT64_MAX},
		{.name = "abcdefghijklmnopqrstuvwxyz-0.1_", .node_id = 1},
	};
	struct roster_entry *in;
	const char *why;

	(void)state;
	address_parse("10.7.0.11", &out[0].address);
	address_parse("2001:db8::11", &out[1].address);
	assert_int_equal(roster_write(path, out, 2), 0);
	assert_int_equal(roster_read(path, &in, &why), 2);
	assert_memory_equal(in, out, sizeof(out));
	free(in);
	assert_int_equal(roster_write(path, out, 0), 0);
	assert_int_equal(roster_read(path, &in, &why), 0);
	free(in);
}

/* The file is replaced by rename: what cannot be written leaves the old one. */
static void test_not_writable(void **state)
{
	struct roster_entry entry = {.name = "t1", .node_id = 1};
	struct roster_entry *in;
	char blocked[96];
	const char *why;

	(void)state;
	address_parse("10.7.0.11", &entry.address);
	assert_int_equal(roster_write(path, &entry, 1), 0);
	snprintf(blocked, sizeof(blocked), "%s.new", path);
	assert_int_equal(mkdir(blocked, 0700), 0);
	assert_int_equal(roster_write(path, &entry, 0), -EISDIR);
	rmdir(blocked);
	assert_int_equal(roster_read(path, &in, &why), 1);
	free(in);
}

/* clang-format off */
static const struct row {
	const char *text, *why;
} rows[] = {
	{"", "JSON"},
	{"{}", "array"},
	{"[", "array"},
	{"[1]", "object"},
	{"[{\"node_id\":\"0000000000000001\",\"address\":\"10.0.0.1\"}]", "name"},
	{"[{\"name\":\"abcdefghijklmnopqrstuvwxyz-0.1_x\",\"node_id\":\"0000000000000001\",\"address\":\"10.0.0.1\"}]", "name"},
	{"[{\"name\":\"t\",\"node_id\":1,\"address\":\"10.0.0.1\"}]", "node_id"},
	{"[{\"name\":\"t\",\"node_id\":\"000000000000000g\",\"address\":\"10.0.0.1\"}]", "node_id"},
	{"[{\"name\":\"t\",\"node_id\":\"0000000000000001\",\"address\":\"10.0.0\"}]", "address"},
	{"[{\"name\":\"t\",\"node_id\":\"0000000000000001\"}]", "address"},
};
/* clang-format on */

static void test_row(void **state)
{
	const struct row *row = *state;
	struct roster_entry *entries;
	const char *why = "";
	FILE *file = fopen(path, "w");

	fputs(row->text, file);
	fclose(file);
	assert_int_equal(roster_read(path, &entries, &why), -EINVAL);
	assert_null(entries);
	if (!strstr(why, row->why))
		fail_msg("\"%s\" does not speak of %s", why, row->why);
}

int main(void)
{
	enum { ROWS = sizeof(rows) / sizeof(*rows) };
	struct CMUnitTest tests[ROWS + 3] = {
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_not_writable),
	};

	for (unsigned int i = 0; i < ROWS; i++) {
		tests[i + 3].name = rows[i].text;
		tests[i + 3].test_func = test_row;
		tests[i + 3].initial_state = (void *)&rows[i];
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
