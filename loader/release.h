/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * release.h - taken back at `limpet unload`: what a target's agent has done to other processes'
 * listeners, and to lo. Failures have a line in the log; the rest is done all the same.
 */
#ifndef LIMPET_RELEASE_H
#define LIMPET_RELEASE_H

#include "maps.h"

/* Detach the selector from every adopted listener, and give those whose MSS was lowered the one
 * back that they had. How many. */
unsigned int release_listeners(const struct maps *maps);
/* Remove the agent's addresses from lo. How many. */
unsigned int release_addresses(void);

#endif
