/* SPDX-License-Identifier: BSD-2-Clause */
/* events.h - the kernel's ring of events (target/events), handed to whom they concern. */
#ifndef LIMPET_EVENTS_H
#define LIMPET_EVENTS_H

#include "target_part.h"

struct events;

/* NULL with a line in the log. */
struct events *events_new(struct target_part *target);
void events_free(struct events *events);

/* Read what is there, at most a bounded number: true when the ring has been read to its end. */
bool events_drain(struct events *events);

/* For `limpet monitor`: what this affinity is now, or why it is over. */
void events_report_affinity(struct target_part *target, const struct affinity_key *key);

#endif
