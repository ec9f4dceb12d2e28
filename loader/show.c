/* SPDX-License-Identifier: BSD-2-Clause */
/* show.c - `limpet show …`: connections, affinities and services from the pinned maps, the rest
 * from the agent where it runs, and else as far as the maps hold it (offline.h). */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "control.h"
#include "crht.h"
#include "listener.h"
#include "log.h"
#include "offline.h"

struct show {
	const struct config *config;
	struct crht_filter filter;
	bool json;
};

static const struct column service_columns[] = {
	{"name", 10, NULL},
	{"role", 6, NULL},
	{"address", 16, NULL},
	{"port", -5, NULL},
	{"distribution", 10, "distribut."},
	{"scope", 10, NULL},
	{"affinity", 9, NULL},
	{"affinity_idle_ms", -8, "idle_ms"},
	{"client_prefix", -6, "prefix"},
	{"ready_instances", -5, "ready"},
	{NULL, 0, NULL},
};

static const struct column target_columns[] = {
	{"name", 10, NULL},	    {"address", 24, NULL},     {"state", 10, NULL},
	{"path", 6, NULL},	    {"weight", -6, NULL},      {"ready_instances", -5, "ready"},
	{"connections", -11, NULL}, {"affinities", -10, NULL}, {NULL, 0, NULL},
};

static const struct column instance_columns[] = {
	{"id", -8, NULL},	   {"service", 12, NULL}, {"pid", -8, NULL},
	{"command", 16, NULL},	   {"state", 11, NULL},	  {"connections", -11, NULL},
	{"affinities", -10, NULL}, {"remedy", 6, NULL},	  {NULL, 0, NULL},
};

static const struct column router_columns[] = {
	{"name", 10, NULL},  {"address", 24, NULL},	   {"state", 12, NULL}, {"role", 8, NULL},
	{"epoch", -6, NULL}, {"last_heard_ms", -13, NULL}, {NULL, 0, NULL},
};

static const struct column sync_columns[] = {
	{"peer", 10, NULL},    {"here", -9, NULL},   {"there", -9, NULL},
	{"missing", -9, NULL}, {"digest", 10, NULL}, {"last_heard_ms", -13, NULL},
	{NULL, 0, NULL},
};

/* --service: 0, or 1 with a line on standard error. */
static int check_service(const struct show *show, const struct node *node)
{
	const char *name = show->filter.service;

	for (int i = 0; name && *name && i < MAX_SERVICES; i++)
		if ((node->is_router && !strcmp(node->router_services[i].name, name)) ||
		    (node->is_target && !strcmp(node->target_services[i].name, name)))
			return 0;
	if (!name)
		return 0;
	log_error("there is no service '%s' on this node; `limpet show services` lists them", name);
	return 1;
}

/* ------------------------------------------------------------------------------------------
 * from the agent */

/* A list of the agent's. */
struct source {
	const char *path; /* of the control socket */
	const struct column *columns;
	/* NULL: every row. */
	bool (*wanted)(const struct crht_filter *filter, struct json_object *row);
	/* The same from the maps, and what these do not tell. NULL: nothing of it. */
	int (*offline)(struct node *node, const struct crht_filter *filter,
		       struct listing *listing);
	const char *lacks;
	/* Who has such rows; ANY_ROLE: every node. */
	enum { ANY_ROLE, ROUTER, TARGET } role;
};

/* Nothing by that role here: 0, an empty list, for scripts, and a line on standard error; 1: not
 * loaded, with that line; -1: it has that role. */
static int show_without_role(const struct show *show, const struct source *source)
{
	struct node *node = node_open(show->config);
	struct listing listing;
	bool has_role;

	if (!node)
		return 1;
	has_role = source->role == ROUTER ? node->is_router : node->is_target;
	node_close(node);
	if (has_role)
		return -1;
	listing_begin(&listing, source->columns, show->json);
	listing_end(&listing);
	log_info("this node is no %s: %s are known to %ss",
		 source->role == ROUTER ? "router" : "target", source->path + 1,
		 source->role == ROUTER ? "router" : "target");
	return 0;
}

/* What there is without the agent: 0, or 1 with a line on standard error. */
static int show_offline(const struct show *show, const struct source *source)
{
	struct node *node = node_open(show->config);
	struct listing listing;
	int result;

	if (!node)
		return 1;
	log_warning("limpetd %s: this is what the tables hold; %s are not known",
		    control_agent_runs(show->config) ? "does not answer" : "is not running",
		    source->lacks);
	listing_begin(&listing, source->columns, show->json);
	result = source->offline(node, &show->filter, &listing);
	listing_end(&listing);
	if (result)
		log_error("cannot read the table to its end: %s", strerror(-result));
	node_close(node);
	return !!result;
}

/* 0, or 1 with a line on standard error. */
static int show_from_agent(const struct show *show, const struct source *source)
{
	struct json_object *rows = NULL;
	struct listing listing;
	char *body = NULL;
	int status = source->role == ANY_ROLE ? -1 : show_without_role(show, source);

	if (status >= 0)
		return status;
	status = control_request(show->config, "GET", source->path, &body);
	if (status == 200)
		rows = json_tokener_parse(body);
	free(body);
	if (!rows || !json_object_is_type(rows, json_type_array)) {
		json_object_put(rows);
		if (source->offline)
			return show_offline(show, source);
		control_unavailable(show->config, status, "");
		return 1;
	}
	listing_begin(&listing, source->columns, show->json);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!source->wanted || source->wanted(&show->filter, row))
			listing_row(&listing, json_object_get(row));
	}
	json_object_put(rows);
	listing_end(&listing);
	return 0;
}

/* Its `service` is a list of names with commas between. */
static bool instance_wanted(const struct crht_filter *filter, struct json_object *row)
{
	struct json_object *value = NULL;
	const char *at;
	size_t length;

	if (!filter->service)
		return true;
	json_object_object_get_ex(row, "service", &value);
	at = value ? json_object_get_string(value) : "";
	for (;; at += length + 1) {
		length = strcspn(at, ",");
		if (length == strlen(filter->service) && !strncmp(at, filter->service, length))
			return true;
		if (!at[length])
			return false;
	}
}

static int show_targets(const struct show *show)
{
	static const struct source source = {"/targets",      target_columns,	    NULL,
					     offline_targets, OFFLINE_TARGETS_LACK, ROUTER};

	return show_from_agent(show, &source);
}

static int show_instances(const struct show *show)
{
	static const struct source source = {"/instances",	     instance_columns,
					     instance_wanted,	     offline_instances,
					     OFFLINE_INSTANCES_LACK, TARGET};
	struct node *node = show->filter.service ? node_open(show->config) : NULL;
	int unknown = show->filter.service && (!node || check_service(show, node));

	if (node)
		node_close(node);
	if (unknown)
		return 1;
	return show_from_agent(show, &source);
}

static int show_routers(const struct show *show)
{
	static const struct source source = {"/routers",      router_columns,	    NULL,
					     offline_routers, OFFLINE_ROUTERS_LACK, TARGET};

	return show_from_agent(show, &source);
}

static int show_sync(const struct show *show)
{
	static const struct source source = {.path = "/sync", .columns = sync_columns};

	return show_from_agent(show, &source);
}

/* ------------------------------------------------------------------------------------------
 * from the maps */

/* NULL with a line on standard error. */
static struct node *open_tables(const struct show *show)
{
	struct node *node = node_open(show->config);

	if (!node)
		return NULL;
	if (check_service(show, node)) {
		node_close(node);
		return NULL;
	}
	if (node->is_router && !control_agent_runs(show->config))
		log_warning("limpetd is not running: what targets have reported since it ended is "
			    "not in here");
	return node;
}

/* Closes the node: 0, or 1 with a line on standard error. */
static int show_tables(const struct show *show, struct node *node, const struct column *columns,
		       int (*rows)(struct node *, const struct crht_filter *, struct listing *))
{
	struct listing listing;
	int result;

	listing_begin(&listing, columns, show->json);
	result = rows(node, &show->filter, &listing);
	listing_end(&listing);
	if (result)
		log_error("cannot read the table to its end: %s", strerror(-result));
	node_close(node);
	return !!result;
}

static int show_connections(const struct show *show)
{
	struct node *node = open_tables(show);

	return node ? show_tables(show, node, crht_connection_columns(node), crht_connections) : 1;
}

static int show_affinities(const struct show *show)
{
	struct node *node = open_tables(show);

	return node ? show_tables(show, node, crht_affinity_columns(node), crht_affinities) : 1;
}

static const char *const affinity_names[] = {"none", "requested", "timed"};
static const char *const distribution_names[] = {"maglev", "leastconn", "hotstandby"};

static struct json_object *service_row(const char *name, const char *role,
				       const struct service_key *key, const char *scope,
				       unsigned int affinity, unsigned int prefix)
{
	struct json_object *row = json_object_new_object();
	bool ipv4 = address_is_ipv4(&key->address);
	char text[ADDRESS_TEXT];

	json_object_object_add(row, "name", json_object_new_string(name));
	json_object_object_add(row, "role", json_object_new_string(role));
	json_object_object_add(row, "address",
			       json_object_new_string(address_format(&key->address, text)));
	json_object_object_add(row, "port", json_object_new_int(ntohs(key->port)));
	json_object_object_add(row, "protocol",
			       json_object_new_string(key->protocol == IPPROTO_TCP ? "tcp" : "?"));
	json_object_object_add(row, "scope", json_object_new_string(scope));
	json_object_object_add(row, "affinity",
			       json_object_new_string(affinity <= AFFINITY_BY_TIME
							      ? affinity_names[affinity]
							      : "?"));
	json_object_object_add(
		row, "client_prefix",
		json_object_new_int((int)(ipv4 && prefix >= 96 ? prefix - 96 : prefix)));
	return row;
}

static int router_service_rows(struct node *node, const struct crht_filter *filter,
			       struct listing *listing)
{
	for (__u32 i = 0; node->is_router && i < MAX_SERVICES; i++) {
		const struct router_service *service = &node->router_services[i];
		struct service_state state = {};
		struct json_object *row;

		if (!*service->name || (filter->service && strcmp(filter->service, service->name)))
			continue;
		maps_get(&node->maps, MAP_SERVICE_STATE, &i, &state);
		row = service_row(service->name, "router", &service->key,
				  node->router_scopes[service->scope % MAX_SERVICES].name,
				  service->affinity, service->client_prefix);
		json_object_object_add(
			row, "distribution",
			json_object_new_string(distribution_names[service->distribution % 3]));
		json_object_object_add(row, "affinity_idle_ms",
				       json_object_new_int64(service->affinity_idle_ms));
		json_object_object_add(row, "ready_instances",
				       json_object_new_int64(state.ready_instances));
		listing_row(listing, row);
	}
	return 0;
}

struct member_count {
	struct node *node;
	const struct target_service *service;
	bool ready[MAX_INSTANCES]; /* one may have listeners in several groups */
};

static int count_ready(void *context, const void *key, const void *value)
{
	struct member_count *count = context;
	const struct group *group = value;

	if (!listener_serves(key, group->v6only, &count->service->key))
		return 0;
	for (__u32 i = 0; i < group->members && i < MAX_MEMBERS; i++) {
		__u32 slot = group->member[i].instance;

		if (slot < MAX_INSTANCES)
			count->ready[slot] = count->node->instances[slot].state == INSTANCE_READY;
	}
	return 0;
}

static int target_service_rows(struct node *node, const struct crht_filter *filter,
			       struct listing *listing)
{
	for (__u32 i = 0; node->is_target && i < MAX_SERVICES; i++) {
		const struct target_service *service = &node->target_services[i];
		struct member_count count = {node, service, {false}};
		struct json_object *row;
		int ready = 0;

		if (!*service->name || (filter->service && strcmp(filter->service, service->name)))
			continue;
		maps_walk(&node->maps, MAP_GROUPS, count_ready, &count);
		for (int slot = 0; slot < MAX_INSTANCES; slot++)
			ready += count.ready[slot];
		row = service_row(service->name, "target", &service->key,
				  node->target_scopes[service->scope % MAX_SERVICES].name,
				  service->affinity, service->client_prefix);
		json_object_object_add(row, "distribution", NULL);
		json_object_object_add(
			row, "affinity_idle_ms",
			json_object_new_int64((int64_t)(service->idle_ns / 1000000)));
		json_object_object_add(row, "ready_instances", json_object_new_int64(ready));
		listing_row(listing, row);
	}
	return 0;
}

static int service_rows(struct node *node, const struct crht_filter *filter,
			struct listing *listing)
{
	return router_service_rows(node, filter, listing)
		       ?: target_service_rows(node, filter, listing);
}

static int show_services(const struct show *show)
{
	struct node *node = open_tables(show);

	return node ? show_tables(show, node, service_columns, service_rows) : 1;
}

/* ------------------------------------------------------------------------------------------
 * command */

static const struct list {
	const char *name;
	int (*show)(const struct show *show);
	bool by_service, by_client; /* which options choose among its rows */
} lists[] = {
	{"services", show_services, true, false},    {"targets", show_targets, false, false},
	{"instances", show_instances, true, false},  {"connections", show_connections, true, true},
	{"affinities", show_affinities, true, true}, {"routers", show_routers, false, false},
	{"sync", show_sync, false, false},
};

#define USAGE                                                                                      \
	"limpet show services|targets|instances|connections|affinities|routers|sync "              \
	"[--service S] [--client ADDRESS] [--json]"

/* 0, or 2 with one line on standard error. */
static int parse(int argc, char **argv, struct show *show)
{
	static const struct option options[] = {
		{"service", required_argument, NULL, 's'},
		{"client", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int option;

	optind = opterr = 0;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (option == '?' || option == ':') {
			command_option_error(option, argv, USAGE);
			return 2;
		}
		if (option == 's')
			show->filter.service = optarg;
		else if (option == 'j')
			show->json = true;
		else if (address_parse(optarg, &show->filter.client)) {
			log_error("--client %s: not an IPv4 or IPv6 address", optarg);
			return 2;
		} else
			show->filter.has_client = true;
	}
	if (optind == argc - 1)
		return 0;
	log_error("usage: %s", USAGE);
	return 2;
}

int command_show(const struct config *config, int argc, char **argv)
{
	struct show show = {.config = config};
	int wrong = parse(argc, argv, &show);

	if (wrong)
		return wrong;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		if (strcmp(argv[optind], lists[i].name))
			continue;
		if ((show.filter.service && !lists[i].by_service) ||
		    (show.filter.has_client && !lists[i].by_client)) {
			log_error("show %s: %s does not choose among these", lists[i].name,
				  lists[i].by_service || !show.filter.service ? "--client"
									      : "--service");
			return 2;
		}
		return lists[i].show(&show);
	}
	log_error("there is no list '%s'; usage: %s", argv[optind], USAGE);
	return 2;
}
