/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time: a step takes 10 us, so nothing ends by itself between two steps, in whatever order they are
 * drawn. What the clock decides happens in steps of its own, which let time pass (clock.c).
 */
#include "history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define LOG_WIDTH 160

struct world world;

static struct {
	char (*line)[LOG_WIDTH];
	size_t count, size;
} book;

/* SplitMix64. */
static uint64_t next_random(void)
{
	uint64_t z = world.random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void reseed(uint64_t seed, uint64_t number)
{
	world.random = seed;
	world.random = next_random() ^ number * 0xd1342543de82ef95ULL;
	next_random();
}

unsigned int draw(unsigned int below)
{
	return (unsigned int)(next_random() % below);
}

bool chance(unsigned int percent)
{
	return draw(100) < percent;
}

uint64_t now_ms(void)
{
	return world.now_us / 1000;
}

void note(const char *format, ...)
{
	char *line;
	int length;
	va_list list;

	if (book.count == book.size) {
		book.size = book.size ? book.size * 2 : 1024;
		book.line = realloc(book.line, book.size * LOG_WIDTH);
		if (!book.line)
			abort();
	}
	line = book.line[book.count++];
	length = snprintf(line, LOG_WIDTH, "%10.3f  ", (double)world.now_us / 1e6);
	va_start(list, format);
	vsnprintf(line + length, LOG_WIDTH - (size_t)length, format, list);
	va_end(list);
	if (world.trace)
		puts(line);
}

void history_print(void)
{
	for (size_t i = 0; i < book.count; i++)
		printf("  %s\n", book.line[i]);
	fflush(stdout);
}

/* ------------------------------------------------------------------------------------------------
 * a run */

/* Swarm testing: each run has its own slow and busy parts. */
static unsigned int draw_weights(unsigned int weights[MAX_STEPS])
{
	static const unsigned int tenths[] = {1, 5, 10, 10, 30, 80};
	unsigned int total = 0;

	for (unsigned int i = 0; i < step_count; i++) {
		weights[i] =
			steps[i].weight * (steps[i].traffic ? 10 + 10 * draw(2) : tenths[draw(6)]);
		total += weights[i];
	}
	return total;
}

static void one_step(const unsigned int weights[MAX_STEPS], unsigned int total)
{
	unsigned int i = 0;

	for (unsigned int at = draw(total); at >= weights[i]; i++)
		at -= weights[i];
	steps[i].run();
	world.now_us += 10;
	world.statistics->steps++;
}

static void start(const struct history *history, struct statistics *statistics)
{
	world = (struct world){.trace = history->trace, .statistics = statistics};
	reseed(history->seed, 0);
	book.count = 0;
	world.now_us = 1000000000;
	world.ecmp = history->seed % 3 == 2;
	for (unsigned int i = 0; i < TARGETS; i++) {
		world.targets[i].n = i;
		target_boot(&world.targets[i]);
	}
	for (unsigned int i = 0; i < ROUTERS; i++) {
		world.routers[i].n = i;
		world.routers[i].on_failure = history->seed % 3 == 1;
		router_boot(&world.routers[i]);
		router_start_agent(&world.routers[i]);
	}
	reconnect_all();
	wires_drain();
	activate_owners();
	let_pass(7000);
}

/* Everything heals; then all copies have to be equal. */
static void settle(void)
{
	note("everything heals");
	heal();
	return_routers();
	return_targets();
	for (unsigned int i = 0; i < ROUTERS; i++) {
		if (!world.routers[i].mirror)
			router_start_agent(&world.routers[i]);
	}
	for (unsigned int i = 0; i < TARGETS; i++) {
		if (!world.targets[i].mirror)
			target_start_agent(&world.targets[i]);
	}
	for (unsigned int i = 0; i < ROUTERS; i++) /* on failure: each asks once */
		world.routers[i].on_failure = false;
	let_pass(15000);
	for (unsigned int i = 0; !world.ecmp && i < ROUTERS; i++) {
		world.owner = 1 - world.owner;
		let_pass(5000);
	}
}

static void finish(void)
{
	for (unsigned int i = 0; i < TARGETS; i++)
		target_mirror_free(world.targets[i].mirror);
	for (unsigned int i = 0; i < ROUTERS; i++)
		router_mirror_free(world.routers[i].mirror);
	wires_free();
	while (world.conns) {
		struct conn *conn = world.conns;

		world.conns = conn->next;
		free(conn);
	}
}

bool history_run(const struct history *history, struct statistics *statistics)
{
	unsigned int weights[MAX_STEPS], total;

	start(history, statistics);
	reseed(history->seed, 1);
	total = draw_weights(weights);
	for (unsigned long i = 0; i < history->steps && !world.violation[0]; i++) {
		if (history->left_out && history->left_out[i])
			continue;
		world.step = i;
		reseed(history->seed, i + 2);
		one_step(weights, total);
	}
	world.step = history->steps;
	reseed(history->seed, history->steps + 2);
	if (!world.violation[0])
		settle();
	if (!world.violation[0])
		promise_rest();
	finish();
	return world.violation[0];
}

/* ------------------------------------------------------------------------------------------------
 * a shorter one */

/* Is the same promise still broken without the steps from `first` on, `count` of them? */
static bool goes_without(struct history *history, const char *promise, unsigned long first,
			 unsigned long count)
{
	size_t bytes = count * sizeof(*history->left_out);
	struct statistics unused = {0};
	bool *before = malloc(bytes), broken;

	if (!before)
		abort();
	memcpy(before, history->left_out + first, bytes);
	memset(history->left_out + first, true, bytes);
	broken = history_run(history, &unused) &&
		 !strncmp(world.violation, promise, strlen(promise));
	if (!broken)
		memcpy(history->left_out + first, before, bytes);
	free(before);
	return broken;
}

void history_shorten(struct history *history)
{
	struct statistics unused = {0};
	char promise[sizeof(world.violation)];
	unsigned long end = world.step < history->steps ? world.step + 1 : history->steps;
	bool trace = history->trace, shorter = true;

	history->trace = false;
	snprintf(promise, sizeof(promise), "%s", world.violation);
	promise[strcspn(promise, ":")] = 0;
	history->left_out = calloc(history->steps + 1, sizeof(*history->left_out));
	if (!history->left_out)
		abort();
	for (unsigned long i = end; i < history->steps; i++)
		history->left_out[i] = true;
	for (unsigned long size = end / 2 + 1; size; size = shorter && size == 1 ? 1 : size / 2) {
		shorter = false;
		for (unsigned long at = 0; at < end; at += size) {
			unsigned long count = at + size < end ? size : end - at;

			if (count == 1 && history->left_out[at])
				continue;
			shorter |= goes_without(history, promise, at, count);
		}
	}
	history->trace = trace;
	history_run(history, &unused);
}
