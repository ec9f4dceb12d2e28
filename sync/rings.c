/* SPDX-License-Identifier: BSD-2-Clause */
#include "rings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RINGS (MAX_SERVICES + 1)

struct rings {
	const struct maps *maps;
	struct ring_recipe pinned[RINGS];
	/* Most services have the same targets and weights: the last ring made is kept for the next.
	 */
	struct ring_recipe made;
	uint16_t slots[RING_SIZE];
};

bool ring_differs(const struct ring_recipe *recipe, const struct maglev_target *targets,
		  size_t count)
{
	if (!recipe->known || recipe->count != count)
		return true;
	for (size_t i = 0; i < count; i++)
		if (recipe->members[i].weight != targets[i].weight ||
		    recipe->members[i].number != targets[i].number ||
		    strncmp(recipe->members[i].name, targets[i].name, NAME_SIZE))
			return true;
	return false;
}

void ring_forget(struct ring_recipe *recipe)
{
	free(recipe->members);
	memset(recipe, 0, sizeof(*recipe));
}

int ring_remember(struct ring_recipe *recipe, const struct maglev_target *targets, size_t count)
{
	struct ring_member *members = calloc(count ? count : 1, sizeof(*members));

	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		strncpy(members[i].name, targets[i].name, NAME_SIZE - 1);
		members[i].weight = targets[i].weight;
		members[i].number = targets[i].number;
	}
	free(recipe->members);
	recipe->members = members;
	recipe->count = count;
	recipe->known = true;
	return 0;
}

struct rings *rings_new(const struct maps *maps)
{
	struct rings *rings = calloc(1, sizeof(*rings));

	if (rings)
		rings->maps = maps;
	return rings;
}

void rings_free(struct rings *rings)
{
	if (!rings)
		return;
	for (unsigned int i = 0; i < RINGS; i++)
		ring_forget(&rings->pinned[i]);
	ring_forget(&rings->made);
	free(rings);
}

static int make(struct rings *rings, const struct maglev_target *targets, size_t count)
{
	int error;

	if (!ring_differs(&rings->made, targets, count))
		return 0;
	ring_forget(&rings->made);
	error = maglev_fill(targets, count, rings->slots);
	return error ? error : ring_remember(&rings->made, targets, count);
}

int rings_set(struct rings *rings, __u32 number, const struct maglev_target *targets, size_t count)
{
	int error;

	if (!ring_differs(&rings->pinned[number], targets, count))
		return 0;
	error = make(rings, targets, count);
	if (!error)
		error = maps_put_ring(rings->maps, number, rings->slots);
	if (!error)
		error = ring_remember(&rings->pinned[number], targets, count);
	return error ? error : 1;
}
