/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics.h"

#include <string.h>

static void write_counters(const struct agent *agent, struct evbuffer *out)
{
	__u64 counters[COUNTERS];

	if (maps_counters(&agent->maps, counters))
		return;
	for (int i = 0; i < COUNTERS; i++)
		evbuffer_add_printf(out,
				    "# HELP limpet_%s_total %s\n# TYPE limpet_%s_total counter\n"
				    "limpet_%s_total %llu\n",
				    counter_name(i), counter_text(i), counter_name(i),
				    counter_name(i), counters[i]);
}

static void write_type(struct evbuffer *out, const char *name, const char *help)
{
	evbuffer_add_printf(out, "# HELP limpet_%s %s\n# TYPE limpet_%s gauge\n", name, help, name);
}

static long long number(struct json_object *row, const char *member)
{
	struct json_object *value;

	return json_object_object_get_ex(row, member, &value) ? json_object_get_int64(value) : 0;
}

static const char *text(struct json_object *row, const char *member)
{
	struct json_object *value;

	return json_object_object_get_ex(row, member, &value) ? json_object_get_string(value) : "";
}

/* One gauge with a sample for each row; names are [a-z0-9._-], so labels need no escaping. */
static void write_rows(struct evbuffer *out, const char *metric, const char *help,
		       struct json_object *rows, const char *label, const char *name_member,
		       const char *member)
{
	write_type(out, metric, help);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		evbuffer_add_printf(out, "limpet_%s{%s=\"%s\"} %lld\n", metric, label,
				    text(row, name_member), number(row, member));
	}
}

static void write_router(const struct agent *agent, struct evbuffer *out)
{
	struct json_object *targets = router_targets_json(agent->router);
	struct json_object *peers = router_sync_json(agent->router);
	struct router_role role = {};
	__u32 zero = 0;
	char missing[4096];

	maps_get(&agent->maps, MAP_ROLE, &zero, &role);
	write_type(out, "router_active", "1 when this router is active");
	evbuffer_add_printf(out, "limpet_router_active %d\n", role.role == ROLE_ACTIVE);
	write_type(out, "router_ready", "1 when every target of the roster is in sync");
	evbuffer_add_printf(out, "limpet_router_ready %d\n",
			    !router_ready(agent->router, missing, sizeof(missing)));
	write_type(out, "target_up", "1 when the target takes new connections");
	for (size_t i = 0; i < json_object_array_length(targets); i++) {
		struct json_object *row = json_object_array_get_idx(targets, i);

		evbuffer_add_printf(out, "limpet_target_up{target=\"%s\"} %d\n", text(row, "name"),
				    !strcmp(text(row, "state"), "up"));
	}
	write_rows(out, "target_connections", "connections in the table, by target", targets,
		   "target", "name", "connections");
	write_rows(out, "target_affinities", "affinities in the table, by target", targets,
		   "target", "name", "affinities");
	write_rows(out, "target_ready_instances", "ready instances, by target", targets, "target",
		   "name", "ready_instances");
	write_rows(out, "sync_missing_entries",
		   "entries that the peer has reported and are not here", peers, "peer", "peer",
		   "missing");
	json_object_put(targets);
	json_object_put(peers);
}

static void write_target(const struct agent *agent, struct evbuffer *out)
{
	struct json_object *instances = target_instances_json(agent->target);
	long long connections = 0, affinities = 0, ready = 0;

	for (size_t i = 0; i < json_object_array_length(instances); i++) {
		struct json_object *row = json_object_array_get_idx(instances, i);

		connections += number(row, "connections");
		affinities += number(row, "affinities");
		ready += !strcmp(text(row, "state"), "ready");
	}
	write_type(out, "instances_ready", "instances here that take new clients");
	evbuffer_add_printf(out, "limpet_instances_ready %lld\n", ready);
	write_type(out, "instance_connections", "established connections of instances here");
	evbuffer_add_printf(out, "limpet_instance_connections %lld\n", connections);
	write_type(out, "instance_affinities", "affinities of instances here");
	evbuffer_add_printf(out, "limpet_instance_affinities %lld\n", affinities);
	json_object_put(instances);
}

void metrics_write(const struct agent *agent, struct evbuffer *out)
{
	write_type(out, "table_size_entries", "how many entries a table can hold");
	evbuffer_add_printf(out,
			    "limpet_table_size_entries{table=\"connections\"} %u\n"
			    "limpet_table_size_entries{table=\"affinities\"} %u\n",
			    agent->config->max_connections, agent->config->max_affinities);
	if (agent->router)
		write_router(agent, out);
	if (agent->target)
		write_target(agent, out);
	write_counters(agent, out);
}
