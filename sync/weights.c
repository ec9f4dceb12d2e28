/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights.h"

#include <string.h>

#define ONE	16 /* sixteenths */
#define LEAST	4
#define MOST	64
#define DAMPING 8

static bool is_eligible(const struct weight_input *target)
{
	return target->usable && !target->draining && target->instances && target->configured;
}

struct totals {
	uint64_t targets, configured, connections;
};

static struct totals sum_up(const struct weight_input *targets, size_t count)
{
	struct totals totals = {0};

	for (size_t i = 0; i < count; i++) {
		if (!is_eligible(&targets[i]))
			continue;
		totals.targets++;
		totals.configured += targets[i].configured;
		totals.connections += targets[i].connections;
	}
	return totals;
}

static uint32_t least_connections(const struct weight_input *target, const struct totals *totals)
{
	uint64_t damping = DAMPING + totals->connections / totals->targets / 2;
	uint64_t share = totals->connections * target->configured / totals->configured;
	uint64_t has = target->connections + damping;
	uint64_t factor = (ONE * (share + damping) + has / 2) / has;
	uint64_t weight;

	factor = factor < LEAST ? LEAST : factor > MOST ? MOST : factor;
	weight = target->configured * factor;
	return weight > UINT32_MAX ? UINT32_MAX : (uint32_t)weight;
}

static bool is_preferred(const struct weight_input *a, const struct weight_input *b)
{
	if (a->configured != b->configured)
		return a->configured > b->configured;
	return strcmp(a->name, b->name) < 0;
}

static const struct weight_input *first_choice(const struct weight_input *targets, size_t count)
{
	const struct weight_input *first = NULL;

	for (size_t i = 0; i < count; i++) {
		if (is_eligible(&targets[i]) && (!first || is_preferred(&targets[i], first)))
			first = &targets[i];
	}
	return first;
}

void weights_compute(enum distribution distribution, const struct weight_input *targets,
		     size_t count, uint32_t *weights)
{
	const struct weight_input *first = first_choice(targets, count);
	struct totals totals = sum_up(targets, count);

	for (size_t i = 0; i < count; i++) {
		const struct weight_input *target = &targets[i];

		if (!is_eligible(target))
			weights[i] = 0;
		else if (distribution == DISTRIBUTE_LEASTCONN)
			weights[i] = least_connections(target, &totals);
		else if (distribution == DISTRIBUTE_HOTSTANDBY)
			weights[i] = target == first ? target->configured : 0;
		else
			weights[i] = target->configured;
	}
}
