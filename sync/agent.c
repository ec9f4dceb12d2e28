/* SPDX-License-Identifier: BSD-2-Clause */
/* agent.c - the life of limpetd on a node: what its parts stand on, and their start and stop. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interface_watch.h"
#include "log.h"
#include "session.h"
#include "settings.h"

static int make_directory(const char *key, const char *path)
{
	if (!mkdir(path, 0755) || errno == EEXIST)
		return 0;
	log_error("%s %s: cannot be made: %s; make it, or configure another", key, path,
		  strerror(errno));
	return -1;
}

static int lock(int fd)
{
	if (fd < 0)
		return -errno;
	return flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;
}

/* One limpetd a node: two would write the same tables. The lock goes with the process. */
static int take_lock(struct agent *agent)
{
	const char *directory = agent->config->runtime_directory;
	char path[4096];
	int error;

	snprintf(path, sizeof(path), "%s/limpetd.lock", directory);
	agent->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	error = lock(agent->lock);
	if (error == -EWOULDBLOCK)
		log_error("%s: held by another limpetd of this node: stop that one first, or give "
			  "this node a runtime_directory of its own",
			  path);
	else if (error)
		log_error("%s: cannot be locked: %s", path, strerror(-error));
	return error;
}

/* The same, for one that was started with another runtime_directory. `limpet reload` and `unload`
 * look at it, too. */
static int lock_pins(struct agent *agent)
{
	const char *pin_path = agent->config->pin_path;
	char path[4096];
	int error;

	snprintf(path, sizeof(path), "%s/" LAYOUT_DIRECTORY, pin_path);
	agent->pins = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	error = lock(agent->pins);
	if (error == -EWOULDBLOCK)
		log_error("%s: held by another limpetd, with another runtime_directory: stop that "
			  "one first",
			  path);
	else if (error)
		log_error("%s: cannot be locked: %s", path, strerror(-error));
	return error;
}

static int open_maps(struct agent *agent)
{
	const struct config *config = agent->config;
	int error = maps_open(&agent->maps, config->pin_path);

	if (error == -ENOENT) {
		log_error("Limpet is not loaded at %s: run `limpet load`", config->pin_path);
		return -1;
	}
	if (error) {
		log_error("pinned maps at %s: cannot be opened: %s; run `limpet unload`, then "
			  "`limpet load`",
			  config->pin_path, strerror(-error));
		return -1;
	}
	if ((config->has_router && agent->maps.fd[MAP_ROLE] < 0) ||
	    (config->has_target && agent->maps.fd[MAP_INSTANCES] < 0)) {
		log_error("pinned maps at %s: the %s part is not loaded: run `limpet load`",
			  config->pin_path,
			  config->has_router && agent->maps.fd[MAP_ROLE] < 0 ? "router" : "target");
		return -1;
	}
	return 0;
}

int agent_read_settings(const struct agent *agent, struct settings *loaded)
{
	__u32 zero = 0;
	int error = maps_get(&agent->maps, MAP_SETTINGS, &zero, loaded);

	if (error)
		log_error("node/settings: cannot be read: %s; run `limpet load`", strerror(-error));
	return error;
}

/* Packets bear the addresses of the load, so peers are told those, whatever the file says since. */
static int keep_settings(struct agent *agent)
{
	char text[CONFIG_ERROR];
	struct settings loaded;

	if (agent_read_settings(agent, &loaded))
		return -1;
	if (settings_check(agent->config, &loaded, text))
		log_warning("%s; until then the address of the load stays in force", text);
	settings_keep(&loaded, agent->config);
	return 0;
}

static int write_node_id(const char *path, uint64_t id)
{
	char new[4096 + 8];
	FILE *file;

	snprintf(new, sizeof(new), "%s.new", path);
	file = fopen(new, "we");
	if (!file)
		return -errno;
	fprintf(file, "%016" PRIx64 "\n", id);
	if (fflush(file) || fsync(fileno(file)) || rename(new, path)) {
		int error = errno;

		fclose(file);
		return -error;
	}
	fclose(file);
	return 0;
}

/* Tells this node from another of the same name; drawn once, kept for ever. */
static int read_node_id(struct agent *agent)
{
	char path[4096];
	FILE *file;
	int error = 0;

	snprintf(path, sizeof(path), "%s/node_id", agent->config->state_directory);
	file = fopen(path, "re");
	if (file) {
		int fields = fscanf(file, "%16" SCNx64, &agent->node_id);

		fclose(file);
		if (fields == 1 && agent->node_id)
			return 0;
		log_error("%s: holds no node id; remove it, and a new one is drawn", path);
		return -1;
	}
	if (errno != ENOENT) {
		error = -errno;
	} else {
		while (!agent->node_id)
			if (getrandom(&agent->node_id, sizeof(agent->node_id), 0) < 0)
				agent->node_id = 0;
		error = write_node_id(path, agent->node_id);
	}
	if (error)
		log_error("%s: cannot be kept: %s", path, strerror(-error));
	return error;
}

static int start_parts(struct agent *agent)
{
	if (agent->config->has_router) {
		agent->router = router_start(agent);
		if (!agent->router)
			return -1;
	}
	if (agent->config->has_target) {
		agent->target = target_start(agent);
		if (!agent->target)
			return -1;
	}
	agent->interfaces = interface_watch_start(agent);
	if (!agent->interfaces)
		return -1;
	agent->control = control_start(agent);
	return agent->control ? 0 : -1;
}

int agent_open(struct agent *agent, struct config *config)
{
	memset(agent, 0, sizeof(*agent));
	agent->config = config;
	agent->lock = agent->pins = -1;
	for (int id = 0; id < MAPS; id++)
		agent->maps.fd[id] = -1;
	if (make_directory("runtime_directory", config->runtime_directory) ||
	    make_directory("state_directory", config->state_directory) || take_lock(agent) ||
	    read_node_id(agent))
		return -1;
	agent->base = agent_loop_new();
	if (!agent->base) {
		log_error("event loop: not begun: %s", strerror(ENOMEM));
		return -1;
	}
	agent->tls = tls_context_new(config);
	return agent->tls ? 0 : -1;
}

int agent_start(struct agent *agent, struct config *config)
{
	if (agent_open(agent, config) || open_maps(agent) || lock_pins(agent) ||
	    keep_settings(agent))
		return -1;
	return start_parts(agent);
}

void agent_leave(struct agent *agent)
{
	log_info("the node unloads: the routers are told that this target leaves");
	agent->leaving = true;
	event_base_loopbreak(agent->base);
}

void agent_stop(struct agent *agent)
{
	struct control_part *control = agent->control;

	/* Parts that stop speak to the others no more. */
	agent->control = NULL;
	if (control)
		control_stop(control);
	interface_watch_stop(agent->interfaces);
	if (agent->target)
		target_stop(agent->target);
	agent->target = NULL;
	if (agent->router)
		router_stop(agent->router);
	agent->router = NULL;
	if (agent->base) {
		sessions_flush(agent);
		event_base_free(agent->base);
	}
	tls_context_free(agent->tls);
	maps_close(&agent->maps);
	if (agent->pins >= 0)
		close(agent->pins);
	if (agent->lock >= 0)
		close(agent->lock);
	config_free(agent->config);
}
