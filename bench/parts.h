/* SPDX-License-Identifier: BSD-2-Clause */
/* parts.h - what the benchmark consists of, besides the cases. Each prints its table and adds its
 * member to the report; 0 or a negative errno, with a line that says what was wrong. */
#ifndef LIMPET_BENCH_PARTS_H
#define LIMPET_BENCH_PARTS_H

#include "report.h"

enum part { PART_CASES, PART_GROWTH, PART_MAGLEV, PART_THROUGHPUT, PARTS };

/* How bench/run has called the interfaces, and their peers in the generator's namespace: where
 * Limpet is loaded, and where everything else is attached. */
#define BENCH_INTERFACE	      "node0"
#define BENCH_INTERFACE_PEER  "peer0"
#define BENCH_INTERFACE2      "node1"
#define BENCH_INTERFACE2_PEER "peer1"

/* `maglev`: how long a ring takes to build, and how many slots move when one target goes. */
int maglev_run(struct json_object *report);

struct veth_options {
	int generator; /* a process in the namespace that packets come from */
};

/* `throughput`: packets a second of one core that makes, balances and receives them. */
int veth_run(struct bench *bench, struct json_object *report, const struct veth_options *options);

#endif
