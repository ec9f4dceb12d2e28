/* SPDX-License-Identifier: BSD-2-Clause */
#include "affinities.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "listeners.h"
#include "log.h"

struct seen {
	struct affinity_key key;
	uint64_t id;
	uint32_t instance, pid;
	enum affinity_end end; /* END_NONE: it has ended already */
};

/* A list that grows; out of memory it is cut short, and the next sweep finds the rest. */
struct list {
	struct seen *seen;
	size_t count, room;
};

struct living {
	uint32_t pid;
	uint64_t incarnation;
};

struct affinities {
	struct target_part *target;
	struct event *soon;
	struct list ended; /* at the last sweep, sorted: to be deleted if they still are */

	/* of the sweep under way */
	struct list found, over;
	struct living *living; /* target/processes, sorted by pid */
	size_t living_count, living_room;
	uint64_t now_ns;
	bool referred[MAX_INSTANCES];
	bool shared[MAX_INSTANCES];
	bool scope_active[MAX_SERVICES];
};

static void append(struct list *list, const struct seen *seen)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		struct seen *more = realloc(list->seen, room * sizeof(*more));

		if (!more)
			return;
		list->seen = more;
		list->room = room;
	}
	list->seen[list->count++] = *seen;
}

static int compare_seen(const void *a, const void *b)
{
	const struct seen *left = a, *right = b;
	int order = memcmp(&left->key, &right->key, sizeof(left->key));

	if (order)
		return order;
	return left->id < right->id ? -1 : left->id > right->id;
}

static int compare_living(const void *a, const void *b)
{
	const struct living *left = a, *right = b;

	return left->pid < right->pid ? -1 : left->pid > right->pid;
}

static int note_living(void *context, const void *key, const void *value)
{
	struct affinities *affinities = context;
	const struct process *process = value;

	if (affinities->living_count == affinities->living_room) {
		size_t room = affinities->living_room ? affinities->living_room * 2 : 64;
		struct living *more = realloc(affinities->living, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		affinities->living = more;
		affinities->living_room = room;
	}
	affinities->living[affinities->living_count++] =
		(struct living){*(const uint32_t *)key, process->incarnation};
	return 0;
}

static uint64_t incarnation_of(const struct affinities *affinities, uint32_t pid)
{
	const struct living wanted = {.pid = pid};
	const struct living *found = bsearch(&wanted, affinities->living, affinities->living_count,
					     sizeof(wanted), compare_living);

	return found ? found->incarnation : 0;
}

/* Why this affinity is to end, END_NONE: not at all. The expensive question, how many connections
 * the client has, is asked only where the answer decides. */
static enum affinity_end judge(const struct affinities *affinities, const struct affinity_key *key,
			       const struct target_affinity *value)
{
	struct target_part *target = affinities->target;
	const struct instance_table *table = listeners_table(target->listeners);
	struct affinity_facts facts = {.now_ns = affinities->now_ns};
	enum affinity_end end;

	if (value->instance >= MAX_INSTANCES)
		return END_INSTANCE;
	if (key->scope >= MAX_SERVICES || !affinities->scope_active[key->scope])
		return END_SERVICE;
	facts.instance_state = table->instance[value->instance].kernel.state;
	facts.process = incarnation_of(affinities, value->pid);
	end = affinity_over(value, &facts);
	if (end != END_NONE) {
		/* Counts and processes may have changed since they were read. */
		affinity_read_facts(&target->agent->maps, key, value, agent_now_ns(), &facts);
		return affinity_over(value, &facts);
	}
	return affinities->shared[value->instance] ? END_SHARED : END_NONE;
}

static int visit(void *context, const void *key, const void *value)
{
	struct affinities *affinities = context;
	const struct target_affinity *affinity = value;
	struct seen seen = {.key = *(const struct affinity_key *)key,
			    .id = affinity_id(affinity),
			    .instance = affinity->instance,
			    .pid = affinity->pid};

	if (affinity->instance < MAX_INSTANCES)
		affinities->referred[affinity->instance] = true;
	if (affinity_phase(affinity) == PHASE_LIVE || affinity_phase(affinity) == PHASE_CHANGING) {
		seen.end = judge(affinities, key, value);
		if (seen.end != END_NONE)
			append(&affinities->over, &seen);
	} else if (affinity_phase(affinity) != PHASE_BUSY) {
		append(&affinities->found, &seen);
	}
	return 0;
}

static int call(struct target_part *target, enum agent_op op, const struct affinity_key *key,
		uint64_t id, enum affinity_end end)
{
	struct agent_call call = {.op = op, .affinity = *key, .id = id, .end = end};

	return maps_agent_call(target->agent_program, &call);
}

int affinities_end(struct target_part *target, const struct affinity_key *key, uint64_t id,
		   enum affinity_end reason)
{
	return call(target, AGENT_END_AFFINITY, key, id, reason);
}

/*
 * Ends what is over. Whether something has expired, or its process or instance is gone, the kernel
 * decides itself once more: between our look and now the client may have come back. It ends what is
 * over at the first AGENT_REAP (-EAGAIN) and deletes at the second.
 */
static void end_over(struct affinities *affinities)
{
	struct target_part *target = affinities->target;

	for (size_t i = 0; i < affinities->over.count; i++) {
		const struct seen *seen = &affinities->over.seen[i];

		if (seen->end == END_SHARED || seen->end == END_SERVICE)
			affinities_end(target, &seen->key, seen->id, seen->end);
		else
			call(target, AGENT_REAP, &seen->key, seen->id, END_NONE);
	}
}

/* Delete what had ended at the last sweep already: for a second or two an application that asks is
 * told why. */
static void reap_ended(struct affinities *affinities)
{
	struct list last = affinities->ended;

	for (size_t i = 0; i < affinities->found.count; i++) {
		const struct seen *seen = &affinities->found.seen[i];

		if (last.count && bsearch(seen, last.seen, last.count, sizeof(*seen), compare_seen))
			call(affinities->target, AGENT_REAP, &seen->key, seen->id, END_NONE);
	}
	if (affinities->found.count)
		qsort(affinities->found.seen, affinities->found.count, sizeof(struct seen),
		      compare_seen);
	affinities->ended = affinities->found;
	affinities->found = last;
}

/* What many affinities have in common. */
static void read_common(struct affinities *affinities)
{
	struct target_part *target = affinities->target;
	const struct instance_table *table = listeners_table(target->listeners);

	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		affinities->shared[i] = table->instance[i].kernel.state != INSTANCE_FREE &&
					listeners_shared(target->listeners, i);
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		affinities->scope_active[i] = services_scope_active(target->numbers, i);
}

static int walk(struct affinities *affinities)
{
	const struct maps *maps = &affinities->target->agent->maps;
	int err;

	affinities->found.count = affinities->over.count = affinities->living_count = 0;
	affinities->now_ns = agent_now_ns();
	memset(affinities->referred, 0, sizeof(affinities->referred));
	read_common(affinities);
	err = maps_walk(maps, MAP_PROCESSES, note_living, affinities);
	if (err)
		return err;
	if (affinities->living_count)
		qsort(affinities->living, affinities->living_count, sizeof(struct living),
		      compare_living);
	return maps_walk(maps, MAP_TARGET_AFFINITIES, visit, affinities);
}

static void sweep(struct affinities *affinities, bool reap)
{
	int err = walk(affinities);

	if (err) {
		log_warning("target/affinities cannot be read: %s; what has expired is shown until "
			    "the next sweep, in a second",
			    strerror(-err));
		return;
	}
	end_over(affinities);
	if (!reap)
		return;
	reap_ended(affinities);
	listeners_release(affinities->target->listeners, affinities->referred);
}

void affinities_sweep(struct affinities *affinities)
{
	sweep(affinities, true);
}

static void sweep_now(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	sweep(context, false);
}

void affinities_sweep_soon(struct affinities *affinities)
{
	event_active(affinities->soon, EV_TIMEOUT, 0);
}

struct match {
	struct list found;
	bool (*match)(void *context, const struct affinity_key *key,
		      const struct target_affinity *value);
	void *context;
};

static int match_one(void *context, const void *key, const void *value)
{
	const struct target_affinity *affinity = value;
	struct match *match = context;
	struct seen seen = {.key = *(const struct affinity_key *)key, .id = affinity_id(affinity)};

	if (affinity_phase(affinity) != PHASE_LIVE && affinity_phase(affinity) != PHASE_CHANGING)
		return 0;
	if (match->match(match->context, key, affinity))
		append(&match->found, &seen);
	return 0;
}

unsigned int affinities_end_where(struct target_part *target,
				  bool (*match)(void *context, const struct affinity_key *key,
						const struct target_affinity *value),
				  void *context, enum affinity_end reason)
{
	struct match search = {.match = match, .context = context};
	unsigned int ended = 0;

	maps_walk(&target->agent->maps, MAP_TARGET_AFFINITIES, match_one, &search);
	for (size_t i = 0; i < search.found.count; i++)
		if (affinities_end(target, &search.found.seen[i].key, search.found.seen[i].id,
				   reason) == 0)
			ended++;
	free(search.found.seen);
	return ended;
}

struct grants {
	struct target_part *target;
	struct list stale;
};

static int visit_grant(void *context, const void *key, const void *value)
{
	const struct grant *grant = value;
	struct grants *grants = context;
	struct target_affinity affinity;
	struct seen seen = {.key = *(const struct affinity_key *)key, .id = grant->id};

	if (maps_get(&grants->target->agent->maps, MAP_TARGET_AFFINITIES, key, &affinity) ||
	    affinity_id(&affinity) != grant->id)
		append(&grants->stale, &seen);
	return 0;
}

void affinities_sweep_grants(struct affinities *affinities)
{
	struct grants grants = {.target = affinities->target};
	const struct maps *maps = &affinities->target->agent->maps;

	maps_walk(maps, MAP_GRANTS, visit_grant, &grants);
	for (size_t i = 0; i < grants.stale.count; i++)
		maps_delete(maps, MAP_GRANTS, &grants.stale.seen[i].key);
	free(grants.stale.seen);
}

struct affinities *affinities_new(struct target_part *target)
{
	struct affinities *affinities = calloc(1, sizeof(*affinities));

	if (!affinities)
		return NULL;
	affinities->target = target;
	affinities->soon = event_new(target->agent->base, -1, 0, sweep_now, affinities);
	if (!affinities->soon) {
		free(affinities);
		return NULL;
	}
	return affinities;
}

void affinities_free(struct affinities *affinities)
{
	if (!affinities)
		return;
	event_free(affinities->soon);
	free(affinities->ended.seen);
	free(affinities->found.seen);
	free(affinities->over.seen);
	free(affinities->living);
	free(affinities);
}
