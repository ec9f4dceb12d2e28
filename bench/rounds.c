/* SPDX-License-Identifier: BSD-2-Clause */
#include "rounds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <linux/bpf.h>

#define WARM_RANDOM (1 << 17) /* packets, so that caches hold what they can */
#define WARM_FIXED  (1 << 14)

enum { FLOOR, LIMPET, FIRST_OTHER };
#define CANDIDATES (FIRST_OTHER + MAX_OTHERS)

/* A case under way. */
struct run {
	struct bench *bench;
	const struct bench_case *wanted;
	uint64_t position; /* of sequential flows: each is seen once */
	uint64_t seen;	   /* packets that Limpet has been given for good */
	double net[CANDIDATES][MAX_ROUNDS];
};

static struct traffic floor_traffic(const struct bench_case *wanted)
{
	if (!wanted->floor_established)
		return wanted->traffic;
	return (struct traffic){.kind = PACKET_ACK,
				.family = wanted->traffic.family,
				.length = 64,
				.flows = wanted->scene.connections,
				.order = ORDER_RANDOM};
}

static void pace(unsigned int ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &time) == EINTR)
		;
}

/* Others are balancers without affinities. */
static unsigned int others_of(const struct bench *bench, const struct scene *scene)
{
	return scene->is_target || scene->affinities ? 0 : bench->other_count;
}

/* ------------------------------------------------------------------------------------------------
 * what goes before */

/* A packet of each of these established flows. */
static int learn(struct bench *bench, int program, const struct scene *scene, enum packet_kind kind,
		 uint32_t first, uint32_t flows)
{
	struct traffic each = {.kind = kind,
			       .family = scene->family,
			       .length = scene->family == 4 ? 64 : 96,
			       .flows = scene->connections,
			       .services = scene->services,
			       .order = ORDER_SEQUENTIAL};

	measure_traffic(bench->measure, &each, first);
	return measure_pass(bench->measure, program, flows, NULL);
}

/* Others see the handshakes, and not so many in a second that they take them for a flood. */
static int learn_slowly(struct bench *bench, int program, const struct scene *scene)
{
	int error = 0;

	for (uint32_t first = 0; first < scene->connections && !error; first += PACED) {
		uint32_t left = scene->connections - first, flows = left < PACED ? left : PACED;

		if (first)
			pace(PACE_MS);
		error = learn(bench, program, scene, PACKET_SYN, first, flows);
		if (!error)
			error = learn(bench, program, scene, PACKET_ACK, first, flows);
	}
	return error;
}

/* What remembers flows has seen each established one. */
static int learn_all(struct bench *bench, const struct scene *scene)
{
	int error;

	if (scene->is_target || !scene->connections)
		return 0;
	error = learn(bench, stage_program(bench->stage), scene, PACKET_ACK, 0, scene->connections);
	for (unsigned int i = 0; i < others_of(bench, scene) && !error; i++)
		error = learn_slowly(bench, bench->others[i].program, scene);
	return error;
}

/* The state in which the case's packets find the tables in the long run. */
static int prepare(struct run *run)
{
	struct bench *bench = run->bench;
	struct traffic traffic = run->wanted->traffic;
	int error = 0;

	if (!run->wanted->prepare)
		return 0;
	if (run->wanted->handshake)
		traffic.kind = PACKET_SYN;
	measure_traffic(bench->measure, &traffic, run->position);
	error = measure_pass(bench->measure, stage_program(bench->stage), run->wanted->prepare,
			     NULL);
	for (unsigned int i = 0; i < others_of(bench, &run->wanted->scene) && !error; i++)
		error = measure_pass(bench->measure, bench->others[i].program, run->wanted->prepare,
				     NULL);
	run->position = measure_position(bench->measure);
	return error;
}

int rounds_set_up(struct bench *bench, const struct bench_case *wanted)
{
	int error = stage_set(bench->stage, &wanted->scene);

	if (error)
		return error < 0 ? error : 0;
	error = floors_set(&bench->floors, &wanted->scene);
	return error ? error : learn_all(bench, &wanted->scene);
}

/* ------------------------------------------------------------------------------------------------
 * one measurement */

struct candidate {
	int program;
	uint32_t verdict;
	struct traffic traffic;
	bool learns; /* not a floor: notices what passes */
};

static int check_verdict(const struct run *run, const struct candidate *candidate, uint32_t verdict)
{
	/* Others may decide as they like. */
	if (verdict == candidate->verdict || candidate->verdict == XDP_ABORTED)
		return 0;
	fprintf(stderr, "bench: %s: verdict %u, not %u\n", run->wanted->name, verdict,
		candidate->verdict);
	return -EPROTO;
}

/* SYNs, then their ACKs, which are timed: batch by batch. */
static int time_handshakes(struct run *run, const struct candidate *candidate, uint32_t *verdict,
			   double *ns)
{
	struct measure *measure = run->bench->measure;
	struct traffic syn = candidate->traffic;
	uint32_t batch = 1 << HANDSHAKES_LOG, batches = run->wanted->packets / batch;
	double each[WRAP_STAMPS];
	int error = 0;

	syn.kind = PACKET_SYN;
	for (uint32_t i = 0; i < batches && !error; i++) {
		measure_traffic(measure, &syn, run->position);
		error = measure_pass(measure, candidate->program, batch + 1, NULL);
		measure_traffic(measure, &candidate->traffic, run->position);
		if (!error)
			error = measure_time(measure, candidate->program, 0, batch, verdict,
					     &each[i]);
		run->position = measure_position(measure);
	}
	if (!error)
		*ns = median(each, batches);
	return error;
}

static int time_baseline(struct run *run, const struct candidate *candidate, uint64_t start,
			 double *ns)
{
	struct bench *bench = run->bench;

	measure_traffic(bench->measure, &candidate->traffic, start);
	return measure_time(bench->measure, floors_baseline(bench->floors), WARM_FIXED,
			    bench->packets, NULL, ns);
}

static int time_candidate(struct run *run, const struct candidate *candidate, uint64_t start,
			  double *ns)
{
	const struct bench_case *wanted = run->wanted;
	struct measure *measure = run->bench->measure;
	bool random = candidate->traffic.order == ORDER_RANDOM;
	uint32_t warm = random ? WARM_RANDOM : WARM_FIXED;
	uint32_t packets = run->bench->packets, verdict;
	int error;

	if (candidate->learns && wanted->handshake)
		return time_handshakes(run, candidate, &verdict, ns);
	/* What is new is not warm. */
	if (candidate->learns && wanted->prepare)
		warm = 0;
	if (candidate->learns && wanted->packets)
		packets = wanted->packets;
	if (candidate->learns && wanted->pace_ms)
		pace(wanted->pace_ms);
	measure_traffic(measure, &candidate->traffic, start);
	error = measure_time(measure, candidate->program, warm, packets, &verdict, ns);
	return error ? error : check_verdict(run, candidate, verdict);
}

static int measure_net(struct run *run, const struct candidate *candidate, unsigned int round,
		       double *net)
{
	bool sequential = candidate->traffic.order == ORDER_SEQUENTIAL;
	double before, ns, after;
	uint64_t start = sequential ? run->position : 12345 + round;
	int error = time_baseline(run, candidate, start, &before);

	if (!error)
		error = time_candidate(run, candidate, start, &ns);
	if (!error && sequential && !run->wanted->handshake)
		run->position = measure_position(run->bench->measure);
	if (!error)
		error = time_baseline(run, candidate, start, &after);
	if (!error)
		*net = ns - (before + after) / 2;
	return error;
}

/* ------------------------------------------------------------------------------------------------
 * rounds */

static struct candidate get_candidate(const struct run *run, unsigned int index)
{
	const struct bench *bench = run->bench;
	struct candidate candidate = {.program = stage_program(bench->stage),
				      .verdict = run->wanted->verdict,
				      .traffic = run->wanted->traffic,
				      .learns = true};

	if (index == FLOOR) {
		candidate.program = floors_program(bench->floors, run->wanted->floor);
		candidate.traffic = floor_traffic(run->wanted);
		candidate.learns = false;
		if (run->wanted->floor_established)
			candidate.verdict = XDP_TX;
	} else if (index >= FIRST_OTHER) {
		candidate.program = bench->others[index - FIRST_OTHER].program;
		candidate.verdict = XDP_ABORTED;
	}
	return candidate;
}

/* Limpet's measurement, and whether the packets have gone the way that the case is about. */
static int measure_limpet(struct run *run, const struct candidate *candidate, unsigned int round)
{
	const struct bench_case *wanted = run->wanted;
	const struct maps *maps = stage_maps(run->bench->stage);
	__u64 before[COUNTERS], after[COUNTERS], packets, counted;
	int error = maps_counters(maps, before);

	if (!error)
		error = measure_net(run, candidate, round, &run->net[LIMPET][round]);
	if (!error)
		error = maps_counters(maps, after);
	if (error)
		return error;
	packets = after[COUNT_RX_PACKETS] - before[COUNT_RX_PACKETS];
	counted = after[wanted->counted] - before[wanted->counted];
	if (wanted->handshake)
		packets /= 2;
	if (counted * 100 >= packets * 99)
		return 0;
	fprintf(stderr, "bench: %s: %s has counted only %llu of %llu packets:\n", wanted->name,
		counter_name(wanted->counted), counted, packets);
	for (int i = 0; i < COUNTERS; i++)
		if (after[i] != before[i])
			fprintf(stderr, "  %-20s %llu\n", counter_name(i), after[i] - before[i]);
	return -EPROTO;
}

static int run_round(struct run *run, unsigned int round)
{
	unsigned int candidates = FIRST_OTHER + others_of(run->bench, &run->wanted->scene);
	int error = 0;

	for (unsigned int i = 0; i < candidates && !error; i++) {
		struct candidate candidate = get_candidate(run, i);

		if (i == LIMPET)
			error = measure_limpet(run, &candidate, round);
		else
			error = measure_net(run, &candidate, round, &run->net[i][round]);
	}
	return error;
}

/* The median of the rounds' quotients; a and b as measured, in the rounds' order. */
static double median_ratio(const double *a, const double *b, unsigned int rounds, double *least,
			   double *most)
{
	double ratios[MAX_ROUNDS], middle;

	for (unsigned int i = 0; i < rounds; i++)
		ratios[i] = a[i] / b[i];
	middle = median(ratios, rounds);
	if (least)
		*least = ratios[0];
	if (most)
		*most = ratios[rounds - 1];
	return middle;
}

static void sum_up(struct run *run, struct result *result)
{
	unsigned int others = others_of(run->bench, &run->wanted->scene);
	unsigned int rounds = run->bench->rounds;

	result->rounds = rounds;
	result->ratio = median_ratio(run->net[LIMPET], run->net[FLOOR], rounds, &result->least,
				     &result->most);
	for (unsigned int i = 0; i < others; i++) {
		double *other = run->net[FIRST_OTHER + i];

		result->other_ratio[i] = median_ratio(run->net[LIMPET], other, rounds, NULL, NULL);
		result->other_ns[i] = median(other, rounds);
	}
	result->ns = median(run->net[LIMPET], rounds);
	result->floor_ns = median(run->net[FLOOR], rounds);
}

int rounds_run(struct bench *bench, const struct bench_case *wanted, struct result *result)
{
	struct run run = {.bench = bench, .wanted = wanted};
	int error = rounds_set_up(bench, wanted);

	if (!error)
		error = prepare(&run);
	for (unsigned int round = 0; round < bench->rounds && !error; round++)
		error = run_round(&run, round);
	if (!error)
		sum_up(&run, result);
	return error;
}
