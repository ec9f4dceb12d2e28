/* SPDX-License-Identifier: BSD-2-Clause */
/* reload.c - `limpet reload`: the changed configuration, or nothing at all. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "apply.h"
#include "bpffs.h"
#include "commands.h"
#include "links.h"
#include "log.h"
#include "memory.h"
#include "objects.h"

/* A map cannot change its size. */
static int check_sizes(const struct config *config, const struct maps *maps)
{
	for (int id = 0; id < MAPS; id++) {
		struct bpf_map_info info = {0};
		__u32 length = sizeof(info), size = objects_map_size(config, id);

		if (maps->fd[id] < 0 || !size)
			continue;
		if (bpf_obj_get_info_by_fd(maps->fd[id], &info, &length) ||
		    info.max_entries == size)
			continue;
		log_error("tables: %s has room for %u as loaded, for %u as configured; a change of "
			  "size needs `limpet unload` and `limpet load`",
			  info.name, info.max_entries, size);
		return -EBUSY;
	}
	return 0;
}

/* What a reload cannot change. */
static int check_loaded(const struct config *config, const struct maps *maps)
{
	const char *interface;

	if ((config->has_router && maps->fd[MAP_ROLE] < 0) ||
	    (config->has_target && maps->fd[MAP_TARGET_SERVICES] < 0)) {
		log_error("the configuration has a role that is not loaded here: run `limpet "
			  "load`");
		return -EBUSY;
	}
	interface = links_difference(config, LAYOUT_DIRECTORY);
	if (interface) {
		log_error("interface %s: the configuration and what is attached differ: run "
			  "`limpet load`",
			  interface);
		return -EBUSY;
	}
	if (config->has_target && links_elsewhere(config)) {
		log_error("cgroup %s: the programs are attached to another one: run `limpet load`",
			  config->target.cgroup);
		return -EBUSY;
	}
	return check_sizes(config, maps);
}

static int reload(const struct config *config, bool end_affinities)
{
	struct maps maps;
	int error = apply_open(config, &maps);

	if (error)
		return error;
	error = check_loaded(config, &maps);
	if (!error)
		error = apply_check(config, &maps, end_affinities);
	if (!error)
		error = apply_ask_agent(config);
	if (!error)
		error = apply_all(config, &maps, end_affinities);
	maps_close(&maps);
	return error ? error : apply_tell_agent(config);
}

int command_reload(const struct config *config, int argc, char **argv)
{
	bool end_affinities = argc == 2 && !strcmp(argv[1], "--end-affinities");
	char text[CONFIG_ERROR];
	int lock, error;

	if (argc > 1 && !end_affinities) {
		log_error("unknown option '%s'; usage: limpet reload [--end-affinities]",
			  argv[argc - 1]);
		return 2;
	}
	if (config_check_machine(config, text) || memory_check(config, text)) {
		log_error("%s", text);
		return 1;
	}
	lock = bpffs_lock_present(config);
	if (lock == -ENOENT)
		log_error("Limpet is not loaded at %s: run `limpet load`", config->pin_path);
	if (lock < 0)
		return 1;
	error = reload(config, end_affinities);
	close(lock);
	if (error)
		return 1;
	log_info("%s: configuration applied", config->node);
	return 0;
}
