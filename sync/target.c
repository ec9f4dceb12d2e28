/* SPDX-License-Identifier: BSD-2-Clause */
/* target.c - the target's part of the agent: its life, what the mirror asks of it, and what the
 * operator does. (target_tables.c: the kernel's tables, read anew.) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addresses.h"
#include "affinities.h"
#include "events.h"
#include "listeners.h"
#include "log.h"
#include "rescan.h"

#define TICK_MS	      100
#define TICKS_SWEEP   10  /* affinities that are over; lost events */
#define TICKS_RELEASE 100 /* numbers and grants that nothing refers to */
#define TICKS_RESCAN  600 /* against the kernel's sockets */

/* ------------------------------------------------------------------------------------------------
 * what the mirror asks */

static int read_connection(void *context, const struct connection_key *key,
			   struct target_connection *value)
{
	struct target_part *target = context;
	int err = maps_get(&target->agent->maps, MAP_TARGET_CONNECTIONS, key, value);

	if (!err && !value->cookie)
		return -ENOENT; /* is being removed */
	return err;
}

static int read_affinity(void *context, const struct affinity_key *key,
			 struct target_affinity *value)
{
	struct target_part *target = context;
	const struct maps *maps = &target->agent->maps;
	struct affinity_facts facts;
	int err = maps_get(maps, MAP_TARGET_AFFINITIES, key, value);

	if (err)
		return err;
	affinity_read_facts(maps, key, value, agent_now_ns(), &facts);
	return affinity_over(value, &facts) == END_NONE ? 0 : -ENOENT;
}

static void end_affinity(void *context, const struct affinity_key *key, uint64_t id,
			 enum affinity_end reason)
{
	affinities_end(context, key, id, reason);
}

static void publish(void *context, const struct affinity_key *key, uint64_t id,
		    const struct term *term)
{
	const struct grant grant = {
		.id = id, .clock = term->clock, .router = term->router, .everywhere = 1};
	struct target_part *target = context;
	int err = maps_put(&target->agent->maps, MAP_GRANTS, key, &grant);

	if (err)
		log_error("target/grants cannot be written: %s; the application does not learn "
			  "that an affinity is in force everywhere: raise tables.affinities",
			  strerror(-err));
	events_report_affinity(target, key);
}

static bool published(void *context, const struct affinity_key *key, uint64_t id, struct term *term)
{
	struct target_part *target = context;
	struct grant grant;

	if (maps_get(&target->agent->maps, MAP_GRANTS, key, &grant) || grant.id != id ||
	    !grant.everywhere)
		return false;
	*term = (struct term){.clock = grant.clock, .router = grant.router};
	return true;
}

static void wake(void *context, unsigned int router)
{
	target_link_wake(context, router);
}

static void services_changed(void *context, unsigned int router)
{
	target_list_received(context, router);
}

static const struct target_mirror_ops operations = {
	.read_connection = read_connection,
	.read_affinity = read_affinity,
	.end_affinity = end_affinity,
	.publish = publish,
	.published = published,
	.wake = wake,
	.services_changed = services_changed,
};

/* ------------------------------------------------------------------------------------------------
 * condition and readiness */

static uint32_t ready_instances(const struct instance_table *table)
{
	uint32_t count = 0;

	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		count += table->instance[i].kernel.state == INSTANCE_READY;
	return count;
}

void target_condition_changed(struct target_part *target)
{
	const struct message_target condition = {
		.weight = target->config->target.weight,
		.instances = ready_instances(listeners_table(target->listeners)),
		.draining = listeners_table(target->listeners)->draining,
		.end_affinities = target->end_affinities,
		.crowded = target->crowded,
	};

	target_mirror_condition(target->mirror, &condition);
}

void target_readiness_changed(struct target_part *target)
{
	target->readiness_changed = true;
}

void target_update_readiness(struct target_part *target)
{
	target->readiness_changed = false;
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		struct message_ready ready;

		if (!target->numbers->active[i])
			continue;
		listeners_readiness(target->listeners, &target->numbers->service[i].key, &ready);
		target_mirror_ready(target->mirror, i, &ready);
	}
	target_condition_changed(target);
}

void target_report(struct target_part *target, const char *what, struct json_object *details)
{
	struct json_object *line = details ? details : json_object_new_object();

	if (!target->agent->control) {
		json_object_put(line);
		return;
	}
	json_object_object_add(line, "event", json_object_new_string(what));
	control_event(target->agent->control, line);
}

static void tick(evutil_socket_t fd, short what, void *context)
{
	struct target_part *target = context;

	(void)fd;
	(void)what;
	target->ticks++;
	if (target->readiness_changed)
		target_update_readiness(target);
	if (target->ticks % TICKS_SWEEP == 0) {
		affinities_sweep(target->affinities);
		target_tables_check(target);
	}
	if (target->ticks % TICKS_RELEASE == 0) {
		affinities_sweep_grants(target->affinities);
		target_services_release(target);
	}
	if (target->ticks % TICKS_RESCAN == 0) {
		listeners_scan(target->listeners, false);
		rescan_start(target->rescan);
	}
	target_mirror_tick(target->mirror, agent_now_ms());
}

/* ------------------------------------------------------------------------------------------------
 * life */

static int open_program(const struct target_part *target, const char *name)
{
	int fd = maps_open_pin(target->config->pin_path, "programs", name);

	if (fd < 0)
		log_error("program %s is not pinned under %s: %s; run `limpet load`", name,
			  target->config->pin_path, strerror(-fd));
	return fd;
}

/* The order is that of dependence; and the event ring is open before any table is read, so that
 * nothing happens unseen in between. */
static int start_parts(struct target_part *target)
{
	target->agent_program = open_program(target, "agent");
	target->selector = open_program(target, "selector");
	if (target->agent_program < 0 || target->selector < 0)
		return -ENOENT;
	if (target_services_start(target)) {
		log_error("target/services cannot be read; run `limpet unload`, then `limpet "
			  "load`");
		return -EIO;
	}
	target->mirror = target_mirror_new(&operations, target);
	target->events = events_new(target);
	target->addresses = addresses_new(target->agent->base, target_set_addresses, target);
	if (!target->mirror || !target->events || !target->addresses)
		return -ENOMEM;
	target->listeners = listeners_new(target);
	if (!target->listeners)
		return -EIO;
	target->affinities = affinities_new(target);
	target->rescan = rescan_new(target);
	return target->affinities && target->rescan ? 0 : -ENOMEM;
}

static int start_events(struct target_part *target)
{
	const struct timeval period = {.tv_usec = TICK_MS * 1000};

	target->tick = event_new(target->agent->base, -1, EV_PERSIST, tick, target);
	if (!target->tick || event_add(target->tick, &period))
		return -ENOMEM;
	return target_tables_start(target);
}

struct target_part *target_start(struct agent *agent)
{
	struct target_part *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	target->agent = agent;
	target->config = agent->config;
	target->agent_program = target->selector = -1;
	if (start_parts(target) || start_events(target) || target_read_tables(target)) {
		log_error("the target's part of limpetd cannot start: see the line before");
		target_stop(target);
		return NULL;
	}
	/* What was served goes on, before any router answers. */
	target_condition_changed(target);
	if (target_links_configure(target)) {
		target_stop(target);
		return NULL;
	}
	target_services_changed(target);
	rescan_start(target->rescan);
	return target;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

void target_stop(struct target_part *target)
{
	if (!target)
		return;
	target->stopping = true;
	target_links_stop(target);
	free_event(target->tick);
	free_event(target->recover);
	rescan_free(target->rescan);
	affinities_free(target->affinities);
	listeners_free(target->listeners);
	addresses_free(target->addresses);
	events_free(target->events);
	target_mirror_free(target->mirror);
	target_services_stop(target);
	if (target->agent_program >= 0)
		close(target->agent_program);
	if (target->selector >= 0)
		close(target->selector);
	free(target);
}

int target_reload(struct target_part *target, const struct config *config)
{
	const struct config *before = target->config;
	int err;

	target->config = config;
	err = target_links_configure(target);
	if (err) {
		target->config = before;
		target_links_configure(target);
		return err;
	}
	listeners_configure(target->listeners);
	target_condition_changed(target);
	target_services_changed(target);
	return 0;
}

/* ------------------------------------------------------------------------------------------------
 * the operator */

static bool of_slot(void *context, const struct affinity_key *key,
		    const struct target_affinity *value)
{
	const int *slot = context;

	(void)key;
	return *slot < 0 || value->instance == (__u32)*slot;
}

int target_drain(struct target_part *target, uint64_t instance, bool end_affinities)
{
	int slot = -1, err;
	unsigned int ended;

	if (instance) {
		slot = instances_find_id(listeners_table(target->listeners), instance);
		if (slot < 0)
			return -ENOENT;
	} else {
		target->end_affinities = end_affinities;
	}
	err = listeners_drain(target->listeners, instance, true);
	target_update_readiness(target);
	if (err == -ENOENT || !end_affinities)
		return err;
	ended = affinities_end_where(target, of_slot, &slot, END_OPERATOR);
	log_info("drain: %u affinities ended by the operator", ended);
	return err;
}

int target_resume(struct target_part *target, uint64_t instance)
{
	int err;

	if (!instance)
		target->end_affinities = false;
	err = listeners_drain(target->listeners, instance, false);
	target_update_readiness(target);
	return err;
}

int target_release(struct target_part *target, const struct address *client, const char *service)
{
	int number = services_find(target->numbers, service);
	struct affinity_key key = {.client = *client};
	struct target_affinity affinity;

	if (number < 0)
		return -ENXIO;
	key.scope = target->numbers->service[number].scope;
	address_mask(&key.client, target->numbers->service[number].client_prefix);
	if (read_affinity(target, &key, &affinity))
		return -ENOENT;
	return affinities_end(target, &key, affinity_id(&affinity), END_OPERATOR);
}
