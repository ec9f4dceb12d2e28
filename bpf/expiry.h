/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* expiry.h - when an affinity expires: one pure function for the BPF programs, the agent and the
 * command line. */
#ifndef LIMPET_EXPIRY_H
#define LIMPET_EXPIRY_H

#include "layout.h"

#define NEVER_NS (~0ULL)

/*
 * The time at which it expires, given the client's connections to its instance; NEVER_NS: not by
 * itself.
 *
 * The idle timer runs only while there is no connection, from the last close (or from the request,
 * where the client has never been connected since). A handshake that the affinity has steered, and
 * that is not established yet, holds it for STEERED_NS, but never longer than that beyond its time:
 * half-open connections do not keep it alive. The maximum life counts from the first request,
 * whatever the client does and however often the instance asks again.
 */
static inline __u64 affinity_expires_ns(const struct target_affinity *affinity, __u32 connections)
{
	__u64 end = affinity->max_life_ns ? affinity->created_ns + affinity->max_life_ns : NEVER_NS;
	__u64 since = affinity->idle_since_ns, idle, steered;

	if (connections)
		return end;
	if (since < affinity->created_ns)
		since = affinity->created_ns;
	idle = since + affinity->idle_ns;
	steered = affinity->steered_ns + STEERED_NS;
	if (steered > idle + STEERED_NS)
		steered = idle + STEERED_NS;
	if (affinity->steered_ns && idle < steered)
		idle = steered;
	return idle < end ? idle : end;
}

/* A timed affinity to an instance that drains ends with the client's last connection: nobody has
 * asked for it. */
static inline int affinity_is_drained(const struct target_affinity *affinity, __u32 instance_state,
				      __u32 connections)
{
	return instance_state == INSTANCE_DRAINING && affinity->flags & AFFINITY_FLAG_TIMED &&
	       !connections;
}

#endif
