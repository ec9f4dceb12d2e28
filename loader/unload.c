/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unload.c - `limpet unload`: have the routers told, end limpetd, detach, remove, and undo what
 * load and the agent have changed on this node. May be repeated: what is not there any more is not
 * missed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpffs.h"
#include "commands.h"
#include "control.h"
#include "log.h"
#include "maps.h"
#include "release.h"
#include "undo.h"

#define END_MS 5000 /* for limpetd to tell the routers, and to end */

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

/* Has limpetd gone? Its lock goes with it. */
static bool agent_is_gone(const struct config *config)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};

	for (int i = 0; i < END_MS / 20; i++) {
		if (!control_agent_runs(config))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* limpetd tells the routers to send nobody here any more, and ends. */
static int end_agent(const struct config *config)
{
	int status = control_request_within(config, "POST", "/leave", END_MS, NULL);

	if (status == 200 && agent_is_gone(config))
		return 0;
	log_error("limpetd of this node runs and does not %s: stop it first (systemctl stop "
		  "limpetd), or unload under it with --force",
		  status == 200 ? "end" : "answer");
	return -EBUSY;
}

/* The program beside this one; else the one in PATH. */
static void run_agent(const struct config *config)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof("limpetd"));
	char *slash;

	path[length > 0 ? length : 0] = 0;
	slash = strrchr(path, '/');
	if (slash) {
		strcpy(slash + 1, "limpetd");
		execl(path, "limpetd", "--leave", "--config", config->path, NULL);
	}
	execlp("limpetd", "limpetd", "--leave", "--config", config->path, NULL);
	log_warning("limpetd cannot be run: %s: the routers are not told that this target leaves",
		    strerror(errno));
	_exit(1);
}

/* Nobody else tells the routers when no limpetd runs. It says itself what has gone wrong. */
static void say_goodbye(const struct config *config)
{
	pid_t pid = fork();

	if (!pid)
		run_agent(config);
	if (pid < 0)
		log_warning("the routers are not told that this target leaves: %s",
			    strerror(errno));
	else
		waitpid(pid, NULL, 0);
}

/* Before anything goes, so that no client is sent where nobody is any more. */
static int leave(const struct config *config, bool loaded)
{
	if (control_agent_runs(config))
		return end_agent(config);
	if (bpffs_has_agent(config)) {
		log_error("limpetd runs with another runtime_directory than %s: unload with the "
			  "configuration that was loaded, or use --force",
			  config->runtime_directory);
		return -EBUSY;
	}
	if (loaded && config->has_target)
		say_goodbye(config);
	return 0;
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

/* 0 or a negative errno. Nothing to go by is no error: who asks wants to be rid of us. */
static int undo(const struct config *config, bool loaded)
{
	int error = undo_restore(config);

	if (error != -ENOENT)
		return error;
	if (loaded && config->has_target)
		log_warning("%s/undo is gone, which said what to put back: arp_ignore and "
			    "arp_announce of net.ipv4.conf.all stay as they are; set them again",
			    config->runtime_directory);
	return 0;
}

static int unload(const struct config *config, bool loaded)
{
	int error, failed;

	give_back_listeners(config);
	if (release_addresses())
		log_info("service addresses removed from lo");
	error = remove_pins(config);
	failed = undo(config, loaded);
	remove_files(config);
	return error ? error : failed;
}

/* Its kernel holds the services' addresses: without XDP it answers the clients with resets. */
static bool is_active_router(const struct config *config)
{
	struct router_role role;
	struct maps maps;
	__u32 zero = 0;
	bool active;

	if (maps_open(&maps, config->pin_path))
		return false;
	active = maps.fd[MAP_ROLE] >= 0 && !maps_get(&maps, MAP_ROLE, &zero, &role) &&
		 role.role == ROLE_ACTIVE;
	maps_close(&maps);
	return active;
}

/* All of it, under the lock. */
static int leave_and_unload(const struct config *config, bool loaded, bool force)
{
	int error;

	if (!force && is_active_router(config)) {
		log_error("%s is the active router: let another take over first (limpet "
			  "deactivate, or stop keepalived), or use --force",
			  config->node);
		return -EBUSY;
	}
	error = leave(config, loaded);
	return error && !force ? error : unload(config, loaded);
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
	lock = bpffs_lock_present(config);
	if (lock < 0 && lock != -ENOENT)
		return 1;
	loaded = bpffs_exists(config, LAYOUT_DIRECTORY) || bpffs_exists(config, BPFFS_NEW);
	error = leave_and_unload(config, loaded, force);
	if (lock >= 0)
		close(lock);
	if (error)
		return 1;
	log_info("%s: %s", config->node, loaded ? "unloaded" : "not loaded");
	return 0;
}
