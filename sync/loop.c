/* SPDX-License-Identifier: BSD-2-Clause */
#include <event2/event.h>

#include "agent.h"

#define TURN_MS 20 /* of callbacks; the one that is running then is the last */

/*
 * Callbacks may wake one another as long as there is work: a session asks for the kernel's events,
 * these name entries, and what has changed wakes the sessions. libevent alone would go on with them
 * before it looks at sockets and timers again, and routers take an agent that is silent for down.
 */
struct event_base *agent_loop_new(void)
{
	const struct timeval turn = {.tv_usec = TURN_MS * 1000};
	struct event_config *options = event_config_new();
	struct event_base *base = NULL;

	if (!options)
		return NULL;
	if (!event_config_set_max_dispatch_interval(options, &turn, -1, 0))
		base = event_base_new_with_config(options);
	event_config_free(options);
	return base;
}
