/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explorer.c - draws what happens next in a small cluster (world.h), and after each step looks
 * whether a promise is broken (promises.c). A seed gives the same run again.
 *
 *   explorer [--seeds N] [--first N] [--steps N]     many runs; stops at the first violation
 *   explorer --seed N [--trace]                      one of them, step by step
 *   explorer --all                                   does not stop, counts
 *
 * A third of the runs each: one active router of two with continuous synchronisation, the same with
 * synchronisation on failure, and two active routers (ECMP).
 *
 * Time: a step takes 10 us, so nothing ends by itself between two steps, in whatever order they are
 * drawn. What the clock decides happens in steps of its own, which let time pass; before a quarter
 * of a second has passed every message of a session that is alive has arrived, before two seconds
 * every live pair has a session: the assumptions behind the times in the design.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define LOG_LINES 60
#define LOG_WIDTH 160

struct world world;

static char log_lines[LOG_LINES][LOG_WIDTH];
static unsigned long logged;

/* SplitMix64. */
static uint64_t next_random(void)
{
	uint64_t z = world.random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
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
	char *line = log_lines[logged++ % LOG_LINES];
	int length = snprintf(line, LOG_WIDTH, "%10.3f  ", (double)world.now_us / 1e6);
	va_list list;

	va_start(list, format);
	vsnprintf(line + length, LOG_WIDTH - (size_t)length, format, list);
	va_end(list);
	if (world.trace)
		puts(line);
}

/* ------------------------------------------------------------------------------------------------
 * runs */

/* Swarm testing: each run has its own slow and busy parts. */
static void draw_weights(unsigned int weights[MAX_STEPS])
{
	static const unsigned int tenths[] = {1, 5, 10, 10, 30, 80};

	for (unsigned int i = 0; i < step_count; i++)
		weights[i] =
			steps[i].weight * (steps[i].traffic ? 10 + 10 * draw(2) : tenths[draw(6)]);
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

static void start(uint64_t seed, bool trace, struct statistics *statistics)
{
	world = (struct world){.random = seed, .trace = trace, .statistics = statistics};
	next_random();
	logged = 0;
	world.now_us = 1000000000;
	world.ecmp = seed % 3 == 2;
	for (unsigned int i = 0; i < TARGETS; i++) {
		world.targets[i].n = i;
		target_start_agent(&world.targets[i]);
	}
	for (unsigned int i = 0; i < ROUTERS; i++) {
		world.routers[i].n = i;
		world.routers[i].on_failure = seed % 3 == 1;
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

static bool run(uint64_t seed, unsigned long count, bool trace, struct statistics *statistics)
{
	unsigned int weights[MAX_STEPS], total = 0;
	bool failed;

	start(seed, trace, statistics);
	draw_weights(weights);
	for (unsigned int i = 0; i < step_count; i++)
		total += weights[i];
	for (unsigned long i = 0; i < count && !world.violation[0]; i++)
		one_step(weights, total);
	if (!world.violation[0])
		settle();
	if (!world.violation[0])
		promise_rest();
	failed = world.violation[0];
	finish();
	return failed;
}

static void show(uint64_t seed)
{
	unsigned long first = logged > LOG_LINES ? logged - LOG_LINES : 0;

	printf("seed %llu: %s\n", (unsigned long long)seed, world.violation);
	for (unsigned long i = world.trace ? logged : first; i < logged; i++)
		printf("  %s\n", log_lines[i % LOG_LINES]);
	fflush(stdout);
}

static void sum_up(unsigned long runs, unsigned long failed, const struct statistics *s)
{
	printf("%lu runs, %lu steps, %lu sessions, %lu packets (%lu dropped, %lu refused)\n", runs,
	       s->steps, s->sessions, s->packets, s->dropped, s->refused);
	printf("%lu affinities in force everywhere, %lu lost to another; %lu digests differed\n",
	       s->published, s->lost, s->resyncs);
	printf("known residue: %lu handshakes broken, %lu affinities late, %lu with two active "
	       "routers, %lu guesses without an agent, %lu at remnants, %lu at stale "
	       "entries, %lu after hold_time, %lu of the dead\n",
	       s->handshakes_broken, s->late_affinity, s->ecmp_stale, s->blind_guess, s->remnant,
	       s->stale_entry, s->hold_over, s->given_up);
	printf("%lu violations\n", failed);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
						{"first", required_argument, NULL, 'f'},
						{"steps", required_argument, NULL, 'm'},
						{"seed", required_argument, NULL, 's'},
						{"trace", no_argument, NULL, 't'},
						{"all", no_argument, NULL, 'a'},
						{NULL, 0, NULL, 0}};
	unsigned long seeds = 1000, count = 400, runs = 0, failed = 0;
	struct statistics statistics = {0};
	uint64_t first = 0;
	bool trace = false, all = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'n':
			seeds = strtoul(optarg, NULL, 10);
			break;
		case 'm':
			count = strtoul(optarg, NULL, 10);
			break;
		case 's':
			seeds = 1;
			/* fall through */
		case 'f':
			first = strtoull(optarg, NULL, 10);
			break;
		case 't':
			trace = true;
			break;
		case 'a':
			all = true;
			break;
		default:
			return 2;
		}
	}
	while (runs < seeds && (all || !failed)) {
		bool broken = run(first + runs, count, trace, &statistics);

		if (broken)
			show(first + runs);
		failed += broken;
		runs++;
	}
	sum_up(runs, failed, &statistics);
	return failed != 0;
}
