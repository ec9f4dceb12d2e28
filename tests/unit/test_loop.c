/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's event loop: work without end keeps no timer waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent.h"

#define TURNS_MAX 10000000 /* seconds of work: then nobody else has had a turn */

struct worker {
	struct event *turn;
	struct worker *other;
	unsigned int *turns;
};

/* Wakes the other one, as sessions and the events that they read do. */
static void work(evutil_socket_t fd, short what, void *context)
{
	struct worker *worker = context;

	(void)fd;
	(void)what;
	if (++*worker->turns < TURNS_MAX)
		event_active(worker->other->turn, EV_TIMEOUT, 0);
}

static void note_and_end(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(context);
}

/* How many turns had the workers before `event` had its own? */
static unsigned int turns_before(struct event_base *base)
{
	unsigned int turns = 0;
	struct worker workers[2] = {{.other = &workers[1], .turns = &turns},
				    {.other = &workers[0], .turns = &turns}};

	for (int i = 0; i < 2; i++) {
		workers[i].turn = event_new(base, -1, 0, work, &workers[i]);
		assert_non_null(workers[i].turn);
	}
	event_active(workers[0].turn, EV_TIMEOUT, 0);
	assert_int_equal(event_base_dispatch(base), 0);
	for (int i = 0; i < 2; i++)
		event_free(workers[i].turn);
	return turns;
}

static void test_timer(void **state)
{
	struct event_base *base = agent_loop_new();
	const struct timeval soon = {.tv_usec = 1000};
	struct event *timer;

	(void)state;
	assert_non_null(base);
	timer = event_new(base, -1, 0, note_and_end, base);
	assert_int_equal(event_add(timer, &soon), 0);
	assert_true(turns_before(base) < TURNS_MAX);
	event_free(timer);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
