/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * echoes.h - path probes that come back: a target's XDP program sends each one, unwrapped, to the
 * router's own address and PROBE_PORT. While a target has an agent, its heartbeats tell about the
 * path; when the agent is gone, echoes tell that packets still get through to it.
 */
#ifndef LIMPET_ECHOES_H
#define LIMPET_ECHOES_H

#include <event2/event.h>
#include <stdbool.h>

#include "layout.h"

struct echoes;

/* An echo has come from `target`, of the probe with this sequence. */
typedef void echo_heard(void *context, const struct address *target, uint64_t sequence);

/* NULL with a line in the log. A family in which they cannot be heard has a line too, and no more:
 * who has never echoed is not missed. */
struct echoes *echoes_start(struct event_base *base, echo_heard *heard, void *context);
void echoes_stop(struct echoes *echoes);

/*
 * Does nothing get through any more? @sent: sequence of the last probe; @echoed: of the last one
 * that came back; 0, never one did: that says nothing, they may be filtered.
 */
bool echo_missed(uint64_t sent, uint64_t echoed);

#endif
