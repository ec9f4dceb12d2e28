/* SPDX-License-Identifier: BSD-2-Clause */
#include "node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpffs.h"
#include "log.h"

#define READ_ARRAY(node, id, member)                                                               \
	maps_get_all(&(node)->maps, id, (node)->member,                                            \
		     sizeof((node)->member) / sizeof(*(node)->member))

static int read_router(struct node *node)
{
	int result = READ_ARRAY(node, MAP_ROUTER_SERVICES, router_services);

	result = result ?: READ_ARRAY(node, MAP_ROUTER_SCOPES, router_scopes);
	return result ?: READ_ARRAY(node, MAP_TARGETS, targets);
}

static int read_target(struct node *node)
{
	int result = READ_ARRAY(node, MAP_TARGET_SERVICES, target_services);

	result = result ?: READ_ARRAY(node, MAP_TARGET_SCOPES, target_scopes);
	return result ?: READ_ARRAY(node, MAP_INSTANCES, instances);
}

struct node *node_open(const struct config *config)
{
	struct node *node = calloc(1, sizeof(*node));
	int result;

	if (!node) {
		log_error("out of memory");
		return NULL;
	}
	node->config = config;
	result = maps_open(&node->maps, config->pin_path);
	if (result) {
		bpffs_unusable(config, result, "");
		free(node);
		return NULL;
	}
	node->is_router = node->maps.fd[MAP_ROUTER_CONNECTIONS] >= 0;
	node->is_target = node->maps.fd[MAP_TARGET_CONNECTIONS] >= 0;
	if (node->is_router)
		result = read_router(node);
	if (!result && node->is_target)
		result = read_target(node);
	if (!result)
		return node;
	log_error("%s: cannot read the maps: %s", config->pin_path, strerror(-result));
	node_close(node);
	return NULL;
}

void node_close(struct node *node)
{
	maps_close(&node->maps);
	free(node);
}
