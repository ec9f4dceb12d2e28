/* SPDX-License-Identifier: BSD-2-Clause */
/* router_targets.c - what XDP goes by: targets' flags and next hops, rings, readiness, sync_state.
 * Changes are gathered: a storm of messages builds each ring once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "outer.h"
#include "router_internal.h"
#include "weights.h"

#define GATHER_MS 10
#define SETTLE_MS 6000 /* after a restart: targets are back, or found to be down */

const char *router_state_name(const struct mirror_target *target)
{
	switch (target->state) {
	case TARGET_SYNCING:
		return "syncing";
	case TARGET_UP:
		return target->draining ? "draining" : "up";
	case TARGET_UNATTENDED:
		return "unattended";
	case TARGET_DOWN:
		return "down";
	case TARGET_GONE:
		return "dead";
	}
	return "unknown";
}

const struct address *router_source(const struct router_part *router, const struct address *target)
{
	const struct address *source =
		address_is_ipv4(target) ? &router->source4 : &router->source6;

	return address_is_zero(source) ? NULL : source;
}

void router_update_soon(struct router_part *router)
{
	const struct timeval gather = {0, GATHER_MS * 1000};

	if (agent_now_ms() - router->updated_ms >= GATHER_MS)
		event_active(router->update, EV_TIMEOUT, 0);
	else if (!event_pending(router->update, EV_TIMEOUT, NULL))
		event_add(router->update, &gather);
}

void router_target_changed(void *context, uint16_t target)
{
	struct router_part *router = context;

	if (target >= MAX_TARGETS)
		return;
	router->forwards[target].dirty = true;
	if (target >= router->forward_limit)
		router->forward_limit = target + 1u;
	router_update_soon(router);
}

/* ------------------------------------------------------------------------------------------------
 * targets */

static bool serves(const struct mirror_target *target)
{
	return target->state == TARGET_UP || target->state == TARGET_SYNCING ||
	       target->state == TARGET_UNATTENDED;
}

static bool is_own(const struct router_part *router, const struct address *address)
{
	const struct config *config = router->agent->config;

	return config->has_target && address_equal(&config->target.address, address);
}

static void fill_next_hop(const struct next_hop *hop, struct target *entry)
{
	entry->ifindex = hop->ifindex;
	memcpy(entry->mac, hop->mac, sizeof(entry->mac));
	memcpy(entry->source_mac, hop->source_mac, sizeof(entry->source_mac));
	entry->vlan = hop->vlan;
	entry->mtu = hop->mtu;
	if (hop->resolved)
		entry->flags |= TARGET_RESOLVED;
}

static void compose(struct router_part *router, uint16_t number, const struct mirror_target *target,
		    struct target *entry)
{
	const struct forward *forward = &router->forwards[number];

	memset(entry, 0, sizeof(*entry));
	memcpy(entry->name, target->name, NAME_SIZE);
	entry->address = target->address;
	entry->weight = target->draining ? 0 : target->weight;
	entry->since_ns = forward->pinned.since_ns;
	if (strncmp(forward->pinned.name, target->name, NAME_SIZE))
		entry->since_ns = agent_now_ms() * 1000000ULL;
	fill_next_hop(next_hops_get(router->hops, number), entry);
	if (is_own(router, &target->address))
		entry->flags |= TARGET_LOCAL;
	outer_fill(entry, router_source(router, &target->address));
	if (target->in_sync)
		entry->flags |= TARGET_IN_SYNC;
	if (target->state == TARGET_GONE)
		entry->flags |= TARGET_DEAD;
	if (serves(target) && (entry->flags & (TARGET_RESOLVED | TARGET_LOCAL)) &&
	    forward->path != PATH_BROKEN)
		entry->flags |= TARGET_USABLE;
}

static void log_up(const struct mirror_target *target, bool was_cramped)
{
	if (target->crowded)
		log_warning("target %s: its own table has no room for all of its connections; what "
			    "has none may be sent elsewhere once this router has forgotten its "
			    "flow: raise tables.connections there, which needs `limpet unload` and "
			    "`limpet load`",
			    target->name);
	else if (!target->in_sync)
		log_warning("target %s: the tables have no room for all of its entries; what has "
			    "none may be sent elsewhere once this router has forgotten its flow: "
			    "raise tables.connections or tables.affinities, which needs `limpet "
			    "unload` and `limpet load`",
			    target->name);
	else if (was_cramped)
		log_info("target %s: the tables have room for all of its entries again",
			 target->name);
	else
		log_info("target %s: up: %llu connections, %llu affinities", target->name,
			 (unsigned long long)target->connections,
			 (unsigned long long)target->affinities);
}

static void log_change(struct router_part *router, struct forward *forward,
		       const struct mirror_target *target)
{
	const char *state = router_state_name(target);
	bool was_cramped = forward->state == TARGET_UP && !forward->in_sync;

	if (forward->named && forward->state == target->state &&
	    forward->in_sync == target->in_sync)
		return;
	forward->state = target->state;
	forward->in_sync = target->in_sync;
	switch (target->state) {
	case TARGET_SYNCING:
		log_info("target %s: syncing: its table is on the way", target->name);
		break;
	case TARGET_UP:
		log_up(target, forward->named && was_cramped);
		break;
	case TARGET_UNATTENDED:
		if (!forward->named) {
			log_info("target %s: known from before this start; waiting for its session",
				 target->name);
			break;
		}
		log_warning("target %s: unattended: packets go on, changes there are not seen; "
			    "start limpetd there",
			    target->name);
		break;
	case TARGET_DOWN:
		log_warning("target %s: down: new connections go elsewhere; dead in %u s, unless "
			    "it comes back",
			    target->name, router->agent->config->router.dead_ms / 1000);
		break;
	case TARGET_GONE:
		log_warning("target %s: dead: its connections and affinities are void",
			    target->name);
		break;
	}
	router_event(router, "target", target->name, state);
}

static void update_target(struct router_part *router, uint16_t number)
{
	const struct mirror_target *target = router_mirror_target(router->mirror, number);
	struct forward *forward = &router->forwards[number];
	struct router_call call = {.op = ROUTER_PUT_TARGET, .target = number};
	struct target *entry = &call.entry;
	int error;

	if (target && target->name[0]) {
		next_hops_watch(router->hops, number, &target->address);
		forward->dirty = false; /* set again by the watch */
		compose(router, number, target, entry);
		log_change(router, forward, target);
		forward->named = true;
	} else {
		next_hops_unwatch(router->hops, number);
		forward->dirty = false;
		if (forward->named)
			log_info("target %.31s: left", forward->pinned.name);
		forward->named = false;
		forward->echoed = 0;
	}
	if (!memcmp(entry, &forward->pinned, sizeof(*entry)))
		return;
	error = maps_router_call(router->program, &call);
	if (error)
		log_error("router/targets: entry %u cannot be written: %s", number,
			  strerror(-error));
	else
		forward->pinned = *entry;
}

/* ------------------------------------------------------------------------------------------------
 * rings */

/* Room for what goes into one ring. */
struct ring_work {
	struct weight_input inputs[MAX_TARGETS];
	struct maglev_target targets[MAX_TARGETS];
	uint32_t weights[MAX_TARGETS];
};

static size_t gather(struct router_part *router, __u16 service, struct ring_work *work)
{
	size_t count = 0;

	for (unsigned int i = 0; i < router->forward_limit; i++) {
		const struct forward *forward = &router->forwards[i];
		const struct mirror_target *target;
		const struct message_ready *ready;

		if (!forward->pinned.name[0])
			continue;
		target = router_mirror_target(router->mirror, (uint16_t)i);
		ready = router_mirror_ready(router->mirror, (uint16_t)i, service);
		if (!target || !ready)
			continue;
		work->inputs[count] = (struct weight_input){
			.name = forward->pinned.name,
			.configured = target->weight,
			.instances = ready->instances,
			.connections = ready->connections,
			.usable = forward->pinned.flags & TARGET_USABLE,
			.draining = target->draining,
		};
		work->targets[count].name = forward->pinned.name;
		work->targets[count++].number = (uint16_t)i;
	}
	return count;
}

static void update_service(struct router_part *router, __u16 number, struct ring_work *work)
{
	struct service_state state = router->service_state[number];
	const struct router_service *service = &router->services[number];
	size_t count = service->name[0] ? gather(router, number, work) : 0;
	__u32 key = number;
	int switched;

	state.ready_instances = 0;
	weights_compute(service->distribution, work->inputs, count, work->weights);
	for (size_t i = 0; i < count; i++) {
		work->targets[i].weight = work->weights[i];
		/* One that nothing gets through to now is there all the same. */
		state.ready_instances += work->inputs[i].instances;
	}
	router_update_unserved(router, number);
	switched = rings_set(router->rings, number, work->targets, count);
	if (switched < 0)
		log_error("service %.31s: its ring cannot be pinned: %s; new connections go as "
			  "before",
			  service->name, strerror(-switched));
	else
		state.generation += (__u32)switched;
	if (!memcmp(&state, &router->service_state[number], sizeof(state)))
		return;
	if (!maps_put(&router->agent->maps, MAP_SERVICE_STATE, &key, &state))
		router->service_state[number] = state;
}

/* Unknown flows are guessed among those who have not said what they have. */
static void update_guess_ring(struct router_part *router, struct ring_work *work)
{
	size_t count = 0;
	int error;

	for (unsigned int i = 0; i < router->forward_limit; i++) {
		const struct mirror_target *target =
			router_mirror_target(router->mirror, (uint16_t)i);

		if (!target || !target->name[0] || !target->in_roster || target->in_sync ||
		    target->state == TARGET_GONE)
			continue;
		/* After a restart its weight is not known; it may hold connections with 0 too. */
		work->targets[count].name = router->forwards[i].pinned.name;
		work->targets[count].weight = target->weight ? target->weight : 1;
		work->targets[count++].number = (uint16_t)i;
	}
	error = rings_set(router->rings, GUESS_RING, work->targets, count);
	if (error < 0)
		log_error("ring of targets not in sync: cannot be pinned: %s", strerror(-error));
}

/* After a restart the pinned rings are better than what has been reported so far, until everybody
 * has been heard or is down. */
static bool has_settled(const struct router_part *router)
{
	if (agent_now_ms() - router->started_ms > SETTLE_MS)
		return true;
	for (unsigned int i = 0; i < router->forward_limit; i++) {
		const struct mirror_target *target =
			router_mirror_target(router->mirror, (uint16_t)i);

		if (target && target->name[0] && target->in_roster &&
		    (target->state == TARGET_UNATTENDED || target->state == TARGET_SYNCING))
			return false;
	}
	return true;
}

static void update_rings(struct router_part *router)
{
	static struct ring_work work; /* 170 KiB; there is one router part in a process */

	if (!router->settled)
		router->settled = has_settled(router);
	for (unsigned int i = 0; router->settled && i < MAX_SERVICES; i++)
		if (router->services[i].name[0] || router->service_state[i].ready_instances)
			update_service(router, (__u16)i, &work);
	update_guess_ring(router, &work);
}

/* ------------------------------------------------------------------------------------------------
 * sync_state, and all together */

static void write_sync(struct router_part *router, const struct sync_state *state)
{
	__u32 zero = 0;

	if (!memcmp(state, &router->sync_state, sizeof(*state)))
		return;
	if (maps_put(&router->agent->maps, MAP_SYNC_STATE, &zero, state))
		return;
	if (state->in_sync != router->sync_state.in_sync)
		log_info("router: %s: %u targets missing",
			 state->in_sync ? "in sync" : "not in sync", state->missing);
	router->sync_state = *state;
}

static __u64 missing_since_ns(const struct router_part *router, bool in_sync)
{
	if (in_sync)
		return 0;
	return router->sync_state.missing_since_ns ? router->sync_state.missing_since_ns
						   : agent_now_ms() * 1000000;
}

void router_update(struct router_part *router)
{
	struct sync_state state = {
		.epoch = router->role.epoch,
		.in_sync = router_mirror_in_sync(router->mirror),
		.affinities_in_sync = router_mirror_affinities_in_sync(router->mirror),
		.missing = router_mirror_missing(router->mirror),
	};

	state.missing_since_ns = missing_since_ns(router, state.in_sync);
	router->updated_ms = agent_now_ms();
	/* "Not in sync" is said before what follows from it, "in sync" after what it rests on. */
	if (!state.in_sync)
		write_sync(router, &state);
	for (unsigned int i = 0; i < router->forward_limit; i++)
		if (router->forwards[i].dirty)
			update_target(router, (uint16_t)i);
	update_rings(router);
	write_sync(router, &state);
	if (router->roster_dirty && router->updated_ms >= router->roster_due_ms)
		router_write_roster(router);
}

/* ------------------------------------------------------------------------------------------------
 * paths */

void router_judge_path(struct router_part *router, uint16_t number)
{
	const struct mirror_target *target = router_mirror_target(router->mirror, number);
	struct forward *forward = &router->forwards[number];
	enum path_state path;

	if (!target || !target->name[0] || forward->pinned.flags & TARGET_LOCAL)
		return;
	path = path_judge(router->probe_sequence, forward->opened, target->probe_small,
			  target->probe_full);
	if (path == forward->path)
		return;
	if (path == PATH_MTU)
		log_warning(
			"target %s: path: small packets arrive, those of %u bytes do not; raise "
			"the MTU on the way, or lower it on the route to the target",
			target->name, forward->pinned.mtu);
	else if (path == PATH_BROKEN)
		log_warning(
			"target %s: path: encapsulated packets do not arrive; new connections "
			"go elsewhere; let IP protocols 4 and 41 through, and see that limpet is "
			"loaded there",
			target->name);
	else if (forward->path != PATH_UNKNOWN)
		log_info("target %s: path: whole again", target->name);
	forward->path = path;
	router_event(router, "path", target->name, path_name(path));
	router_target_changed(router, number);
}

/* Why nothing gets through to this target without an agent; NULL: it does, or nobody can tell. */
static const char *why_unreachable(const struct router_part *router, uint16_t number)
{
	if (next_hops_get(router->hops, number)->failed)
		return "does not answer on its link";
	if (echo_missed(router->probe_sequence, router->forwards[number].echoed))
		return "unwraps no packets: limpet is not loaded there, or the path is broken";
	return NULL;
}

void router_look_for_unattended(struct router_part *router)
{
	for (unsigned int i = 0; i < router->forward_limit; i++) {
		const struct mirror_target *target =
			router_mirror_target(router->mirror, (uint16_t)i);
		const char *why;

		if (!target || !target->name[0] || target->state != TARGET_UNATTENDED)
			continue;
		why = why_unreachable(router, (uint16_t)i);
		if (!why) {
			next_hops_confirm(router->hops, (uint16_t)i);
			continue;
		}
		log_warning("target %s: has no agent, and %s", target->name, why);
		router_mirror_session_lost(router->mirror, (uint16_t)i, 0, agent_now_ms());
	}
}

void router_echo_heard(void *context, const struct address *address, uint64_t sequence)
{
	struct router_part *router = context;

	if (sequence > router->probe_sequence || router->probe_sequence - sequence > PROBE_WINDOW)
		return;
	for (unsigned int i = 0; i < router->forward_limit; i++) {
		struct forward *forward = &router->forwards[i];

		if (!forward->pinned.name[0] || !address_equal(&forward->pinned.address, address))
			continue;
		if (sequence > forward->echoed)
			forward->echoed = sequence;
		if (!why_unreachable(router, (uint16_t)i))
			router_mirror_echo(router->mirror, (uint16_t)i);
	}
}

static void probe(struct router_part *router, uint16_t number)
{
	const struct mirror_target *target = router_mirror_target(router->mirror, number);
	const struct target *pinned = &router->forwards[number].pinned;
	const struct address *source;

	if (!target || !target->name[0] || (pinned->flags & TARGET_LOCAL))
		return;
	if (router->peers[number]) /* its heartbeats tell what has arrived, or nothing any more */
		router_judge_path(router, number);
	else if (target->state != TARGET_UNATTENDED && target->state != TARGET_DOWN)
		return;
	source = router_source(router, &target->address);
	if (source)
		prober_send(router->prober, source, &target->address, pinned->mtu,
			    router->probe_sequence);
}

void router_probe_all(struct router_part *router)
{
	router->probe_sequence++;
	for (unsigned int i = 0; i < router->forward_limit; i++)
		probe(router, (uint16_t)i);
}
