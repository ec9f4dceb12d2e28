/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <json-c/json.h>

#include "../sync/maglev.h"
#include "parts.h"

#define MOST   1000
#define BUILDS 15

struct rings_compared {
	char names[MOST][NAME_SIZE];
	struct maglev_target targets[MOST];
	uint16_t before[RING_SIZE], after[RING_SIZE];
};

/* Of this process alone: others may run, too. */
static double spent_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int build(struct rings_compared *rings, size_t count, double *ms)
{
	double each[BUILDS];

	for (int i = 0; i < BUILDS; i++) {
		double start = spent_ms();
		int error = maglev_fill(rings->targets, count, rings->before);

		if (error)
			return error;
		each[i] = spent_ms() - start;
	}
	*ms = median(each, BUILDS);
	return 0;
}

/* Slots that change hands although their target has stayed, and slots of the target that goes. */
static int take_one_away(struct rings_compared *rings, size_t count, double *moved, double *own)
{
	size_t gone = count / 2, others = 0, its = 0;
	int error;

	rings->targets[gone].weight = 0;
	error = maglev_fill(rings->targets, count, rings->after);
	rings->targets[gone].weight = 100;
	if (error)
		return error;
	for (size_t i = 0; i < RING_SIZE; i++) {
		its += rings->before[i] == gone;
		others += rings->before[i] != gone && rings->before[i] != rings->after[i];
	}
	*moved = 100.0 * (double)others / RING_SIZE;
	*own = 100.0 * (double)its / RING_SIZE;
	return 0;
}

static int run_count(struct rings_compared *rings, size_t count, struct json_object *results)
{
	struct json_object *to = json_object_new_object();
	double ms = 0, moved = 0, own = 0;
	int error = build(rings, count, &ms);

	if (!error)
		error = take_one_away(rings, count, &moved, &own);
	json_object_object_add(to, "targets", json_object_new_int64((int64_t)count));
	report_number(to, "build_ms", ms, 2);
	report_number(to, "own_percent", own, 2);
	report_number(to, "moved_percent", moved, 2);
	json_object_array_add(results, to);
	printf("%8zu %10.2f %17.2f %17.2f\n", count, ms, own, moved);
	return error;
}

int maglev_run(struct json_object *report)
{
	static const size_t counts[] = {10, 100, 1000};
	struct rings_compared *rings = calloc(1, sizeof(*rings));
	struct json_object *results = report_member(report, "maglev", true);
	int error = rings ? 0 : -ENOMEM;

	for (uint16_t i = 0; i < MOST && !error; i++) {
		snprintf(rings->names[i], NAME_SIZE, "t%u", i);
		rings->targets[i] = (struct maglev_target){i, rings->names[i], 100};
	}
	printf("maglev, %d slots; one target goes:\n%8s %10s %17s %17s\n", RING_SIZE, "targets",
	       "build ms", "its slots, %", "others moved, %");
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && !error; i++)
		error = run_count(rings, counts[i], results);
	printf("\n");
	free(rings);
	return error;
}
