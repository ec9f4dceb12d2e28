/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "config_read.h"

#define DEFAULT_CONNECTIONS 1000000
#define DEFAULT_AFFINITIES  200000
#define MAX_ENTRIES	    64000000
#define DEFAULT_WEIGHT	    100

static int read_target_routers(struct reading *reading, const struct file_target *from,
			       struct config_target *target)
{
	target->routers = calloc(from->routers_count, sizeof(*target->routers));
	if (!target->routers)
		return -ENOMEM;
	for (unsigned int i = 0; i < from->routers_count; i++) {
		struct config_endpoint *router = &target->routers[i];
		int wrong;

		AT(reading, "target.routers[%u]", i);
		wrong = read_endpoint(reading, reading->path, from->routers[i], &router->address,
				      &router->port, false);
		if (wrong)
			return wrong;
		for (unsigned int j = 0; j < i; j++) {
			if (address_equal(&target->routers[j].address, &router->address) &&
			    target->routers[j].port == router->port)
				return WRONG(reading, reading->path, "%s: %s is named twice",
					     reading->path, from->routers[i]);
		}
	}
	target->router_count = from->routers_count;
	return 0;
}

static int read_service_addresses(struct reading *reading, const struct file_target *from,
				  struct config_target *target)
{
	target->service_addresses =
		calloc(from->service_addresses_count, sizeof(*target->service_addresses));
	if (!target->service_addresses)
		return -ENOMEM;
	for (unsigned int i = 0; i < from->service_addresses_count; i++) {
		AT(reading, "target.service_addresses[%u]", i);
		if (prefix_parse(from->service_addresses[i], &target->service_addresses[i]))
			return WRONG(reading, reading->path,
				     "%s: '%.60s' is not a prefix, for example 203.0.113.0/24 or "
				     "2001:db8::/64 (no bit set beyond its length)",
				     reading->path, from->service_addresses[i]);
	}
	target->service_address_count = from->service_addresses_count;
	return 0;
}

/* Where the system has mounted cgroup2; its usual place when that is nowhere. */
static char *cgroup_mount(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char *found = NULL;
	struct mntent *mount;

	while (mounts && !found && (mount = getmntent(mounts)))
		if (!strcmp(mount->mnt_type, "cgroup2"))
			found = strdup(mount->mnt_dir);
	if (mounts)
		endmntent(mounts);
	return found ? found : strdup("/sys/fs/cgroup");
}

static int read_target(struct reading *reading)
{
	const struct file_target *from = reading->file->target;
	struct config_target *target = &reading->config->target;
	int wrong;

	if (!from)
		return 0;
	reading->config->has_target = true;
	target->interface_count = from->interfaces_count;
	target->weight = from->weight ? *from->weight : DEFAULT_WEIGHT;
	target->affinity_quota = from->affinity_quota ? *from->affinity_quota : 0;
	wrong = read_interfaces(reading, "target", from->interfaces, from->interfaces_count,
				target->interfaces);
	if (wrong)
		return wrong;
	wrong = read_address(reading, "target.address", from->address, &target->address);
	if (wrong)
		return wrong;
	wrong = read_target_routers(reading, from, target);
	if (wrong)
		return wrong;
	wrong = read_service_addresses(reading, from, target);
	if (wrong)
		return wrong;
	target->cgroup = from->cgroup ? read_path(reading, from->cgroup) : cgroup_mount();
	return target->cgroup ? 0 : -ENOMEM;
}

static int read_tables(struct reading *reading)
{
	const struct file_tables *from = reading->file->tables;
	struct config *config = reading->config;

	config->max_connections =
		from && from->connections ? *from->connections : DEFAULT_CONNECTIONS;
	config->max_affinities = from && from->affinities ? *from->affinities : DEFAULT_AFFINITIES;
	if (config->max_connections < 1 || config->max_connections > MAX_ENTRIES)
		return WRONG(reading, "tables.connections",
			     "tables.connections: %u is not from 1 to %u", config->max_connections,
			     MAX_ENTRIES);
	if (config->max_affinities < 1 || config->max_affinities > MAX_ENTRIES)
		return WRONG(reading, "tables.affinities",
			     "tables.affinities: %u is not from 1 to %u", config->max_affinities,
			     MAX_ENTRIES);
	return 0;
}

#define PIN_PATH	  "/sys/fs/bpf/limpet"
#define RUNTIME_DIRECTORY "/run/limpet"
#define STATE_DIRECTORY	  "/var/lib/limpet"
#define RUNTIME_MAX	  (sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("/control.sock"))

static int read_paths(struct reading *reading)
{
	const struct file *file = reading->file;
	struct config *config = reading->config;
	const struct {
		const char *from, *otherwise;
		char **to;
	} paths[] = {
		{file->tls->ca, NULL, &config->tls_ca},
		{file->tls->certificate, NULL, &config->tls_certificate},
		{file->tls->key, NULL, &config->tls_key},
		{file->pin_path, PIN_PATH, &config->pin_path},
		{file->runtime_directory, RUNTIME_DIRECTORY, &config->runtime_directory},
		{file->state_directory, STATE_DIRECTORY, &config->state_directory},
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		const char *path = paths[i].from ? paths[i].from : paths[i].otherwise;

		*paths[i].to = read_path(reading, path);
		if (!*paths[i].to)
			return -ENOMEM;
	}
	if (strlen(config->runtime_directory) > RUNTIME_MAX)
		return WRONG(reading, "runtime_directory",
			     "runtime_directory: %.40s... is longer than %zu characters, which a "
			     "socket in it cannot have",
			     config->runtime_directory, RUNTIME_MAX);
	return 0;
}

static int read_file(struct reading *reading)
{
	int wrong = read_name(reading, "node", reading->file->node, reading->config->node);

	if (wrong)
		return wrong;
	if (!reading->file->router && !reading->file->target)
		return WRONG(reading, "",
			     "neither router nor target: a node needs one of them or both");
	wrong = read_router(reading);
	if (wrong)
		return wrong;
	wrong = read_target(reading);
	if (wrong)
		return wrong;
	wrong = read_tables(reading);
	if (wrong)
		return wrong;
	return read_paths(reading);
}

int config_load(const char *path, struct config **config, char error[CONFIG_ERROR])
{
	struct reading reading = {.error = error};
	int wrong = document_open(&reading.document, path, error, CONFIG_ERROR);

	if (wrong)
		return wrong;
	wrong = file_load(&reading.document, &reading.file, error);
	if (wrong) {
		document_close(&reading.document);
		return wrong;
	}

	reading.config = calloc(1, sizeof(*reading.config));
	if (reading.config)
		reading.config->path = strdup(path);
	if (reading.config && reading.config->path)
		wrong = read_file(&reading);
	else
		wrong = -ENOMEM;
	if (wrong == -ENOMEM)
		snprintf(error, CONFIG_ERROR, "%s: out of memory", path);
	file_free(reading.file);
	document_close(&reading.document);
	if (wrong) {
		config_free(reading.config);
		return wrong;
	}
	*config = reading.config;
	return 0;
}

/* The text at a path of the file, or what it is otherwise. */
static const char *find_text(struct reading *reading, const char *path, const char *otherwise)
{
	yaml_node_t *node = document_find(&reading->document, path);

	if (!node || node->type != YAML_SCALAR_NODE || !node->data.scalar.length)
		return otherwise;
	return (const char *)node->data.scalar.value;
}

static int read_places(struct reading *reading)
{
	struct config *config = reading->config;

	snprintf(config->node, NAME_SIZE, "%.31s", find_text(reading, "node", "this node"));
	config->pin_path = read_path(reading, find_text(reading, "pin_path", PIN_PATH));
	config->runtime_directory =
		read_path(reading, find_text(reading, "runtime_directory", RUNTIME_DIRECTORY));
	return config->pin_path && config->runtime_directory ? 0 : -ENOMEM;
}

int config_load_places(const char *path, struct config **config, char error[CONFIG_ERROR])
{
	struct reading reading = {.error = error};
	int wrong = document_open(&reading.document, path, error, CONFIG_ERROR);

	if (wrong)
		return wrong;
	reading.config = calloc(1, sizeof(*reading.config));
	if (reading.config)
		reading.config->path = strdup(path);
	wrong = reading.config && reading.config->path ? read_places(&reading) : -ENOMEM;
	document_close(&reading.document);
	if (wrong) {
		snprintf(error, CONFIG_ERROR, "%s: out of memory", path);
		config_free(reading.config);
		return wrong;
	}
	*config = reading.config;
	return 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free(config->path);
	free(config->router.services);
	free(config->target.routers);
	free(config->target.service_addresses);
	free(config->target.cgroup);
	free(config->tls_ca);
	free(config->tls_certificate);
	free(config->tls_key);
	free(config->pin_path);
	free(config->runtime_directory);
	free(config->state_directory);
	free(config);
}
