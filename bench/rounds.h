/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rounds.h - one case, measured: in each round the floor, Limpet and whoever else is compared, one
 * after the other, each between two runs of the baseline, which are subtracted.
 */
#ifndef LIMPET_BENCH_ROUNDS_H
#define LIMPET_BENCH_ROUNDS_H

#include "cases.h"
#include "floors.h"
#include "measure.h"

#define MAX_ROUNDS 99
#define MAX_OTHERS 4

/* An XDP program that somebody else has loaded, set up for the services of traffic.h, and pinned.
 * It learns flows from a SYN and an ACK of each. */
struct other {
	const char *name;
	int program;
};

struct bench {
	struct stage *stage;
	struct measure *measure;
	struct floor_bpf *floors;
	struct other others[MAX_OTHERS];
	unsigned int other_count;
	unsigned int rounds;
	uint32_t packets; /* in a measurement */
};

/* Medians over the rounds; a ratio is the median of the rounds' ratios. */
struct result {
	double ns, floor_ns, ratio;
	double least, most;		/* of the ratio */
	double other_ns[MAX_OTHERS];	/* 0: not compared */
	double other_ratio[MAX_OTHERS]; /* Limpet's ns / the other's */
	unsigned int rounds;
};

/* Load the node, unless it is as the case wants it, and let every program learn the established
 * flows. 0 or a negative errno, with a line that says what was wrong. */
int rounds_set_up(struct bench *bench, const struct bench_case *wanted);
/* 0 or a negative errno, with a line that says what was wrong: also if the packets have not gone
 * the way that the case is about. */
int rounds_run(struct bench *bench, const struct bench_case *wanted, struct result *result);

#endif
