/* SPDX-License-Identifier: BSD-2-Clause */
#include "counts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "affinity_rule.h"
#include "listeners.h"
#include "log.h"

/* An element of target/clients; or an entry of target/connections, by its client. */
struct held {
	struct client_key key;
	uint32_t changes;
	uint64_t word; /* of an element */
};

struct list {
	struct held *held;
	size_t count, room;
};

/* A client's count that was wrong by so much at the last check. */
struct suspect {
	struct client_key key;
	int32_t by;
};

struct suspects {
	struct suspect *suspect;
	size_t count, room;
};

struct instance_counts {
	uint32_t changes;		       /* before the entries were read */
	uint32_t connections, affinities;      /* entries */
	int32_t connections_by, affinities_by; /* wrong by so much at the last check */
};

struct counts {
	struct target_part *target;
	struct instance_counts instance[MAX_INSTANCES];
	struct list elements, entries;
	struct suspects last, found;
	unsigned int corrected; /* clients' counts, in this check */
	bool unsettled;
	/* of counts_read's caller */
	int (*each)(void *context, const void *key, const void *value);
	void *context;
};

int32_t counts_certain(uint32_t counted, uint32_t found, uint32_t changes)
{
	int64_t by = (int32_t)(counted - found); /* a count may have gone below zero */

	if (by > (int64_t)changes)
		return (int32_t)(by - changes);
	if (-by > (int64_t)changes)
		return (int32_t)(by + changes);
	return 0;
}

int32_t counts_agreed(int32_t before, int32_t now)
{
	if (before > 0 && now > 0)
		return before < now ? before : now;
	if (before < 0 && now < 0)
		return before > now ? before : now;
	return 0;
}

static int append(struct list *list, const struct held *held)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 256;
		struct held *more = realloc(list->held, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		list->held = more;
		list->room = room;
	}
	list->held[list->count++] = *held;
	return 0;
}

static int compare_held(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct client_key)); /* the first member of both */
}

static void sort(struct list *list)
{
	if (list->count)
		qsort(list->held, list->count, sizeof(*list->held), compare_held);
}

static int call(struct counts *counts, const struct agent_call *wanted)
{
	struct agent_call call = *wanted;

	return maps_agent_call(counts->target->agent_program, &call);
}

/* ------------------------------------------------------------------------------------------------
 * an instance's */

static bool known(const struct counts *counts, uint32_t slot)
{
	return listeners_table(counts->target->listeners)->instance[slot].kernel.state !=
	       INSTANCE_FREE;
}

static int read_load(const struct counts *counts, uint32_t slot, struct instance_load *load)
{
	return maps_get(&counts->target->agent->maps, MAP_INSTANCE_LOAD, &slot, load);
}

/* `by` is what the last check has found, and then what this one has. */
static void judge_load(struct counts *counts, uint32_t slot, enum agent_op op, uint32_t counted,
		       uint32_t found, uint32_t changes, int32_t *by)
{
	int32_t certain = counts_certain(counted, found, changes);
	int32_t agreed = counts_agreed(*by, certain);
	const struct agent_call wanted = {
		.op = op, .instance = slot, .id = counted, .count = counted - (uint32_t)agreed};

	*by = certain;
	if (!agreed || call(counts, &wanted)) {
		counts->unsettled |= certain != 0;
		return;
	}
	log_warning("instance %" PRIu64 ": %u %s were counted and %u are there: the count is now "
		    "%u",
		    (uint64_t)listeners_table(counts->target->listeners)->instance[slot].kernel.id,
		    counted, op == AGENT_REPAIR_LOAD ? "connections" : "affinities", found,
		    wanted.count);
	*by = certain - agreed;
}

static void judge_instances(struct counts *counts)
{
	struct instance_load load;

	for (uint32_t i = 0; i < MAX_INSTANCES; i++) {
		struct instance_counts *instance = &counts->instance[i];
		uint32_t changes;

		if (!known(counts, i) || read_load(counts, i, &load))
			continue;
		changes = load.changes - instance->changes;
		judge_load(counts, i, AGENT_REPAIR_LOAD, load.connections, instance->connections,
			   changes, &instance->connections_by);
		judge_load(counts, i, AGENT_REPAIR_QUOTA, load.affinities, instance->affinities,
			   changes, &instance->affinities_by);
	}
}

static void begin_instances(struct counts *counts)
{
	struct instance_load load;

	for (uint32_t i = 0; i < MAX_INSTANCES; i++) {
		struct instance_counts *instance = &counts->instance[i];

		instance->connections = instance->affinities = 0;
		if (!known(counts, i) || read_load(counts, i, &load)) {
			*instance = (struct instance_counts){0};
			continue;
		}
		instance->changes = load.changes;
	}
}

/* ------------------------------------------------------------------------------------------------
 * a client's */

static int suspected(const struct suspects *list, const struct client_key *key)
{
	const struct suspect *found = list->count ? bsearch(key, list->suspect, list->count,
							    sizeof(*list->suspect), compare_held)
						  : NULL;

	return found ? found->by : 0;
}

/* Out of memory: a later check finds it again. */
static void suspect(struct suspects *list, const struct client_key *key, int32_t by)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		struct suspect *more = realloc(list->suspect, room * sizeof(*more));

		if (!more)
			return;
		list->suspect = more;
		list->room = room;
	}
	list->suspect[list->count++] = (struct suspect){*key, by};
}

/* before: the element as it was read first, NULL: there was none. */
static void judge_client(struct counts *counts, const struct client_key *key,
			 const struct held *before, uint32_t found)
{
	struct client_count now = {0};
	struct agent_call wanted = {
		.op = AGENT_REPAIR_CLIENT, .affinity = key->client, .instance = key->instance};
	int32_t certain, agreed;

	if (before && CLIENT_CONNECTIONS(before->word) == found)
		return;
	if (maps_get(&counts->target->agent->maps, MAP_CLIENTS, key, &now) && before)
		return; /* gone since */
	if (now.word >> 32 != (before ? before->word >> 32 : 0) || now.word & CLIENT_DEAD)
		return; /* come since */
	certain = counts_certain(CLIENT_CONNECTIONS(now.word), found,
				 before ? now.changes - before->changes : 0);
	if (!certain)
		return;
	agreed = counts_agreed(suspected(&counts->last, key), certain);
	wanted.id = now.word;
	wanted.count = CLIENT_CONNECTIONS(now.word) - (uint32_t)agreed;
	if (agreed && call(counts, &wanted) == 0)
		counts->corrected++;
	else
		suspect(&counts->found, key, certain);
}

/* Both lists, sorted, side by side. */
static void judge_clients(struct counts *counts)
{
	const struct list *elements = &counts->elements, *entries = &counts->entries;
	size_t i = 0, k = 0;

	while (i < elements->count || k < entries->count) {
		const struct held *element = i < elements->count ? &elements->held[i] : NULL;
		const struct held *entry = k < entries->count ? &entries->held[k] : NULL;
		int order = !element ? 1 : !entry ? -1 : compare_held(element, entry);
		struct client_key key = order <= 0 ? element->key : entry->key;
		uint32_t found = 0;

		while (k < entries->count && compare_held(&entries->held[k], &key) == 0) {
			found++;
			k++;
		}
		judge_client(counts, &key, order <= 0 ? element : NULL, found);
		i += order <= 0;
	}
}

/* ------------------------------------------------------------------------------------------------
 * reading */

static int note_element(void *context, const void *key, const void *value)
{
	const struct client_count *element = value;
	struct counts *counts = context;
	struct held held = {*(const struct client_key *)key, element->changes, element->word};

	return append(&counts->elements, &held);
}

static int note_entry(void *context, const void *key_, const void *value)
{
	const struct connection_key *key = key_;
	const struct target_connection *entry = value;
	struct counts *counts = context;
	struct held held = {
		.key = {.client = {key->client, entry->scope, 0}, .instance = entry->instance}};
	int err = counts->each(counts->context, key_, value);

	if (err || !entry->cookie || entry->instance >= MAX_INSTANCES)
		return err;
	counts->instance[entry->instance].connections++;
	address_mask(&held.key.client.client, entry->client_prefix);
	return append(&counts->entries, &held);
}

static int note_affinity(void *context, const void *key, const void *value)
{
	const struct target_affinity *affinity = value;
	struct counts *counts = context;
	enum affinity_phase phase = affinity_phase(affinity);

	(void)key;
	if ((phase == PHASE_LIVE || phase == PHASE_CHANGING) && affinity->instance < MAX_INSTANCES)
		counts->instance[affinity->instance].affinities++;
	return 0;
}

/* ------------------------------------------------------------------------------------------------
 * a check */

int counts_begin(struct counts *counts)
{
	return maps_walk(&counts->target->agent->maps, MAP_CLIENTS, note_element, counts);
}

int counts_read(struct counts *counts,
		int (*each)(void *context, const void *key, const void *value), void *context)
{
	const struct maps *maps = &counts->target->agent->maps;
	int err;

	counts->each = each;
	counts->context = context;
	counts->unsettled = false;
	begin_instances(counts);
	err = maps_walk(maps, MAP_TARGET_CONNECTIONS, note_entry, counts);
	if (!err)
		err = maps_walk(maps, MAP_TARGET_AFFINITIES, note_affinity, counts);
	if (!err)
		judge_instances(counts);
	return err;
}

void counts_end(struct counts *counts)
{
	struct suspects last = counts->last;

	sort(&counts->elements);
	sort(&counts->entries);
	counts->found.count = counts->corrected = 0;
	judge_clients(counts);
	counts->last = counts->found;
	counts->found = last;
	counts->unsettled |= counts->last.count > 0;
	if (counts->corrected)
		log_warning("target/clients: the counts of %u clients' connections were wrong and "
			    "are corrected",
			    counts->corrected);
}

void counts_clear(struct counts *counts)
{
	free(counts->elements.held);
	free(counts->entries.held);
	counts->elements = counts->entries = (struct list){0};
}

bool counts_unsettled(const struct counts *counts)
{
	return counts->unsettled;
}

struct counts *counts_new(struct target_part *target)
{
	struct counts *counts = calloc(1, sizeof(*counts));

	if (counts)
		counts->target = target;
	return counts;
}

void counts_free(struct counts *counts)
{
	if (!counts)
		return;
	counts_clear(counts);
	free(counts->last.suspect);
	free(counts->found.suspect);
	free(counts);
}
