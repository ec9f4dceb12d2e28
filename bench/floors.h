/* SPDX-License-Identifier: BSD-2-Clause */
/* floors.h - the programs that Limpet is compared with (floor.bpf.c), and what their maps hold. */
#ifndef LIMPET_BENCH_FLOORS_H
#define LIMPET_BENCH_FLOORS_H

#include "cases.h"

struct floor_bpf; /* the skeleton */

/* Loaded anew, with the flows of the scene. 0 or a negative errno. */
int floors_set(struct floor_bpf **floors, const struct scene *scene);
void floors_free(struct floor_bpf *floors);

int floors_baseline(const struct floor_bpf *floors);
int floors_program(const struct floor_bpf *floors, enum floor_kind kind);

#endif
