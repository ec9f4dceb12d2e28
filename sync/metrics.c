/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#include "interfaces.h"
#include "router_mirror.h"

static void write_counter(struct evbuffer *out, const char *name, const char *help, uint64_t value)
{
	evbuffer_add_printf(out,
			    "# HELP limpet_%s_total %s\n# TYPE limpet_%s_total counter\n"
			    "limpet_%s_total %" PRIu64 "\n",
			    name, help, name, name, value);
}

static void write_counters(const struct agent *agent, struct evbuffer *out)
{
	__u64 counters[COUNTERS];

	if (maps_counters(&agent->maps, counters))
		return;
	for (int i = 0; i < COUNTERS; i++)
		write_counter(out, counter_name(i), counter_text(i), counters[i]);
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

/* Both tables' samples of one name. */
static void write_tables(struct evbuffer *out, const char *metric, const char *help,
			 uint64_t connections, uint64_t affinities)
{
	write_type(out, metric, help);
	evbuffer_add_printf(out,
			    "limpet_%s{table=\"connections\"} %" PRIu64 "\n"
			    "limpet_%s{table=\"affinities\"} %" PRIu64 "\n",
			    metric, connections, metric, affinities);
}

static void write_counts(const struct mirror_counts *counts, struct evbuffer *out)
{
	const struct {
		const char *name, *help;
		uint64_t value;
	} totals[] = {
		{"table_full", "entries of targets that found no room in a table", counts->full},
		{"connection_conflicts", "reports of a connection that another target has too",
		 counts->conflicts},
		{"unlisted_messages",
		 "messages about services or scopes that are not this router's", counts->unlisted},
		{"digests_different", "digests that differed, each answered by a new snapshot",
		 counts->digests_different},
		{"claims_granted", "claims to a client that were granted", counts->granted},
		{"claims_refused", "claims to a client that were refused", counts->refused},
		{"affinities_lost", "affinities that a higher term has ended", counts->lost},
	};

	write_tables(out, "table_entries", "entries in a table", counts->connections,
		     counts->affinities);
	write_tables(out, "table_waiting_entries", "entries of targets that wait for room",
		     counts->connections_waiting, counts->affinities_waiting);
	write_type(out, "lingering_connections",
		   "closed, and kept until their last packets are in");
	evbuffer_add_printf(out, "limpet_lingering_connections %" PRIu64 "\n", counts->lingering);
	for (size_t i = 0; i < sizeof(totals) / sizeof(*totals); i++)
		write_counter(out, totals[i].name, totals[i].help, totals[i].value);
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
	write_type(out, "router_ready", "1 when this router could take over, as limpet ready says");
	evbuffer_add_printf(out, "limpet_router_ready %d\n",
			    !router_ready(agent->router, missing, sizeof(missing)));
	write_type(out, "router_roster_written", "1 when the roster on disk is the present one");
	evbuffer_add_printf(out, "limpet_router_roster_written %d\n",
			    router_roster_written(agent->router));
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
	write_counts(router_counts(agent->router), out);
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

/* An interface's name may have anything but spaces and slashes. */
static void write_label(struct evbuffer *out, const char *name)
{
	for (; *name; name++)
		evbuffer_add_printf(out, "%s%c", strchr("\"\\", *name) ? "\\" : "", *name);
}

static void write_interfaces(const struct agent *agent, struct evbuffer *out)
{
	const char *names[ALL_INTERFACES];
	unsigned int count = interfaces_list(agent->config, names);

	write_type(out, "interface_attached", "1 when the XDP program is attached to it");
	for (unsigned int i = 0; i < count; i++) {
		evbuffer_add_printf(out, "limpet_interface_attached{interface=\"");
		write_label(out, names[i]);
		evbuffer_add_printf(out, "\"} %d\n", interface_has_xdp(agent->config, names[i]));
	}
}

void metrics_write(const struct agent *agent, struct evbuffer *out)
{
	write_type(out, "table_size_entries", "how many entries a table can hold");
	evbuffer_add_printf(out,
			    "limpet_table_size_entries{table=\"connections\"} %u\n"
			    "limpet_table_size_entries{table=\"affinities\"} %u\n",
			    agent->config->max_connections, agent->config->max_affinities);
	write_interfaces(agent, out);
	if (agent->router)
		write_router(agent, out);
	if (agent->target)
		write_target(agent, out);
	write_counters(agent, out);
}
