/* SPDX-License-Identifier: BSD-2-Clause */
#include "crht.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../bpf/expiry.h"
#include "affinity_rule.h"

/* The first is for nodes with both roles. */
static const struct column connection_columns[] = {
	{"role", 6, NULL},     {"client", 24, NULL}, {"client_port", -11, NULL},
	{"service", 12, NULL}, {"target", 10, NULL}, {"instance", -8, NULL},
	{"state", 8, NULL},    {NULL, 0, NULL},
};

static const struct column affinity_columns[] = {
	{"role", 6, NULL},
	{"client", 18, NULL},
	{"scope", 10, NULL},
	{"target", 8, NULL},
	{"instance", -8, NULL},
	{"state", 10, NULL},
	{"connections", -5, "conns"},
	{"expires_in_ms", -10, "expires_ms"},
	{"pid", -7, NULL},
	{"reason", 9, NULL},
	{NULL, 0, NULL},
};

static bool has_both_roles(const struct node *node)
{
	return node->is_router && node->is_target;
}

const struct column *crht_connection_columns(const struct node *node)
{
	return has_both_roles(node) ? connection_columns : connection_columns + 1;
}

const struct column *crht_affinity_columns(const struct node *node)
{
	return has_both_roles(node) ? affinity_columns : affinity_columns + 1;
}

struct walk {
	struct node *node;
	const struct crht_filter *filter;
	struct listing *listing;
	__u64 now_ns;
};

__u64 crht_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void add_text(struct json_object *row, const char *member, const char *text)
{
	json_object_object_add(row, member, text ? json_object_new_string(text) : NULL);
}

/* Whose row it is, where that is a question. */
static struct json_object *begin_row(const struct node *node, const char *role)
{
	struct json_object *row = json_object_new_object();

	if (has_both_roles(node))
		add_text(row, "role", role);
	return row;
}

static void add_number(struct json_object *row, const char *member, __u64 value)
{
	json_object_object_add(row, member, json_object_new_int64((int64_t)value));
}

static void add_client(struct json_object *row, const struct address *client)
{
	char text[ADDRESS_TEXT];

	add_text(row, "client", address_format(client, text));
}

static bool connection_wanted(const struct walk *walk, const struct connection_key *key,
			      const char *service)
{
	const struct crht_filter *filter = walk->filter;

	if (!*service || (filter->service && strcmp(filter->service, service)))
		return false;
	return !filter->has_client || address_equal(&filter->client, &key->client);
}

static struct json_object *connection_row(const struct node *node, const char *role,
					  const struct connection_key *key, const char *service)
{
	struct json_object *row = begin_row(node, role);

	add_client(row, &key->client);
	add_number(row, "client_port", ntohs(key->client_port));
	add_text(row, "service", service);
	return row;
}

static const char *target_name(const struct node *node, __u16 number)
{
	if (number >= MAX_TARGETS || !*node->targets[number].name)
		return NULL;
	return node->targets[number].name;
}

static int router_connection(void *context, const void *key_, const void *value_)
{
	const struct walk *walk = context;
	const struct router_connection *value = value_;
	const struct connection_key *key = key_;
	struct json_object *row;
	const char *service;

	if (key->service >= MAX_SERVICES)
		return 0;
	service = walk->node->router_services[key->service].name;
	if (!connection_wanted(walk, key, service))
		return 0;
	row = connection_row(walk->node, "router", key, service);
	add_text(row, "target", target_name(walk->node, value->target));
	json_object_object_add(row, "instance", NULL);
	add_text(row, "state", value->state == CONNECTION_LINGERS ? "lingers" : "open");
	listing_row(walk->listing, row);
	return 0;
}

static __u64 instance_id(const struct node *node, __u32 slot)
{
	return slot < MAX_INSTANCES ? node->instances[slot].id : 0;
}

static int target_connection(void *context, const void *key_, const void *value_)
{
	const struct walk *walk = context;
	const struct target_connection *value = value_;
	const struct connection_key *key = key_;
	struct json_object *row;
	const char *service;
	__u64 id;

	if (key->service >= MAX_SERVICES)
		return 0;
	service = walk->node->target_services[key->service].name;
	if (!connection_wanted(walk, key, service))
		return 0;
	row = connection_row(walk->node, "target", key, service);
	id = instance_id(walk->node, value->instance);
	add_text(row, "target", walk->node->config->node);
	json_object_object_add(row, "instance", id ? json_object_new_int64((int64_t)id) : NULL);
	add_text(row, "state", "open");
	listing_row(walk->listing, row);
	return 0;
}

int crht_connections(struct node *node, const struct crht_filter *filter, struct listing *listing)
{
	struct walk walk = {node, filter, listing, crht_now_ns()};
	int result = 0;

	if (node->is_router)
		result = maps_walk(&node->maps, MAP_ROUTER_CONNECTIONS, router_connection, &walk);
	if (!result && node->is_target)
		result = maps_walk(&node->maps, MAP_TARGET_CONNECTIONS, target_connection, &walk);
	return result;
}

/* ------------------------------------------------------------------------------------------
 * affinities */

/* The first service of a scope, and its prefix: services of one scope share it for each family. */
static const char *scope_service(const struct node *node, bool router, __u16 scope, bool ipv4,
				 unsigned int *prefix)
{
	for (int i = 0; i < MAX_SERVICES; i++) {
		const struct router_service *r = &node->router_services[i];
		const struct target_service *t = &node->target_services[i];
		const struct address *address = router ? &r->key.address : &t->key.address;

		if (!(router ? *r->name : *t->name) || (router ? r->scope : t->scope) != scope)
			continue;
		if (address_is_ipv4(address) != ipv4)
			continue;
		*prefix = router ? r->client_prefix : t->client_prefix;
		return router ? r->name : t->name;
	}
	*prefix = 128;
	return NULL;
}

static bool affinity_wanted(const struct walk *walk, const struct affinity_key *key, bool router,
			    const char *service, unsigned int prefix)
{
	const struct crht_filter *filter = walk->filter;
	struct address client = filter->client;

	if (filter->has_client) {
		address_mask(&client, prefix);
		if (!address_equal(&client, &key->client))
			return false;
	}
	if (!filter->service || (service && !strcmp(service, filter->service)))
		return true;
	for (int i = 0; i < MAX_SERVICES; i++) { /* another service of the same scope */
		const struct router_service *r = &walk->node->router_services[i];
		const struct target_service *t = &walk->node->target_services[i];

		if (!strcmp(router ? r->name : t->name, filter->service))
			return (router ? r->scope : t->scope) == key->scope;
	}
	return false;
}

static void add_prefix_client(struct json_object *row, const struct affinity_key *key,
			      unsigned int prefix)
{
	char text[ADDRESS_TEXT], with_length[ADDRESS_TEXT + 8];
	bool ipv4 = address_is_ipv4(&key->client);

	address_format(&key->client, text);
	if (prefix == 128) {
		add_text(row, "client", text);
		return;
	}
	snprintf(with_length, sizeof(with_length), "%s/%u", text, ipv4 ? prefix - 96 : prefix);
	add_text(row, "client", with_length);
}

static int router_affinity(void *context, const void *key_, const void *value_)
{
	static const char *const unknown[] = {"instance", "connections", "idle_ms", "expires_in_ms",
					      "age_ms",	  "pid",	 "reason"};
	const struct walk *walk = context;
	const struct router_affinity *value = value_;
	const struct affinity_key *key = key_;
	struct json_object *row;
	unsigned int prefix;
	const char *service;

	if (key->scope >= MAX_SERVICES)
		return 0;
	service =
		scope_service(walk->node, true, key->scope, address_is_ipv4(&key->client), &prefix);
	if (!affinity_wanted(walk, key, true, service, prefix))
		return 0;
	row = begin_row(walk->node, "router");
	add_prefix_client(row, key, prefix);
	add_text(row, "service", service);
	add_text(row, "scope", walk->node->router_scopes[key->scope].name);
	add_text(row, "target", target_name(walk->node, value->target));
	add_text(row, "state", value->granted ? "here" : "everywhere");
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		json_object_object_add(row, unknown[i], NULL); /* the target's knowledge */
	listing_row(walk->listing, row);
	return 0;
}

static bool in_force_everywhere(const struct node *node, const struct affinity_key *key, __u64 id)
{
	struct grant grant;

	return !maps_get(&node->maps, MAP_GRANTS, key, &grant) && grant.id == id &&
	       grant.everywhere;
}

static int target_affinity(void *context, const void *key_, const void *value_)
{
	const struct walk *walk = context;
	const struct target_affinity *value = value_;
	const struct affinity_key *key = key_;
	struct json_object *row;
	unsigned int prefix;
	const char *service;
	struct affinity_facts facts;
	__u64 expires;

	if (key->scope >= MAX_SERVICES || value->service >= MAX_SERVICES)
		return 0;
	scope_service(walk->node, false, key->scope, address_is_ipv4(&key->client), &prefix);
	service = walk->node->target_services[value->service].name;
	affinity_read_facts(&walk->node->maps, key, value, walk->now_ns, &facts);
	if (!affinity_wanted(walk, key, false, service, prefix) || affinity_over(value, &facts))
		return 0;
	expires = affinity_expires_ns(value, facts.connections);
	row = begin_row(walk->node, "target");
	add_prefix_client(row, key, prefix);
	add_text(row, "service", service);
	add_text(row, "scope", walk->node->target_scopes[key->scope].name);
	add_text(row, "target", walk->node->config->node);
	add_number(row, "instance", instance_id(walk->node, value->instance));
	add_text(row, "state",
		 in_force_everywhere(walk->node, key, affinity_id(value)) ? "everywhere" : "here");
	add_number(row, "connections", facts.connections);
	add_number(row, "idle_ms", value->idle_ns / 1000000);
	json_object_object_add(
		row, "expires_in_ms",
		expires == NEVER_NS
			? NULL
			: json_object_new_int64((int64_t)((expires - walk->now_ns) / 1000000)));
	add_number(row, "age_ms",
		   walk->now_ns > value->created_ns ? (walk->now_ns - value->created_ns) / 1000000
						    : 0);
	add_number(row, "pid", value->pid);
	add_text(row, "reason", value->flags & AFFINITY_FLAG_TIMED ? "timed" : "requested");
	listing_row(walk->listing, row);
	return 0;
}

int crht_affinities(struct node *node, const struct crht_filter *filter, struct listing *listing)
{
	struct walk walk = {node, filter, listing, crht_now_ns()};
	int result = 0;

	if (node->is_router)
		result = maps_walk(&node->maps, MAP_ROUTER_AFFINITIES, router_affinity, &walk);
	if (!result && node->is_target)
		result = maps_walk(&node->maps, MAP_TARGET_AFFINITIES, target_affinity, &walk);
	return result;
}

struct latest {
	const struct node *node;
	__u64 instance, now_ns, expires_ns;
};

static int take_later(void *context, const void *key, const void *value)
{
	const struct target_affinity *affinity = value;
	struct latest *latest = context;
	struct affinity_facts facts;
	__u64 expires;

	affinity_read_facts(&latest->node->maps, key, affinity, latest->now_ns, &facts);
	if (affinity_over(affinity, &facts) ||
	    (latest->instance && instance_id(latest->node, affinity->instance) != latest->instance))
		return 0;
	expires = affinity_expires_ns(affinity, facts.connections);
	if (expires != NEVER_NS && expires > latest->expires_ns)
		latest->expires_ns = expires;
	return 0;
}

int64_t crht_latest_expiry_ms(struct node *node, __u64 instance)
{
	struct latest latest = {.node = node, .instance = instance, .now_ns = crht_now_ns()};

	if (!node->is_target)
		return -1;
	maps_walk(&node->maps, MAP_TARGET_AFFINITIES, take_later, &latest);
	if (!latest.expires_ns)
		return -1;
	return latest.expires_ns > latest.now_ns
		       ? (int64_t)((latest.expires_ns - latest.now_ns) / 1000000)
		       : 0;
}
