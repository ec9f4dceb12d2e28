/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * links.h - attach the programs, and replace them under traffic. Functions that fail have said why
 * in the log and return a negative errno.
 */
#ifndef LIMPET_LINKS_H
#define LIMPET_LINKS_H

#include "config.h"
#include "objects.h"

/*
 * Attach what is not attached and pin it in PIN_PATH/DIRECTORY/links; what is pinned there already
 * gets the new program instead: XDP and cgroup links without a gap. A tracing link cannot be
 * updated: if the program differs it is detached and the new one attached; what opens or closes in
 * between (some milliseconds) is found by the agent's rescan. Links that the configuration no
 * longer wants are detached.
 */
int links_apply(const struct config *config, const struct objects *objects, const char *directory);

/* Is every interface of the configuration attached, and no other? If not: the one that differs. */
const char *links_difference(const struct config *config, const char *directory);

/* Is a program attached to another cgroup than the configuration's? */
bool links_elsewhere(const struct config *config);

/* Before links_apply changes anything on a node that is loaded: could every interface have our XDP
 * program? */
int links_check(const struct config *config);

#endif
