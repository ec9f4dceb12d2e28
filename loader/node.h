/* SPDX-License-Identifier: BSD-2-Clause */
/* node.h - the pinned tables of this node with the names of their numbers, for the commands that
 * show them. */
#ifndef LIMPET_NODE_H
#define LIMPET_NODE_H

#include "config.h"
#include "maps.h"

struct node {
	const struct config *config;
	struct maps maps;
	bool is_router, is_target; /* as loaded, which may differ from the configuration */
	struct router_service router_services[MAX_SERVICES];
	struct scope router_scopes[MAX_SERVICES];
	struct target_service target_services[MAX_SERVICES];
	struct scope target_scopes[MAX_SERVICES];
	struct target targets[MAX_TARGETS];
	struct instance instances[MAX_INSTANCES];
};

/* NULL with one line on standard error when Limpet is not loaded. */
struct node *node_open(const struct config *config);
void node_close(struct node *node);

#endif
