/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * explain.c - `limpet explain CLIENT[:PORT] SERVICE`: why this client goes where it goes, in the
 * order of the XDP program (bpf/xdp.bpf.c) and the selector (bpf/selector.bpf.c), from the same
 * tables.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bpf/distribute.h"
#include "affinity_rule.h"
#include "commands.h"
#include "crht.h"
#include "log.h"

struct question {
	struct node *node;
	struct address client;
	__be16 port; /* 0: any */
	const char *service;
};

static const char *name_of(const struct node *node, __u16 target)
{
	return target < MAX_TARGETS && *node->targets[target].name ? node->targets[target].name
								   : "no target";
}

/* Why an affinity to this target leads nowhere; NULL: it leads there. */
static const char *unusable(const struct node *node, __u16 target, __u32 service)
{
	struct unserved unserved;

	if (target >= MAX_TARGETS)
		return "is not usable";
	if (node->targets[target].flags & TARGET_DEAD)
		return "is given up";
	if (!(node->targets[target].flags & TARGET_USABLE))
		return "takes no new connections";
	if (maps_get(&node->maps, MAP_UNSERVED, &service, &unserved) == 0 &&
	    unserved.word[target / 64] >> target % 64 & 1)
		return "has no listener for this service";
	return NULL;
}

/* What XDP has noted of a flow. */
static enum flow_state handshake_of(const struct question *question,
				    const struct connection_key *key, __u16 *target)
{
	struct router_call call = {.op = ROUTER_LOOK_UP, .key = *key};
	int program = maps_open_pin(question->node->config->pin_path, "programs", "router_agent");

	if (program < 0)
		return FLOW_STATE_NONE;
	if (maps_router_call(program, &call))
		call.state = FLOW_STATE_NONE;
	close(program);
	*target = (__u16)call.target;
	return call.state;
}

/* Known flow, then connection: 0 when one of them decides. */
static int explain_known(const struct question *question, __u16 service)
{
	struct connection_key key = {question->client, question->port, service};
	struct router_connection connection;
	__u16 target;
	enum flow_state state;

	if (!question->port)
		return -1;
	state = handshake_of(question, &key, &target);
	if (state != FLOW_STATE_NONE) {
		printf("  this router has forwarded its %s to %s\n",
		       state == FLOW_STATE_NOTED ? "handshake" : "SYN",
		       name_of(question->node, target));
		return state == FLOW_STATE_NOTED ? 0 : -1;
	}
	if (maps_get(&question->node->maps, MAP_ROUTER_CONNECTIONS, &key, &connection)) {
		puts("  no known connection from this port");
		return -1;
	}
	printf("  connection reported by %s%s\n", name_of(question->node, connection.target),
	       connection.state == CONNECTION_LINGERS
		       ? "; it has closed and lingers, a new one is distributed"
		       : "");
	return connection.state == CONNECTION_LINGERS ? -1 : 0;
}

static int explain_affinity(const struct question *question, __u16 number)
{
	const struct router_service *service = &question->node->router_services[number];
	struct affinity_key key = {.client = question->client, .scope = service->scope};
	struct router_affinity affinity;
	const struct node *node = question->node;
	const char *why;

	if (service->affinity == AFFINITY_NONE) {
		puts("  the service has no affinity");
		return -1;
	}
	address_mask(&key.client, service->client_prefix);
	if (maps_get(&node->maps, MAP_ROUTER_AFFINITIES, &key, &affinity)) {
		printf("  no affinity in scope %s\n", node->router_scopes[service->scope].name);
		return -1;
	}
	why = unusable(node, affinity.target, number);
	printf("  affinity in scope %s to %s (%s), which %s%s\n",
	       node->router_scopes[service->scope].name, name_of(node, affinity.target),
	       affinity.granted ? "granted, not yet published" : "in force everywhere",
	       why ? "" : "is usable", why ? why : "");
	return why ? -1 : 0;
}

static void explain_hash(const struct question *question, __u16 number)
{
	const struct router_service *service = &question->node->router_services[number];
	__u32 slot = distribute_slot(&service->key, &question->client, question->port);
	int target;

	if (!question->port) {
		puts("  distributed by the consistent hash; each port falls into a slot of its own "
		     "(name CLIENT:PORT to see which)");
		return;
	}
	target = maps_get_ring(&question->node->maps, number, slot);
	printf("  distributed by the consistent hash: slot %u of %u, %s\n", slot, RING_SIZE,
	       target < 0 ? "but there is no ring yet: is limpetd running?"
			  : name_of(question->node, (__u16)target));
}

static bool wrong_family(const struct question *question, const struct service_key *key)
{
	bool ipv4 = address_is_ipv4(&key->address);

	if (address_is_ipv4(&question->client) == ipv4)
		return false;
	printf("service %s has an %s address: no %s client reaches it\n", question->service,
	       ipv4 ? "IPv4" : "IPv6", ipv4 ? "IPv6" : "IPv4");
	return true;
}

static bool explain_router(const struct question *question)
{
	const struct node *node = question->node;

	for (__u16 i = 0; i < MAX_SERVICES; i++) {
		if (strcmp(node->router_services[i].name, question->service))
			continue;
		if (wrong_family(question, &node->router_services[i].key))
			return true;
		printf("router %s:\n", node->config->node);
		if (explain_known(question, i) && explain_affinity(question, i))
			explain_hash(question, i);
		return true;
	}
	return false;
}

static void print_affinity(const struct node *node, const struct target_affinity *affinity,
			   __u32 connections)
{
	printf("  affinity to instance %llu, ", node->instances[affinity->instance].id);
	if (affinity->flags & AFFINITY_FLAG_TIMED)
		printf("made by a first connection");
	else
		printf("asked for by pid %u", affinity->pid);
	printf(", %u connections\n", connections);
}

static bool explain_target(const struct question *question)
{
	const struct node *node = question->node;

	for (__u16 i = 0; i < MAX_SERVICES; i++) {
		const struct target_service *service = &node->target_services[i];
		struct connection_key connection_key = {question->client, question->port, i};
		struct affinity_key key = {.client = question->client, .scope = service->scope};
		struct target_connection connection;
		struct target_affinity affinity;
		struct affinity_facts facts;

		if (strcmp(service->name, question->service))
			continue;
		if (wrong_family(question, &service->key))
			return true;
		printf("target %s:\n", node->config->node);
		if (question->port &&
		    !maps_get(&node->maps, MAP_TARGET_CONNECTIONS, &connection_key, &connection)) {
			printf("  established connection of instance %llu\n",
			       connection.instance < MAX_INSTANCES
				       ? node->instances[connection.instance].id
				       : 0);
			return true;
		}
		address_mask(&key.client, service->client_prefix);
		if (maps_get(&node->maps, MAP_TARGET_AFFINITIES, &key, &affinity)) {
			puts("  no affinity here: the ready instance with the fewest connections");
			return true;
		}
		affinity_read_facts(&node->maps, &key, &affinity, crht_now_ns(), &facts);
		if (affinity_over(&affinity, &facts))
			puts("  its affinity is over: the ready instance with the fewest "
			     "connections");
		else
			print_affinity(node, &affinity, facts.connections);
		return true;
	}
	return false;
}

int command_explain(const struct config *config, int argc, char **argv)
{
	struct question question = {};
	bool known;

	if (argc != 3) {
		fputs("limpet: usage: limpet explain CLIENT[:PORT] SERVICE\n", stderr);
		return 2;
	}
	if (address_parse(argv[1], &question.client) &&
	    endpoint_parse(argv[1], &question.client, &question.port)) {
		log_error("'%s' is not an address, nor an address with a port", argv[1]);
		return 2;
	}
	question.service = argv[2];
	question.node = node_open(config);
	if (!question.node)
		return 1;
	known = question.node->is_router && explain_router(&question);
	known |= question.node->is_target && explain_target(&question);
	if (!known)
		log_error(
			"there is no service '%s' on this node; `limpet show services` lists them",
			question.service);
	node_close(question.node);
	return !known;
}
