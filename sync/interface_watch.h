/* SPDX-License-Identifier: BSD-2-Clause */
/* interface_watch.h - says in the log when an interface of the node has no XDP program. */
#ifndef LIMPET_INTERFACE_WATCH_H
#define LIMPET_INTERFACE_WATCH_H

#include "agent.h"

struct interface_watch;

/* NULL with a line in the log. */
struct interface_watch *interface_watch_start(struct agent *agent);
void interface_watch_stop(struct interface_watch *watch);

#endif
