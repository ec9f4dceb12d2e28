/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counts.h - the counts that the kernel's programs keep, checked against the entries that they
 * count: an instance's connections and affinities, a client's connections to an instance. The
 * checks are part of a rescan.
 *
 * A count and the entries do not change at one moment, so under traffic they differ. But the counts
 * count their own changes: a difference greater than what has changed while the entries were read
 * is real by the rest, and so much of it is corrected when the next check finds it too. In between,
 * whoever was in the middle of a change has finished it. Corrected is by compare-and-swap with the
 * count that was seen: when it has changed since, a later check does it.
 */
#ifndef LIMPET_COUNTS_H
#define LIMPET_COUNTS_H

#include "target_part.h"

struct counts;

struct counts *counts_new(struct target_part *target);
void counts_free(struct counts *counts);

/* A check is these three, one after the other; others may have their turn in between. 0 or -errno,
 * which ends the check. */
int counts_begin(struct counts *counts);
/* Reads target/connections: each(context, key, value) is called for every entry. */
int counts_read(struct counts *counts,
		int (*each)(void *context, const void *key, const void *value), void *context);
void counts_end(struct counts *counts);
/* Forget what has been read, but not what was found. */
void counts_clear(struct counts *counts);

/* Has the last check found something that the next one is to confirm? */
bool counts_unsettled(const struct counts *counts);

/* Pure: so much of the difference is no mere matter of time; and what two checks agree on. */
int32_t counts_certain(uint32_t counted, uint32_t found, uint32_t changes);
int32_t counts_agreed(int32_t before, int32_t now);

#endif
