/* SPDX-License-Identifier: BSD-2-Clause */
/* target_tables.c - the kernel's tables: read anew into the mirror at the start and when events
 * were lost; checked when the tracker says that it could not do something. */
#include <errno.h>
#include <string.h>

#include "affinities.h"
#include "events.h"
#include "listeners.h"
#include "log.h"
#include "rescan.h"

/* Not known: as if it had not changed. */
static uint64_t count_of(const struct target_part *target, enum counter counter, uint64_t last)
{
	__u64 sum;

	return maps_counter(&target->agent->maps, counter, &sum) ? last : sum;
}

static uint64_t count_lost(const struct target_part *target)
{
	return count_of(target, COUNT_EVENT_LOST, target->events_lost);
}

static int name_connection(void *context, const void *key, const void *value)
{
	struct target_part *target = context;

	(void)value;
	target_mirror_connection(target->mirror, key, CONNECTION_END_CLOSED);
	return 0;
}

static int name_affinity(void *context, const void *key, const void *value)
{
	struct target_part *target = context;

	(void)value;
	target_mirror_affinity(target->mirror, key);
	return 0;
}

/* The counter is read first: what is lost from here on asks for another time. */
int target_read_tables(struct target_part *target)
{
	const struct maps *maps = &target->agent->maps;
	uint64_t lost = count_lost(target);
	int err;

	target_mirror_rescan_begin(target->mirror);
	err = maps_walk(maps, MAP_TARGET_CONNECTIONS, name_connection, target);
	if (!err)
		err = maps_walk(maps, MAP_TARGET_AFFINITIES, name_affinity, target);
	if (err) {
		/* Without an end: it would take for gone what was not named. */
		log_error("target/connections and target/affinities cannot be read: %s; the "
			  "routers are told of changes, but not that they know everything, until "
			  "this succeeds",
			  strerror(-err));
		return err;
	}
	target_mirror_rescan_end(target->mirror);
	target->events_lost = lost;
	return 0;
}

static void recover(evutil_socket_t fd, short what, void *context)
{
	struct target_part *target = context;
	uint64_t lost = count_lost(target) - target->events_lost;

	(void)fd;
	(void)what;
	if (!lost)
		return;
	log_warning("%llu events did not fit into target/events: all tables are read again; the "
		    "machine was too busy to read them in time",
		    (unsigned long long)lost);
	if (target_read_tables(target))
		return; /* the next check tries again */
	listeners_scan(target->listeners, true);
	affinities_sweep_soon(target->affinities);
	rescan_start(target->rescan);
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		target_link_wake(target, i);
}

uint64_t target_tables_full(const struct target_part *target)
{
	return count_of(target, COUNT_TRACK_FULL, target->full);
}

/* What is not in the table the routers do not know: they are told that its silence proves nothing.
 */
static void set_crowded(struct target_part *target, bool crowded)
{
	if (target->crowded == crowded)
		return;
	target->crowded = crowded;
	if (crowded)
		log_warning("target/connections: full: what has found no room is served, but may "
			    "be sent elsewhere by a router that has forgotten its flow: raise "
			    "tables.connections, which needs `limpet unload` and `limpet load`");
	else
		log_info("target/connections: has room for all connections again");
	target_condition_changed(target);
}

void target_tables_rescanned(struct target_part *target, uint64_t full, unsigned int left_out)
{
	set_crowded(target, left_out || target_tables_full(target) != full);
}

void target_tables_check(struct target_part *target)
{
	uint64_t retries = count_of(target, COUNT_TRACK_RETRY, target->retries);
	uint64_t closed = count_of(target, COUNT_TRACK_CLOSED, target->closed);
	uint64_t full = target_tables_full(target);

	if (count_lost(target) != target->events_lost)
		event_active(target->recover, EV_TIMEOUT, 0);
	if (full != target->full)
		set_crowded(target, true);
	/* What has closed has made room. */
	if (full != target->full || retries != target->retries ||
	    (target->crowded && closed != target->closed))
		rescan_soon(target->rescan);
	target->retries = retries;
	target->full = full;
	target->closed = closed;
}

bool target_events_complete(struct target_part *target)
{
	if (!events_drain(target->events))
		return false;
	if (count_lost(target) == target->events_lost)
		return true;
	event_active(target->recover, EV_TIMEOUT, 0);
	return false;
}

int target_tables_start(struct target_part *target)
{
	target->retries = count_of(target, COUNT_TRACK_RETRY, 0);
	target->closed = count_of(target, COUNT_TRACK_CLOSED, 0);
	target->full = target_tables_full(target);
	target->crowded = target->full > 0; /* until the first rescan has looked */
	target->recover = event_new(target->agent->base, -1, 0, recover, target);
	return target->recover ? 0 : -ENOMEM;
}
