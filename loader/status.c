/* SPDX-License-Identifier: BSD-2-Clause */
/* status.c - `limpet status` and `limpet ready`. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpffs.h"
#include "commands.h"
#include "control.h"
#include "interfaces.h"
#include "log.h"
#include "node.h"

static struct json_object *ask(const struct config *config, const char *path, int *status)
{
	struct json_object *body = NULL;
	char *text = NULL;

	*status = control_request(config, "GET", path, &text);
	if (*status > 0)
		body = json_tokener_parse(text);
	free(text);
	return body;
}

/* What the maps alone tell, for when the agent does not answer. */
static struct json_object *status_from_maps(const struct config *config, const struct node *node)
{
	struct json_object *status = json_object_new_object(), *roles = json_object_new_array();
	struct router_role role = {};
	__u32 zero = 0;

	if (node->is_router)
		json_object_array_add(roles, json_object_new_string("router"));
	if (node->is_target)
		json_object_array_add(roles, json_object_new_string("target"));
	json_object_object_add(status, "node", json_object_new_string(config->node));
	json_object_object_add(status, "version", json_object_new_string(LIMPET_VERSION));
	json_object_object_add(status, "pid", NULL);
	json_object_object_add(status, "roles", roles);
	if (node->is_router) {
		struct json_object *router = json_object_new_object();

		maps_get(&node->maps, MAP_ROLE, &zero, &role);
		json_object_object_add(
			router, "role",
			json_object_new_string(role.role == ROLE_ACTIVE ? "active" : "standby"));
		json_object_object_add(router, "ready", NULL);
		json_object_object_add(router, "epoch", json_object_new_int64(role.epoch));
		json_object_object_add(status, "router", router);
	}
	return status;
}

/* Whatever the agent says, a router that sees no packets is not ready. */
static void add_without_xdp(struct json_object *status, const struct config *config)
{
	const char *interface = interface_without_xdp(config);
	struct json_object *router = NULL;

	json_object_object_add(status, "interface_without_xdp",
			       interface ? json_object_new_string(interface) : NULL);
	if (interface && json_object_object_get_ex(status, "router", &router))
		json_object_object_add(router, "ready", json_object_new_boolean(false));
}

static void add_counters(struct json_object *status, const struct maps *maps)
{
	struct json_object *counters = json_object_new_object();
	__u64 values[COUNTERS];

	if (!maps_counters(maps, values))
		for (int i = 0; i < COUNTERS; i++)
			json_object_object_add(counters, counter_name(i),
					       json_object_new_int64((int64_t)values[i]));
	json_object_object_add(status, "counters", counters);
}

static const char *text(struct json_object *object, const char *member)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(object, member, &value);
	return value ? json_object_get_string(value) : "unknown";
}

static void print_status(struct json_object *status, const struct maps *maps)
{
	struct json_object *roles = NULL, *router = NULL;
	__u64 values[COUNTERS];

	printf("node %s, limpet %s\n", text(status, "node"), text(status, "version"));
	json_object_object_get_ex(status, "roles", &roles);
	printf("roles:");
	for (size_t i = 0; i < json_object_array_length(roles); i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(roles, i)));
	printf("\nagent: %s%s\n", strcmp(text(status, "pid"), "unknown") ? "pid " : "not running",
	       strcmp(text(status, "pid"), "unknown") ? text(status, "pid") : "");
	if (json_object_object_get_ex(status, "router", &router))
		printf("router: %s, epoch %s, ready: %s%s%s\n", text(router, "role"),
		       text(router, "epoch"), text(router, "ready"),
		       *text(router, "missing") && strcmp(text(router, "missing"), "unknown")
			       ? ", missing: "
			       : "",
		       strcmp(text(router, "missing"), "unknown") ? text(router, "missing") : "");
	if (strcmp(text(status, "interface_without_xdp"), "unknown"))
		printf(INTERFACE_WITHOUT_XDP "\n", text(status, "interface_without_xdp"));
	if (maps_counters(maps, values))
		return;
	puts("counters (those that are not 0):");
	for (int i = 0; i < COUNTERS; i++)
		if (values[i])
			printf("  %-24s %12llu  %s\n", counter_name(i), values[i], counter_text(i));
}

int command_status(const struct config *config, int argc, char **argv)
{
	struct node *node;
	struct json_object *status;
	bool json = argc == 2 && !strcmp(argv[1], "--json");
	int code;

	if (argc > 1 && !json) {
		fputs("limpet: usage: limpet status [--json]\n", stderr);
		return 2;
	}
	node = node_open(config);
	if (!node)
		return 1;
	status = ask(config, "/status", &code);
	if (!status || code != 200) {
		json_object_put(status);
		status = status_from_maps(config, node);
	}
	add_without_xdp(status, config);
	if (json) {
		add_counters(status, &node->maps);
		puts(json_object_to_json_string_ext(status, JSON_C_TO_STRING_PRETTY));
	} else
		print_status(status, &node->maps);
	json_object_put(status);
	node_close(node);
	return 0;
}

/* NULL: none. */
static const char *without_xdp(const struct config *config, struct json_object *answer)
{
	struct json_object *told = NULL;

	if (json_object_object_get_ex(answer, "interface_without_xdp", &told) && told)
		return json_object_get_string(told);
	return bpffs_exists(config, LAYOUT_DIRECTORY) ? interface_without_xdp(config) : NULL;
}

/* 0 ready, 1 not (says why), 2 cannot tell. */
int command_ready(const struct config *config, int argc, char **argv)
{
	const char *interface, *missing;
	struct json_object *body;
	int code, result = 1;

	(void)argv;
	if (argc != 1) {
		fputs("limpet: usage: limpet ready\n", stderr);
		return 2;
	}
	body = ask(config, "/ready", &code);
	interface = config->has_router ? without_xdp(config, body) : NULL;
	missing = text(body, "missing");
	if (interface) {
		printf("not ready: " INTERFACE_WITHOUT_XDP "\n", interface);
	} else if (code == 200) {
		puts("ready");
		result = 0;
	} else if (code == 503 && body) {
		printf("not ready: %s%s\n", *missing ? "missing " : "no target has joined yet",
		       missing);
	} else {
		result = 2;
		if (code == 404)
			log_error("this node is no router");
		else
			control_unavailable(config, code, "cannot tell: ");
	}
	json_object_put(body);
	return result;
}
