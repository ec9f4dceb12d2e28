/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unload.c - `limpet unload`: detach, remove, and undo what load and the agent have changed on this
 * node. May be repeated: what is not there any more is not missed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpffs.h"
#include "commands.h"
#include "control.h"
#include "log.h"
#include "maps.h"
#include "release.h"
#include "undo.h"

/* Other processes' listeners, while the maps still tell which. */
static void give_back_listeners(const struct config *config)
{
	struct maps maps;
	unsigned int count;

	if (maps_open(&maps, config->pin_path))
		return;
	if (maps.fd[MAP_LISTENERS] >= 0) {
		count = release_listeners(&maps);
		if (count)
			log_info("%u listener%s as before", count, count == 1 ? "" : "s");
	}
	maps_close(&maps);
}

static void remove_files(const struct config *config)
{
	static const char *const names[] = {"control.sock", "limpetd.lock"};
	char path[4096];

	if (control_agent_runs(config))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", config->runtime_directory, names[i]);
		unlink(path);
	}
	rmdir(config->runtime_directory); /* if nothing else is in it */
}

static int remove_pins(const struct config *config)
{
	static const char *const directories[] = {LAYOUT_DIRECTORY, BPFFS_NEW};
	int result = 0;

	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		int error = bpffs_exists(config, directories[i])
				    ? bpffs_remove(config, directories[i])
				    : 0;

		if (error)
			result = error;
	}
	bpffs_remove_path(config);
	return result;
}

static int unload(const struct config *config)
{
	int error, failed;

	give_back_listeners(config);
	if (release_addresses())
		log_info("service addresses removed from lo");
	error = remove_pins(config);
	failed = undo_restore(config);
	remove_files(config);
	return error ? error : failed;
}

int command_unload(const struct config *config, int argc, char **argv)
{
	bool force = argc == 2 && !strcmp(argv[1], "--force");
	bool loaded;
	int lock, error;

	if (argc > 1 && !force) {
		log_error("unknown option '%s'; usage: limpet unload [--force]", argv[argc - 1]);
		return 2;
	}
	if (control_agent_runs(config) && !force) {
		log_error("limpetd of this node is running: stop it first (systemctl stop "
			  "limpetd), or unload under it with --force");
		return 1;
	}
	lock = bpffs_lock_present(config);
	if (lock < 0 && lock != -ENOENT)
		return 1;
	loaded = bpffs_exists(config, LAYOUT_DIRECTORY) || bpffs_exists(config, BPFFS_NEW);
	error = unload(config);
	if (lock >= 0)
		close(lock);
	if (error)
		return 1;
	log_info("%s: %s", config->node, loaded ? "unloaded" : "not loaded");
	return 0;
}
