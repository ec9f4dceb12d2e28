/* SPDX-License-Identifier: BSD-2-Clause */
/* clock.c - this node's time, by itself so that tests of one part link that part alone. */
#include <time.h>

#include "agent.h"

uint64_t agent_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t agent_now_ms(void)
{
	return agent_now_ns() / 1000000;
}
