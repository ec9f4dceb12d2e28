/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fill.h - what limpetd writes into the pinned maps, for targets that have told it about their
 * connections: with its own Maglev and rings (sync/), in its order (sync/router_targets.c).
 */
#ifndef LIMPET_BENCH_FILL_H
#define LIMPET_BENCH_FILL_H

#include "stage.h"

/* program: `router_agent`. */
int fill_router(const struct maps *maps, int program, const struct scene *scene,
		unsigned int interface);
int fill_target(const struct maps *maps);

#endif
