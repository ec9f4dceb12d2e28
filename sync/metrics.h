/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics.h - what Prometheus reads: limpet_SUBJECT_UNIT[_total], base units, a counter's name
 * being the one that it has in the BPF programs (layout.h).
 */
#ifndef LIMPET_METRICS_H
#define LIMPET_METRICS_H

#include <event2/buffer.h>

#include "agent.h"

void metrics_write(const struct agent *agent, struct evbuffer *out);

#endif
