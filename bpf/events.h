/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * events.h - what the target's programs tell the agent: which key has changed. The agent looks up
 * what holds then, so an event that comes late or twice does no harm; one that does not fit is
 * counted, and answered with a rescan.
 */
#ifndef LIMPET_EVENTS_H
#define LIMPET_EVENTS_H

#include "target_maps.h"

static __always_inline struct event *event_begin(__u32 type)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(COUNT_EVENT_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = type;
	return event;
}

static __always_inline void event_connection(const struct connection_key *key, __u64 cookie,
					     __u8 how)
{
	struct event *event = event_begin(EVENT_CONNECTION);

	if (!event)
		return;
	event->key.connection = *key;
	event->cookie = cookie;
	event->how = how;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void event_affinity(const struct affinity_key *key)
{
	struct event *event = event_begin(EVENT_AFFINITY);

	if (!event)
		return;
	event->key.affinity = *key;
	bpf_ringbuf_submit(event, 0);
}

#endif
