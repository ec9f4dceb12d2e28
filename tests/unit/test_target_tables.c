/* SPDX-License-Identifier: BSD-2-Clause */
/* What cannot be read is not taken for empty. */
#include "target_routers.h"

#include "target_part.h"

static void failed_reading_sweeps_nothing(void **state)
{
	struct agent agent;
	struct target_part *target = calloc(1, sizeof(*target));
	struct message message;

	(void)state;
	assert_non_null(target);
	memset(&agent.maps, 0xff, sizeof(agent.maps)); /* no descriptor is open */
	target->agent = &agent;
	target->mirror = world.mirror;
	open_connection(0, 1, 1);
	request(0, 2);
	/* Unread, as where no map answers. */
	set_connection(0, 1, 1, false);
	world.affinity[0][2].id = 0;
	assert_true(target_read_tables(target) < 0);
	assert_int_equal(target_mirror_connections(world.mirror), 1);
	assert_int_equal(target_mirror_affinities(world.mirror), 1);
	/* And nobody is told that this is all. */
	connect_router(0, ROLE_ACTIVE);
	while (next(0, true, &message))
		assert_int_not_equal(message.type, MESSAGE_DONE);
	/* Until it has been read. */
	rescan();
	assert_int_equal(target_mirror_connections(world.mirror), 0);
	assert_int_equal(target_mirror_affinities(world.mirror), 0);
	assert_true(next(0, true, &message));
	drain(0);
	assert_true(world.router[0].done);
	free(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(failed_reading_sweeps_nothing, world_setup,
						world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
