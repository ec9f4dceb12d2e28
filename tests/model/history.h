/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * history.h - one history: a seed, and so many steps drawn from it. Each step draws from a
 * generator of its own, which seed and number give: so steps can be left out and the others stay
 * what they are, and a history that breaks a promise can be made short.
 */
#ifndef LIMPET_MODEL_HISTORY_H
#define LIMPET_MODEL_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

struct statistics;

struct history {
	uint64_t seed;
	unsigned long steps;
	bool *left_out; /* by number; NULL: none */
	bool trace;	/* print each line when it happens */
};

/* true: a promise is broken, and the history ends there; world.violation says which. */
bool history_run(const struct history *history, struct statistics *statistics);
/* Leave out whatever is not needed for the same promise to be broken; the result has been run. The
 * caller frees left_out. */
void history_shorten(struct history *history);
/* All that has happened in the last one. */
void history_print(void);

#endif
