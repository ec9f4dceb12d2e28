/* SPDX-License-Identifier: BSD-2-Clause */
#include "events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "affinities.h"
#include "listeners.h"
#include "log.h"

#define EVENTS_A_TURN 1024 /* then the sessions have their turn */

struct events {
	struct target_part *target;
	struct ring_buffer *ring;
	struct event *readable;
	unsigned int taken; /* in this turn */
	bool draining;	    /* the ring is being read: a handler may ask for it again */
};

/* Why it is over; NULL: it is in force. */
static const char *end_of(const struct target_part *target, const struct affinity_key *key,
			  const struct target_affinity *affinity)
{
	static const char *const names[] = {
		[END_RELEASED] = "released", [END_OPERATOR] = "operator", [END_EXPIRED] = "expired",
		[END_INSTANCE] = "instance", [END_PROCESS] = "process",	  [END_REFUSED] = "refused",
		[END_FULL] = "full",	     [END_LOST] = "lost",	  [END_SHARED] = "shared",
		[END_SERVICE] = "service",
	};
	struct affinity_facts facts;
	unsigned int end;

	affinity_read_facts(&target->agent->maps, key, affinity, agent_now_ns(), &facts);
	end = affinity_over(affinity, &facts);
	if (end == END_NONE)
		return NULL;
	return end < sizeof(names) / sizeof(*names) ? names[end] : "unknown";
}

static bool is_everywhere(const struct target_part *target, const struct affinity_key *key,
			  const struct target_affinity *affinity)
{
	struct grant grant;

	return !maps_get(&target->agent->maps, MAP_GRANTS, key, &grant) &&
	       grant.id == affinity_id(affinity) && grant.everywhere;
}

void events_report_affinity(struct target_part *target, const struct affinity_key *key)
{
	struct target_affinity affinity;
	struct json_object *details;
	const char *end = "unknown";
	char text[ADDRESS_TEXT];

	if (!control_has_listener(target->agent->control) || key->scope >= MAX_SERVICES)
		return;
	if (!maps_get(&target->agent->maps, MAP_TARGET_AFFINITIES, key, &affinity))
		end = end_of(target, key, &affinity);
	details = json_object_new_object();
	json_object_object_add(details, "client",
			       json_object_new_string(address_format(&key->client, text)));
	json_object_object_add(details, "scope",
			       json_object_new_string(target->numbers->scope[key->scope].name));
	json_object_object_add(details, "state",
			       json_object_new_string(end ? "ended"
						      : is_everywhere(target, key, &affinity)
							      ? "everywhere"
							      : "here"));
	if (end)
		json_object_object_add(details, "end", json_object_new_string(end));
	target_report(target, "affinity", details);
}

static void dispatch(struct target_part *target, const struct event *event)
{
	switch (event->type) {
	case EVENT_CONNECTION:
		target_mirror_connection(target->mirror, &event->key.connection, event->how);
		target_readiness_changed(target);
		return;
	case EVENT_AFFINITY:
		target_mirror_affinity(target->mirror, &event->key.affinity);
		events_report_affinity(target, &event->key.affinity);
		return;
	case EVENT_LISTEN:
		listeners_heard(target->listeners, event->cookie, event->pid);
		return;
	case EVENT_LISTEN_END:
		listeners_closed(target->listeners, event->cookie);
		return;
	case EVENT_PROCESS_END:
	case EVENT_SHARED:
		affinities_sweep_soon(target->affinities);
		target_readiness_changed(target);
		return;
	default:
		log_warning("an event of unknown type %u in target/events is ignored: is limpetd "
			    "older than the BPF programs? restart it after an upgrade",
			    event->type);
	}
}

static int take(void *context, void *data, size_t size)
{
	struct events *events = context;

	if (size < sizeof(struct event))
		return 0;
	dispatch(events->target, data);
	/* The record counts as read also when reading stops with it. */
	return ++events->taken < EVENTS_A_TURN ? 0 : -EAGAIN;
}

bool events_drain(struct events *events)
{
	int taken;

	if (events->draining)
		return false;
	events->draining = true;
	events->taken = 0;
	taken = ring_buffer__consume(events->ring);
	events->draining = false;
	return taken >= 0;
}

/* The ring's descriptor stays readable while there is more. */
static void readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	events_drain(context);
}

struct events *events_new(struct target_part *target)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return NULL;
	events->target = target;
	events->ring = ring_buffer__new(target->agent->maps.fd[MAP_EVENTS], take, events, NULL);
	if (!events->ring) {
		log_error("target/events cannot be read: %s; load Limpet again with `limpet load`",
			  strerror(errno));
		events_free(events);
		return NULL;
	}
	events->readable = event_new(target->agent->base, ring_buffer__epoll_fd(events->ring),
				     EV_READ | EV_PERSIST, readable, events);
	if (!events->readable || event_add(events->readable, NULL)) {
		log_error("target/events cannot be watched: out of memory or descriptors");
		events_free(events);
		return NULL;
	}
	return events;
}

void events_free(struct events *events)
{
	if (!events)
		return;
	if (events->readable)
		event_free(events->readable);
	ring_buffer__free(events->ring);
	free(events);
}
