/* SPDX-License-Identifier: BSD-2-Clause */
/* router_unserved.c - for which services of its scope a target has no listener: a client's affinity
 * there does not lead those connections to it. */
#include <string.h>

#include "log.h"
#include "router_internal.h"

/* What a target has said; what it has not said since this agent has started is as it was. */
static void judge_target(struct router_part *router, __u16 service, unsigned int target,
			 struct unserved *unserved)
{
	const struct mirror_target *info = router_mirror_target(router->mirror, (uint16_t)target);
	const struct message_ready *ready =
		router_mirror_ready(router->mirror, (uint16_t)target, service);
	__u64 bit = 1ULL << target % 64, *word = &unserved->word[target / 64];

	if (!info || !info->name[0] || (ready && (ready->instances || ready->draining)))
		*word &= ~bit;
	else if (ready)
		*word |= bit;
}

void router_update_unserved(struct router_part *router, __u16 service)
{
	struct unserved unserved = router->unserved[service];
	__u32 key = service;
	int error;

	for (unsigned int i = 0; i < router->forward_limit; i++)
		judge_target(router, service, i, &unserved);
	if (!memcmp(&unserved, &router->unserved[service], sizeof(unserved)))
		return;
	error = maps_put(&router->agent->maps, MAP_UNSERVED, &key, &unserved);
	if (error)
		log_error("service %.31s: router/unserved cannot be written: %s; clients with an "
			  "affinity may be sent to a target that does not serve it",
			  router->services[service].name, strerror(-error));
	else
		router->unserved[service] = unserved;
}
