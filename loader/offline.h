/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offline.h - rows of what the agent shows better, as far as the pinned maps hold it; for when no
 * agent answers. Members that they do not hold are null.
 */
#ifndef LIMPET_OFFLINE_H
#define LIMPET_OFFLINE_H

#include "crht.h"

/* What each list leaves out, for the note to the reader. */
#define OFFLINE_TARGETS_LACK "path, weight and ready instances"
#define OFFLINE_INSTANCES_LACK                                                                     \
	"the services of an instance that has several, and who cannot be adopted,"
#define OFFLINE_ROUTERS_LACK "their role and epoch, and since when they are silent,"

/* 0 or -errno. A target's state is `usable` (XDP sends it new clients), `unusable` or `dead`. */
int offline_targets(struct node *node, const struct crht_filter *filter, struct listing *listing);
int offline_instances(struct node *node, const struct crht_filter *filter, struct listing *listing);
/* One row for each of a router's addresses. */
int offline_routers(struct node *node, const struct crht_filter *filter, struct listing *listing);

#endif
