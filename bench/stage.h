/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stage.h - a node as it is in operation: a configuration file, `limpet load`, `limpet activate`,
 * and in the pinned maps what its limpetd would have written there. The flow table, which XDP
 * alone writes, fills as packets pass.
 *
 * All functions return 0 or a negative errno, and say what was wrong.
 */
#ifndef LIMPET_BENCH_STAGE_H
#define LIMPET_BENCH_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "maps.h"

struct scene {
	bool is_target;	      /* not a router */
	int family;	      /* of services, clients and targets: 4 or 6 */
	uint32_t services;    /* configured ones */
	uint32_t targets;     /* up and in sync, with equal weights */
	uint32_t connections; /* flows 0 .. connections - 1 are established */
	uint32_t affinities;  /* of clients 0 .. affinities - 1, with the first service */
};

struct stage_options {
	const char *limpet;    /* the command */
	const char *directory; /* with certificates, `bpf` (a bpffs) */
	const char *cgroup;    /* what a target's programs are attached to */
	const char *interface; /* with a peer that is up */
};

struct stage;

int stage_new(struct stage **stage, const struct stage_options *options);
/* Unloads. */
void stage_free(struct stage *stage);

/* Load anew and fill, unless this scene is up already; 1: it has been, and nothing is learnt. */
int stage_set(struct stage *stage, const struct scene *scene);
/* The pinned XDP program of the scene. */
int stage_program(const struct stage *stage);
const struct maps *stage_maps(const struct stage *stage);

#endif
