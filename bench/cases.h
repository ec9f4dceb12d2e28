/* SPDX-License-Identifier: BSD-2-Clause */
/* cases.h - what is measured: the node's state, the packets, and what they have to come to. */
#ifndef LIMPET_BENCH_CASES_H
#define LIMPET_BENCH_CASES_H

#include "stage.h"
#include "traffic.h"

#define MILLION (1U << 20)
#define PACED	98304 /* new connections, and PACE_MS without: below 125,000 a second */
#define PACE_MS 1100
#define HANDSHAKES_LOG                                                                             \
	8 /* so many, 256, are half-open at a time where they are counted on: in 32,768 sets */

/* Which floor (floor.bpf.c) the case is compared with. */
enum floor_kind { FLOOR_FORWARD, FLOOR_TOO_BIG, FLOOR_UNWRAP };

struct bench_case {
	const char *name, *text;
	struct scene scene;
	struct traffic traffic;
	/* New handshakes are compared with the floor on an established flow of a million. */
	bool floor_established;
	enum floor_kind floor;
	uint32_t prepare; /* packets (SYNs, of handshakes) before the first round: a steady state */
	uint32_t packets; /* in a measurement; 0: as the command line says */
	unsigned int pace_ms; /* without packets before each measurement */
	bool handshake;	      /* a SYN of each flow just before its timed ACK, in batches */
	enum counter counted; /* this counter has seen them, all but one in a hundred */
	uint32_t verdict;
	double must, stretch; /* of the floor; 0: no bar */
};

extern const struct bench_case bench_cases[];
extern const unsigned int bench_case_count;

/* A series of like cases over one quantity. */
struct bench_series {
	const char *name, *text;
	const uint32_t *steps;
	unsigned int count;
	void (*make)(uint32_t step, struct bench_case *made);
};

extern const struct bench_series bench_series[];
extern const unsigned int bench_series_count;

#endif
