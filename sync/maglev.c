/* SPDX-License-Identifier: BSD-2-Clause */
#include "maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "siphash.h"

/*
 * Each target has a permutation of the slots of its own and takes turns at claiming its next free
 * slot. Turns are ordered by (turns taken + 1) / weight, so a target of weight 3 has three turns
 * while one of weight 1 has one; a heap finds whose turn it is.
 */
struct player {
	const char *name;
	uint64_t turn; /* turns taken + 1 */
	uint32_t weight;
	uint32_t at, skip; /* next slot of its permutation, and the step to the one after */
	uint16_t number;
};

/* The two hashes of the paper. The keys are no secret: names come from certificates. */
static const uint64_t offset_key[2] = {0x6c696d7065740001ULL, 1};
static const uint64_t skip_key[2] = {0x6c696d7065740002ULL, 2};

static int by_name(const void *a, const void *b)
{
	const struct player *left = a, *right = b;

	return strcmp(left->name, right->name);
}

/* At equal turns the first by name: players are sorted. */
static int goes_before(const struct player *a, const struct player *b)
{
	uint64_t left = a->turn * b->weight, right = b->turn * a->weight;

	return left != right ? left < right : a < b;
}

static void sift_down(struct player **heap, size_t count, size_t at)
{
	for (;;) {
		size_t first = at;
		struct player *moved = heap[at];

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
			if (goes_before(heap[child], heap[first]))
				first = child;
		}
		if (first == at)
			return;
		heap[at] = heap[first];
		heap[first] = moved;
		at = first;
	}
}

static size_t make_players(const struct maglev_target *targets, size_t count,
			   struct player *players)
{
	size_t made = 0;

	for (size_t i = 0; i < count; i++) {
		const char *name = targets[i].name;

		if (!targets[i].weight)
			continue;
		players[made++] = (struct player){
			.name = name,
			.turn = 1,
			.weight = targets[i].weight,
			.at = siphash(offset_key, name, strlen(name)) % RING_SIZE,
			.skip = siphash(skip_key, name, strlen(name)) % (RING_SIZE - 1) + 1,
			.number = targets[i].number,
		};
	}
	qsort(players, made, sizeof(*players), by_name);
	return made;
}

static void play(struct player **heap, size_t count, uint16_t slots[RING_SIZE])
{
	for (size_t filled = 0; filled < RING_SIZE; filled++) {
		struct player *next = heap[0];

		while (slots[next->at] != NO_NUMBER)
			next->at = (next->at + next->skip) % RING_SIZE;
		slots[next->at] = next->number;
		next->turn++;
		sift_down(heap, count, 0);
	}
}

int maglev_fill(const struct maglev_target *targets, size_t count, uint16_t slots[RING_SIZE])
{
	struct player *players = calloc(count ? count : 1, sizeof(*players));
	struct player **heap = calloc(count ? count : 1, sizeof(*heap));
	int error = -ENOMEM;

	if (!players || !heap)
		goto out;
	count = make_players(targets, count, players);
	for (size_t i = 0; i < count; i++)
		heap[i] = &players[i];
	for (size_t i = count / 2; i-- > 0;)
		sift_down(heap, count, i);
	for (size_t i = 0; i < RING_SIZE; i++)
		slots[i] = NO_NUMBER;
	if (count)
		play(heap, count, slots);
	error = 0;
out:
	free(players);
	free(heap);
	return error;
}
